"""JPEG files whose last bytes are missing: which pixels the bytes that are there decide, and completion where it is nearly all.

Source: ITU-T T.81, annexes B (markers) and G (progressive coding).
"""

import io
import math
import re
from typing import NamedTuple

import numpy as np
from PIL import Image

from translate.images.formats import ImageError, check_size

_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_MAX_UNKNOWN = 0.01
"""Largest share of pixels that may be unknown in a file that is read."""
_BLOCK = 64
"""Pixels of a block, which takes at least one bit."""
_CONTINUATIONS = (1, 2)
"""Seeds of the random bytes that stand for those that are missing."""
_SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e]([\x01-\x04])")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_INTERVAL = re.compile(rb"\xff\xdd\x00\x04(..)", re.DOTALL)


class Completed(NamedTuple):
    """JPEG file with an end."""

    data: bytes
    unknown: int
    """Number of pixels that depend on the missing bytes; they are filled in."""


def is_ended(data: bytes) -> bool:
    """Return whether a JPEG file has an end marker behind its first scan, as all whole ones have."""
    start = _first_scan(data)
    return start is not None and data.find(_END, start) >= 0


def complete(data: bytes, max_pixels: int) -> Completed | None:
    """Complete a JPEG file that lacks its end marker and at most its last few pixels.

    None for files that have their end, and for those of which a whole row of pixels, more than 1 % of all pixels or a scan is
    missing. A pixel is missing if it changes with the bytes that could follow. ImageError above `max_pixels`.
    """
    start = _first_scan(data)
    if start is None or data.find(_END, start) >= 0 or not _has_all_scans(data, start):
        return None
    data = data.rstrip(b"\xff")  # the beginning of a marker
    completed = data + _END
    pixels = _decode(completed, max_pixels)
    unknown = np.zeros(pixels.shape[:2], bool)
    size = 4096 + unknown.size // 4  # enough for more than _MAX_UNKNOWN of the blocks, however many bytes each takes
    for seed in _CONTINUATIONS:
        following = np.random.default_rng(seed).integers(0, 255, size, np.uint8).tobytes()  # holds no marker
        unknown |= (_decode(data + following + _END, max_pixels) != pixels).any(axis=2)
    if unknown.all(axis=1).any() or unknown.mean() > _MAX_UNKNOWN:
        return None
    return Completed(completed, int(unknown.sum()))


def _decode(data: bytes, max_pixels: int) -> np.ndarray:
    """Return the pixels (H, W, C)."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        check_size(image.height, image.width, max_pixels)
        if 8 * len(data) < image.height * image.width // _BLOCK:
            raise ImageError("damaged image: most of it is missing")
        array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def _first_scan(data: bytes) -> int | None:
    """Return the offset of the first scan's marker; None where the segments before it are damaged."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _START_OF_SCAN:
            return at
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD9:  # none of these stands before a scan
            return None
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _has_all_scans(data: bytes, start: int) -> bool:
    """Return whether the scans that have begun bring every coefficient of every component to its last bit.

    Of the last one, all but the last restart interval must be there.
    """
    final: set[tuple[int, int]] = set()
    ids: set[int] = set()
    for found in _SCAN.finditer(data, start):
        number, start = found[1][0], found.end()
        rest = data[start : start + 2 * number + 3]
        if len(rest) < 2 * number + 3:
            return False
        ids = set(rest[: 2 * number : 2])
        first, last, approximation = rest[2 * number :]
        if approximation & 0x0F == 0:
            final |= {(component, k) for component in ids for k in range(first, min(last, 63) + 1)}
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        layers: list[tuple[int, int, int, int]] = image.layer  # type: ignore[attr-defined]
        if len(final) != 64 * len(layers):
            return False
        return len(_RESTART.findall(data, start)) >= _restart_count(data, image.size, layers, ids)


def _restart_count(data: bytes, size: tuple[int, int], layers: list[tuple[int, int, int, int]], scan: set[int]) -> int:
    """Return the number of restart markers in a scan of some components; `layers`: identifier, sampling across and down, …"""
    intervals = _INTERVAL.findall(data)
    interval = int.from_bytes(intervals[-1], "big") if intervals else 0
    if interval == 0:
        return 0
    most = max(layer[1] for layer in layers), max(layer[2] for layer in layers)
    units = 1
    for axis in (0, 1):
        if len(scan) > 1:
            units *= math.ceil(size[axis] / (8 * most[axis]))
        else:
            (sampling,) = (layer[1 + axis] for layer in layers if layer[0] in scan)
            units *= math.ceil(math.ceil(size[axis] * sampling / most[axis]) / 8)
    return math.ceil(units / interval) - 1
