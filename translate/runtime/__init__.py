"""Runtime: devices, arithmetic, processes, memory, transfer to a device, and signals."""
