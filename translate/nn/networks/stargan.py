"""StarGAN's networks and its classification loss (Choi et al., "StarGAN: Unified Generative Adversarial Networks for
Multi-Domain Image-to-Image Translation", CVPR 2018, appendix; the rest as in the authors' code).

They start from torch's own initial weights, as the authors' do.
"""

from collections.abc import Sequence
from itertools import chain, pairwise

from torch import Tensor, nn

from translate.nn.base import Discriminator, Generator
from translate.nn.blocks import AffineInstanceNorm2d, Dropout, downsample_conv, norm_layer, upsample_conv
from translate.nn.fast_conv import Conv3x3
from translate.nn.init import pytorch_default_

BLOCKS = 6
"""Residual blocks of the generator."""

LAYERS = 6
"""Halvings of the discriminator; smaller images have room for fewer."""


def _norm(name: str, channels: int) -> nn.Module:
    """The authors' instance norms keep running statistics too, but never enter evaluation, where torch would use them."""
    return AffineInstanceNorm2d(channels) if name == "instance" else norm_layer(name, channels)


class ZeroPaddedBlock(nn.Module):
    """x + conv(relu(conv(x))), 3×3 with zero padding: (N, C, H, W) → the same."""

    def __init__(self, channels: int, norm: str, dropout: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            Conv3x3(channels, channels, padding=1, bias=False),
            _norm(norm, channels),
            nn.ReLU(inplace=True),
            *([Dropout()] if dropout else []),
            Conv3x3(channels, channels, padding=1, bias=False),
            _norm(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class StarGANGenerator(Generator):
    """Two 4×4 convolutions down, six residual blocks, two transposed ones up; the labels come as planes beside the image.

    A plane is the same everywhere, and instance norm takes away whatever is: only at the border, where padding is zero, does
    the first norm leave a trace of it. With reflection padding labels would have no effect at all.
    """

    multiple_of = 4
    minimum = 8  # at 4×4 the innermost instance norm would see one pixel
    receptive_radius = 15 + 8 * BLOCKS  # two 3×3 convolutions a block, at a quarter of the size
    initialise = staticmethod(pytorch_default_)

    def __init__(
        self, in_channels: int, out_channels: int, width: int = 64, norm: str = "instance", dropout: bool = False
    ) -> None:
        super().__init__()
        w = width

        def normalised(conv: nn.Module, channels: int) -> list[nn.Module]:
            return [conv, _norm(norm, channels), nn.ReLU(inplace=True)]

        self.model = nn.Sequential(
            *normalised(nn.Conv2d(in_channels, w, 7, padding=3, bias=False), w),
            *normalised(downsample_conv(w, 2 * w, bias=False), 2 * w),
            *normalised(downsample_conv(2 * w, 4 * w, bias=False), 4 * w),
            *[ZeroPaddedBlock(4 * w, norm, dropout) for _ in range(BLOCKS)],
            *normalised(upsample_conv(4 * w, 2 * w, bias=False), 2 * w),
            *normalised(upsample_conv(2 * w, w, bias=False), w),
            nn.Conv2d(w, out_channels, 7, padding=3, bias=False),
            nn.Tanh(),
        )

    @property
    def segments(self) -> list[Sequence[nn.Module]]:
        """Encoder, blocks in two runs, decoder."""
        layers = list(self.model.children())
        first = next(i for i, layer in enumerate(layers) if isinstance(layer, ZeroPaddedBlock))
        middle, last = first + BLOCKS // 2, first + BLOCKS
        return [layers[:first], layers[first:middle], layers[middle:last], layers[last:]]


class StarGANDiscriminator(Discriminator):
    """Halvings by 4×4 convolutions, each with twice the channels of the one before, then logits by a 3×3 one.

    Six for images from 64 pixels (`crop`) up, fewer for smaller ones. No norms.
    """

    initialise = staticmethod(pytorch_default_)

    def __init__(self, in_channels: int, width: int = 64, crop: int = 256) -> None:
        super().__init__()
        layers = min(LAYERS, crop.bit_length() - 1)
        self.minimum = 2**layers
        widths = [in_channels, *(width * 2**n for n in range(layers))]
        halvings = [[downsample_conv(*pair, bias=True), nn.LeakyReLU(0.01)] for pair in pairwise(widths)]
        self.model = nn.Sequential(*chain.from_iterable(halvings))
        self.source = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.source(self.model(x))


class StarGANClassifier(StarGANDiscriminator):
    """The discriminator that also says of images of `crop` pixels a side which domain they are of, or what they have."""

    def __init__(self, in_channels: int, width: int, crop: int, classes: int) -> None:
        super().__init__(in_channels, width, crop)
        side = crop // self.minimum  # of the last map: each halving rounds down
        self.minimum *= side
        self.kind = nn.Conv2d(self.source.in_channels, classes, side, bias=False)

    def source_and_class_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Whether images are real, by patch, (N, 1, H', W'), and what they show, (N, classes): all as logits."""
        features = self.model(x)
        return self.source(features), self.kind(features).flatten(1)
