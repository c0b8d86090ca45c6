"""Mapping of stored values to [-1, 1] and back, at every depth."""

import numpy as np
import torch
from torch import Tensor

ValueRange = tuple[float, float]
"""Stored values that −1 and 1 stand for."""

FULL_RANGES: dict[torch.dtype, ValueRange] = {torch.uint8: (0, 255), torch.uint16: (0, 65535), torch.float32: (0, 1)}
"""Range of each depth, where no other is declared."""


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
    """Convert (C, H, W) in [-1, 1] to (H, W, C) uint8, uint16 or float32; −1 and 1 become the ends of the range."""
    if depth == np.uint8 and value_range in (None, FULL_RANGES[torch.uint8]):
        return to_uint8_array(x, truncate=truncate)
    low, high = value_range or FULL_RANGES[torch.from_numpy(np.empty(0, depth)).dtype]
    scaled = (x.detach().double().permute(1, 2, 0).cpu().numpy() + 1) / 2 * (high - low) + low
    if depth.kind == "f":
        return np.clip(scaled, low, high).astype(depth)
    whole = np.floor(scaled) if truncate else np.round(scaled)
    return np.clip(whole, max(low, 0), min(high, np.iinfo(depth).max)).astype(depth)
