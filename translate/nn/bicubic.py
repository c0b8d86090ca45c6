"""Bicubic resizing as in the papers on super-resolution: Keys' kernel with a = −0.5, stretched where an image is reduced."""

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_bicubic(x: Tensor, height: int, width: int) -> Tensor:
    """Resize images (N, C, H, W) to (N, C, height, width) with an antialiased bicubic filter; values may leave their range.

    Keys, "Cubic convolution interpolation for digital image processing" (1981), eq. 4, a = −0.5. The filter of Pillow's
    `resize` and of MATLAB's `imresize`, which differ at the borders: as in Pillow, weights beyond a border are left out and the
    others add up to 1. Computed in float32 at least.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return F.interpolate(wide, (height, width), mode="bicubic", antialias=True).to(x.dtype)


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Enlarge images (N, C, H, W) to (N, C, factor · H, factor · W)."""
    return x if factor == 1 else resize_bicubic(x, factor * x.shape[2], factor * x.shape[3])
