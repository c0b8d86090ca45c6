"""Layers with an equalised learning rate (Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and
Variation", ICLR 2018, sec. 4.1): weights are drawn from N(0, 1), and scaled in each pass by He's constant.

Adam moves all weights by about its rate, whatever their size. Here all have one size, so all are learnt at the same speed.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random

GAIN = math.sqrt(2)
"""Gain of a layer in front of a leaky ReLU (He et al., "Delving Deep into Rectifiers", 2015)."""
EPSILON = 1e-8
"""Number that is added to mean squares (sec. 4.2)."""


class EqualizedConv2d(nn.Conv2d):
    """Convolution whose weight is scaled by gain / √(fan in); it keeps the size, but for a stride or less padding.

    Biases start at 0, and are not scaled.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        kernel: int,
        *,
        gain: float = GAIN,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__(cin, cout, kernel, stride, kernel // 2 if padding is None else padding, bias=bias)
        self.scale = gain / math.sqrt(cin * kernel**2)
        self.initial_bias = 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.scale, self.bias)


class EqualizedProjection(nn.ConvTranspose2d):
    """Fully connected layer from codes (N, cin) to maps (N, cout, side, side), with one bias for each channel.

    The scale is gain / √cin; the authors' generator has a gain of √2 / 4 here.
    """

    def __init__(self, cin: int, cout: int, side: int, *, gain: float = GAIN / 4) -> None:
        super().__init__(cin, cout, side)
        self.scale = gain / math.sqrt(cin)
        self.initial_bias = 0.0

    def forward(self, code: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.conv_transpose2d(code[:, :, None, None], self.weight * self.scale, self.bias)


class EqualizedLinear(nn.Linear):
    """Fully connected layer (N, cin) → (N, cout); its weight is scaled by gain / √cin.

    rate: factor of the layer's learning rate: the stored weights and biases are 1 / rate times as large, and count `rate` times
    (Karras et al., "A Style-Based Generator Architecture for Generative Adversarial Networks", 2019, appendix C).
    initial_bias: where the biases start.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        *,
        gain: float = GAIN,
        rate: float = 1.0,
        initial_bias: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__(cin, cout, bias=bias)
        self.scale, self.rate, self.initial_bias = gain * rate / math.sqrt(cin), rate, initial_bias

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias if self.rate == 1 else self.bias * self.rate
        return F.linear(x, self.weight * self.scale, bias)


class PixelNorm(nn.Module):
    """Divide the features of each pixel by their root mean square: (N, C, …) → the same shape (sec. 4.2)."""

    def forward(self, x: Tensor) -> Tensor:
        return pixel_norm(x)


def pixel_norm(x: Tensor) -> Tensor:
    """Divide the features of x (N, C, …) at each place, or the numbers of each code (N, C), by their root mean square."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide * (wide.square().mean(1, keepdim=True) + EPSILON).rsqrt()).to(x.dtype)


def standard_normal_(net: nn.Module, *key: int | str) -> nn.Module:
    """Fill the weights of equalised layers from N(0, 1) over their rate, biases with their initial value. Returns `net`.

    Other parameters stay as they are. The draws are a pure function of `key` on every device: they are made on the CPU.
    """
    generator = torch.Generator().manual_seed(keyed_random.derive_key(*key, "init"))
    for module in net.modules():
        if not hasattr(module, "initial_bias"):
            continue
        weight, bias = module.weight, module.bias
        assert isinstance(weight, nn.Parameter)
        if not weight.is_meta:  # else the network is built for its shapes alone
            with torch.no_grad():
                weight.copy_(
                    torch.empty(weight.shape).normal_(0, 1 / getattr(module, "rate", 1.0), generator=generator)
                )
        if isinstance(bias, nn.Parameter):
            nn.init.constant_(bias, float(module.initial_bias))  # type: ignore[arg-type]
    return net
