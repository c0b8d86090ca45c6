"""The statistics of a run, `stats.jsonl`: one object a line for each log point. Without torch, for `status` to be quick."""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from translate import atomic

LogPoint = dict[str, Any]
"""A log point: `images` seen, and scalars by the names that they have in TensorBoard."""

HORIZON = 60.0
"""Seconds after which a speed counts for 1/e in the forecast: it heeds what is so now, and no single checkpoint."""


def to_line(point: LogPoint) -> bytes:
    return json.dumps(point).encode() + b"\n"


def read(path: Path) -> list[LogPoint]:
    """The points of a file, in order; lines that are damaged or half written are left out. None if there is no file."""
    if not path.exists():
        return []
    return list(_whole(path.read_bytes().splitlines()))


def _whole(lines: Iterable[bytes]) -> Iterator[LogPoint]:
    for line in lines:
        with suppress(ValueError, RecursionError):
            point = json.loads(line)
            if isinstance(point, dict) and type(point.get("images")) is int:
                yield point


def truncate_after(path: Path, images_seen: int) -> list[LogPoint]:
    """Drops the points after `images_seen` and damaged lines; what stays."""
    points = read(path)
    kept = [point for point in points if point["images"] <= images_seen]
    if path.exists():
        atomic.write(path, b"".join(map(to_line, kept)))
    return kept


def scalar_names(points: Iterable[LogPoint]) -> list[str]:
    """The scalars of the points, in the order in which they first appear."""
    return list(dict.fromkeys(name for point in points for name, value in point.items() if _is_scalar(name, value)))


def curve(points: Iterable[LogPoint], name: str) -> list[tuple[int, float]]:
    """A scalar as (images, value), where it was taken."""
    return [(point["images"], point[name]) for point in points if _is_scalar(name, point.get(name))]


def _is_scalar(name: str, value: Any) -> bool:
    return name != "images" and isinstance(value, (int, float)) and not isinstance(value, bool)


class SpeedMeter:
    """Images a second of late: time `HORIZON` seconds ago counts 1/e of time now."""

    def __init__(self) -> None:
        self._images = self._seconds = 0.0

    def add(self, images: int, seconds: float) -> None:
        """`images` in the last `seconds`, evenly."""
        keep = math.exp(-seconds / HORIZON)
        weight = HORIZON * (1 - keep)  # the integral of exp(−age / HORIZON) over them
        self._images = self._images * keep + images / seconds * weight
        self._seconds = self._seconds * keep + weight

    def seconds_for(self, images: int) -> float | None:
        """How long so many images take; None while nothing is known."""
        return images * self._seconds / self._images if self._images > 0 else None
