"""Modulated convolution: a style scales the channels that a convolution reads, and demodulation takes the scale out of what it
writes (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, sec. 2.2).

It replaces instance norm with styles: a translator can use it with the style of an example image.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn.equalized import EPSILON, EqualizedLinear
from translate.nn.resampling import blur


class ModulatedConv2d(nn.Module):
    """Convolution whose weight is scaled by a style: x (N, cin, H, W), style code (N, style_size) → (N, cout, H, W).

    The style, one number for each input channel, is a linear function of the code that begins at 1 (eq. 1). With `demodulate`
    the weight of each output channel is divided by its norm (eq. 3); without, by √(fan in). With `upsample` the maps become
    twice as large: a transposed convolution, then the filter of `nn.resampling`.
    """

    initial_bias = 0.0

    def __init__(
        self, cin: int, cout: int, kernel: int, style_size: int, *, demodulate: bool = True, upsample: bool = False
    ) -> None:
        super().__init__()
        self.affine = EqualizedLinear(style_size, cin, gain=1.0, initial_bias=1.0)
        self.weight = nn.Parameter(torch.empty(cout, cin, kernel, kernel))
        self.bias: nn.Parameter | None = None  # it is added with the noise, behind this layer
        self.demodulate, self.upsample = demodulate, upsample
        self.scale = 1 / math.sqrt(cin * kernel**2)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        # Scaled maps in one convolution of the batch: the same as scaled weights in one for each image.
        style = self.affine(code)
        y = self.convolve(x * style[:, :, None, None], self.weight if self.demodulate else self.weight * self.scale)
        if not self.demodulate:
            return y
        wide = torch.promote_types(style.dtype, torch.float32)
        norms = style.to(wide).square() @ self.weight.to(wide).square().sum((2, 3)).T
        return y * (norms + EPSILON).rsqrt().to(y.dtype)[:, :, None, None]

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Apply the convolution with a weight (cout, cin, kernel, kernel)."""
        if not self.upsample:
            return F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        return blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, gain=4.0)

    def extra_repr(self) -> str:
        cout, cin, kernel, _ = self.weight.shape
        return f"{cin}, {cout}, kernel={kernel}, demodulate={self.demodulate}, upsample={self.upsample}"
