"""Random crop, flip and normalisation, every draw a pure function of the image's key.

The draws of many steps are made at once (`plan`); a batch is then cut by slices on the CPU, which is fastest there, or by one
gather on a device, where nothing then waits for the host.
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
    """Where each of N images is cut; all (N,) on one device."""

    top: Tensor
    left: Tensor
    mirrored: Tensor
    """bool"""

    def part(self, start: int, stop: int) -> "Cuts":
        return Cuts(self.top[start:stop], self.left[start:stop], self.mirrored[start:stop])

    def as_lists(self) -> list[tuple[int, int, bool]]:
        """(top, left, mirrored) of each."""
        return list(zip(self.top.tolist(), self.left.tolist(), self.mirrored.tolist(), strict=True))

    def to(self, device: torch.device) -> "Cuts":
        return Cuts(*(x.to(device, non_blocking=True) for x in (self.top, self.left, self.mirrored)))


def draw_cuts(key: Tensor, name: str, heights: Tensor, widths: Tensor, size: int | None, flip: bool) -> Cuts:
    """Cuts of `size` pixels (None: the whole image) from images of the given sizes, all (N,).

    The offset is uniform over all that fit and a flip has probability ½, as in the reference. Images that are given the
    same key and name (the two sides of a pair) are cut and flipped alike.
    """
    draws = keyed_random.uniform(key, name, 3)
    rows, columns = (heights - size + 1, widths - size + 1) if size else (torch.ones_like(heights),) * 2
    mirrored = draws[:, 2] < 0.5 if flip else torch.zeros_like(draws[:, 2], dtype=torch.bool)
    return Cuts((draws[:, 0] * rows).to(torch.int64), (draws[:, 1] * columns).to(torch.int64), mirrored)


def crop_and_flip(image: Tensor, top: int, left: int, mirrored: bool, size: int | None) -> Tensor:
    """One image (C, h, w), cut to a square of `size` pixels; None: whole."""
    part = image if size is None else image[:, top : top + size, left : left + size]
    return part.flip(2) if mirrored else part


def crop_into(
    stored: Sequence[Tensor], cuts: Sequence[tuple[int, int, bool]], out: Tensor, values: ValueRange | None
) -> Tensor:
    """Images (C, h, w) on the CPU, cut into `out` (N, C, H, W) in [-1, 1], image by image while it is in the cache."""
    height, width = out.shape[2:]
    for image, (top, left, mirrored), place in zip(stored, cuts, out.unbind(), strict=True):
        part = image[:, top : top + height, left : left + width]
        normalise_into(part.flip(2) if mirrored else part, place, values)
    return out


def normalise_into(stored: Tensor, x: Tensor, values: ValueRange | None) -> None:
    """`images.normalize` of an image (C, h, w) on the CPU, into contiguous x: bit for bit the same."""
    if stored.dtype == torch.uint8:
        _look_up(stored, x, _table(x.dtype, values))
        return
    x.copy_(stored)
    low, high = values or images.FULL_RANGES[stored.dtype]
    if low != 0:
        x.sub_(low)
    x.div_(high - low).mul_(2).sub_(1)
    if not images.spans_full_range(stored.dtype, values):
        x.clamp_(-1, 1)


@cache
def _table(dtype: torch.dtype, values: ValueRange | None) -> np.ndarray:
    """What each of the 256 values becomes."""
    return images.normalize(torch.arange(256, dtype=torch.uint8), dtype, values).numpy()


def _look_up(stored: Tensor, x: Tensor, table: np.ndarray) -> None:
    """By OpenCV, which is faster than arithmetic, and than torch at taking colours apart that lie side by side."""
    side_by_side = stored.stride(0) == 1 and stored.shape[0] > 1
    planes = cv2.split(stored.permute(1, 2, 0).numpy()) if side_by_side else stored.numpy()
    for plane, place in zip(planes, x.numpy(), strict=True):
        cv2.LUT(plane, table, place)


def gather_crops(stored: Tensor, index: Tensor, cuts: Cuts, height: int, width: int) -> Tensor:
    """stored (M, C, H, W), index (N,) into it → (N, C, height, width) of the same depth, by one gather on its device."""
    rows, columns = _places(cuts, height, width)
    channels = torch.arange(stored.shape[1], device=stored.device)
    where = (index[:, None, None, None], channels[:, None, None], rows[:, None, :, None], columns[:, None, None, :])
    return _reinterpreted(stored)[where].view(stored.dtype)


def gather_flat_crops(
    flat: Tensor, offsets: Tensor, heights: Tensor, widths: Tensor, channels: int, cuts: Cuts, height: int, width: int
) -> Tensor:
    """The same of images of many sizes that lie one after another in a flat tensor; offsets, heights, widths are (N,)."""
    rows, columns = _places(cuts, height, width)
    channel = torch.arange(channels, device=flat.device)
    plane = (heights * widths)[:, None] * channel  # (N, C)
    places = (
        offsets[:, None, None, None]
        + plane[:, :, None, None]
        + (rows * widths[:, None])[:, None, :, None]
        + columns[:, None, None, :]
    )
    return _reinterpreted(flat)[places].view(flat.dtype)


def _reinterpreted(stored: Tensor) -> Tensor:
    return stored.view(torch.int16) if stored.dtype == torch.uint16 else stored  # CUDA does not index uint16


def _places(cuts: Cuts, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Rows (N, height) and columns (N, width) of the cuts."""
    across = torch.arange(width, device=cuts.top.device)
    mirrored = torch.where(cuts.mirrored[:, None], width - 1 - across, across)
    return cuts.top[:, None] + torch.arange(height, device=cuts.top.device), cuts.left[:, None] + mirrored
