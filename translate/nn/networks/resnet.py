"""ResNet generator (Johnson et al., 2016; CycleGAN, sec. 4 and 7.2), with the layer names of the reference implementation."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from translate.nn.base import Generator, GeneratorStages
from translate.nn.blocks import (
    ResnetBlock,
    conv_norm_relu,
    conv_uses_bias,
    doubling_widths,
    norm_layer,
)

ResizingLayersFn = Callable[[int, int, str], list[nn.Module]]
"""Function that builds layers that halve or double the size, from the channels before and behind them and a norm."""


class ResnetGenerator(Generator):
    """ResNet generator: `downs` strided convolutions, `blocks` residual blocks, transposed ones (CycleGAN, sec. 7.2)."""

    model: nn.Sequential

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        norm: str = "instance",
        dropout: bool = False,
        *,
        blocks: int = 9,
        downs: int = 2,
    ) -> None:
        super().__init__()
        self.multiple_of = 2**downs
        self.minimum = 2 ** (downs + 1)  # at half of that the innermost instance norm would see one pixel
        self.receptive_radius = 4 + 2 * self.multiple_of * (
            1 + blocks
        )  # two 3×3 convolutions a block, at the least size
        widths = doubling_widths(width, downs + 1, max_factor=self.multiple_of)
        self.model = nn.Sequential(
            *encoder_layers(in_channels, widths, norm),
            *[ResnetBlock(widths[-1], norm, dropout) for _ in range(blocks)],
            *decoder_layers(widths, out_channels, norm),
        )

    @property
    def stages(self) -> GeneratorStages:
        return split_stages(self.model)

    @property
    def segments(self) -> list[Sequence[nn.Module]]:
        return checkpoint_segments(self.model)


def strided_layers(cin: int, cout: int, norm: str) -> list[nn.Module]:
    """Return layers that halve the size: a 3×3 convolution of stride 2, its norm and a ReLU."""
    return conv_norm_relu(cin, cout, norm, 3, stride=2, padding=1)


def upsampling_layers(cin: int, cout: int, norm: str) -> list[nn.Module]:
    """Return layers that double the size: a 3×3 transposed convolution, its norm and a ReLU."""
    conv = nn.ConvTranspose2d(cin, cout, 3, 2, 1, output_padding=1, bias=conv_uses_bias(norm))
    return [conv, norm_layer(norm, cout), nn.ReLU(inplace=True)]


def encoder_layers(
    in_channels: int, widths: Sequence[int], norm: str, halve: ResizingLayersFn = strided_layers
) -> list[nn.Module]:
    """Return the layers of a ResNet generator before its residual blocks: a 7×7 convolution with reflected borders to the
    first of the widths, its norm and a ReLU, then those of `halve` from each of the widths to the next."""
    halvings = [layer for pair in pairwise(widths) for layer in halve(*pair, norm)]
    return [nn.ReflectionPad2d(3), *conv_norm_relu(in_channels, widths[0], norm, 7), *halvings]


def decoder_layers(
    widths: Sequence[int], out_channels: int, norm: str, double: ResizingLayersFn = upsampling_layers
) -> list[nn.Module]:
    """Return the layers behind the residual blocks: those of `double` from the last of the widths back to the first, then
    `output_layers`."""
    doublings = [layer for pair in pairwise(widths[::-1]) for layer in double(*pair, norm)]
    return [*doublings, *output_layers(widths[0], out_channels)]


def output_layers(width: int, out_channels: int) -> list[nn.Module]:
    """Return the last layers of a ResNet generator: a 7×7 convolution with reflected borders, and a tanh."""
    return [nn.ReflectionPad2d(3), nn.Conv2d(width, out_channels, 7), nn.Tanh()]


def split_stages(chain: nn.Sequential) -> GeneratorStages:
    """Return the layers before the residual blocks of a chain, the blocks, and the layers behind them."""
    layers = list(chain)
    blocks = [layer for layer in layers if isinstance(layer, ResnetBlock)]
    first = layers.index(blocks[0])
    return GeneratorStages(layers[:first], blocks, layers[first + len(blocks) :])


def checkpoint_segments(chain: nn.Sequential) -> list[Sequence[nn.Module]]:
    """Return runs of layers between checkpoints: encoder, about √n runs of about √n blocks, decoder.

    Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, sec. 4.
    """
    encoder, blocks, decoder = split_stages(chain)
    length = math.ceil(math.sqrt(len(blocks)))
    runs: list[Sequence[nn.Module]] = [
        encoder,
        *(blocks[i : i + length] for i in range(0, len(blocks), length)),
        decoder,
    ]
    return [run for run in runs if run]
