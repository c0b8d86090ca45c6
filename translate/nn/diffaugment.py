"""DiffAugment: what a discriminator sees is changed at random, real and fake alike, and the generator learns through it.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (NeurIPS 2020), sec. 3. A discriminator that
never sees the same image twice cannot learn a small training set by heart. Since the fakes are changed too, the generator
does not learn to paint the changes.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from translate import keyed_random

TRANSLATION_RATIO = 1 / 8
"""Largest translation, as a part of the image's side."""

CUTOUT_RATIO = 1 / 2
"""Side of the square that cutout blanks, as a part of the image's side."""


def diffaugment(
    x: Tensor, key: Tensor, policy: str | Iterable[str], name: str = "diffaugment", *, condition_channels: int = 0
) -> Tensor:
    """x (N, C, H, W) in [-1, 1] → the same shape and dtype, each image changed by draws from its own key (N,).

    `policy`: rows of DIFFAUGMENT, "color,translation" or ("color", "translation"); applied in the table's order, whatever
    order they are given in. `name`: another name, other draws, so each use in a step has its own (real, fake, the
    generator's). What leaves the image is 0, mid-grey; colours are not clipped, since that would stop the gradient, so
    values may leave [-1, 1].

    `condition_channels`: the number of leading channels that are not judged but given, as pix2pix's input image is in the pair
    (input, output). They are moved and cut together with the rest, or the two would no longer show the same place. Their
    colours are left alone: they are equal in the real and the fake pair, so there is nothing in them to learn by heart, and
    a label or edge map in other colours means something else.
    """
    for row in parse_policy(policy):
        x = DIFFAUGMENT[row](x, key, f"{name}/{row}", condition_channels)
    return x


def parse_policy(policy: str | Iterable[str]) -> tuple[str, ...]:
    """The rows of a policy in the table's order; ValueError names those that there are not."""
    asked = [row.strip() for row in policy.split(",")] if isinstance(policy, str) else list(policy)
    unknown = [row for row in asked if row and row not in DIFFAUGMENT]
    if unknown:
        raise ValueError(
            f"no such differentiable augmentation: {', '.join(unknown)}; there are {', '.join(DIFFAUGMENT)}"
        )
    return tuple(row for row in DIFFAUGMENT if row in asked)


def find_policy(policy: str) -> tuple[str, ...] | None:
    """The rows of a policy such as "color,cutout", or None if it names one that there is not."""
    try:
        return parse_policy(policy)
    except ValueError:
        return None


def color(x: Tensor, key: Tensor, name: str, condition_channels: int = 0) -> Tensor:
    """Brightness moved by −½ to ½, saturation times 0 to 2 about each pixel's mean over the channels, contrast times ½ to
    1½ about each image's mean; uniform, in the authors' order. One channel has no saturation.

    In float32 at least: means and products of half-precision numbers would lose bits that the discriminator could see.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    given, y = x[:, :condition_channels], x[:, condition_channels:].to(wide)
    brightness, saturation, contrast = keyed_random.uniform(key, name, 3, 1, 1, 1).to(wide).unbind(1)
    y = y + (brightness - 0.5)
    mean = y.mean(1, keepdim=True)
    y = (y - mean) * (saturation * 2) + mean
    mean = y.mean((1, 2, 3), keepdim=True)
    y = (y - mean) * (contrast + 0.5) + mean
    return torch.cat([given, y.to(x.dtype)], 1) if condition_channels else y.to(x.dtype)


def translation(x: Tensor, key: Tensor, name: str, condition_channels: int = 0) -> Tensor:
    """Moved by whole pixels, up to an eighth of each side; mid-grey comes in."""
    height, width = x.shape[2:]
    reach_y, reach_x = int(height * TRANSLATION_RATIO + 0.5), int(width * TRANSLATION_RATIO + 0.5)
    draws = keyed_random.uniform(key, name, 2, 1).unbind(1)
    rows = torch.arange(height, device=x.device) + _below(draws[0], 2 * reach_y + 1) - reach_y  # (N, H)
    columns = torch.arange(width, device=x.device) + _below(draws[1], 2 * reach_x + 1) - reach_x
    inside = _both((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
    # Every pixel is read once, the others from the opposite side and then blanked: so the backward pass adds nothing up,
    # in whatever order.
    index = (rows % height)[:, :, None] * width + (columns % width)[:, None, :]
    moved = x.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, x.shape[1], -1)).view(x.shape)
    return moved.masked_fill(~inside, 0)


def cutout(x: Tensor, key: Tensor, name: str, condition_channels: int = 0) -> Tensor:
    """A rectangle of half the image's sides is mid-grey; its centre is anywhere, so a part of it may lie outside."""
    draws = keyed_random.uniform(key, name, 2, 1).unbind(1)
    covered = []
    for draw, side in zip(draws, x.shape[2:], strict=True):
        hole = int(side * CUTOUT_RATIO + 0.5)
        start = _below(draw, side + 1 - hole % 2) - hole // 2  # as the authors place it: N, of −hole/2 to side − hole/2
        along = torch.arange(side, device=x.device)
        covered.append((along >= start) & (along < start + hole))
    return x.masked_fill(_both(*covered), 0)


def _below(draw: Tensor, count: int) -> Tensor:
    """Draws in [0, 1) → whole numbers from 0 to count − 1, as int64."""
    return (draw * count).to(torch.int64)


def _both(rows: Tensor, columns: Tensor) -> Tensor:
    """Masks of rows (N, H) and of columns (N, W) → of the pixels in both, (N, 1, H, W)."""
    return (rows[:, :, None] & columns[:, None, :])[:, None]


DIFFAUGMENT: dict[str, Callable[[Tensor, Tensor, str, int], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}
"""The paper's three, in the authors' order. A row takes images, keys, the name of its draws and the number of channels that
are given and not judged."""
