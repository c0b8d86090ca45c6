"""U-Net generator of resize-convolutions: maps are enlarged by repeating pixels, so that there is no lattice as of transposed
convolutions (Odena et al., "Deconvolution and Checkerboard Artifacts", Distill 2016)."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from translate.errors import UsageError
from translate.nn.base import Generator, GeneratorEncoder
from translate.nn.blocks import Dropout, norm_layer
from translate.nn.init import kaiming_

SLOPE = 0.2
"""Slope of all leaky ReLUs."""
OUTPUT_GAIN = 0.3
"""Factor of the last convolution's initial weights in front of a tanh, which keeps it from saturation."""


def _conv_norm(cin: int, cout: int, kernel: int, norm: str, stride: int = 1) -> list[nn.Module]:
    """Return a convolution with reflected borders and its norm: the size stays, or is halved by a 4×4 kernel of stride 2."""
    return [nn.ReflectionPad2d(1), _conv(cin, cout, kernel, norm, stride), norm_layer(norm, cout)]


def _conv_norm_act(cin: int, cout: int, kernel: int, norm: str, stride: int = 1) -> nn.Sequential:
    """Return `_conv_norm` with a leaky ReLU."""
    return nn.Sequential(*_conv_norm(cin, cout, kernel, norm, stride), nn.LeakyReLU(SLOPE, inplace=True))


def _conv(cin: int, cout: int, kernel: int, norm: str, stride: int = 1) -> nn.Conv2d:
    """Return a convolution; with a bias only where no norm follows, which would take it away again."""
    return nn.Conv2d(cin, cout, kernel, stride, bias=norm == "none")


def _upsample(cin: int, cout: int, norm: str) -> nn.Sequential:
    """Return layers that double the size: the channels change first, where maps are small; then each pixel is repeated."""
    return nn.Sequential(_conv(cin, cout, 1, norm), nn.Upsample(scale_factor=2, mode="nearest"))


class ScaledResidualBlock(nn.Module):
    """Residual block x + g · conv(act(conv(x))) with one learnt gain g, from 0.5: (N, C, H, W) → the same.

    A gain as in SkipInit (De and Smith, "Batch Normalization Biases Residual Blocks Towards the Identity Function in Deep
    Networks", NeurIPS 2020), where it starts from 0.
    """

    def __init__(self, channels: int, norm: str, dropout: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            _conv_norm_act(channels, channels, 3, norm),
            *([Dropout()] if dropout else []),
            *_conv_norm(channels, channels, 3, norm),
        )
        self.gain = nn.Parameter(torch.full((1,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gain * self.conv_block(x)


class ResizeUnet(nn.Module):
    """Layers of the generator but its output: images (N, C, H, W) → values without bounds (N, C', H, W).

    widths: channels of the levels, at ½, ¼ … of the size. last_width, last_convs: channels and number of the convolutions at
    the full size, which see the image itself too. Skips are added, and the sum is scaled by √½, which keeps its variance.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        last_width: int,
        norm: str,
        dropout: bool,
        *,
        blocks: int,
        last_convs: int,
    ) -> None:
        super().__init__()
        # Instance norm of the first map would take the image's colour away.
        stem = _conv_norm_act(in_channels, widths[0], 4, norm if norm == "batch" else "none", stride=2)
        self.downs = nn.ModuleList([stem, *(_conv_norm_act(*pair, 4, norm, stride=2) for pair in pairwise(widths))])
        self.bottom = nn.Sequential(*[ScaledResidualBlock(widths[-1], norm, dropout) for _ in range(blocks)])
        deepest_first = widths[::-1]
        self.ups = nn.ModuleList([_upsample(*pair, norm) for pair in pairwise(deepest_first)])
        self.merges = nn.ModuleList([_conv_norm_act(width, width, 3, norm) for width in deepest_first[1:]])
        self.last_up = _upsample(widths[0], last_width, norm)
        into = [last_width + in_channels, *[last_width] * (last_convs - 1)]
        self.last = nn.Sequential(*[_conv_norm_act(cin, last_width, 3, norm) for cin in into])
        self.out = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(last_width, out_channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for down in self.downs:
            maps.append(down(maps[-1]))
        y = self.bottom(maps.pop())
        for up, merge in zip(self.ups, self.merges, strict=True):
            y = merge((up(y) + maps.pop()) * math.sqrt(0.5))
        return self.out(self.last(torch.cat([self.last_up(y), maps.pop()], 1)))


def level_widths(width: int, levels: int) -> list[int]:
    """Return the channels of the levels: `width`, then twice as many each time, up to 4 · width rounded up to 64s."""
    return [min(width * 2**n, -(-4 * width // 64) * 64) for n in range(levels)]


def _last_width(width: int) -> int:
    """Return the channels at the full size: two thirds of `width` rounded up to 4s, and 32 at most."""
    return min(32, -(-width // 6) * 4)


def _receptive_radius(levels: int, blocks: int, last_convs: int) -> int:
    """Return the distance of the farthest input pixel that an output pixel depends on, to the left: both sides are alike."""
    radius = 0
    for pixel in range(2**levels):  # pixels of one cell reach unlike far
        first = pixel - last_convs - 1
        for level in range(1, levels + 1):
            first = first // 2 - (2 * blocks if level == levels else 1)
        for _ in range(levels):  # output j of a 4×4 convolution of stride 2 sees the inputs 2j − 1 to 2j + 2
            first = 2 * first - 1
        radius = max(radius, pixel - first)
    return radius


class ResizeUnetGenerator(Generator):
    """U-Net of resize-convolutions: `levels` halvings, `blocks` residual blocks at the smallest size, skips that are added.

    Its last `last_convs` convolutions before the output see the image itself, at its full size. The output is a tanh; after
    `use_residual_output` it is M x + f(x) without bounds: a learnt 1×1 convolution of the image, `colour`, that starts as the
    identity, and the layers' output, that starts as zero. Dropout (0.5), if asked for, is in the residual blocks.
    """

    model: nn.Sequential
    computes_in_windows = True
    supports_residual = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        norm: str = "batch",
        dropout: bool = False,
        *,
        levels: int = 4,
        blocks: int = 6,
        last_convs: int = 1,
    ) -> None:
        super().__init__()
        self.multiple_of = 2**levels
        self.minimum = 2 ** (levels + 1)  # a map of a single pixel has nothing to reflect
        self.receptive_radius = _receptive_radius(levels, blocks, last_convs)
        self.in_channels, self.out_channels = in_channels, out_channels
        layers = ResizeUnet(
            in_channels, out_channels, level_widths(width, levels), _last_width(width), norm, dropout,
            blocks=blocks, last_convs=last_convs,
        )  # fmt: skip
        self.model = nn.Sequential(layers, nn.Tanh())
        self.colour: nn.Conv2d | None = None

    @property
    def encoder(self) -> GeneratorEncoder:
        layers = self.model[0]
        assert isinstance(layers, ResizeUnet)
        return GeneratorEncoder([layer for down in layers.downs for layer in down.children()], list(layers.bottom))

    def use_residual_output(self) -> None:
        if self.in_channels != self.out_channels:
            raise UsageError(
                f"--residual on: adds its output to the input, but the input has {self.in_channels} channels and the output "
                f"{self.out_channels}; use --residual off"
            )
        self.model = self.model[:-1]
        self.colour = nn.Conv2d(self.in_channels, self.out_channels, 1)

    def set_colour_map(self, matrix: Tensor, bias: Tensor) -> None:
        """Set M and its bias, for a network with a residual output: matrix (C, C), bias (C,), of images in [-1, 1]."""
        assert self.colour is not None and self.colour.bias is not None, "the output is residual"
        with torch.no_grad():
            self.colour.weight.copy_(matrix[:, :, None, None])
            self.colour.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if self.colour is None else self.colour(x) + y

    @staticmethod
    def initialise(net: nn.Module, *key: int | str) -> nn.Module:
        """Fill as `kaiming_` does, but the last convolution with 0.3 times that, or zeros for a residual output."""
        assert isinstance(net, ResizeUnetGenerator)
        kaiming_(net, *key, slope=SLOPE)
        residual, layers = net.colour is not None, net.model[0]
        assert isinstance(layers, ResizeUnet) and isinstance(layers.out[1], nn.Conv2d)
        with torch.no_grad():
            layers.out[1].weight.mul_(0 if residual else OUTPUT_GAIN)
        if residual:
            # Not `torch.eye`: on the meta device, where shapes are asked for, it would import torch's compiler.
            identity = torch.zeros(net.in_channels, net.in_channels).fill_diagonal_(1)
            net.set_colour_map(identity, torch.zeros(net.in_channels))
        return net
