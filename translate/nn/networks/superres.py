"""Residual network for super-resolution (Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative
Adversarial Network", CVPR 2017), in the form without batch norm that toolkits call MSRResNet."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from translate.nn.base import Generator
from translate.nn.bicubic import enlarge
from translate.nn.blocks import Dropout, norm_layer
from translate.nn.init import kaiming_

SLOPE = 0.1
"""Slope of the leaky ReLUs outside of the residual blocks."""
INITIAL_GAIN = 0.1
"""Factor of all initial weights: the network starts close to the bicubic enlargement."""


def _conv(cin: int, cout: int) -> nn.Conv2d:
    """Return a 3×3 convolution that keeps the size."""
    return nn.Conv2d(cin, cout, 3, padding=1)


class PlainResidualBlock(nn.Module):
    """Residual block x + conv(relu(conv(x))), 3×3 with zero padding: (N, C, H, W) → the same."""

    def __init__(self, channels: int, norm: str, dropout: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            _conv(channels, channels),
            norm_layer(norm, channels),
            nn.ReLU(inplace=True),
            *([Dropout()] if dropout else []),
            _conv(channels, channels),
            norm_layer(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class SRResNetGenerator(Generator):
    """Super-resolution network: images (N, C, H, W) → (N, C', factor · H, factor · W), without bounds.

    `blocks` residual blocks at the size of the input, one convolution with a pixel shuffle for each doubling, and two
    convolutions at the full size. Their output is added to the bicubic enlargement of the input, if that has as many channels,
    or one. factor: a power of two; 1 keeps the size.
    """

    model: nn.Sequential
    multiple_of = 1
    computes_in_windows = True
    reference_names = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        norm: str = "none",
        dropout: bool = False,
        *,
        blocks: int = 16,
        factor: int = 1,
    ) -> None:
        super().__init__()
        if factor < 1 or factor.bit_count() != 1:
            raise ValueError(f"a factor of {factor}; it must be a power of two")
        w = width
        self.scale, self.blocks = factor, blocks
        self.minimum = 1 if norm == "none" else 2  # a norm of a single pixel has no variance
        self.receptive_radius = (
            2 * blocks + 3
        )  # one more before the blocks, and two behind them in any number of doublings
        self.adds_input = in_channels in (1, out_channels)
        doublings = [[_conv(w, 4 * w), nn.PixelShuffle(2), nn.LeakyReLU(SLOPE)] for _ in range(factor.bit_length() - 1)]
        self.model = nn.Sequential(
            _conv(in_channels, w),
            nn.LeakyReLU(SLOPE),
            *[PlainResidualBlock(w, norm, dropout) for _ in range(blocks)],
            *[layer for layers in doublings for layer in layers],
            _conv(w, w),
            nn.LeakyReLU(SLOPE),
            _conv(w, out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + enlarge(x, self.scale) if self.adds_input else y

    @property
    def segments(self) -> list[Sequence[nn.Module]]:
        """Runs between checkpoints: the first layers, about √n runs of about √n blocks, the last layers."""
        layers, first, end = list(self.model), 2, 2 + self.blocks
        length = math.ceil(math.sqrt(self.blocks))
        return [layers[:first], *(layers[i : min(i + length, end)] for i in range(first, end, length)), layers[end:]]

    @staticmethod
    def initialise(net: nn.Module, *key: int | str) -> nn.Module:
        """Fill as `kaiming_` does for ReLUs, with a tenth of all weights of convolutions."""
        kaiming_(net, *key, slope=0)
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, nn.Conv2d):
                    module.weight.mul_(INITIAL_GAIN)
        return net
