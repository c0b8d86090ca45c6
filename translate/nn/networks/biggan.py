"""Networks of BigGAN (Brock, Donahue and Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis", ICLR
2019, appendix B), with the widths of the authors' PyTorch code, which has networks for 32 pixels, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn.base import Discriminator
from translate.nn.blocks import BatchNorm2d, is_channels_last
from translate.nn.conditional_norm import ConditionalBatchNorm2d
from translate.nn.gradient_checkpointing import checkpoint_layers
from translate.nn.self_attention import SelfAttention
from translate.nn.spectral_norm import SpectralConv2d, SpectralLinear, iterate_power_method

FIRST_SIZE = 4
"""Side of the generator's first map, in pixels."""


@dataclass(frozen=True)
class Widths:
    """Channels of the maps of both networks, as multiples of their widths."""

    g: tuple[int, ...]
    """Factors of the generator's first map, and of that after each of its blocks, which double the side."""
    d: tuple[int, ...]
    """After each block of the discriminator."""
    d_halvings: int
    """Blocks of the discriminator that halve the side: the first ones."""


WIDTHS = {
    32: Widths((4, 4, 4, 4), (4, 4, 4, 4), 2),
    64: Widths((16, 16, 8, 4, 2), (1, 2, 4, 8, 16), 4),
    128: Widths((16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), 5),
    256: Widths((16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16), 6),
}
"""Widths for each size of images, a side in pixels."""


class GeneratorBlock(nn.Module):
    """Residual block that doubles the side, its two norms conditional on y (appendix B, fig. 15b)."""

    def __init__(self, cin: int, cout: int, conditions: int, linear: type[nn.Module]) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm2d(cin, conditions, linear)
        self.norm2 = ConditionalBatchNorm2d(cout, conditions, linear)
        self.conv1, self.conv2 = SpectralConv2d(cin, cout, 3, padding=1), SpectralConv2d(cout, cout, 3, padding=1)
        self.shortcut = SpectralConv2d(cin, cout, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = F.interpolate(F.relu(self.norm1(x, y)), scale_factor=2)
        h = self.conv2(F.relu(self.norm2(self.conv1(h), y)))
        return h + self.shortcut(F.interpolate(x, scale_factor=2))


class BigGANGenerator(nn.Module):
    """BigGAN's generator: codes (N, noise_size) and classes (N, K), one-hot → images (N, out_channels, size, size) in [-1, 1].

    size: a key of WIDTHS. shared_size: length of the class embedding that all norms share; 0: each norm has embeddings of its
    own. hierarchical: the first map and each block get a part of the code, so that its length is a multiple of their number.
    attention: side of the map that self-attention sees; 0: there is none.
    """

    gradient_checkpointing = False
    """True: training computes inner maps again in the backward pass instead of keeping them."""

    def __init__(
        self,
        noise_size: int,
        classes: int,
        out_channels: int,
        size: int,
        width: int = 96,
        shared_size: int = 128,
        hierarchical: bool = True,
        attention: int = 64,
    ) -> None:
        super().__init__()
        widths = [width * factor for factor in WIDTHS[size].g]
        self.parts = len(widths) if hierarchical else 1
        """Parts that a code is divided into."""
        part = noise_size // self.parts
        assert part * self.parts == noise_size, "the config is checked"
        conditions = (shared_size or classes) + (part if hierarchical else 0)
        self.shared = nn.Linear(classes, shared_size, bias=False) if shared_size else nn.Identity()
        self.first = SpectralLinear(part, widths[0] * FIRST_SIZE**2)
        # A layer of a one-hot code is a table of embeddings, which the authors leave without spectral norm.
        linear = SpectralLinear if shared_size else nn.Linear
        self.blocks = nn.ModuleList(GeneratorBlock(cin, cout, conditions, linear) for cin, cout in pairwise(widths))
        sides = [FIRST_SIZE * 2 ** (number + 1) for number in range(len(self.blocks))]
        self.attended = sides.index(attention) if attention else None
        """Block that self-attention follows."""
        self.attention = SelfAttention(widths[self.attended + 1]) if self.attended is not None else nn.Identity()
        self.last = nn.Sequential(
            BatchNorm2d(widths[-1]), nn.ReLU(), SpectralConv2d(widths[-1], out_channels, 3, padding=1), nn.Tanh()
        )

    def forward(self, code: Tensor, label: Tensor) -> Tensor:
        if self.training:
            iterate_power_method(self)
        dtype = self.first.weight.dtype
        code, y = code.to(dtype), self.shared(label.to(dtype))
        first, *others = code.chunk(self.parts, 1)
        conditions = [torch.cat([y, part], 1) for part in others] or [y] * len(self.blocks)
        x = self.first(first).unflatten(1, (-1, FIRST_SIZE, FIRST_SIZE))
        if is_channels_last(self.blocks[0].get_parameter("conv1.weight")):
            x = x.contiguous(memory_format=torch.channels_last)
        for number, (block, condition) in enumerate(zip(self.blocks, conditions, strict=True)):
            x = self._run([block], x, condition)
            if number == self.attended:
                x = self._run([self.attention], x)
        return self.last(x)

    def _run(self, layers: Sequence[nn.Module], x: Tensor, *beside: Tensor) -> Tensor:
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint_layers(layers, x, *beside)
        (layer,) = layers
        return layer(x, *beside)


class DiscriminatorBlock(nn.Module):
    """Residual block without norms (appendix B, fig. 15c); `halves` the side; the first of a network sees the image itself."""

    def __init__(self, cin: int, cout: int, *, halves: bool, is_first: bool) -> None:
        super().__init__()
        self.halves, self.is_first = halves, is_first
        self.conv1, self.conv2 = SpectralConv2d(cin, cout, 3, padding=1), SpectralConv2d(cout, cout, 3, padding=1)
        self.shortcut = SpectralConv2d(cin, cout, 1) if halves or cin != cout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self._halved(self.conv2(F.relu(self.conv1(x if self.is_first else F.relu(x)))))
        if self.is_first:  # the same values, as a 1×1 convolution and a mean commute, from fewer operations
            return h + self.shortcut(self._halved(x))
        return h + self._halved(self.shortcut(x))

    def _halved(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.halves else x


class BigGANDiscriminator(Discriminator):
    """BigGAN's projection discriminator: images (N, C, size, size) and classes (N, K), one-hot → logits (N, 1).

    The logit is a linear function of the features, sums over the last map, plus their product with an embedding of the class
    (Miyato and Koyama, "cGANs with projection discriminator", ICLR 2018, eq. 6).
    """

    def __init__(self, in_channels: int, classes: int, size: int, width: int = 96, attention: int = 64) -> None:
        super().__init__()
        self.minimum = self.fixed_size = size
        known = WIDTHS[size]
        widths = [in_channels, *(width * factor for factor in known.d)]
        layers: list[nn.Module] = []
        for number, (cin, cout) in enumerate(pairwise(widths)):
            halves = number < known.d_halvings
            layers.append(DiscriminatorBlock(cin, cout, halves=halves, is_first=number == 0))
            if halves and size >> (number + 1) == attention:
                layers.append(SelfAttention(cout))
        self.layers = nn.Sequential(*layers, nn.ReLU())
        self.last = SpectralLinear(widths[-1], 1)
        self.embedding = SpectralLinear(classes, widths[-1], bias=False)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        if self.training:
            iterate_power_method(self)
        features = self.layers(x).sum((2, 3))
        of_class = self.embedding(label.to(self.last.weight.dtype))
        return self.last(features) + (of_class * features).sum(1, keepdim=True)
