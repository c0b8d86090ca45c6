"""Choice of the device, CUDA's streams, events and graphs, and the environment that the last bits of the weights depend on.

All that the package asks of CUDA itself goes through this file and `memory`.
"""

import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import torch

from translate.errors import UsageError
from translate.runtime.distributed import local_rank, world_size

Event = torch.cuda.Event
"""Mark in the work of a stream, for which another stream can wait."""
Stream = torch.cuda.Stream
"""Queue of work on a CUDA device."""


def has_cuda() -> bool:
    """Return whether torch can use a CUDA device."""
    return torch.cuda.is_available()


def cuda_names() -> list[str]:
    """Return the names of the CUDA devices that torch can use."""
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if has_cuda() else []


def has_bf16_arithmetic(device: torch.device) -> bool:
    """Return whether the device computes in bfloat16 without emulation, as GPUs do from NVIDIA's Ampere on."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def has_cpu_bf16() -> bool:
    """Return whether the CPU has instructions for products of bfloat16, AVX-512-BF16 or AMX; without, torch emulates them."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def new_stream(device: torch.device) -> Stream:
    """Return a new stream of a CUDA device."""
    return torch.cuda.Stream(device)


def current_stream(device: torch.device) -> Stream:
    """Return the stream on which work for a CUDA device is launched."""
    return torch.cuda.current_stream(device)


def on_stream(stream: Stream) -> AbstractContextManager[Any]:
    """Launch the work within the block on a stream."""
    return torch.cuda.stream(stream)


def new_event() -> Event:
    """Return an event that has not been recorded yet."""
    return torch.cuda.Event()


def new_graph() -> torch.cuda.CUDAGraph:
    """Return a CUDA graph without a recording."""
    return torch.cuda.CUDAGraph()


def new_graph_pool() -> Any:
    """Return a new memory pool for graphs that are replayed one after another."""
    return torch.cuda.graph_pool_handle()


def capture(graph: torch.cuda.CUDAGraph, pool: Any, stream: Stream) -> AbstractContextManager[Any]:
    """Record the work within the block into a graph, without executing it; other threads may use the device meanwhile."""
    return torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local")


def resolve_device(name: str) -> torch.device:
    """Return the device called auto, cpu, cuda, cuda:N or mps, and make it torch's current one. UsageError if there is none."""
    if name == "auto":
        name = "cuda" if has_cuda() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: no such device; use auto, cpu, cuda, cuda:N or mps") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"--device {name}: no such device; use auto, cpu, cuda, cuda:N or mps")
    if device.type == "cuda":
        count = torch.cuda.device_count() if has_cuda() else 0
        index = device.index if device.index is not None else local_rank() % max(count, 1)
        if index >= count:
            raise UsageError(f"--device {name}: this machine has {count} CUDA devices; use --device auto or cpu")
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: this machine has no Metal device; use --device auto or cpu")
    return device


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that was launched on it; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def cpu_model() -> str:
    """Return the name of the processor and the vector instructions that torch uses: "AMD EPYC 7763 64-Core Processor, AVX2"."""
    name = ""
    with suppress(OSError):  # only Linux has the file
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{name or platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def numerical_environment(device: torch.device) -> dict[str, str | int | bool]:
    """Return what the last bits of the weights depend on beside the settings: versions, device and its arithmetic."""
    environment: dict[str, str | int | bool] = {"torch": str(torch.__version__), "processes": world_size()}
    if device.type == "cuda":
        environment |= {
            "device": torch.cuda.get_device_name(device),
            "CUDA": str(torch.version.cuda),
            "cuDNN": torch.backends.cudnn.version() or "none",
            "TF32": torch.backends.cudnn.allow_tf32,
        }
    else:
        environment |= {
            "device": f"{device.type} ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})",
            "threads": torch.get_num_threads(),
        }
    return {**environment, "deterministic": torch.are_deterministic_algorithms_enabled()}


def environment_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences between two environments, as "threads 4 instead of 2"; entries of one alone do not count."""
    common = [name for name in now if name in before]
    return [f"{name} {now[name]} instead of {before[name]}" for name in common if now[name] != before[name]]
