"""Random crop, flip and normalisation of a whole batch on its device, every draw a pure function of the image's key."""

import torch
from torch import Tensor

from translate import images, noise


def crop_flip_normalise(
    stored: Tensor, index: Tensor, key: Tensor, name: str, size: int, flip: bool, dtype: torch.dtype
) -> Tensor:
    """stored (M, C, H, W) uint8, index (N,) into it, key (N,) → (N, C, size, size) in [-1, 1].

    The offset is uniform over all that fit and a flip has probability ½, as in the reference. Images that are given the
    same key and name (the two sides of a pair) are cut and flipped alike.
    """
    height, width = stored.shape[2:]
    draws = noise.uniform(key, name, 3)
    top = (draws[:, 0] * (height - size + 1)).to(torch.int64)
    left = (draws[:, 1] * (width - size + 1)).to(torch.int64)
    along = torch.arange(size, device=stored.device)
    columns = along.expand(len(index), size)
    if flip:
        columns = torch.where(draws[:, 2:] < 0.5, columns.flip(1), columns)
    return _cut(stored, index, top[:, None] + along, left[:, None] + columns, dtype)


def centre(stored: Tensor, index: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """The middle of each image, neither random nor flipped: (N, C, size, size) in [-1, 1]."""
    height, width = stored.shape[2:]
    along = torch.arange(size, device=stored.device).expand(len(index), size)
    return _cut(stored, index, along + (height - size) // 2, along + (width - size) // 2, dtype)


def _cut(stored: Tensor, index: Tensor, rows: Tensor, columns: Tensor, dtype: torch.dtype) -> Tensor:
    channels = torch.arange(stored.shape[1], device=stored.device)
    n = index[:, None, None, None]
    return images.to_range(stored[n, channels[:, None, None], rows[:, None, :, None], columns[:, None, None, :]], dtype)
