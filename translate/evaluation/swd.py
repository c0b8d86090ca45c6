"""Sliced Wasserstein distance: how far the looks of small patches are from those of real images, at each scale.

Karras et al., "Progressive growing of GANs for improved quality, stability, and variation", ICLR 2018, sec. 5. It needs no
trained network.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from translate import keyed_random
from translate.errors import DataError
from translate.evaluation import input_checks
from translate.evaluation.filters import separable_filter
from translate.evaluation.uncertainty import Estimate, half_error, random_halves

PATCH = 7
"""Pixels of a patch's side."""

PATCHES = 128
"""Of each image, at each level."""

ROUNDS, DIRECTIONS = 4, 128
"""512 projections, a quarter at a time to save memory."""

COARSEST = 16
"""Pixels of the shorter side at the last level."""

HALVES = 10
"""Random halves of both sets from which the errors are taken."""

CHUNK = 64
"""Images that are worked on at a time."""


def sliced_wasserstein(real: Tensor, fake: Tensor, seed: int = 0, *, halves: int = HALVES) -> dict[str, Estimate]:
    """`swd`: the mean over levels; `swd_<pixels>`: each level, named by its shorter side. At least 0, lower is closer.

    Images (N, C, H, W) and (M, C, H, W), uint8 or in [-1, 1], sides of at least 32 pixels, at least 2 a set. Each is taken
    apart into a Laplacian pyramid down to 16 pixels (a side that is odd is halved upwards); of each level 128 patches of 7×7
    an image are drawn, shifted and scaled so that each channel of the set has mean 0 and deviation 1, and projected on 512
    random directions; the distance is the mean over directions of the 1-D Wasserstein-1 distance, the mean difference of
    sorted values where N = M. The unit is a channel's deviation; the paper's tables give it × 1000. Its draws are a function
    of `seed` and of the images' pixels. It shrinks with growing N: compare figures of equal counts only.
    """
    sides = [_ordered(images, which) for images, which in ((real, "real"), (fake, "translated"))]
    if sides[0].shape[1:] != sides[1].shape[1:]:
        raise DataError(
            f"swd: real images of {_size(real)} and translated ones of {_size(fake)} (channels×height×width); "
            "it compares images of one size"
        )
    values: dict[int, list[float]] = {}
    for level, pixels in enumerate(_levels(*real.shape[-2:])):
        real_patches, fake_patches = (_patches(side, level, seed) for side in sides)
        values[pixels] = _distances(real_patches, fake_patches, level, seed, halves)
    count = min(len(real), len(fake))
    by_level = {f"swd_{pixels}": _estimate(row, count) for pixels, row in values.items()}
    means = [sum(column) / len(values) for column in zip(*values.values(), strict=True)]
    return {"swd": _estimate(means, count), **by_level}


def _ordered(images: Tensor, which: str) -> Tensor:
    """The images as uint8, in an order that is drawn from their pixels."""
    input_checks.check_count(len(images), 2, "swd", which)
    input_checks.check_side(images, 2 * COARSEST, "swd")
    pixels = input_checks.to_uint8_batch(images, "swd")
    return pixels[input_checks.content_keys(pixels).argsort(stable=True).to(pixels.device)]


def _size(images: Tensor) -> str:
    return "×".join(str(side) for side in images.shape[1:])


def _estimate(values: list[float], count: int) -> Estimate:
    """From the value of all and those of the halves."""
    return Estimate(values[0], half_error(values[1:], count))


def _levels(height: int, width: int) -> list[int]:
    """The shorter side of each level, finest first."""
    sides = [min(height, width)]
    while math.ceil(sides[-1] / 2) >= COARSEST:
        sides.append(math.ceil(sides[-1] / 2))
    return sides


def _patches(images: Tensor, level: int, seed: int) -> np.ndarray:
    """(N, 128, C · 49) float32: the patches of one level, each channel of mean 0 and deviation 1 over the set."""
    parts = [_drawn(_laplacian(chunk, level), _keys(chunk, level, seed)) for chunk in images.split(CHUNK)]
    patches = torch.cat(parts)  # (N, 128, C, 49)
    deviation, mean = torch.std_mean(patches.double(), dim=(0, 1, 3), keepdim=True, correction=0)
    scaled = (patches - mean) / torch.where(deviation > 0, deviation, 1)  # a channel without structure stays 0
    return scaled.float().flatten(2).cpu().numpy()


def _keys(images: Tensor, level: int, seed: int) -> Tensor:
    return keyed_random.fold_in(input_checks.content_keys(images), seed, "swd patches", level).to(images.device)


def _drawn(images: Tensor, keys: Tensor) -> Tensor:
    """128 random 7×7 patches of each image, wholly inside: (N, C, H, W) → (N, 128, C, 49)."""
    count, channels, height, width = images.shape
    free = torch.tensor([height - PATCH + 1, width - PATCH + 1], device=images.device)
    top, left = (keyed_random.uniform(keys, "places", PATCHES, 2) * free).long().unbind(-1)
    steps = torch.arange(PATCH, device=images.device)
    rows = (top[..., None] + steps)[..., :, None]
    columns = (left[..., None] + steps)[..., None, :]
    flat = (rows * width + columns).view(count, 1, -1).expand(-1, channels, -1)
    patches = images.flatten(2).gather(2, flat)
    return patches.view(count, channels, PATCHES, PATCH * PATCH).transpose(1, 2)


def _laplacian(images: Tensor, level: int) -> Tensor:
    """One level of the pyramid of Burt and Adelson (1983): what the next coarser one lacks; the last lacks nothing."""
    fine = images.float()
    for _ in range(level):
        fine = _halved(fine)
    if math.ceil(min(fine.shape[-2:]) / 2) < COARSEST:
        return fine
    return fine - _doubled(_halved(fine), fine.shape[-2:])


def _halved(x: Tensor) -> Tensor:
    return _blurred(x)[..., ::2, ::2]


def _doubled(x: Tensor, size: torch.Size) -> Tensor:
    spread = x.new_zeros(*x.shape[:2], *size)
    spread[..., ::2, ::2] = x
    return 4 * _blurred(spread)


def _blurred(x: Tensor) -> Tensor:
    """By [1, 4, 6, 4, 1] / 16 along both axes, reflected at the borders."""
    return separable_filter(F.pad(x, (2, 2, 2, 2), mode="reflect"), [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16])


def _distances(x: np.ndarray, y: np.ndarray, level: int, seed: int, halves: int) -> list[float]:
    """The distance of all patches, then that of each pair of random halves of the images, on the first directions alone."""
    key = torch.tensor([keyed_random.derive_key(seed, "swd directions", level)])
    directions = F.normalize(keyed_random.normal(key, "directions", ROUNDS * DIRECTIONS, x.shape[2])[0], dim=1)
    rounds, of_halves = [], []
    for number, batch in enumerate(directions.split(DIRECTIONS)):
        (values_x, owners_x), (values_y, owners_y) = (_sorted_projections(side, batch.numpy()) for side in (x, y))
        rounds.append(wasserstein_1d(values_x, values_y))
        if number == 0:
            of_halves = [
                wasserstein_1d(_of(rows_x, values_x, owners_x), _of(rows_y, values_y, owners_y))
                for rows_x, rows_y in random_halves(len(x), len(y), seed, halves)
            ]
    return [sum(rounds) / ROUNDS, *of_halves]


def _sorted_projections(patches: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patches (N, P, F) on directions (D, F), in order: values (D, N · P), and of which image each is."""
    values = directions @ patches.reshape(-1, patches.shape[2]).T
    places = values.argsort(axis=1)  # numpy's: torch's takes five times as long on the CPU
    return np.take_along_axis(values, places, axis=1), places // patches.shape[1]


def _of(images: np.ndarray, values: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """The sorted values that belong to some of the images: each has equally many in every row."""
    wanted = np.zeros(owners.max() + 1, dtype=bool)
    wanted[images] = True
    return values[wanted[owners]].reshape(len(values), -1)


def wasserstein_1d(x: np.ndarray, y: np.ndarray) -> float:
    """Mean over rows of the Wasserstein-1 distance of two samples, sorted: (D, n) and (D, m).

    The area between the two quantile functions (Villani, "Topics in optimal transportation", 2003, eq. 2.47), which are
    constant between multiples of 1/n and of 1/m: the mean difference of sorted values where n = m.
    """
    n, m = x.shape[1], y.shape[1]
    if n == m:
        return float(np.abs(x - y).mean(dtype=np.float64))
    # In units of 1 / nm all edges are whole numbers
    edges = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    start, widths = edges[:-1], np.diff(edges) / (n * m)
    return float((np.abs(x[:, start // m] - y[:, start // n]) @ widths).mean())
