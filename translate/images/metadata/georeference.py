"""Georeference of a TIFF file: the tags of GeoTIFF and GDAL that say where on Earth its pixels lie.

Sources: OGC GeoTIFF Standard 1.1 (19-008r4), section 7; GDAL, "GTiff -- GeoTIFF File Format".
"""

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from translate.images.metadata import MAX_BYTES
from translate.images.metadata.exif import ASCII, SIZES, IfdEntry, byte_swapped

GDAL_METADATA, GDAL_NODATA = 42112, 42113
_PIXEL_SCALE, _TIEPOINTS, _TRANSFORMATION = 33550, 33922, 34264
_KEYS, _DOUBLES, _TEXTS = 34735, 34736, 34737
_RPC = 50844

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
