"""Description of a trained model for people: its `config.json`, and its weights in numbers. Imports no torch."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from translate.trained.model_info import ModelInfo

RUNNING_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Ends of the names of batch norm's statistics, which are stored with the weights but are no parameters."""


class StoredDtype(NamedTuple):
    """Floating-point type of stored weights, as torch and safetensors call it."""

    torch: str
    safetensors: str


DTYPES = {
    "fp64": StoredDtype("float64", "F64"),
    "fp32": StoredDtype("float32", "F32"),
    "fp16": StoredDtype("float16", "F16"),
    "bf16": StoredDtype("bfloat16", "BF16"),
}
"""Types of stored weights by their names in flags."""

EXPORT_DTYPES = ("fp32", "fp16", "bf16")
"""Rows of DTYPES that a model can be exported in."""


class StoredTensor(NamedTuple):
    """Type and shape of a stored tensor."""

    dtype: str
    """Name of its type in torch, without `torch.`."""
    shape: Sequence[int]


def describe(
    path: Path, info: ModelInfo, tensors: Mapping[str, StoredTensor], sha256: str, classes: Sequence[str] | None
) -> dict[str, Any]:
    """Return all keys of `config.json`, and of the generators' weights: type, number of parameters, SHA-256.

    `classes`: names of the classes that a model makes images of from noise; None for a model that translates.
    """
    floating = {dtype.torch for dtype in DTYPES.values()}
    return {
        **info.to_dict(),
        "path": str(path),  # after the keys of later versions, so that none replaces it
        "dtype": ", ".join(sorted({tensor.dtype for tensor in tensors.values()} & floating)),
        "parameters": sum(
            math.prod(tensor.shape) for key, tensor in tensors.items() if not key.endswith(RUNNING_STATISTICS)
        ),
        "classes": None if classes is None else list(classes),
        "discriminators": [],
        "sha256": sha256,
        "notices": [],
    }
