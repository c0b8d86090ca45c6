"""Statistics of the values that a file stores: their type, their limits and the pixels without a value."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from translate.images.formats import MAX_PIXELS, format_of
from translate.images.high_bit_depth import read_tiff
from translate.images.reading import Reading, read
from translate.images.stored_values import StoredValues
from translate.images.tiff_pages import find_pages
from translate.images.value_ranges import ValueRange

_OPEN_FORMATS = frozenset({"tiff", "npy"})


def is_of_open_type(path: Path) -> bool:
    """Return whether a file's format holds floats, signed integers, more than 16 bits or NoData; others hold 8 or 16 bits."""
    return format_of(path) in _OPEN_FORMATS


@dataclass(frozen=True)
class ValueStatistics:
    """Statistics of the colours of an image, transparency left out."""

    dtype: str
    """Name of the data type."""
    scale: ValueRange | None
    """Range of the type; None for signed and 64-bit integers, which have none."""
    low: float | None
    """Least finite value; None where no pixel has one."""
    high: float | None
    """Greatest finite value; None where no pixel has one."""
    pixels: int
    empty: int
    """Pixels without a value: NoData or not a number."""


def measure_values(path: Path, half: str = "") -> ValueStatistics:
    """Measure the values of a file, or of its "left" or "right" half. ImageError if it cannot be read."""
    stored = _read_stored(path)
    colours, empty = stored.colours, stored.empty_pixels()
    if half:
        middle = colours.shape[1] // 2
        part = slice(middle) if half == "left" else slice(middle, None)
        colours, empty = colours[:, part], None if empty is None else empty[:, part]
    values = colours if empty is None else colours[~empty]
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (None, None)
    count = 0 if empty is None else int(empty.sum())
    return ValueStatistics(colours.dtype.name, stored.type_range, low, high, colours.shape[0] * colours.shape[1], count)


def _read_stored(path: Path) -> StoredValues:
    """Return the values of a file as it stores them; of a file that Pillow decodes, those of its decoded pixels."""
    if format_of(path) == "npy":
        try:
            return StoredValues.from_array(np.load(path, allow_pickle=False))
        except (OSError, ValueError, EOFError):
            pass  # reading it below gives the reason
    elif is_of_open_type(path):
        with open(path, "rb") as file:
            pages = find_pages(file)
        if (stored := read_tiff(path, MAX_PIXELS, pages)) is not None:
            return stored
    return StoredValues(read(path, how=Reading(deep=True)).pixels)


def may_hold_16_bits(path: Path) -> bool:
    """Return whether a file may hold unsigned 16 bits, by its extension and header."""
    if format_of(path) == "png":
        try:
            with open(path, "rb") as file:
                return file.read(25)[24:] == b"\x10"
        except OSError:
            return False
    declared = read_declared_type(path)
    return format_of(path) in ("ppm", "pgm", "pnm") or (declared is not None and declared.dtype == np.uint16)


@dataclass(frozen=True)
class DeclaredType:
    """Type of a file's values, as its header has it."""

    dtype: np.dtype
    has_nodata: bool
    """True if the file declares a value that stands for none."""


def read_declared_type(path: Path) -> DeclaredType | None:
    """Return the type of the values of a TIFF or npy file; None for other files, and where the header cannot be read."""
    try:
        if format_of(path) == "npy":
            return DeclaredType(np.load(path, mmap_mode="r", allow_pickle=False).dtype, False)
        if not is_of_open_type(path):
            return None
        import tifffile

        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            assert isinstance(page, tifffile.TiffPage)
            return None if page.dtype is None else DeclaredType(page.dtype, 42113 in page.tags)
    except Exception:  # reading the file will say why
        return None
