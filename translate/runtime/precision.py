"""Arithmetic: dtypes of weights and autocast, TF32, cuDNN's benchmark mode, channels-last memory format."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from translate.errors import UsageError


@dataclass(frozen=True)
class Precision:
    """What weights are kept in, and what autocast computes in (None: the same)."""

    name: str
    weights: torch.dtype
    compute: torch.dtype | None

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        return nullcontext() if self.compute is None else torch.autocast(device.type, self.compute)


PRECISIONS: dict[str, Precision] = {
    "fp32": Precision("fp32", torch.float32, None),
    "bf16": Precision("bf16", torch.float32, torch.bfloat16),
    "fp16": Precision("fp16", torch.float32, torch.float16),
    "fp64": Precision("fp64", torch.float64, None),
}


def resolve_precision(name: str, device: torch.device) -> Precision:
    """A row of PRECISIONS; auto is bf16 on GPUs that compute in it, else fp32."""
    if name == "auto":
        name = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if name not in PRECISIONS:
        raise UsageError(f"--precision {name}: unknown; possible: auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def configure_tf32(device: torch.device, precision: Precision) -> None:
    """On CUDA float32 is multiplied in TF32, unless fp64 is asked for or torch is told to be deterministic."""
    if device.type != "cuda":
        return
    tf32 = precision.weights == torch.float32 and not torch.are_deterministic_algorithms_enabled()
    # These two set torch's older and newer flags alike. Where only the newer ones (`fp32_precision`) are set, reading an older
    # one raises, and torch.compile reads them.
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


@contextmanager
def cudnn_benchmark(device: torch.device) -> Iterator[None]:
    """Within it cuDNN tries its algorithms on each shape that is new and keeps the fastest: for work on few shapes.

    Nothing changes on other devices than CUDA, or where torch is told to be deterministic.
    """
    before = torch.backends.cudnn.benchmark
    tries = device.type == "cuda" and not torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.benchmark = before or tries
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def use_channels_last(choice: str, device: torch.device, precision: Precision) -> bool:
    """Whether images lie in memory with their channels last; auto: on CUDA in half precision, as its matrix units read them."""
    return choice == "on" or (choice == "auto" and device.type == "cuda" and precision.compute is not None)
