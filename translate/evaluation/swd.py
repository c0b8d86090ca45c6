"""Sliced Wasserstein distance between small patches of translations and of real images, at each scale.

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
from translate.evaluation.uncertainty import HALVES, Estimate, estimate_from_halves, random_halves

PATCH = 7
"""Side of a patch in pixels."""

PATCHES = 128
"""Patches of each image at each level."""

ROUNDS, DIRECTIONS = 4, 128
"""512 projections, a quarter at a time to save memory."""

COARSEST = 16
"""Shorter side in pixels at the last level."""

CHUNK = 64
"""Images that are processed at a time."""


def sliced_wasserstein(real: Tensor, fake: Tensor, seed: int = 0, *, halves: int = HALVES) -> dict[str, Estimate]:
    """Return `swd`, the mean over levels, and `swd_<pixels>` of each level, named by its shorter side.

    The images are (N, C, H, W) and (M, C, H, W), uint8 or in [-1, 1], with sides of at least 32 pixels and at least 2 in a
    set. Each is decomposed into a Laplacian pyramid down to 16 pixels (an odd side is halved upwards). At each level 128
    patches of 7×7 are drawn from each image, shifted and scaled so that each channel of the set has mean 0 and standard
    deviation 1, and projected on 512 random directions. The distance is the mean over directions of the 1-D Wasserstein-1
    distance, which is the mean difference of sorted values where N = M.

    At least 0, lower is closer, in standard deviations of a channel; the paper's tables give it × 1000. Its draws depend on
    `seed` and the images' pixels. It shrinks with growing N: compare only values of equal counts. DataError for images that
    are too few, too small or of two sizes.
    """
    sets = [_sorted_by_content(images, which) for images, which in ((real, "real"), (fake, "translated"))]
    if sets[0].shape[1:] != sets[1].shape[1:]:
        raise DataError(
            f"swd: real images of {_size(real)} and translated ones of {_size(fake)} (channels×height×width); "
            "the metric compares images of one size"
        )
    values: dict[int, list[float]] = {}
    for level, pixels in enumerate(_levels(*real.shape[-2:])):
        real_patches, fake_patches = (_normalized_patches(images, level, seed) for images in sets)
        values[pixels] = _distances(real_patches, fake_patches, level, seed, halves)
    count = min(len(real), len(fake))
    by_level = {f"swd_{pixels}": estimate_from_halves(row[0], row[1:], count) for pixels, row in values.items()}
    means = [sum(column) / len(values) for column in zip(*values.values(), strict=True)]
    return {"swd": estimate_from_halves(means[0], means[1:], count), **by_level}


def _sorted_by_content(images: Tensor, which: str) -> Tensor:
    """Return the images as uint8, in an order that depends on their pixels alone."""
    input_checks.check_count(len(images), 2, "swd", which)
    input_checks.check_side(images, 2 * COARSEST, "swd")
    pixels = input_checks.to_uint8_batch(images, "swd")
    return pixels[input_checks.content_keys(pixels).argsort(stable=True).to(pixels.device)]


def _size(images: Tensor) -> str:
    return "×".join(str(side) for side in images.shape[1:])


def _levels(height: int, width: int) -> list[int]:
    """Return the shorter side of each level, finest first."""
    sides = [min(height, width)]
    while math.ceil(sides[-1] / 2) >= COARSEST:
        sides.append(math.ceil(sides[-1] / 2))
    return sides


def _normalized_patches(images: Tensor, level: int, seed: int) -> np.ndarray:
    """Return the patches of one level, each channel of mean 0 and deviation 1 over the set: (N, 128, C · 49) float32."""
    parts = [_draw_patches(_laplacian(chunk, level), _keys(chunk, level, seed)) for chunk in images.split(CHUNK)]
    patches = torch.cat(parts)  # (N, 128, C, 49)
    deviation, mean = torch.std_mean(patches.double(), dim=(0, 1, 3), keepdim=True, correction=0)
    scaled = (patches - mean) / torch.where(deviation > 0, deviation, 1)  # a channel without structure stays 0
    return scaled.float().flatten(2).cpu().numpy()


def _keys(images: Tensor, level: int, seed: int) -> Tensor:
    return keyed_random.fold_in(input_checks.content_keys(images), seed, "swd patches", level).to(images.device)


def _draw_patches(images: Tensor, keys: Tensor) -> Tensor:
    """Draw 128 random 7×7 patches of each image, wholly inside: (N, C, H, W) → (N, 128, C, 49)."""
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
    """Return one level of the Laplacian pyramid of Burt and Adelson (1983); the last level is the blurred image itself."""
    fine = images.float()
    for _ in range(level):
        fine = _downsample(fine)
    if math.ceil(min(fine.shape[-2:]) / 2) < COARSEST:
        return fine
    return fine - _upsample(_downsample(fine), fine.shape[-2:])


def _downsample(x: Tensor) -> Tensor:
    return _blur(x)[..., ::2, ::2]


def _upsample(x: Tensor, size: torch.Size) -> Tensor:
    spread = x.new_zeros(*x.shape[:2], *size)
    spread[..., ::2, ::2] = x
    return 4 * _blur(spread)


def _blur(x: Tensor) -> Tensor:
    """Blur images by [1, 4, 6, 4, 1] / 16 along both axes, reflected at the borders."""
    return separable_filter(F.pad(x, (2, 2, 2, 2), mode="reflect"), [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16])


def _distances(x: np.ndarray, y: np.ndarray, level: int, seed: int, halves: int) -> list[float]:
    """Return the distance of all patches, followed by those of random halves of the images.

    The halves are compared on the first directions alone.
    """
    key = torch.tensor([keyed_random.derive_key(seed, "swd directions", level)])
    directions = F.normalize(keyed_random.normal(key, "directions", ROUNDS * DIRECTIONS, x.shape[2])[0], dim=1)
    round_distances, half_distances = [], []
    for number, batch in enumerate(directions.split(DIRECTIONS)):
        (values_x, owners_x), (values_y, owners_y) = (_sorted_projections(side, batch.numpy()) for side in (x, y))
        round_distances.append(wasserstein_1d(values_x, values_y))
        if number == 0:
            half_distances = [
                wasserstein_1d(_select_images(rows_x, values_x, owners_x), _select_images(rows_y, values_y, owners_y))
                for rows_x, rows_y in random_halves(len(x), len(y), seed, halves)
            ]
    return [sum(round_distances) / ROUNDS, *half_distances]


def _sorted_projections(patches: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project patches (N, P, F) on directions (D, F): sorted values (D, N · P), and the image of each value."""
    values = directions @ patches.reshape(-1, patches.shape[2]).T
    indices = values.argsort(axis=1)  # numpy's: torch's takes five times as long on the CPU
    return np.take_along_axis(values, indices, axis=1), indices // patches.shape[1]


def _select_images(images: np.ndarray, values: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Return the sorted values that belong to some of the images; each image has equally many in every row."""
    selected = np.zeros(owners.max() + 1, dtype=bool)
    selected[images] = True
    return values[selected[owners]].reshape(len(values), -1)


def wasserstein_1d(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean over rows of the Wasserstein-1 distance of two sorted samples: (D, n) and (D, m).

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
