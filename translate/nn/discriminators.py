"""Discriminators: (N, C, H, W) in [-1, 1] → logits (N, 1, H', W'), one for each patch. `minimum` is the smallest image.

Layers and their names in the state dict are those of the reference implementation (pytorch-CycleGAN-and-pix2pix).
"""

from collections.abc import Callable

from torch import Tensor, nn

from translate.nn.antialias import AntialiasDiscriminator
from translate.nn.blocks import down, has_bias, norm_layer
from translate.nn.discogan import DiscoDiscriminator
from translate.nn.dualgan import DualImageDiscriminator, DualPatchDiscriminator
from translate.nn.features import FeatureDiscriminator
from translate.nn.interfaces import Discriminator
from translate.nn.stargan import StarGANDiscriminator


class PatchDiscriminator(FeatureDiscriminator):
    """`layers` halvings, then two 4×4 convolutions of stride 1 (pix2pix, sec. 3.2.2): 3 layers judge 70×70 patches."""

    def __init__(self, in_channels: int, width: int = 64, norm: str = "instance", layers: int = 3) -> None:
        super().__init__()
        self.minimum = 3 * 2**layers  # what is left, 3×3, just gives the two last convolutions one logit
        widths = [width * min(2**n, 8) for n in range(layers + 1)]
        modules: list[nn.Module] = [down(in_channels, width, bias=True), nn.LeakyReLU(0.2)]
        for n in range(1, layers + 1):
            stride = 2 if n < layers else 1
            conv = nn.Conv2d(widths[n - 1], widths[n], 4, stride, 1, bias=has_bias(norm))
            modules += [conv, norm_layer(norm, widths[n]), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*modules, nn.Conv2d(widths[-1], 1, 4, 1, 1))


class PixelDiscriminator(Discriminator):
    """1×1 convolutions: every pixel is judged on its own (pix2pix, sec. 6.1.2)."""

    minimum = 2  # an instance norm needs more than one pixel

    def __init__(self, in_channels: int, width: int = 64, norm: str = "instance") -> None:
        super().__init__()
        bias = has_bias(norm)
        self.net = nn.Sequential(
            nn.Conv2d(in_channels, width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            norm_layer(norm, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def _n_layers(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return PatchDiscriminator(in_channels, width, norm, layers)


def _basic(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return PatchDiscriminator(in_channels, width, norm)


def _pixel(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return PixelDiscriminator(in_channels, width, norm)


def _antialias(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return AntialiasDiscriminator(in_channels, width, norm, layers)


def _dualgan(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return DualImageDiscriminator(in_channels, width, norm, crop_size)


def _dualgan_patch(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return DualPatchDiscriminator(in_channels, width, norm, crop_size)


def _discogan(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return DiscoDiscriminator(in_channels, width, norm, crop_size)


def _stargan(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return StarGANDiscriminator(in_channels, width, crop_size)


DISCRIMINATORS: dict[str, Callable[..., Discriminator]] = {
    "basic": _basic,
    "n_layers": _n_layers,
    "pixel": _pixel,
    "antialias": _antialias,
    "dualgan": _dualgan,
    "dualgan_patch": _dualgan_patch,
    "discogan": _discogan,
    "stargan": _stargan,
}
"""Name → discriminator of: channels of the images, its width, its norm, its halvings (of n_layers), and the crop that it is to
judge (256; of those that judge an image as a whole)."""
