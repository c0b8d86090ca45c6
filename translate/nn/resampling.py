"""Resampling by the binomial filter [1, 3, 3, 1], without aliasing (Karras et al., "Analyzing and Improving the Image Quality
of StyleGAN", CVPR 2020, whose official code has this filter in all resolutions)."""

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = 4
"""Length of the filter."""


def _kernel(x: Tensor, gain: float) -> Tensor:
    """Return the filter as a weight (C, 1, 4, 4) of a convolution of each channel of x; it sums up to `gain`."""
    place = torch.arange(TAPS, device=x.device, dtype=x.dtype)
    taps = (1 + place * (TAPS - 1 - place)) / 2 ** (TAPS - 1)  # made on the device, without a copy from the host
    square = torch.outer(taps, taps) * gain
    return square.expand(x.shape[1], 1, -1, -1)


def blur(x: Tensor, padding: int, *, gain: float = 1.0, stride: int = 1) -> Tensor:
    """Filter maps x (N, C, H, W), with `padding` zeros at each side: H becomes (H + 2 · padding − 4) // stride + 1."""
    return F.conv2d(x, _kernel(x, gain), stride=stride, padding=padding, groups=x.shape[1])


def upsample(x: Tensor) -> Tensor:
    """Enlarge maps (N, C, H, W) to (N, C, 2H, 2W): zeros between pixels, then the filter, which keeps the mean."""
    return F.conv_transpose2d(x, _kernel(x, 4.0), stride=2, padding=1, groups=x.shape[1])


def downsample(x: Tensor) -> Tensor:
    """Reduce maps (N, C, 2H, 2W) to (N, C, H, W): the filter, then every other pixel."""
    return blur(x, 1, stride=2)
