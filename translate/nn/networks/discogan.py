"""The networks of DiscoGAN (Kim et al., "Learning to Discover Cross-Domain Relations with Generative Adversarial Networks",
ICML 2017): an encoder and decoder without skip connections, and a discriminator that judges whole images of 64 pixels."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from translate.nn.base import FeatureDiscriminator, Generator
from translate.nn.blocks import Dropout, downsample_conv, norm_layer, upsample_conv
from translate.nn.init import pytorch_default_

DOWNSAMPLINGS = 4
"""From 64 pixels to 4."""


class ToUnitRange(nn.Module):
    """[−1, 1], which all of this package works in, to the [0, 1] of DiscoGAN."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) / 2


class ScaledSigmoid(nn.Module):
    """The sigmoid at DiscoGAN's end, and back to [−1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * torch.sigmoid(x) - 1


class DiscoGenerator(Generator):
    """Four 4×4 convolutions that halve and as many that double, none with a bias, as in the authors' code.

    Dropout (0.5), which the paper has none of, is behind the two innermost blocks of the decoder.
    """

    multiple_of = 2**DOWNSAMPLINGS
    minimum = 2 ** (DOWNSAMPLINGS + 1)  # at half of that the innermost norm would see one pixel
    receptive_radius = 3 * (2**DOWNSAMPLINGS - 1)
    initialise = staticmethod(pytorch_default_)

    def __init__(
        self, in_channels: int, out_channels: int, width: int = 64, norm: str = "batch", dropout: bool = False
    ) -> None:
        super().__init__()
        widths = [width * 2**n for n in range(DOWNSAMPLINGS)]
        modules: list[nn.Module] = [ToUnitRange(), downsample_conv(in_channels, width, bias=False), nn.LeakyReLU(0.2)]
        for n in range(1, DOWNSAMPLINGS):
            modules += [
                downsample_conv(widths[n - 1], widths[n], bias=False),
                norm_layer(norm, widths[n]),
                nn.LeakyReLU(0.2),
            ]
        for n in range(DOWNSAMPLINGS - 1, 0, -1):
            modules += [upsample_conv(widths[n], widths[n - 1], bias=False), norm_layer(norm, widths[n - 1]), nn.ReLU()]
            modules += [Dropout()] if dropout and n >= DOWNSAMPLINGS - 2 else []
        self.model = nn.Sequential(*modules, upsample_conv(width, out_channels, bias=False), ScaledSigmoid())


class DiscoDiscriminator(FeatureDiscriminator):
    """Convolutions that halve down to 4×4, and one over all of that: a single logit for an image.

    Four halvings for a crop of 64 as in the paper, as many as it takes for another power of two; for other sizes there is a
    small map of logits, up to 4×4, each of which sees most of the image.
    """

    initialise = staticmethod(pytorch_default_)

    def __init__(self, in_channels: int, width: int = 64, norm: str = "batch", crop_size: int = 64) -> None:
        super().__init__()
        halvings = max(2, crop_size.bit_length() - 3)
        self.minimum = 4 * 2**halvings
        widths = [width * min(2**n, 8) for n in range(halvings)]
        modules: list[nn.Module] = [ToUnitRange(), downsample_conv(in_channels, width, bias=False), nn.LeakyReLU(0.2)]
        for cin, cout in pairwise(widths):
            modules += [downsample_conv(cin, cout, bias=False), norm_layer(norm, cout), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*modules, nn.Conv2d(widths[-1], 1, 4, bias=False))
