"""Repair of files that lack nothing, or almost nothing, of their pixels: their damage is told, and they are read.

Everything else that is damaged stays an error: rows of pixels are never made up.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from translate.images import jpeg_end
from translate.images.metadata import png_chunks
from translate.text import join_names

_MAX_BYTES = 1 << 30
"""Largest file that is repaired: a copy of it is made in memory."""


class Repaired(NamedTuple):
    """Content of a file whose pixels can be decoded, and what was wrong with it."""

    data: bytes
    damage: str
    """Damage in one short line."""


def repair(path: Path, max_pixels: int) -> Repaired | None:
    """Repair a file that could not be decoded; None where there is no way to. ImageError above `max_pixels`."""
    with open(path, "rb") as file:
        head = file.read(8)
    for signature, function in _REPAIRS.items():
        if head.startswith(signature) and path.stat().st_size <= _MAX_BYTES:
            return function(path.read_bytes(), max_pixels)
    return None


def _jpeg(data: bytes, max_pixels: int) -> Repaired | None:
    completed = jpeg_end.complete(data, max_pixels)
    if completed is None:
        return None
    unknown = completed.unknown
    lost = f"; {unknown} pixels at its end are filled in" if unknown else ", but no pixel"
    return Repaired(completed.data, f"damaged: its last bytes are missing{lost}")


def _png(data: bytes, max_pixels: int) -> Repaired | None:
    kept, damaged = png_chunks.drop_damaged(data)
    if damaged:
        return Repaired(kept, f"damaged: wrong checksum of {join_names(damaged)}, which is left out")
    kept = png_chunks.strip_metadata(data, keep_seen=True)
    return Repaired(kept, "its metadata are damaged or too long; not kept") if kept != data else None


_REPAIRS: dict[bytes, Callable[[bytes, int], Repaired | None]] = {b"\xff\xd8\xff": _jpeg, png_chunks.SIGNATURE: _png}
"""First bytes of a format → its repair."""
