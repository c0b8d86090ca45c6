"""Random crop, flip and normalisation; every draw is a pure function of the image's key.

The draws of many steps are made at once (`draw_cuts`). A batch is then cropped by slices on the CPU, which is fastest there, or
by one gather on a device, which then does not wait for the host.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from translate import images, keyed_random
from translate.images import ValueRange


@dataclass(frozen=True)
class Cuts:
    """Crop offsets and flips of N images; all (N,) on one device."""

    top: Tensor
    left: Tensor
    mirrored: Tensor
    """Images to be flipped left to right, bool."""

    def part(self, start: int, stop: int) -> "Cuts":
        """Cuts of images `start` to `stop` − 1."""
        return Cuts(self.top[start:stop], self.left[start:stop], self.mirrored[start:stop])

    def as_lists(self) -> list[tuple[int, int, bool]]:
        """List (top, left, mirrored) of each image."""
        return list(zip(self.top.tolist(), self.left.tolist(), self.mirrored.tolist(), strict=True))

    def to(self, device: torch.device) -> "Cuts":
        """Copy to a device, without waiting for the copy."""
        return Cuts(*(x.to(device, non_blocking=True) for x in (self.top, self.left, self.mirrored)))


def draw_cuts(key: Tensor, name: str, heights: Tensor, widths: Tensor, size: int | None, flip: bool) -> Cuts:
    """Draw crops of `size` pixels (None: the whole image) from images of the given heights and widths, all (N,).

    The offset is uniform over all that fit, and a flip has probability ½, as in the reference. Images with the same key and
    `name` (the two sides of a pair) are cropped and flipped alike.
    """
    draws = keyed_random.uniform(key, name, 3)
    rows, columns = (heights - size + 1, widths - size + 1) if size else (torch.ones_like(heights),) * 2
    mirrored = draws[:, 2] < 0.5 if flip else torch.zeros_like(draws[:, 2], dtype=torch.bool)
    return Cuts((draws[:, 0] * rows).to(torch.int64), (draws[:, 1] * columns).to(torch.int64), mirrored)


def crop_and_flip(image: Tensor, top: int, left: int, mirrored: bool, size: int | None) -> Tensor:
    """Crop one image (C, h, w) to a square of `size` pixels (None: the whole image), and flip it where `mirrored`."""
    part = image if size is None else image[:, top : top + size, left : left + size]
    return part.flip(2) if mirrored else part


def crop_into(
    stored: Sequence[Tensor], cuts: Sequence[tuple[int, int, bool]], out: Tensor, values: ValueRange | None
) -> Tensor:
    """Crop, flip and normalise images (C, h, w) on the CPU into `out`, (N, C, H, W) in [-1, 1], which is returned.

    Image by image, each while it is in the processor's cache. `values`: their declared range.
    """
    height, width = out.shape[2:]
    for image, (top, left, mirrored), target in zip(stored, cuts, out.unbind(), strict=True):
        part = image[:, top : top + height, left : left + width]
        normalise_into(part.flip(2) if mirrored else part, target, values)
    return out


def normalise_into(stored: Tensor, x: Tensor, values: ValueRange | None) -> None:
    """Normalise an image (C, h, w) on the CPU into contiguous `x`, to the same bits as `images.normalize`."""
    if stored.dtype == torch.uint8:
        _look_up(stored, x, _normalised_values(x.dtype, values))
        return
    x.copy_(stored)
    low, high = values or images.FULL_RANGES[stored.dtype]
    if low != 0:
        x.sub_(low)
    x.div_(high - low).mul_(2).sub_(1)
    if not images.spans_full_range(stored.dtype, values):
        x.clamp_(-1, 1)


@cache
def _normalised_values(dtype: torch.dtype, values: ValueRange | None) -> np.ndarray:
    """Look-up table (256,) of the normalised uint8 values."""
    return images.normalize(torch.arange(256, dtype=torch.uint8), dtype, values).numpy()


def _look_up(stored: Tensor, x: Tensor, table: np.ndarray) -> None:
    """Normalise by OpenCV, which is faster than arithmetic, and than torch at splitting channels-last images."""
    channels_last = stored.stride(0) == 1 and stored.shape[0] > 1
    planes = cv2.split(stored.permute(1, 2, 0).numpy()) if channels_last else stored.numpy()
    for plane, target in zip(planes, x.numpy(), strict=True):
        cv2.LUT(plane, table, target)


def gather_crops(stored: Tensor, index: Tensor, cuts: Cuts, height: int, width: int) -> Tensor:
    """Crop images `index` (N,) of `stored` (M, C, H, W) to (N, C, height, width) of the same depth, by one gather."""
    rows, columns = _crop_coordinates(cuts, height, width)
    channels = torch.arange(stored.shape[1], device=stored.device)
    where = (index[:, None, None, None], channels[:, None, None], rows[:, None, :, None], columns[:, None, None, :])
    return _indexable(stored)[where].view(stored.dtype)


@dataclass(frozen=True)
class FlatImages:
    """N images of many sizes, (C, h, w) each, in one flat tensor."""

    data: Tensor
    channels: int
    offsets: Tensor
    """Index in `data` of each image's first value, (N,)."""
    heights: Tensor
    widths: Tensor


def gather_flat_crops(flat: FlatImages, cuts: Cuts, height: int, width: int) -> Tensor:
    """Crop images of many sizes to (N, C, height, width) of the same depth, by one gather on their device."""
    rows, columns = _crop_coordinates(cuts, height, width)
    channel = torch.arange(flat.channels, device=flat.data.device)
    plane = (flat.heights * flat.widths)[:, None] * channel  # (N, C)
    indices = (
        flat.offsets[:, None, None, None]
        + plane[:, :, None, None]
        + (rows * flat.widths[:, None])[:, None, :, None]
        + columns[:, None, None, :]
    )
    return _indexable(flat.data)[indices].view(flat.data.dtype)


def _indexable(stored: Tensor) -> Tensor:
    return stored.view(torch.int16) if stored.dtype == torch.uint16 else stored  # CUDA does not index uint16


def _crop_coordinates(cuts: Cuts, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Rows (N, height) and columns (N, width) of the crops' pixels."""
    across = torch.arange(width, device=cuts.top.device)
    mirrored = torch.where(cuts.mirrored[:, None], width - 1 - across, across)
    return cuts.top[:, None] + torch.arange(height, device=cuts.top.device), cuts.left[:, None] + mirrored
