"""Networks of StarGAN v2 (Choi et al., "StarGAN v2: Diverse Image Synthesis for Multiple Domains", CVPR 2020, appendix B; what
the paper leaves open is as in the authors' code, without its high-pass filters for faces).

All take square images of a power of two in training. Initial weights are He's for ReLUs, as in the authors' code.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn.base import Discriminator, Generator
from translate.nn.blocks import AffineInstanceNorm2d, BatchNorm2d, norm_layer
from translate.nn.gradient_checkpointing import checkpoint_layers
from translate.nn.init import kaiming_

SLOPE = 0.2
"""Slope of the leaky ReLUs."""
INNERMOST_SIZE, LAST_MAP = 16, 4
"""Side in pixels of the generator's smallest maps, and of the last maps of encoder and discriminator, in training."""
BOTTLENECK = 2
"""Residual blocks of the generator that keep the smallest size, on either side of its middle."""
SHARED_LAYERS, OWN_LAYERS = 4, 4
"""Linear layers of the mapping network: those of all domains, and those of each domain."""

he_: Callable[..., nn.Module] = partial(kaiming_, slope=0.0)
"""Initial weights of all networks: He's for ReLUs, biases 0."""


def widths_after(width: int, halvings: int, most: int) -> list[int]:
    """Return the channels of the first map and after each halving, which doubles them up to `most`."""
    return [min(width * 2**n, max(most, width)) for n in range(halvings + 1)]


def select_by_label(heads: Sequence[Tensor], label: Tensor) -> Tensor:
    """Return for each image the output of its label's head: heads (N, …) for each of K labels, label (N,) → (N, …)."""
    stacked = torch.stack(list(heads), 1)
    own = label[:, None] == torch.arange(len(heads), device=label.device)
    return (stacked * own.view(*own.shape, *[1] * (stacked.ndim - 2)).to(stacked.dtype)).sum(1)


def _affine_norm(name: str, channels: int) -> nn.Module:
    return AffineInstanceNorm2d(channels) if name == "instance" else norm_layer(name, channels)


class PreActivationBlock(nn.Module):
    """Residual block, activations first: norm, leaky ReLU, 3×3, mean of 2×2 pixels if it halves, norm, leaky ReLU, 3×3.

    The sum with the shortcut is divided by √2. norm "none" leaves the norms out.
    """

    def __init__(self, cin: int, cout: int, norm: str, *, halves: bool = False) -> None:
        super().__init__()
        pool: list[nn.Module] = [nn.AvgPool2d(2)] if halves else []
        self.residual = nn.Sequential(
            _affine_norm(norm, cin),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(cin, cin, 3, padding=1),
            *pool,
            _affine_norm(norm, cin),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(cin, cout, 3, padding=1),
        )
        change = [nn.Conv2d(cin, cout, 1, bias=False)] if cin != cout else []
        self.shortcut = nn.Sequential(*change, *pool)

    def forward(self, x: Tensor) -> Tensor:
        return (self.residual(x) + self.shortcut(x)) / math.sqrt(2)


class AdaptiveNorm(nn.Module):
    """Adaptive instance norm (Huang and Belongie, 2017): a norm without parameters, scale 1 + γ and shift β from the style."""

    def __init__(self, channels: int, style_size: int, norm: str) -> None:
        super().__init__()
        self.norm = BatchNorm2d(channels, affine=False) if norm == "batch" else norm_layer(norm, channels)
        self.affine = nn.Linear(style_size, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        gamma, beta = self.affine(style)[:, :, None, None].chunk(2, 1)
        return (1 + gamma) * self.norm(x) + beta


class StyledBlock(nn.Module):
    """Residual block with adaptive norms: x (N, C, H, W), style (N, S) → (N, C', H, W), or twice the size if it doubles."""

    def __init__(self, cin: int, cout: int, style_size: int, norm: str, *, doubles: bool = False) -> None:
        super().__init__()
        self.doubles = doubles
        self.norm_1, self.norm_2 = AdaptiveNorm(cin, style_size, norm), AdaptiveNorm(cout, style_size, norm)
        self.conv_1, self.conv_2 = nn.Conv2d(cin, cout, 3, padding=1), nn.Conv2d(cout, cout, 3, padding=1)
        self.shortcut = nn.Conv2d(cin, cout, 1, bias=False) if cin != cout else nn.Identity()

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y = self._resized(F.leaky_relu(self.norm_1(x, style), SLOPE))
        y = self.conv_2(F.leaky_relu(self.norm_2(self.conv_1(y), style), SLOPE))
        return (y + self.shortcut(self._resized(x))) / math.sqrt(2)

    def _resized(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.doubles else x


class _InStyle(nn.Module):
    """Styled block with a given style, as a function of one tensor, which gradient checkpointing takes."""

    def __init__(self, block: nn.Module, style: Tensor) -> None:
        super().__init__()
        self.block, self.style = block, style

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x, self.style)
        return out


class StyleGenerator(Generator):
    """StarGAN v2's generator: images (N, C, H, W) and style codes (N, style_size) → images (N, C', H, W).

    Its last layer is linear, so that outputs may leave [-1, 1]. Maps are halved from crop_size to 16 pixels; other sizes that
    are multiples of `multiple_of` are halved as often.
    """

    receptive_radius = None
    reference_names = False
    initialise = staticmethod(he_)

    def __init__(
        self, in_channels: int, out_channels: int, width: int, norm: str = "instance", *, crop_size: int, max_width: int,
        style_size: int,
    ) -> None:  # fmt: skip
        super().__init__()
        halvings = (crop_size // INNERMOST_SIZE).bit_length() - 1
        self.multiple_of = 2**halvings
        self.style_size = style_size
        self.minimum = 2 * self.multiple_of  # norms see more than one pixel
        widths = widths_after(width, halvings, max_width)
        last = widths[-1]
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.encode = nn.ModuleList(
            [PreActivationBlock(cin, cout, norm, halves=True) for cin, cout in pairwise(widths)]
            + [PreActivationBlock(last, last, norm) for _ in range(BOTTLENECK)]
        )
        self.decode = nn.ModuleList(
            [StyledBlock(last, last, style_size, norm) for _ in range(BOTTLENECK)]
            + [StyledBlock(cin, cout, style_size, norm, doubles=True) for cin, cout in pairwise(widths[::-1])]
        )
        self.last = nn.Sequential(_affine_norm(norm, width), nn.LeakyReLU(SLOPE), nn.Conv2d(width, out_channels, 1))

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """Translate images; without style codes by those of zeros."""
        if style is None:
            style = x.new_zeros(x.shape[0], self.style_size)
        x = self.first(x)
        checkpoints = self.gradient_checkpointing and self.training and torch.is_grad_enabled()
        for block in self.encode:
            x = checkpoint_layers([block], x) if checkpoints else block(x)
        for block in self.decode:
            x = checkpoint_layers([_InStyle(block, style)], x) if checkpoints else block(x, style)
        out: Tensor = self.last(x)
        return out


class DomainMappingNetwork(nn.Module):
    """StarGAN v2's mapping network: latent codes z (N, latent_size) and domains label (N,) → style codes (N, style_size)."""

    def __init__(self, latent_size: int, style_size: int, hidden: int, domains: int) -> None:
        super().__init__()

        def linear(cin: int) -> list[nn.Module]:
            return [nn.Linear(cin, hidden), nn.ReLU()]

        shared = [layer for n in range(SHARED_LAYERS) for layer in linear(hidden if n else latent_size)]
        self.shared = nn.Sequential(*shared)
        self.heads = nn.ModuleList(
            nn.Sequential(
                *(layer for _ in range(OWN_LAYERS - 1) for layer in linear(hidden)), nn.Linear(hidden, style_size)
            )
            for _ in range(domains)
        )

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        hidden = self.shared(z.to(next(self.parameters()).dtype))
        return select_by_label([head(hidden) for head in self.heads], label)


def _trunk(in_channels: int, width: int, crop_size: int, max_width: int) -> tuple[nn.Sequential, int]:
    """Return the layers from an image of crop_size pixels a side to one vector, and the length of the vector."""
    halvings = (crop_size // LAST_MAP).bit_length() - 1
    widths = widths_after(width, halvings, max_width)
    layers = nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1),
        *[PreActivationBlock(cin, cout, "none", halves=True) for cin, cout in pairwise(widths)],
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(widths[-1], widths[-1], LAST_MAP),
        nn.LeakyReLU(SLOPE),
    )
    return layers, widths[-1]


class StyleEncoder(nn.Module):
    """StarGAN v2's style encoder: images (N, C, crop_size, crop_size) and their domains label (N,) → codes (N, style_size)."""

    def __init__(
        self, in_channels: int, width: int, *, crop_size: int, max_width: int, style_size: int, domains: int
    ) -> None:
        super().__init__()
        self.trunk, features = _trunk(in_channels, width, crop_size, max_width)
        self.heads = nn.ModuleList(nn.Linear(features, style_size) for _ in range(domains))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        features = self.trunk(x).flatten(1)
        return select_by_label([head(features) for head in self.heads], label)


class DomainDiscriminator(Discriminator):
    """StarGAN v2's discriminator: images (N, C, crop_size, crop_size) and domains label (N,) → logits (N, 1).

    It has a logit for each domain, that an image is a real one of this domain; `label` says which is meant.
    """

    initialise = staticmethod(he_)

    def __init__(self, in_channels: int, width: int, *, crop_size: int, max_width: int, domains: int) -> None:
        super().__init__()
        self.minimum = self.fixed_size = crop_size
        self.trunk, features = _trunk(in_channels, width, crop_size, max_width)
        self.last = nn.Conv2d(features, domains, 1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return select_by_label(self.last(self.trunk(x)).flatten(1).split(1, 1), label)
