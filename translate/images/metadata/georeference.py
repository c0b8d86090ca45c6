"""Georeference of a TIFF file: the tags of GeoTIFF and GDAL that say where on Earth its pixels lie.

Sources: OGC GeoTIFF Standard 1.1 (19-008r4), section 7; GDAL, "GTiff -- GeoTIFF File Format".
"""

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from translate.images.metadata import MAX_BYTES
from translate.images.metadata.exif import ASCII, DOUBLE, SHORT, SIZES, IfdEntry, byte_swapped

GDAL_METADATA, GDAL_NODATA = 42112, 42113
_PIXEL_SCALE, _TIEPOINTS, _TRANSFORMATION = 33550, 33922, 34264
_KEYS, _DOUBLES, _TEXTS = 34735, 34736, 34737
_RPC = 50844
_RASTER_TYPE, _PIXEL_IS_POINT = 1025, 2
_RPC_OFFSETS, _RPC_SCALES = (2, 3), (7, 8)
"""Places of the offsets and scales of rows and columns among the values of `_RPC`."""

TAGS = frozenset({_PIXEL_SCALE, _TIEPOINTS, _TRANSFORMATION, _KEYS, _DOUBLES, _TEXTS, _RPC, GDAL_METADATA})
"""Tags of a georeference. NoData is none of them: it is of the values (`Metadata.nodata`)."""

_STATISTICS = re.compile(rb"[ \t]*<Item\b[^>]*\bname=\"STATISTICS_[^>]*>[^<]*</Item>[ \t]*\n?")
"""Statistics of the bands in GDAL's metadata, which are of the old values."""


@dataclass(frozen=True)
class Georeference:
    """Entries of a TIFF directory, in one byte order."""

    byte_order: str
    entries: dict[int, IfdEntry]

    def in_order(self, byte_order: str) -> dict[int, IfdEntry]:
        """Return the entries in a byte order, "<" or ">"."""
        if byte_order == self.byte_order:
            return dict(self.entries)
        return {tag: IfdEntry(entry.kind, byte_swapped(entry)) for tag, entry in self.entries.items()}

    def enlarged(self, scale: int) -> "Georeference":
        """Return the georeference of the image enlarged by a whole factor: its pixels are smaller, its place is the same.

        Source: OGC 19-008r4, section 7.2 and annex B: with GTRasterTypeGeoKey 2 the place of a pixel is its middle, else its
        corner; RPC count from the middle of the first pixel.
        """
        shift = (scale - 1) / 2 if self._has_middles() else 0.0  # of the first pixel's middle, in new pixels
        entries = dict(self.entries)
        for tag, change in (
            (_PIXEL_SCALE, lambda v: [v[0] / scale, v[1] / scale, *v[2:]]),
            (_TIEPOINTS, lambda v: _enlarged_tiepoints(v, scale, shift)),
            (_TRANSFORMATION, lambda v: _enlarged_transformation(v, scale, shift)),
            (_RPC, lambda v: _enlarged_rpc(v, scale)),
        ):
            entry = entries.get(tag)
            if entry is not None and entry.kind == DOUBLE and len(entry.data) % 8 == 0:
                form = f"{self.byte_order}{len(entry.data) // 8}d"
                entries[tag] = entry._replace(data=struct.pack(form, *change(list(struct.unpack(form, entry.data)))))
        return Georeference(self.byte_order, entries)

    def _has_middles(self) -> bool:
        """Return True if the place of a pixel is its middle, by the directory of keys."""
        entry = self.entries.get(_KEYS)
        if entry is None or entry.kind != SHORT:
            return False
        words = struct.unpack(f"{self.byte_order}{len(entry.data) // 2}H", entry.data[: len(entry.data) // 2 * 2])
        return any(words[at] == _RASTER_TYPE and words[at + 3] == _PIXEL_IS_POINT for at in range(4, len(words) - 3, 4))


def _enlarged_tiepoints(values: list[float], scale: int, shift: float) -> list[float]:
    """Return tiepoints (column, row, 0, x, y, z), in a row, of the enlarged image."""
    return [scale * value + shift if at % 6 < 2 else value for at, value in enumerate(values)]


def _enlarged_transformation(values: list[float], scale: int, shift: float) -> list[float]:
    """Return the 4×4 matrix from (column, row, 0, 1) to places, row by row, of the enlarged image."""
    if len(values) != 16:
        return values
    changed = list(values)
    for row in range(0, 16, 4):
        changed[row], changed[row + 1] = values[row] / scale, values[row + 1] / scale
        changed[row + 3] = values[row + 3] - shift * (changed[row] + changed[row + 1])
    return changed


def _enlarged_rpc(values: list[float], scale: int) -> list[float]:
    """Return rational polynomial coefficients of the enlarged image: of offsets and scales, those in pixels change."""
    changed = list(values)
    if len(values) > _RPC_SCALES[1]:
        for at in _RPC_OFFSETS:
            changed[at] = scale * values[at] + (scale - 1) / 2
        for at in _RPC_SCALES:
            changed[at] = scale * values[at]
    return changed


def read_georeference(file: BinaryIO) -> Georeference | None:
    """Read the georeference of a TIFF or BigTIFF file, whose position stays; None if it has none.

    ValueError if it is damaged.
    """
    import tifffile  # takes a while to import, and few files have one

    position = file.tell()
    try:
        file.seek(0)
        tiff = tifffile.TiffFile(file)
        tags = [tag for tag in tiff.pages[0].tags if tag.code in TAGS]  # type: ignore[union-attr]
        entries = {}
        for tag in tags:
            if tag.valuebytecount > MAX_BYTES or int(tag.dtype) not in SIZES:
                raise ValueError("is too long")
            file.seek(tag.valueoffset)
            data = file.read(tag.valuebytecount)
            entries[tag.code] = IfdEntry(int(tag.dtype), data)
        byte_order = tiff.byteorder
    except (tifffile.TiffFileError, IndexError, KeyError, TypeError, OverflowError, struct.error) as e:
        raise ValueError(f"is damaged: {e}") from None
    finally:
        file.seek(position)
    if GDAL_METADATA in entries:
        entries[GDAL_METADATA] = entries[GDAL_METADATA]._replace(data=_STATISTICS.sub(b"", entries[GDAL_METADATA].data))
    return Georeference(byte_order, entries) if entries else None


def nodata_entry(value: str) -> IfdEntry:
    """Return GDAL's entry for the value that stands for no value."""
    return IfdEntry(ASCII, value.encode() + b"\0")
