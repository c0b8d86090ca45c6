"""Checks and conversions of the inputs of metrics: images in 8 bits and finite features."""

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from translate import images, keyed_random
from translate.errors import DataError

TranslateFn = Callable[[Tensor], Tensor]
"""Translation of a batch: (N, C, H, W) in [-1, 1] → the same in the other domain, of the same size."""


def to_uint8_batch(x: Tensor, metric: str) -> Tensor:
    """Return images (N, C, H, W), uint8 or floating point in [-1, 1], as uint8, as a file would hold them.

    Values outside of the range are clipped. DataError for values that are not finite, ValueError for another shape.
    """
    if x.ndim != 4:
        raise ValueError(f"{metric}: images of shape {tuple(x.shape)}; expected (N, C, H, W)")
    if x.dtype == torch.uint8:
        return x
    if not x.isfinite().all():
        raise DataError(f"{metric}: the images have values that are not finite; translate with --precision fp32")
    return images.quantize(x)


def to_levels(x: Tensor, metric: str) -> Tensor:
    """Return images in levels of 255, rounded to 8 bits, as float64."""
    return to_uint8_batch(x, metric).double()


def pair_to_levels(x: Tensor, y: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    """Return two sets of images in levels of 255. DataError unless they agree in number, channels and size."""
    if x.shape != y.shape:
        raise DataError(
            f"{metric}: images of different shapes, {tuple(x.shape)} and {tuple(y.shape)}; "
            "the metric compares pairs of one size"
        )
    return to_levels(x, metric), to_levels(y, metric)


def check_count(count: int, minimum: int, metric: str, which: str = "") -> None:
    """Raise DataError for fewer images than the metric needs. `which` names the set: real or translated."""
    if count < minimum:
        raise DataError(f"{metric}: {count} {which + ' ' if which else ''}images; it needs at least {minimum}")


def check_side(x: Tensor, minimum: int, metric: str) -> None:
    """Raise DataError for images (N, C, H, W) with a shorter side than the metric needs."""
    height, width = x.shape[-2:]
    if min(height, width) < minimum:
        raise DataError(f"{metric}: images of {width}×{height} pixels; it needs sides of at least {minimum}")


def check_features(x: Tensor | np.ndarray, minimum: int, metric: str, which: str = "") -> np.ndarray:
    """Return features or logits (N, D), one row per image, as float64 in lexical order of rows.

    The order in which images were listed then plays no part. DataError for fewer than `minimum` rows and for rows that are
    not finite, ValueError for another shape.
    """
    array = np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"{metric}: features of shape {array.shape}; expected (N, D)")
    check_count(len(array), minimum, metric, which)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise DataError(
            f"{metric}: the features of {bad.size} of {len(array)} {which + ' ' if which else ''}images are not finite, "
            f"first those of image {bad[0] + 1}; use --precision fp32, and check that image"
        )
    return sort_rows(array)


def sort_rows(x: np.ndarray) -> np.ndarray:
    """Return the rows of x (N, D) in lexical order: the same array however the images were listed."""
    return x[np.lexsort(x.T[::-1])]


def content_keys(pixels: Tensor) -> Tensor:
    """Return one key of random draws per image, (N,) int64, from the SHA-256 of its pixels (N, C, H, W) uint8."""
    digests = (hashlib.sha256(image.tobytes()).digest()[:8] for image in pixels.cpu().numpy())
    return torch.tensor(
        [keyed_random.derive_key(int.from_bytes(digest, "little")) for digest in digests], dtype=torch.int64
    )
