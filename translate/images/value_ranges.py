"""Mapping of stored values to [-1, 1] and back, at every depth."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ValueRange = tuple[float, float]
"""Stored values that −1 and 1 stand for."""

FULL_RANGES: dict[torch.dtype, ValueRange] = {torch.uint8: (0, 255), torch.uint16: (0, 65535), torch.float32: (0, 1)}
"""Range of each depth, where no other is declared."""


def type_range(dtype: np.dtype) -> ValueRange | None:
    """Return the range of the values of a type: all bits of unsigned integers, 0 to 1 of floats; None of all others.

    Signed integers hold heights, temperatures or differences, and 64 bits are what arrays of counts have: neither says what is
    black and what is white.
    """
    if dtype.kind == "f":
        return 0, 1
    return (0, int(np.iinfo(dtype).max)) if dtype.kind == "u" and dtype.itemsize <= 4 else None


class StoredType(NamedTuple):
    """Data type of an image's values in its file, and the values that −1 and 1 stand for."""

    dtype: np.dtype
    range: ValueRange | None = None
    """None: the range of the type."""


def to_tensor(pixels: np.ndarray, value_range: ValueRange | None = None, device: torch.device | str = "cpu") -> Tensor:
    """Convert an image (H, W, C) uint8, uint16 or float32 to (C, H, W) float32 in [-1, 1], computed on the device."""
    stored = torch.from_numpy(np.array(pixels)).to(device)
    return normalize(stored.permute(2, 0, 1).contiguous(), torch.float32, value_range)


def normalize(stored: Tensor, dtype: torch.dtype, value_range: ValueRange | None = None) -> Tensor:
    """Map a tensor of uint8, uint16 or float32 of any shape to [-1, 1] in `dtype`; values outside the range are clipped."""
    low, high = value_range or FULL_RANGES[stored.dtype]
    x = stored.to(dtype)
    if low != 0:
        x = x - low
    x = x / (high - low) * 2 - 1
    return x if spans_full_range(stored.dtype, value_range) else x.clamp_(-1, 1)


def spans_full_range(depth: torch.dtype, value_range: ValueRange | None) -> bool:
    """Return whether no stored value can lie outside the range: True for integers where no other range is declared."""
    return value_range is None and depth != torch.float32


def quantize(x: Tensor, *, truncate: bool = False) -> Tensor:
    """Map [-1, 1] to uint8 of the same shape; values outside are clipped.

    Values are rounded to the nearest, or truncated in the reference's own steps, since 1 / 127.5 is not exact.
    """
    x = x.detach().float() + 1
    scaled = (x / 2 * 255).floor_() if truncate else (x * 127.5).round_()
    return scaled.clamp_(0, 255).to(torch.uint8)


def to_uint8_array(x: Tensor, *, truncate: bool = False) -> np.ndarray:
    """Convert (C, H, W) in [-1, 1] to (H, W, C) uint8, rounded to the nearest or truncated."""
    return quantize(x, truncate=truncate).permute(1, 2, 0).cpu().numpy()


def to_array(
    x: Tensor, depth: np.dtype, value_range: ValueRange | None = None, *, truncate: bool = False
) -> np.ndarray:
    """Convert (C, H, W) in [-1, 1] to (H, W, C) of a data type; −1 and 1 become the ends of the range, by default the type's.

    ValueError for a type without a range of its own where none is given.
    """
    if depth == np.uint8 and value_range in (None, FULL_RANGES[torch.uint8]):
        return to_uint8_array(x, truncate=truncate)
    span = value_range or type_range(depth)
    if span is None:
        raise ValueError(f"{depth} has no range of its own")
    low, high = span
    scaled = (x.detach().double().permute(1, 2, 0).cpu().numpy() + 1) / 2 * (high - low) + low
    if depth.kind == "f":
        return np.clip(scaled, low, high).astype(depth)
    whole = np.floor(scaled) if truncate else np.round(scaled)
    limits = np.iinfo(depth)
    return np.clip(whole, max(low, limits.min), min(high, limits.max)).astype(depth)


def type_for_range(value_range: ValueRange, given: np.dtype) -> np.dtype:
    """Choose the data type of values of a declared range, from the type of the image that they come from.

    Floats stay floats. Integers take ranges of at least 256 whole numbers, in their own type, or else in uint8 or uint16; of
    other ranges rounding would lose too much, so these become float32.
    """
    low, high = value_range
    if given.kind == "f":
        return given
    if float(low).is_integer() and float(high).is_integer() and high - low >= 255:
        fitting = (given, np.dtype(np.uint8), np.dtype(np.uint16))
        return next((t for t in fitting if np.iinfo(t).min <= low and high <= np.iinfo(t).max), np.dtype(np.float32))
    return np.dtype(np.float32)
