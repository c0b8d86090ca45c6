"""Generators: (N, in_channels, H, W) in [-1, 1] → (N, out_channels, H, W) in [-1, 1].

Every generator says which sizes it takes, `multiple_of` and `minimum` (pixels, for height and width alike), and how far
an input pixel reaches, `receptive_radius` (pixels; None: over the whole image). Layers and their names in the state dict
are those of the reference implementation (pytorch-CycleGAN-and-pix2pix).
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from translate.nn.antialias import AntialiasGenerator
from translate.nn.blocks import Dropout, ResnetBlock, conv_norm_relu, down, has_bias, norm_layer, up
from translate.nn.discogan import DiscoGenerator
from translate.nn.dualgan import DualGenerator
from translate.nn.interfaces import Generator, Stages
from translate.nn.stargan import StarGANGenerator


class ResnetGenerator(Generator):
    """Two strided convolutions down, residual blocks, two transposed convolutions up (CycleGAN, sec. 4 and 7.2)."""

    multiple_of = 4
    minimum = 8  # at 4×4 the innermost instance norm would see one pixel

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
        self.receptive_radius = 12 + 8 * blocks  # two 3×3 convolutions a block, at a quarter of the size
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *conv_norm_relu(in_channels, w, norm, 7),
            *conv_norm_relu(w, 2 * w, norm, 3, stride=2, padding=1),
            *conv_norm_relu(2 * w, 4 * w, norm, 3, stride=2, padding=1),
            *[ResnetBlock(4 * w, norm, dropout) for _ in range(blocks)],
            *_resnet_up(4 * w, 2 * w, norm),
            *_resnet_up(2 * w, w, norm),
            nn.ReflectionPad2d(3),
            nn.Conv2d(w, out_channels, 7),
            nn.Tanh(),
        )

    @property
    def stages(self) -> Stages:
        layers = list(self.model.children())
        blocks = [layer for layer in layers if isinstance(layer, ResnetBlock)]
        first = layers.index(blocks[0])
        return Stages(layers[:first], blocks, layers[first + len(blocks) :])

    @property
    def segments(self) -> list[Sequence[nn.Module]]:
        """Encoder, about √n runs of about √n blocks (Chen et al., 2016, sec. 4), decoder."""
        encoder, blocks, decoder = self.stages
        length = math.ceil(math.sqrt(len(blocks)))
        return [encoder, *(blocks[i : i + length] for i in range(0, len(blocks), length)), decoder]


def _resnet_up(cin: int, cout: int, norm: str) -> list[nn.Module]:
    conv = nn.ConvTranspose2d(cin, cout, 3, 2, 1, output_padding=1, bias=has_bias(norm))
    return [conv, norm_layer(norm, cout), nn.ReLU(inplace=True)]


class UnetBlock(nn.Module):
    """One level of the U-Net around the level below: x → (x, up(below(down(x)))) along the channels."""

    def __init__(self, outer: int, inner: int, below: nn.Module | None, norm: str, dropout: bool) -> None:
        super().__init__()
        bias = has_bias(norm)
        layers: list[nn.Module] = [nn.LeakyReLU(0.2), down(outer, inner, bias=bias)]
        if below is not None:  # the innermost level is not normalised: it may be a single pixel
            layers += [norm_layer(norm, inner), below]
        width = inner if below is None else 2 * inner
        layers += [nn.ReLU(inplace=True), up(width, outer, bias=bias), norm_layer(norm, outer)]
        self.model = nn.Sequential(*layers, *([Dropout()] if dropout else []))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.model(x)], 1)


class UnetOutermost(nn.Module):
    """The outermost level: image → features → image, without a skip connection."""

    def __init__(self, in_channels: int, out_channels: int, width: int, below: nn.Module, norm: str) -> None:
        super().__init__()
        self.model = nn.Sequential(
            down(in_channels, width, bias=has_bias(norm)),
            below,
            nn.ReLU(inplace=True),
            up(2 * width, out_channels, bias=True),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class UnetGenerator(Generator):
    """Encoder and decoder with skip connections (pix2pix, sec. 3.2.1 and 6.1.1).

    `levels` halvings: 8 for 256 pixels down to one. Dropout (0.5) on the levels − 5 blocks inside the innermost but one.
    """

    receptive_radius = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        norm: str = "batch",
        dropout: bool = True,
        *,
        levels: int = 8,
    ) -> None:
        super().__init__()
        self.multiple_of = self.minimum = 2**levels
        widths = [width * min(2**level, 8) for level in range(levels)]  # after each halving
        block: nn.Module | None = None
        for level in range(levels - 1, 0, -1):
            inner = level == levels - 1
            block = UnetBlock(widths[level - 1], widths[level], block, norm, dropout and not inner and level >= 4)
        assert block is not None, "a U-Net has at least two levels"
        self.model = UnetOutermost(in_channels, out_channels, width, block, norm)


GENERATORS: dict[str, Callable[..., Generator]] = {
    **{f"resnet_{n}blocks": partial(ResnetGenerator, blocks=n) for n in (9, 6, 3)},
    **{f"unet_{2**n}": partial(UnetGenerator, levels=n) for n in (8, 7, 6, 5, 4, 3, 2)},
    **{f"dual_unet_{2**n}": partial(DualGenerator, levels=n) for n in (8, 7, 6, 5, 4, 3, 2)},
    "discogan": DiscoGenerator,
    **{f"antialias_{n}blocks": partial(AntialiasGenerator, blocks=n) for n in (9, 6)},
    "stargan": StarGANGenerator,
}


def find(name: str) -> Callable[..., Generator] | None:
    """The row of GENERATORS called `name`, or one of its kind: a ResNet of any number of blocks (resnet_4blocks,
    antialias_4blocks), a U-Net of any power of two from 4 up (unet_512, dual_unet_512). None if there is no such network."""
    if name in GENERATORS:
        return GENERATORS[name]
    if match := re.fullmatch(r"(resnet|antialias)_([1-9]\d{0,2})blocks", name):
        kind = ResnetGenerator if match[1] == "resnet" else AntialiasGenerator
        return partial(kind, blocks=int(match[2]))
    if match := re.fullmatch(r"(dual_)?unet_([1-9]\d{0,5})", name):
        size = int(match[2])
        if size >= 4 and size.bit_count() == 1:
            return partial(DualGenerator if match[1] else UnetGenerator, levels=size.bit_length() - 1)
    return None


def unet_for(crop_size: int, kind: str = "unet") -> str | None:
    """The deepest U-Net of a kind (unet, dual_unet), of at most 8 levels, that takes `crop_size`; None if none does."""
    power = min(crop_size & -crop_size, 256)  # the largest power of two that divides it
    return f"{kind}_{power}" if power >= 4 else None
