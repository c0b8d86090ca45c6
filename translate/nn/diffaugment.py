"""DiffAugment: random differentiable augmentation of all images that a discriminator sees, real and fake alike.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (NeurIPS 2020), sec. 3. A discriminator that
never sees the same image twice cannot memorise a small training set. Since the fakes are augmented too, and the gradient flows
through the augmentation, the generator does not learn to reproduce it.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from translate import keyed_random

TRANSLATION_RATIO = 1 / 8
"""Largest translation, as a fraction of the image's side."""

CUTOUT_RATIO = 1 / 2
"""Side of the rectangle that cutout blanks, as a fraction of the image's side."""


def diffaugment(
    x: Tensor, key: Tensor, policy: str | Iterable[str], name: str = "diffaugment", *, condition_channels: int = 0
) -> Tensor:
    """Augment images x (N, C, H, W) in [-1, 1], each by draws from its own key (N,); shape and dtype stay.

    `policy`: rows of DIFFAUGMENT, "color,translation" or ("color", "translation"); applied in the table's order, whatever
    order they are given in. ValueError for an unknown row. `name`: another name gives other draws, so each use in a step has
    its own (real, fake, the generator's). Blank pixels are 0, mid-grey; colours are not clipped, since that would stop the
    gradient, so values may leave [-1, 1].

    `condition_channels`: number of leading channels that are a condition, as pix2pix's input image in the pair (input,
    output). They are moved and cut together with the rest, or the two would no longer show the same place. Their colours stay:
    they are equal in the real and the fake pair, so there is nothing to memorise, and a label or edge map in other colours
    means something else.
    """
    for row in parse_policy(policy):
        x = DIFFAUGMENT[row](x, key, f"{name}/{row}", condition_channels)
    return x


def parse_policy(policy: str | Iterable[str]) -> tuple[str, ...]:
    """Return the rows of a policy in the table's order. ValueError, naming them, for unknown rows."""
    requested = [row.strip() for row in policy.split(",")] if isinstance(policy, str) else list(policy)
    unknown = [row for row in requested if row and row not in DIFFAUGMENT]
    if unknown:
        raise ValueError(
            f"unknown differentiable augmentation: {', '.join(unknown)}; choose from {', '.join(DIFFAUGMENT)}"
        )
    return tuple(row for row in DIFFAUGMENT if row in requested)


def find_policy(policy: str) -> tuple[str, ...] | None:
    """Return the rows of a policy such as "color,cutout", or None if it names an unknown one."""
    try:
        return parse_policy(policy)
    except ValueError:
        return None


def color(x: Tensor, key: Tensor, name: str, condition_channels: int = 0) -> Tensor:
    """Jitter brightness by −½ to ½, saturation by 0 to 2 about each pixel's mean over the channels, contrast by ½ to 1½ about
    each image's mean; uniform draws, in the authors' order. An image of one channel has no saturation.

    Computed in float32 at least: half precision would lose bits that the discriminator could see.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    condition, y = x[:, :condition_channels], x[:, condition_channels:].to(wide)
    brightness, saturation, contrast = keyed_random.uniform(key, name, 3, 1, 1, 1).to(wide).unbind(1)
    y = y + (brightness - 0.5)
    mean = y.mean(1, keepdim=True)
    y = (y - mean) * (saturation * 2) + mean
    mean = y.mean((1, 2, 3), keepdim=True)
    y = (y - mean) * (contrast + 0.5) + mean
    return torch.cat([condition, y.to(x.dtype)], 1) if condition_channels else y.to(x.dtype)


def translation(x: Tensor, key: Tensor, name: str, condition_channels: int = 0) -> Tensor:
    """Translate by whole pixels, up to an eighth of each side; mid-grey comes in."""
    height, width = x.shape[2:]
    reach_y, reach_x = int(height * TRANSLATION_RATIO + 0.5), int(width * TRANSLATION_RATIO + 0.5)
    draws = keyed_random.uniform(key, name, 2, 1).unbind(1)
    rows = torch.arange(height, device=x.device) + _below(draws[0], 2 * reach_y + 1) - reach_y  # (N, H)
    columns = torch.arange(width, device=x.device) + _below(draws[1], 2 * reach_x + 1) - reach_x
    inside = _both((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
    # Every pixel is read once, those from outside at the opposite side and then blanked: so the backward pass sums nothing,
    # and its bits do not depend on an order.
    index = (rows % height)[:, :, None] * width + (columns % width)[:, None, :]
    moved = x.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, x.shape[1], -1)).view(x.shape)
    return moved.masked_fill(~inside, 0)


def cutout(x: Tensor, key: Tensor, name: str, condition_channels: int = 0) -> Tensor:
    """Blank a rectangle of half the image's sides to mid-grey; its centre is anywhere, so a part of it may lie outside."""
    draws = keyed_random.uniform(key, name, 2, 1).unbind(1)
    covered = []
    for draw, side in zip(draws, x.shape[2:], strict=True):
        hole = int(side * CUTOUT_RATIO + 0.5)
        start = _below(draw, side + 1 - hole % 2) - hole // 2  # as the authors place it: N, of −hole/2 to side − hole/2
        along = torch.arange(side, device=x.device)
        covered.append((along >= start) & (along < start + hole))
    return x.masked_fill(_both(*covered), 0)


def _below(draw: Tensor, count: int) -> Tensor:
    """Map draws in [0, 1) to integers from 0 to count − 1, as int64."""
    return (draw * count).to(torch.int64)


def _both(rows: Tensor, columns: Tensor) -> Tensor:
    """Return the mask (N, 1, H, W) of the pixels in both masks, of rows (N, H) and of columns (N, W)."""
    return (rows[:, :, None] & columns[:, None, :])[:, None]


DIFFAUGMENT: dict[str, Callable[[Tensor, Tensor, str, int], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}
"""The paper's three augmentations, in the authors' order. A row takes images, keys, the name of its draws and the number of
condition channels."""
