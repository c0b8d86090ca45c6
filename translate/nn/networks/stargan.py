"""Networks of StarGAN (Choi et al., "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image
Translation", CVPR 2018, appendix; the rest as in the authors' code).

Their initial weights are PyTorch's defaults, as in the authors' code.
"""

from collections.abc import Sequence
from itertools import chain, pairwise

from torch import Tensor, nn

from translate.nn.base import Discriminator, Generator
from translate.nn.blocks import (
    AffineInstanceNorm2d,
    Dropout,
    doubling_widths,
    downsample_conv,
    norm_layer,
    upsample_conv,
)
from translate.nn.init import pytorch_default_

BLOCKS = 6
"""Residual blocks of the generator."""

MAX_DOWNSAMPLINGS = 6
"""Downsamplings of the discriminator, fewer for small images."""


def _norm(name: str, channels: int) -> nn.Module:
    """Return a new norm. The authors' instance norms keep running statistics, but never use them: they are not evaluated."""
    return AffineInstanceNorm2d(channels) if name == "instance" else norm_layer(name, channels)


class ZeroPaddedBlock(nn.Module):
    """Residual block x + conv(relu(conv(x))), 3×3 with zero padding: (N, C, H, W) → the same shape."""

    def __init__(self, channels: int, norm: str, dropout: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            _norm(norm, channels),
            nn.ReLU(inplace=True),
            *([Dropout()] if dropout else []),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            _norm(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class StarGANGenerator(Generator):
    """StarGAN's generator: two 4×4 convolutions of stride 2, six residual blocks, two transposed convolutions (table 4).

    The label is given as planes beside the image. A plane is constant, and instance norm subtracts constants: only at the
    border, where padding is zero, does the first norm keep a trace of it. With reflection padding labels would have no effect.
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
        """Runs between checkpoints: encoder, two runs of residual blocks, decoder."""
        layers = list(self.model.children())
        first = next(i for i, layer in enumerate(layers) if isinstance(layer, ZeroPaddedBlock))
        middle, last = first + BLOCKS // 2, first + BLOCKS
        return [layers[:first], layers[first:middle], layers[middle:last], layers[last:]]


class StarGANDiscriminator(Discriminator):
    """StarGAN's PatchGAN: 4×4 convolutions of stride 2 that each double the channels, then logits by a 3×3 one (table 5).

    Six downsamplings for images of 64 pixels or more, fewer for smaller ones. No norms.
    """

    initialise = staticmethod(pytorch_default_)

    def __init__(self, in_channels: int, width: int = 64, crop_size: int = 256) -> None:
        super().__init__()
        downsamplings = min(MAX_DOWNSAMPLINGS, crop_size.bit_length() - 1)
        self.minimum = 2**downsamplings
        widths = [in_channels, *doubling_widths(width, downsamplings, max_factor=2**downsamplings)]
        layers = [[downsample_conv(cin, cout, bias=True), nn.LeakyReLU(0.01)] for cin, cout in pairwise(widths)]
        self.model = nn.Sequential(*chain.from_iterable(layers))
        self.source = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.source(self.model(x))


class StarGANClassifier(StarGANDiscriminator):
    """StarGAN's discriminator with a classifier of domains or attributes (D_src and D_cls, sec. 3.1).

    For images of `crop_size` pixels a side.
    """

    def __init__(self, in_channels: int, width: int, crop_size: int, classes: int) -> None:
        super().__init__(in_channels, width, crop_size)
        side = crop_size // self.minimum  # of the last map: each downsampling rounds down
        self.minimum *= side
        self.kind = nn.Conv2d(self.source.in_channels, classes, side, bias=False)

    def source_and_class_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of being real, by patch, (N, 1, H', W'), and of each domain or attribute, (N, classes)."""
        features = self.model(x)
        return self.source(features), self.kind(features).flatten(1)
