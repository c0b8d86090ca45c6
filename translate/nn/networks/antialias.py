"""Anti-aliased ResNet and PatchGAN: what halves or doubles a map is a blur, the convolutions have stride 1.

A map that is sampled without a blur changes when its input moves by one pixel (Zhang, "Making Convolutional Networks
Shift-Invariant Again", ICML 2019). The networks are CUT's: layers, their places in the list `model` and their initial
weights are those of the authors' code (taesungp/contrastive-unpaired-translation, models/networks.py). The blurs have no
weights, and are not in the state dict.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn.base import Discriminator, Generator
from translate.nn.blocks import ResnetBlock, conv_norm_relu, conv_uses_bias, norm_layer
from translate.nn.init import xavier_


class BlurDown(nn.Module):
    """Half the size, rounded up: [1, 2, 1] / 4 along both axes at every other pixel, from the first on; reflected borders."""

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        # Made on the device: a constant would be copied there each time, and a buffer be kept with the weights.
        binomial = 2 - (torch.arange(3, device=x.device) - 1).abs()
        blur = (binomial[:, None] * binomial).to(x.dtype) / 16
        return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), blur.expand(channels, 1, 3, 3), stride=2, groups=channels)


class BlurUp(nn.Module):
    """Twice the size: a transposed convolution of stride 2 with [1, 3, 3, 1] / 4 along both axes; borders are replicated.

    Pixels 2i and 2i + 1 are ¾ of pixel i and ¼ of the one before or behind it: the bilinear interpolation.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class AntialiasGenerator(Generator):
    """`ResnetGenerator` with convolutions of stride 1, a blur behind each on the way down and before each on the way up."""

    multiple_of = 4
    minimum = 8  # at 4×4 the innermost instance norm would see one pixel
    initialise = staticmethod(xavier_)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        norm: str = "instance",
        dropout: bool = False,
        *,
        blocks: int = 9,
    ) -> None:
        super().__init__()
        w = width
        self.receptive_radius = 21 + 8 * blocks
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *conv_norm_relu(in_channels, w, norm, 7),
            *conv_norm_relu(w, 2 * w, norm, 3, padding=1),
            BlurDown(),
            *conv_norm_relu(2 * w, 4 * w, norm, 3, padding=1),
            BlurDown(),
            *[ResnetBlock(4 * w, norm, dropout) for _ in range(blocks)],
            BlurUp(),
            *conv_norm_relu(4 * w, 2 * w, norm, 3, padding=1),
            BlurUp(),
            *conv_norm_relu(2 * w, w, norm, 3, padding=1),
            nn.ReflectionPad2d(3),
            nn.Conv2d(w, out_channels, 7),
            nn.Tanh(),
        )


class AntialiasDiscriminator(Discriminator):
    """`PatchDiscriminator` with a blur behind each convolution that halves there: 3 layers judge 84×84 patches."""

    initialise = staticmethod(xavier_)

    def __init__(self, in_channels: int, width: int = 64, norm: str = "instance", layers: int = 3) -> None:
        super().__init__()
        self.minimum = 3 * 2**layers  # what is left, 3×3, just gives the two last convolutions one logit
        widths = [width * min(2**n, 8) for n in range(layers + 1)]
        modules: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, 1, 1), nn.LeakyReLU(0.2), BlurDown()]
        for n in range(1, layers + 1):
            conv = nn.Conv2d(widths[n - 1], widths[n], 4, 1, 1, bias=conv_uses_bias(norm))
            modules += [conv, norm_layer(norm, widths[n]), nn.LeakyReLU(0.2), *([BlurDown()] if n < layers else [])]
        self.model = nn.Sequential(*modules, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)
