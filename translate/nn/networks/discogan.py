"""Networks of DiscoGAN (Kim et al., "Learning to Discover Cross-Domain Relations with Generative Adversarial Networks", ICML
2017): an encoder and decoder without skip connections, and a discriminator of whole images of 64 pixels."""

import torch
from torch import Tensor, nn

from translate.nn.base import FeatureDiscriminator, Generator
from translate.nn.blocks import (
    Dropout,
    doubling_widths,
    downsample_conv,
    downsampling_layers,
    norm_layer,
    upsample_conv,
)
from translate.nn.init import pytorch_default_

DOWNSAMPLINGS = 4
"""Downsamplings of the generator: from 64 pixels to 4."""


class ToUnitRange(nn.Module):
    """Map from [−1, 1], the range of images in this package, to DiscoGAN's [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) / 2


class ScaledSigmoid(nn.Module):
    """Sigmoid, DiscoGAN's last activation, scaled to [−1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * torch.sigmoid(x) - 1


class DiscoGenerator(Generator):
    """DiscoGAN's generator: four 4×4 convolutions of stride 2 and four transposed ones, without biases (sec. 2.2).

    Dropout (0.5), of which the paper has none, follows the two innermost blocks of the decoder.
    """

    multiple_of = 2**DOWNSAMPLINGS
    minimum = 2 ** (DOWNSAMPLINGS + 1)  # at half of that the innermost norm would see one pixel
    receptive_radius = 3 * (2**DOWNSAMPLINGS - 1)
    initialise = staticmethod(pytorch_default_)

    def __init__(
        self, in_channels: int, out_channels: int, width: int = 64, norm: str = "batch", dropout: bool = False
    ) -> None:
        super().__init__()
        widths = doubling_widths(width, DOWNSAMPLINGS)
        modules: list[nn.Module] = [ToUnitRange(), downsample_conv(in_channels, width, bias=False), nn.LeakyReLU(0.2)]
        modules += downsampling_layers(widths, norm, bias=False)
        for n in range(DOWNSAMPLINGS - 1, 0, -1):
            modules += [upsample_conv(widths[n], widths[n - 1], bias=False), norm_layer(norm, widths[n - 1]), nn.ReLU()]
            modules += [Dropout()] if dropout and n >= DOWNSAMPLINGS - 2 else []
        self.model = nn.Sequential(*modules, upsample_conv(width, out_channels, bias=False), ScaledSigmoid())


class DiscoDiscriminator(FeatureDiscriminator):
    """DiscoGAN's discriminator: downsamplings to 4×4, then one convolution over all of it, for one logit an image (sec. 2.2).

    Four downsamplings for a crop of 64 as in the paper, as many as needed for another power of two; for other sizes the logits
    are a small map, up to 4×4, each of which sees most of the image.
    """

    initialise = staticmethod(pytorch_default_)

    def __init__(self, in_channels: int, width: int = 64, norm: str = "batch", crop_size: int = 64) -> None:
        super().__init__()
        downsamplings = max(2, crop_size.bit_length() - 3)
        self.minimum = 4 * 2**downsamplings
        widths = doubling_widths(width, downsamplings)
        self.model = nn.Sequential(
            ToUnitRange(),
            downsample_conv(in_channels, width, bias=False),
            nn.LeakyReLU(0.2),
            *downsampling_layers(widths, norm, bias=False),
            nn.Conv2d(widths[-1], 1, 4, bias=False),
        )
