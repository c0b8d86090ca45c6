"""Free, used and allocated memory of a device, and errors that say it has run out."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from translate.runtime.devices import has_cuda

CGROUP_ROOT = Path("/sys/fs/cgroup")
_CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat"),  # version 2
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def free_memory(device: torch.device) -> int:
    """Return the bytes of memory that can still be allocated on a device.

    For the CPU and MPS: of main memory, and no more than the control group (cgroup) of the process allows, as in a container.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([_free_main_memory(), *_cgroup_allowances(CGROUP_ROOT)])


def _free_main_memory() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        values = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return int(values["MemAvailable"].split()[0]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 << 30  # Windows reports it only through its own API: a cautious guess


def _cgroup_allowances(root: Path) -> Iterator[int]:
    """Yield the bytes that each memory limit of the control group leaves; pages of cached files can be reclaimed."""
    for limit, usage, stat in _CGROUP_FILES:
        with suppress(OSError, ValueError, KeyError):  # no such file, or "max": no limit
            cache = dict(line.split() for line in (root / stat).read_text().splitlines())
            used = int((root / usage).read_text()) - int(cache["inactive_file"]) - int(cache["active_file"])
            yield int((root / limit).read_text()) - used


def peak_memory(device: torch.device) -> int | None:
    """Return the most bytes of the device's memory that this process has held; None where the system does not report it.

    On CUDA: since the last call of `allocated_memory`, which resets the peak.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def empty_cache(device: torch.device) -> None:
    """Release the memory that torch's allocator keeps for later use; does nothing on the CPU."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def empty_caches() -> None:
    """Release the memory that torch's allocators keep for later use on the CUDA devices that there are."""
    if has_cuda():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an operation failed because memory ran out, on the host or on the device.

    CUDA's allocator raises torch.OutOfMemoryError; the allocators of the CPU and of MPS, cuDNN, cuBLAS and ONNX Runtime a
    RuntimeError with a text of their own.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in _OUT_OF_MEMORY_PHRASES)


_OUT_OF_MEMORY_PHRASES = (
    "can't allocate memory",
    "out of memory",
    "ALLOC_FAILED",
    "Failed to allocate memory",
    "bad_alloc",
)


def allocated_memory(device: torch.device) -> int | None:
    """Return the bytes of memory in use; None where the system does not report it.

    On CUDA: the peak since the last call, which is reset (`peak_memory` reads the same peak). On the CPU: the resident memory
    of this process now.
    """
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return peak
    statm = Path("/proc/self/statm")
    if device.type == "cpu" and statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory(device)
