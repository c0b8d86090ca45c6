"""Networks of StackGAN (Zhang et al., "StackGAN: Text to Photo-realistic Image Synthesis with Stacked Generative Adversarial
Networks", ICCV 2017, sec. 3; the rest as in the authors' PyTorch code), and an encoder of texts that is learnt with them.

Images are squares of a power of two. Initial weights are drawn from N(0, 0.02), as in the authors' code.
"""

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn.base import Discriminator
from translate.nn.blocks import downsample_conv, is_channels_last, norm_layer
from translate.nn.gradient_checkpointing import checkpoint_layers

INNERMOST_SIZE = 4
"""Side in pixels of the first generator's first maps, and of the discriminators' last ones."""
MIN_SIZE = 16
"""Side in pixels of the smallest images."""
STAGE_FACTOR = 4
"""Pixels a side of an image of stage II for each of stage I."""
MOST = 8
"""Channels of the last maps of a discriminator, in its widths."""


def doublings(size: int) -> int:
    """Return the doublings from the innermost maps to images of `size` pixels a side."""
    return (size // INNERMOST_SIZE).bit_length() - 1


def _conv(cin: int, cout: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, padding=1, bias=False)


def _doubled(cin: int, cout: int, norm: str) -> list[nn.Module]:
    """Return layers that double the size: nearest pixel, 3×3, norm, ReLU."""
    return [nn.Upsample(scale_factor=2, mode="nearest"), _conv(cin, cout), norm_layer(norm, cout), nn.ReLU()]


def _halved(cin: int, cout: int, norm: str) -> list[nn.Module]:
    """Return layers that halve the size: 4×4 of stride 2, norm, leaky ReLU."""
    return [downsample_conv(cin, cout, bias=False), norm_layer(norm, cout), nn.LeakyReLU(0.2)]


def with_condition(x: Tensor, condition: Tensor) -> Tensor:
    """Return maps x (N, C, H, W) and a plane for each number of the conditions (N, D), along the channels."""
    planes = condition.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
    planes = planes.contiguous(memory_format=torch.channels_last)  # so that the concatenation has the layout of x
    return torch.cat([x, planes], 1)


class _Innermost(nn.Module):
    """Vectors (N, 16 · C) as maps (N, C, 4, 4), in the layout of the weights of the layers that follow, and these layers."""

    def __init__(self, layers: list[nn.Module], weight_at: int) -> None:
        super().__init__()
        self.layers, self.weight_at = nn.Sequential(*layers), weight_at

    def forward(self, x: Tensor) -> Tensor:
        weight = cast(Tensor, self.layers[self.weight_at].weight)
        maps = x.unflatten(1, (-1, INNERMOST_SIZE, INNERMOST_SIZE))
        if is_channels_last(weight):
            maps = maps.contiguous(memory_format=torch.channels_last)
        out: Tensor = self.layers(maps)
        return out


class TextEncoder(nn.Module):
    """Encoder of texts: tokens (N, T), 0 for none → embeddings (N, text_size).

    The mean of the tokens' vectors, standardised, and a linear layer: a bag of tokens, in which the order of words counts by
    their pairs alone.
    """

    def __init__(self, buckets: int, text_size: int, hidden: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(buckets, hidden)
        self.last = nn.Linear(hidden, text_size)

    def forward(self, tokens: Tensor) -> Tensor:
        vectors = self.tokens(tokens)
        counts = (tokens > 0).to(vectors.dtype)[:, :, None]
        mean = (vectors * counts).sum(1) / counts.sum(1).clamp(min=1)
        out: Tensor = self.last(F.layer_norm(mean, mean.shape[1:]))
        return out


class ConditioningAugmentation(nn.Module):
    """Conditioning augmentation (sec. 3.2): texts (N, text_size) → mean and log variance of conditions, (N, D) each."""

    def __init__(self, text_size: int, condition_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(text_size, 2 * condition_size)

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.linear(text).chunk(2, 1)
        return mean, log_variance


class StageOneGenerator(nn.Module):
    """Generator of stage I: noise (N, Z) and conditions (N, D) → images (N, C, size, size) in [-1, 1].

    width: twice the channels of the last hidden layer. They double with each layer inwards, to 8 · width at 4×4 for 64 pixels.
    `augmentation` makes conditions of texts.
    """

    gradient_checkpointing = False

    def __init__(
        self, channels: int, size: int, width: int, norm: str, *, noise_size: int, condition_size: int, text_size: int
    ) -> None:
        super().__init__()
        self.augmentation = ConditioningAugmentation(text_size, condition_size)
        widths = [max(1, width * 2**n // 2) for n in range(doublings(size), -1, -1)]
        widths = [min(w, MOST * width) for w in widths]
        inner = widths[0] * INNERMOST_SIZE**2
        # A norm for each number of the innermost maps, as the authors' is; of one pixel an instance norm would leave nothing.
        first = norm_layer("batch" if norm == "batch" else "none", inner)
        self.project = nn.Linear(noise_size + condition_size, inner, bias=False)
        layers: list[nn.Module] = []
        for cin, cout in pairwise(widths):
            layers += _doubled(cin, cout, norm)
        layers += [_conv(widths[-1], channels), nn.Tanh()]
        self.model = nn.Sequential(
            nn.Unflatten(1, (inner, 1, 1)), first, nn.ReLU(), nn.Flatten(1), _Innermost(layers, weight_at=1)
        )

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        code = torch.cat([noise, condition], 1).to(self.project.weight.dtype)
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint_layers([self.project, self.model], code)
        out: Tensor = self.model(self.project(code))
        return out


class _Residual(nn.Module):
    """Residual block ReLU(x + …) of two 3×3 convolutions with norms."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.block = nn.Sequential(
            _conv(channels, channels), norm_layer(norm, channels), nn.ReLU(), _conv(channels, channels),
            norm_layer(norm, channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.block(x))


class StageTwoGenerator(nn.Module):
    """Generator of stage II: images (N, C, size / 4, size / 4) and conditions (N, D) → images (N, C, size, size) in [-1, 1].

    The image is halved twice and joined with the condition; then residual blocks, and four doublings (sec. 3.4).
    """

    gradient_checkpointing = False

    def __init__(
        self, channels: int, width: int, norm: str, *, blocks: int, condition_size: int, text_size: int
    ) -> None:
        super().__init__()
        w = width
        self.augmentation = ConditioningAugmentation(text_size, condition_size)

        def halved(cin: int, cout: int) -> list[nn.Module]:
            return [downsample_conv(cin, cout, bias=False), norm_layer(norm, cout), nn.ReLU()]

        self.encode = nn.Sequential(_conv(channels, w), nn.ReLU(), *halved(w, 2 * w), *halved(2 * w, 4 * w))
        widths = [4 * w, 2 * w, w, max(1, w // 2), max(1, w // 4)]
        layers: list[nn.Module] = [_conv(condition_size + 4 * w, 4 * w), norm_layer(norm, 4 * w), nn.ReLU()]
        layers += [_Residual(4 * w, norm) for _ in range(blocks)]
        for cin, cout in pairwise(widths):
            layers += _doubled(cin, cout, norm)
        self.decode = nn.Sequential(*layers, _conv(widths[-1], channels), nn.Tanh())

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            maps = checkpoint_layers([self.encode], image)
            return checkpoint_layers([self.decode], with_condition(maps, condition))
        out: Tensor = self.decode(with_condition(self.encode(image), condition))
        return out


class StackDiscriminator(Discriminator):
    """Discriminator: images (N, C, size, size), conditions (N, D) → logits (N, 1, 1, 1), that an image is real and of its text.

    with_unconditional: a second head, of stage II, says that an image is real alone; then logits are a list of both.
    """

    def __init__(
        self, channels: int, size: int, width: int, norm: str, *, condition_size: int, with_unconditional: bool
    ) -> None:
        super().__init__()
        self.minimum = self.fixed_size = size
        widths = [width * 2**n for n in range(doublings(size))]
        layers: list[nn.Module] = [downsample_conv(channels, width, bias=False), nn.LeakyReLU(0.2)]
        for cin, cout in pairwise(widths):
            layers += _halved(cin, cout, norm)
        while widths[-1] > MOST * width:
            widths.append(widths[-1] // 2)
            layers += [_conv(widths[-2], widths[-1]), norm_layer(norm, widths[-1]), nn.LeakyReLU(0.2)]
        last = widths[-1]
        self.features = nn.Sequential(*layers)
        self.match = nn.Sequential(
            _conv(last + condition_size, last), norm_layer(norm, last), nn.LeakyReLU(0.2),
            nn.Conv2d(last, 1, INNERMOST_SIZE),
        )  # fmt: skip
        self.alone = nn.Conv2d(last, 1, INNERMOST_SIZE) if with_unconditional else None

    def forward(self, x: Tensor, condition: Tensor) -> Tensor | list[Tensor]:
        features = self.features(x)
        matching = self.matching_logits(features, condition)
        return matching if self.alone is None else [matching, self.alone(features)]

    def matching_logits(self, features: Tensor, condition: Tensor) -> Tensor:
        """Return the logits (N, 1, 1, 1) that images of these features are real and of their texts."""
        return cast(Tensor, self.match(with_condition(features, condition)))
