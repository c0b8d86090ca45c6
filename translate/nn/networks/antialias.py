"""Anti-aliased ResNet generator and PatchGAN: convolutions of stride 1, and blurs that halve or double the size.

A map that is downsampled without a blur changes when its input moves by one pixel (Zhang, "Making Convolutional Networks
Shift-Invariant Again", ICML 2019). The networks are CUT's: layers, their indices in the list `model` and their initial
weights are those of the authors' code (taesungp/contrastive-unpaired-translation, models/networks.py). The blurs have no
weights, and are not in the state dict.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn.base import Discriminator, Generator
from translate.nn.blocks import ResnetBlock, conv_norm_relu, conv_uses_bias, doubling_widths, norm_layer
from translate.nn.init import xavier_
from translate.nn.networks.resnet import decoder_layers, encoder_layers


class BlurDown(nn.Module):
    """Blur with [1, 2, 1] / 4 along both axes and reflected borders, then keep every other pixel: half the size, rounded up."""

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        # Computed on the device: a constant would be copied there each time, and a buffer would be in the state dict.
        binomial = 2 - (torch.arange(3, device=x.device) - 1).abs()
        blur = (binomial[:, None] * binomial).to(x.dtype) / 16
        return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), blur.expand(channels, 1, 3, 3), stride=2, groups=channels)


class BlurUp(nn.Module):
    """Double the size by a transposed convolution of stride 2 with [1, 3, 3, 1] / 4 along both axes; borders are replicated.

    Pixels 2i and 2i + 1 are ¾ of pixel i and ¼ of its neighbour before or after: that is bilinear interpolation.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class AntialiasGenerator(Generator):
    """ResNet generator of CUT: `ResnetGenerator` with a blur after each convolution down and before each one up."""

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
        self.receptive_radius = 21 + 8 * blocks
        widths = doubling_widths(width, 3)
        self.model = nn.Sequential(
            *encoder_layers(in_channels, widths, norm, lambda *layer: [*_same_size_layers(*layer), BlurDown()]),
            *[ResnetBlock(widths[-1], norm, dropout) for _ in range(blocks)],
            *decoder_layers(widths, out_channels, norm, lambda *layer: [BlurUp(), *_same_size_layers(*layer)]),
        )


def _same_size_layers(cin: int, cout: int, norm: str) -> list[nn.Module]:
    """Return a 3×3 convolution of stride 1, its norm and a ReLU."""
    return conv_norm_relu(cin, cout, norm, 3, padding=1)


class AntialiasDiscriminator(Discriminator):
    """PatchGAN of CUT: `PatchDiscriminator` with blurs in place of strides; the receptive field of 3 layers is 84×84 pixels."""

    initialise = staticmethod(xavier_)

    def __init__(self, in_channels: int, width: int = 64, norm: str = "instance", layers: int = 3) -> None:
        super().__init__()
        self.minimum = 3 * 2**layers  # the two last convolutions just make one logit of 3×3
        widths = doubling_widths(width, layers + 1)
        modules: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, 1, 1), nn.LeakyReLU(0.2), BlurDown()]
        for n in range(1, layers + 1):
            conv = nn.Conv2d(widths[n - 1], widths[n], 4, 1, 1, bias=conv_uses_bias(norm))
            modules += [conv, norm_layer(norm, widths[n]), nn.LeakyReLU(0.2), *([BlurDown()] if n < layers else [])]
        self.model = nn.Sequential(*modules, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)
