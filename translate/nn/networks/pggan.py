"""Networks of progressive growing (Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation",
ICLR 2018, sec. 2, fig. 2, table 2 and appendix A; what the paper leaves open is as in the authors' code).

Level k has images of 4 · 2^k pixels a side. Both networks hold the layers of all levels, and compute with those that are asked
for: new ones fade in by a weight α, from 0 (the old level, enlarged) to 1.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn.base import Discriminator
from translate.nn.equalized import (
    EqualizedConv2d,
    EqualizedLinear,
    EqualizedProjection,
    PixelNorm,
    pixel_norm,
    standard_normal_,
)
from translate.nn.gradient_checkpointing import checkpoint_layers
from translate.nn.minibatch_std import MinibatchStd
from translate.nn.spectral_norm import without_autocast

FIRST_SIZE, MAX_SIZE = 4, 1024
"""Side of the images of the first level, and of the last one at most, in pixels."""
FULL_WIDTH_SIZE = 32
"""Side up to which maps have all channels in the paper (table 2)."""
SLOPE = 0.2
"""Slope of the leaky ReLUs."""


def level_of(size: int) -> int:
    """Return the level with images of `size` pixels a side, from 0."""
    return (size // FIRST_SIZE).bit_length() - 1


def size_of(level: int) -> int:
    """Return the side of the images of a level in pixels."""
    return FIRST_SIZE << level


def map_width(size: int, width: int, full_size: int) -> int:
    """Return the channels of maps of `size` pixels a side: `width` up to `full_size`, then half as many with each doubling."""
    return max(1, min(width, width * full_size // size))


def level_widths(size: int, width: int, full_size: int = FULL_WIDTH_SIZE) -> list[int]:
    """Return the channels of the maps of each level up to images of `size` pixels a side."""
    return [map_width(size_of(level), width, full_size) for level in range(level_of(size) + 1)]


def double(x: Tensor) -> Tensor:
    """Enlarge maps to twice the side by the nearest pixel."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def halve(x: Tensor) -> Tensor:
    """Halve the sides of maps by means of 2×2 pixels."""
    return F.avg_pool2d(x, 2)


def fade(old: Tensor, new: Tensor, alpha: Tensor) -> Tensor:
    """Return the old maps where α (0-dim) is 0 and the new ones where it is 1, and a mix of both in between.

    The old ones come in another type where autocast enlarges maps in float32, as on CUDA.
    """
    return torch.lerp(old.to(new.dtype), new, alpha.to(new.dtype))


def shown_images(x: Tensor, alpha: Tensor | None) -> Tensor:
    """Return real images (N, C, H, W) as the discriminator sees them while a level fades in (the authors' code).

    They lose detail as generated ones lack it: a mix with the image of half the size. None: no level fades in.
    """
    return x if alpha is None else fade(double(halve(x)), x, alpha)


def _generator_layers(cin: int, cout: int) -> list[nn.Module]:
    return [EqualizedConv2d(cin, cout, 3), nn.LeakyReLU(SLOPE), PixelNorm()]


class PGGANGenerator(nn.Module):
    """Generator of progressive growing: codes (N, code_size) → images (N, out_channels, side, side) of a level, not clamped.

    Codes are divided by their root mean square. The buffer `growth` says how far the network has grown: k where level k is
    whole, k − 1 + α while it fades in. Training sets it, and images are generated so where no level is asked for.
    """

    growth: Tensor
    gradient_checkpointing = False

    def __init__(
        self, code_size: int, out_channels: int, size: int, width: int = 512, full_width_size: int = FULL_WIDTH_SIZE
    ) -> None:
        super().__init__()
        widths = level_widths(size, width, full_width_size)
        first = [EqualizedProjection(code_size, widths[0], FIRST_SIZE), nn.LeakyReLU(SLOPE), PixelNorm()]
        self.blocks = nn.ModuleList([nn.Sequential(*first, *_generator_layers(widths[0], widths[0]))])
        for cin, cout in pairwise(widths):
            layers = [*_generator_layers(cin, cout), *_generator_layers(cout, cout)]
            self.blocks.append(nn.Sequential(nn.Upsample(scale_factor=2), *layers))
        self.to_image = nn.ModuleList(EqualizedConv2d(cin, out_channels, 1, gain=1.0) for cin in widths)
        self.register_buffer("growth", torch.zeros(()))

    @property
    def grown(self) -> tuple[int, Tensor | None]:
        """Level that the network has grown to, and the weight (0-dim) by which that fades in; None: it is whole."""
        level = min(max(math.ceil(float(self.growth)), 0), len(self.blocks) - 1)
        return level, self.growth - (level - 1) if float(self.growth) < level else None

    def forward(self, code: Tensor, level: int | None = None, alpha: Tensor | None = None) -> Tensor:
        """Generate the images of a level, which fades in by alpha (0-dim); alpha None: it is whole; level None: as grown."""
        if level is None:
            level, alpha = self.grown
        x = pixel_norm(code.to(next(self.parameters()).dtype))
        before = x
        for block in self.blocks[: level + 1]:
            before = x
            if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
                x = checkpoint_layers([block], x)
            else:
                x = block(x)
        image: Tensor = self.to_image[level](x)
        return image if alpha is None else fade(double(self.to_image[level - 1](before)), image, alpha)


def _discriminator_layers(cin: int, cout: int) -> list[nn.Module]:
    return [EqualizedConv2d(cin, cout, 3), nn.LeakyReLU(SLOPE)]


class PGGANDiscriminator(Discriminator):
    """Discriminator of progressive growing: images (N, C, side, side) of any level → logits (N, 1); the side says the level."""

    minimum = FIRST_SIZE
    initialise = staticmethod(standard_normal_)

    def __init__(self, in_channels: int, size: int, width: int = 512, full_width_size: int = FULL_WIDTH_SIZE) -> None:
        super().__init__()
        widths = level_widths(size, width, full_width_size)
        self.from_image = nn.ModuleList(
            nn.Sequential(EqualizedConv2d(in_channels, cout, 1), nn.LeakyReLU(SLOPE)) for cout in widths
        )
        last = [
            MinibatchStd(),
            *_discriminator_layers(widths[0] + 1, widths[0]),
            nn.Flatten(),
            EqualizedLinear(widths[0] * FIRST_SIZE**2, width),
            nn.LeakyReLU(SLOPE),
            EqualizedLinear(width, 1, gain=1.0),
        ]
        self.blocks = nn.ModuleList([nn.Sequential(*last)])
        for cout, cin in pairwise(widths):
            layers = [*_discriminator_layers(cin, cin), *_discriminator_layers(cin, cout)]
            self.blocks.append(nn.Sequential(*layers, nn.AvgPool2d(2)))

    def forward(self, x: Tensor, alpha: Tensor | None = None) -> Tensor:
        """Judge images of a level that fades in by alpha (0-dim); None: it is whole."""
        level = level_of(x.shape[-1])
        y = self.from_image[level](x)
        for index in range(level, 0, -1):
            y = self.blocks[index](y)
            if index == level and alpha is not None:
                y = fade(self.from_image[level - 1](halve(x)), y, alpha)
        with without_autocast(x.device):  # cheap, and half precision would show in the logit
            result: Tensor = self.blocks[0](y.to(next(self.parameters()).dtype))
        return result
