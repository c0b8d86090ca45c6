"""Statistics file of a run, `stats.jsonl`: one JSON object a line for each log point. Imports no torch: `status` is quick."""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from translate import atomic, records
from translate.records import is_count, is_list_of, is_number, is_text

LogPoint = dict[str, Any]
"""A log point: `images` seen, and scalars by the names that they have in TensorBoard."""

HORIZON = 60.0
"""Seconds after which a speed counts for 1/e in the forecast, which so follows the present, but no single checkpoint."""


def to_line(point: LogPoint) -> bytes:
    """Return a log point as a line of the file."""
    return json.dumps(point).encode() + b"\n"


def read(path: Path) -> list[LogPoint]:
    """Return the log points of a file, in order, without damaged or half-written lines and lines of other programs.

    No points if there is no file. OSError if it cannot be read.
    """
    if not path.is_file():
        return []
    return list(_parsed(path.read_bytes().splitlines()))


def _parsed(lines: Iterable[bytes]) -> Iterator[LogPoint]:
    for line in lines:
        with suppress(ValueError):
            point = records.parse_json(line)
            if isinstance(point, dict) and "images" in point:
                records.check_kinds(point, _KINDS)
                yield point


_KINDS = {
    "images": (is_count, "a whole number"),
    "epoch": (is_count, "a whole number"),
    "progress": (is_number, "a number"),
    "advice": (lambda value: is_list_of(value, is_text), "a list of texts"),
}
"""Entries of a log point that are more than a scalar to plot."""


def truncate_after(path: Path, images_seen: int) -> list[LogPoint]:
    """Remove the points after `images_seen`, and damaged lines, from a file; returns the points that stay."""
    points = read(path)
    kept = [point for point in points if point["images"] <= images_seen]
    if path.is_file():
        atomic.write(path, b"".join(map(to_line, kept)))
    return kept


def scalar_names(points: Iterable[LogPoint]) -> list[str]:
    """Return the names of the scalars of the points, in the order in which they first appear."""
    return list(dict.fromkeys(name for point in points for name, value in point.items() if _is_scalar(name, value)))


def curve(points: Iterable[LogPoint], name: str) -> list[tuple[int, float]]:
    """Return the curve of a scalar: (images, value) of each point that has it."""
    return [(point["images"], point[name]) for point in points if _is_scalar(name, point.get(name))]


def _is_scalar(name: str, value: Any) -> bool:
    return name != "images" and is_number(value)


def scalar(point: LogPoint, name: str) -> float | None:
    """Return a scalar of a log point; None if the point does not have it."""
    value = point.get(name)
    return value if _is_scalar(name, value) else None


class SpeedMeter:
    """Exponentially weighted mean of the images per second: time `HORIZON` seconds ago counts 1/e of time now."""

    def __init__(self) -> None:
        self._images = self._seconds = 0.0

    def add(self, images: int, seconds: float) -> None:
        """Add `images` that were seen evenly over the last `seconds`."""
        keep = math.exp(-seconds / HORIZON)
        weight = HORIZON * (1 - keep)  # the integral of exp(−age / HORIZON) over them
        self._images = self._images * keep + images / seconds * weight
        self._seconds = self._seconds * keep + weight

    def seconds_for(self, images: int) -> float | None:
        """Return the seconds that so many images will take; None before the first `add`."""
        return images * self._seconds / self._images if self._images > 0 else None
