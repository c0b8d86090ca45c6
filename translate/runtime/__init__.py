"""The machine: devices, arithmetic, processes, memory, copies to a device, signals."""
