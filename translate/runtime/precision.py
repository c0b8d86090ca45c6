"""Arithmetic: dtypes of weights and autocast, TF32, cuDNN's benchmark mode."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from translate.errors import UsageError
from translate.runtime.devices import has_bf16_arithmetic


@dataclass(frozen=True)
class Precision:
    """Precision of a training or conversion: dtype of the weights, and of autocast (None: no autocast)."""

    name: str
    weights: torch.dtype
    compute: torch.dtype | None

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context in which networks and losses are computed."""
        return nullcontext() if self.compute is None else torch.autocast(device.type, self.compute)


PRECISIONS: dict[str, Precision] = {
    "fp32": Precision("fp32", torch.float32, None),
    "bf16": Precision("bf16", torch.float32, torch.bfloat16),
    "fp16": Precision("fp16", torch.float32, torch.float16),
    "fp64": Precision("fp64", torch.float64, None),
}


def resolve_precision(name: str, device: torch.device) -> Precision:
    """Return a row of PRECISIONS; auto is bf16 on GPUs with bf16 arithmetic, else fp32. UsageError for other names."""
    if name == "auto":
        name = "bf16" if has_bf16_arithmetic(device) else "fp32"
    if name not in PRECISIONS:
        raise UsageError(f"--precision {name}: unknown; possible: auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def configure_tf32(device: torch.device, precision: Precision) -> None:
    """Let CUDA multiply float32 in TF32, unless the precision is fp64 or torch is told to be deterministic."""
    if device.type != "cuda":
        return
    tf32 = precision.weights == torch.float32 and not torch.are_deterministic_algorithms_enabled()
    # These two set torch's older and newer flags alike. Where only the newer ones (`fp32_precision`) are set, reading an older
    # one raises, and torch.compile reads them.
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


@contextmanager
def cudnn_benchmark(device: torch.device) -> Iterator[None]:
    """Turn on cuDNN's benchmark mode within the block: it tries its algorithms on each new shape and keeps the fastest.

    It pays for work on few shapes. Nothing changes on other devices than CUDA, or where torch is told to be deterministic.
    """
    before = torch.backends.cudnn.benchmark
    is_useful = device.type == "cuda" and not torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.benchmark = before or is_useful
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
