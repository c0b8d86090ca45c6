"""ResNet generator (Johnson et al., 2016; CycleGAN, sec. 4 and 7.2), with the layer names of the reference implementation."""

import math
from collections.abc import Sequence

from torch import nn

from translate.nn.base import Generator, GeneratorStages
from translate.nn.blocks import (
    ResnetBlock,
    conv_norm_relu,
    conv_uses_bias,
    norm_layer,
)


class ResnetGenerator(Generator):
    """ResNet generator: two strided convolutions, `blocks` residual blocks, two transposed ones (CycleGAN, sec. 7.2)."""

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
            *_upsampling_layers(4 * w, 2 * w, norm),
            *_upsampling_layers(2 * w, w, norm),
            nn.ReflectionPad2d(3),
            nn.Conv2d(w, out_channels, 7),
            nn.Tanh(),
        )

    @property
    def stages(self) -> GeneratorStages:
        layers = list(self.model.children())
        blocks = [layer for layer in layers if isinstance(layer, ResnetBlock)]
        first = layers.index(blocks[0])
        return GeneratorStages(layers[:first], blocks, layers[first + len(blocks) :])

    @property
    def segments(self) -> list[Sequence[nn.Module]]:
        """Runs between checkpoints: encoder, about √n runs of about √n blocks (Chen et al., 2016, sec. 4), decoder."""
        encoder, blocks, decoder = self.stages
        length = math.ceil(math.sqrt(len(blocks)))
        return [encoder, *(blocks[i : i + length] for i in range(0, len(blocks), length)), decoder]


def _upsampling_layers(cin: int, cout: int, norm: str) -> list[nn.Module]:
    conv = nn.ConvTranspose2d(cin, cout, 3, 2, 1, output_padding=1, bias=conv_uses_bias(norm))
    return [conv, norm_layer(norm, cout), nn.ReLU(inplace=True)]
