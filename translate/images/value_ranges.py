"""How stored values map to [-1, 1] and back, at every depth."""

import numpy as np
import torch
from torch import Tensor

ValueRange = tuple[float, float]
"""The stored values that −1 and 1 stand for."""

FULL_RANGES: dict[torch.dtype, ValueRange] = {torch.uint8: (0, 255), torch.uint16: (0, 65535), torch.float32: (0, 1)}
"""Of each depth, where nothing else is declared."""


def to_tensor(pixels: np.ndarray, values: ValueRange | None = None, device: torch.device | str = "cpu") -> Tensor:
    """(H, W, C) uint8, uint16 or float32 → (C, H, W) float32 in [-1, 1], computed on the device."""
    stored = torch.from_numpy(np.array(pixels)).to(device)
    return normalize(stored.permute(2, 0, 1).contiguous(), torch.float32, values)


def normalize(stored: Tensor, dtype: torch.dtype, values: ValueRange | None = None) -> Tensor:
    """uint8, uint16 or float32 tensor of any shape → [-1, 1]; what lies beyond the values is clipped."""
    low, high = values or FULL_RANGES[stored.dtype]
    x = stored.to(dtype)
    if low != 0:
        x = x - low
    x = x / (high - low) * 2 - 1
    return x if spans_full_range(stored.dtype, values) else x.clamp_(-1, 1)


def spans_full_range(depth: torch.dtype, values: ValueRange | None) -> bool:
    """Whether no stored value can lie beyond the range: integers where nothing else is declared."""
    return values is None and depth != torch.float32


def quantize(x: Tensor, *, truncate: bool = False) -> Tensor:
    """[-1, 1] → uint8 of the same shape; values beyond are clipped.

    Rounded to the nearest, or cut off: in the reference's own steps, since 1 / 127.5 is not exact.
    """
    x = x.detach().float() + 1
    scaled = (x / 2 * 255).floor_() if truncate else (x * 127.5).round_()
    return scaled.clamp_(0, 255).to(torch.uint8)


def to_uint8_array(x: Tensor, *, truncate: bool = False) -> np.ndarray:
    """(C, H, W) in [-1, 1] → (H, W, C) uint8, rounded to the nearest or cut off."""
    return quantize(x, truncate=truncate).permute(1, 2, 0).cpu().numpy()


def to_array(x: Tensor, depth: np.dtype, values: ValueRange | None = None, *, truncate: bool = False) -> np.ndarray:
    """(C, H, W) in [-1, 1] → (H, W, C) uint8, uint16 or float32, from −1 at the lower of the values to 1 at the upper."""
    if depth == np.uint8 and values in (None, FULL_RANGES[torch.uint8]):
        return to_uint8_array(x, truncate=truncate)
    low, high = values or FULL_RANGES[torch.from_numpy(np.empty(0, depth)).dtype]
    scaled = (x.detach().double().permute(1, 2, 0).cpu().numpy() + 1) / 2 * (high - low) + low
    if depth.kind == "f":
        return np.clip(scaled, low, high).astype(depth)
    whole = np.floor(scaled) if truncate else np.round(scaled)
    return np.clip(whole, max(low, 0), min(high, np.iinfo(depth).max)).astype(depth)
