"""EXIF: directories of tags (IFDs) as in TIFF, read from a block or a file, and written without what no longer holds.

Sources: CIPA DC-008 (Exif 3.0), sections 4.6.4 to 4.6.8; TIFF 6.0, section 2.
"""

import struct
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from translate.images.metadata import MAX_BYTES

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of one value of each TIFF type."""
WORDS = {3: 2, 8: 2, 4: 4, 5: 4, 9: 4, 10: 4, 11: 4, 13: 4, 12: 8}
"""Bytes of one word of each TIFF type that depends on the byte order; a rational has two words."""
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, DOUBLE = 1, 2, 3, 4, 5, 7, 12
"""TIFF types."""

TIFF_XMP, TIFF_IPTC, TIFF_ICC = 700, 33723, 34675
"""Tags of a TIFF file that hold other metadata."""
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x0112, 0x011A, 0x011B, 0x0128
PHOTO_POINTER, GPS_POINTER, INTEROP_POINTER = 0x8769, 0x8825, 0xA005
MAKER_NOTE = 0x927C
COLOUR_SPACE, PIXEL_WIDTH, PIXEL_HEIGHT = 0xA001, 0xA002, 0xA003
SUBJECT_AREA, SUBJECT_LOCATION = 0x9214, 0xA214
FOCAL_PLANE_X_RESOLUTION, FOCAL_PLANE_Y_RESOLUTION = 0xA20E, 0xA20F
INTEROP_INDEX = 0x0001

DESCRIBING = frozenset(
    {
        0x010D, 0x010E, 0x010F, 0x0110, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 0x0131, 0x0132,
        0x013B, 0x013C, 0x4746, 0x4749, 0x8298, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F,
    }
)  # fmt: skip
"""Tags of the first directory that describe the photo (title, maker, artist, rights, rating …), not the storage of pixels."""


class IfdEntry(NamedTuple):
    """Values of a tag, in the byte order of their block."""

    kind: int
    """TIFF type of the values."""
    data: bytes


Directory = Mapping[int, "IfdEntry | Directory | bytes"]
"""Tag → its values, a directory of its own, or the twelve bytes of an entry that stays as it is."""


@dataclass
class Exif:
    """EXIF of a photo, without thumbnail and without tags of the storage of its pixels."""

    byte_order: str = "<"
    """Byte order of all values: "<" or ">"."""
    image: dict[int, IfdEntry] = field(default_factory=dict)
    """First directory (IFD 0)."""
    photo: dict[int, IfdEntry] = field(default_factory=dict)
    """Exif directory."""
    gps: dict[int, IfdEntry] = field(default_factory=dict)
    """GPS directory."""
    interop: dict[int, IfdEntry] = field(default_factory=dict)
    """Interoperability directory."""
    maker_note_offset: int = 0
    """Offset of the maker's note. It is written to the same offset, since its own offsets count from the block's start."""
    damaged: bool = False
    """True if parts of it could not be read."""

    def number(self, tag: int) -> int | None:
        """Return an integer of the first directory; None if it is absent or no integer."""
        entry = self.image.get(tag)
        if entry is None or entry.kind not in (SHORT, LONG) or not entry.data:
            return None
        value: int = struct.unpack_from(self.byte_order + ("H" if entry.kind == SHORT else "I"), entry.data)[0]
        return value

    def short(self, value: int) -> IfdEntry:
        """Return an entry of type SHORT."""
        return IfdEntry(SHORT, struct.pack(self.byte_order + "H", value))

    def orientation(self) -> int:
        """Return the orientation, from 1 to 8; 1 where it is absent or damaged."""
        orientation = self.number(ORIENTATION) or 1
        return orientation if 2 <= orientation <= 8 else 1

    def reset_orientation(self) -> None:
        """Set the orientation to upright."""
        orientation = self.orientation()
        if ORIENTATION in self.image:
            self.image[ORIENTATION] = self.short(1)
        if orientation == 1:
            return
        for tag in (SUBJECT_AREA, SUBJECT_LOCATION):  # in coordinates before the turn
            self.photo.pop(tag, None)
        if orientation >= 5:
            _swap(self.photo, PIXEL_WIDTH, PIXEL_HEIGHT)
            _swap(self.image, X_RESOLUTION, Y_RESOLUTION)

    def dpi(self) -> tuple[float, float] | None:
        """Return pixels per inch across and down; None if they are absent."""
        factor = {2: 1.0, 3: 2.54}.get(self.number(RESOLUTION_UNIT) or 2)
        entries = [self.image.get(tag) for tag in (X_RESOLUTION, Y_RESOLUTION)]
        if factor is None or any(entry is None or entry.kind != RATIONAL or len(entry.data) != 8 for entry in entries):
            return None
        numerator_x, denominator_x, numerator_y, denominator_y = struct.unpack(
            self.byte_order + "4I", b"".join(entry.data for entry in entries if entry)
        )
        if not denominator_x or not denominator_y:
            return None
        return numerator_x / denominator_x * factor, numerator_y / denominator_y * factor

    def set_dpi(self, dpi: tuple[float, float]) -> None:
        """Set the resolution in pixels per inch across and down."""
        for tag, value in zip((X_RESOLUTION, Y_RESOLUTION), dpi, strict=True):
            self.image[tag] = IfdEntry(RATIONAL, struct.pack(self.byte_order + "II", round(value * 10_000), 10_000))
        self.image[RESOLUTION_UNIT] = self.short(2)  # inches

    def enlarge(self, scale: int) -> None:
        """Follow an enlargement of the pixels by a whole factor: their numbers, places among them, and pixels on the sensor."""
        for tag in (PIXEL_WIDTH, PIXEL_HEIGHT):
            if (number := _integers(self.byte_order, self.photo.get(tag))) is not None:
                self.photo[tag] = IfdEntry(LONG, struct.pack(self.byte_order + "I", scale * number[0]))
        for tag in (SUBJECT_AREA, SUBJECT_LOCATION):
            if (numbers := _integers(self.byte_order, self.photo.get(tag))) is None:
                continue
            enlarged = [scale * number for number in numbers]
            if max(enlarged) < 1 << 16:
                self.photo[tag] = IfdEntry(SHORT, struct.pack(f"{self.byte_order}{len(enlarged)}H", *enlarged))
            else:  # it has no other type
                del self.photo[tag]
        for tag in (FOCAL_PLANE_X_RESOLUTION, FOCAL_PLANE_Y_RESOLUTION):
            entry = self.photo.get(tag)
            if entry is None or entry.kind != RATIONAL or len(entry.data) != 8:
                continue
            numerator, denominator = struct.unpack(self.byte_order + "II", entry.data)
            if scale * numerator < 1 << 32:
                self.photo[tag] = IfdEntry(
                    RATIONAL, struct.pack(self.byte_order + "II", scale * numerator, denominator)
                )
            else:
                del self.photo[tag]

    def drop_place(self) -> list[str]:
        """Remove where the photo was taken, and the maker's note, which may say it too; return what was removed."""
        dropped = ["coordinates"] if self.gps else []
        self.gps.clear()
        if self.photo.pop(MAKER_NOTE, None):
            dropped.append("maker’s note")
        return dropped

    def set_srgb(self) -> None:
        """Set the colour space to sRGB, where one is named."""
        if COLOUR_SPACE in self.photo:
            self.photo[COLOUR_SPACE] = self.short(1)
        if INTEROP_INDEX in self.interop:
            self.interop[INTEROP_INDEX] = IfdEntry(ASCII, b"R98\0")

    def tree(self, byte_order: str) -> dict[int, "IfdEntry | Directory | bytes"]:
        """Return the first directory with the others in it, in a byte order; empty if there are no tags."""
        photo: Directory = {**self._in_order(byte_order, self.photo)}
        if self.interop:
            photo = {**photo, INTEROP_POINTER: self._in_order(byte_order, self.interop)}
        pointers = {PHOTO_POINTER: photo, GPS_POINTER: self._in_order(byte_order, self.gps)}
        image = self._in_order(byte_order, self.image)
        return {**image, **{tag: directory for tag, directory in pointers.items() if directory}}

    def _in_order(self, byte_order: str, directory: Mapping[int, IfdEntry]) -> dict[int, IfdEntry]:
        if byte_order == self.byte_order:
            return dict(directory)
        return {tag: IfdEntry(entry.kind, byte_swapped(entry)) for tag, entry in directory.items()}

    def __bytes__(self) -> bytes:
        """Return a block of its own, which starts with TIFF's header; empty if there are no tags."""
        tree = self.tree(self.byte_order)
        if not tree:
            return b""
        note = self.photo.get(MAKER_NOTE)
        kept = note is not None and 8 <= self.maker_note_offset < 1 << 16  # a larger offset is one of a TIFF file
        writer = IfdWriter(self.byte_order, 8, {self.maker_note_offset: note.data} if kept and note else {})
        first = writer.directory(tree)
        signature = b"II*\0" if self.byte_order == "<" else b"MM\0*"
        return signature + struct.pack(self.byte_order + "I", first) + bytes(writer.data)


def _integers(byte_order: str, entry: IfdEntry | None) -> tuple[int, ...] | None:
    """Return the whole numbers of an entry, at least one; None if it is absent, or of another type or length."""
    if entry is None or entry.kind not in (SHORT, LONG) or not entry.data:
        return None
    size, letter = (2, "H") if entry.kind == SHORT else (4, "I")
    return (
        struct.unpack(f"{byte_order}{len(entry.data) // size}{letter}", entry.data)
        if len(entry.data) % size == 0
        else None
    )


def _swap(directory: dict[int, IfdEntry], one: int, other: int) -> None:
    if one in directory and other in directory:
        directory[one], directory[other] = directory[other], directory[one]


def byte_swapped(entry: IfdEntry) -> bytes:
    """Return the values in the other byte order."""
    size = WORDS.get(entry.kind, 1)
    return b"".join(entry.data[at : at + size][::-1] for at in range(0, len(entry.data), size))


def read(file: BinaryIO) -> Exif:
    """Read the EXIF of a block or of a TIFF file, both of which begin with TIFF's header.

    ValueError if there is no first directory. Other damaged parts are left out, and `damaged` is True then.
    """
    reader, first = _open_reader(file)
    exif = Exif(reader.byte_order)
    exif.image = reader.directory(first, DESCRIBING | {PHOTO_POINTER, GPS_POINTER})
    photo, gps = (exif.image.pop(tag, None) for tag in (PHOTO_POINTER, GPS_POINTER))
    exif.photo = reader.sub_directory(photo)
    exif.maker_note_offset = reader.offsets.get(MAKER_NOTE, 0)
    exif.interop = reader.sub_directory(exif.photo.pop(INTEROP_POINTER, None))
    exif.photo.pop(GPS_POINTER, None)
    exif.gps = reader.sub_directory(gps)
    exif.damaged = reader.damaged
    return exif


def read_tags(file: BinaryIO, tags: Set[int]) -> dict[int, bytes]:
    """Return the values of some tags of a TIFF file's first directory. ValueError if there is no such directory."""
    reader, first = _open_reader(file)
    return {tag: entry.data for tag, entry in reader.directory(first, tags).items()}


def _open_reader(file: BinaryIO) -> "tuple[_IfdReader, int]":
    """Return a reader of directories, and the offset of the first. ValueError if there is no header."""
    file.seek(0)
    head = file.read(8)
    byte_order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    if byte_order is None or len(head) < 8:
        raise ValueError("no TIFF header")
    return _IfdReader(file, byte_order), struct.unpack(byte_order + "I", head[4:])[0]


class _IfdReader:
    """Reader of directories: each at most once, and at most MAX_BYTES in all, which stops loops and huge counts."""

    def __init__(self, file: BinaryIO, byte_order: str) -> None:
        self.file, self.byte_order, self.left, self.damaged = file, byte_order, MAX_BYTES, False
        self.read: set[int] = set()
        """Offsets of the directories that have been read."""
        self.offsets: dict[int, int] = {}
        """Tag → offset of its values, where they do not lie in the entry."""

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Read `size` bytes. ValueError if the file or the limit has fewer."""
        if size > self.left:
            raise ValueError("larger than EXIF can be")
        self.file.seek(offset)
        data = self.file.read(size)
        if len(data) < size:
            raise ValueError("ends early")
        self.left -= size
        return data

    def sub_directory(self, pointer: IfdEntry | None) -> dict[int, IfdEntry]:
        """Read the directory that an entry points to; empty if there is none or it is damaged."""
        if pointer is None:
            return {}
        try:
            return self.directory(struct.unpack(self.byte_order + "I", pointer.data)[0])
        except (ValueError, struct.error):
            self.damaged = True
            return {}

    def directory(self, offset: int, tags: Set[int] | None = None) -> dict[int, IfdEntry]:
        """Read the directory at an offset, or some tags of it. ValueError if it was read before or lies outside.

        Of a directory that is cut off, the entries that are there are read.
        """
        if offset in self.read:
            raise ValueError("its directories loop")
        self.read.add(offset)
        (count,) = struct.unpack(self.byte_order + "H", self.bytes_at(offset, 2))
        rows = self._rows_at(offset + 2, count)
        entries: dict[int, IfdEntry] = {}
        for row in (rows[at : at + 12] for at in range(0, len(rows), 12)):
            tag, kind, number = struct.unpack_from(self.byte_order + "HHI", row)
            if tag in entries or (tags is not None and tag not in tags):
                continue
            try:
                entries[tag] = IfdEntry(kind, self._values(tag, SIZES[kind] * number, row[8:]))
            except (KeyError, ValueError):
                self.damaged = True
        return entries

    def _rows_at(self, offset: int, count: int) -> bytes:
        """Read at most `count` entries of twelve bytes: those that the file and the limit have."""
        self.file.seek(offset)
        rows = self.file.read(min(12 * count, self.left))
        rows = rows[: len(rows) // 12 * 12]
        self.damaged |= len(rows) < 12 * count
        self.left -= len(rows)
        return rows

    def _values(self, tag: int, size: int, inside: bytes) -> bytes:
        if size <= 4:
            return inside[:size]
        self.offsets[tag] = struct.unpack(self.byte_order + "I", inside)[0]
        return self.bytes_at(self.offsets[tag], size)


class IfdWriter:
    """Writer of directories into bytes that start at an offset of a file, around values whose offsets are fixed.

    `data` are the bytes from offset `start` on; `fixed` is offset → values.
    """

    def __init__(self, byte_order: str, start: int, fixed: Mapping[int, bytes] | None = None) -> None:
        self.byte_order, self.start, self.free, self.data = byte_order, start, start + start % 2, bytearray()
        self.fixed = fixed or {}
        self.taken = [(at, at + len(values)) for at, values in self.fixed.items()]
        for at, values in self.fixed.items():
            self._put(at, values)

    def directory(self, directory: Directory, following: int = 0) -> int:
        """Write a directory with its values and return its offset; `following` is the offset of the next directory."""
        at = self._reserve(2 + 12 * len(directory) + 4)
        rows = b"".join(self._row(tag, directory[tag]) for tag in sorted(directory))
        self._put(
            at,
            struct.pack(self.byte_order + "H", len(directory)) + rows + struct.pack(self.byte_order + "I", following),
        )
        return at

    def _row(self, tag: int, content: "IfdEntry | Directory | bytes") -> bytes:
        if isinstance(content, bytes):
            return content
        if not isinstance(content, IfdEntry):
            return struct.pack(self.byte_order + "HHII", tag, LONG, 1, self.directory(content))
        count = len(content.data) // SIZES[content.kind]
        inside = (
            content.data if len(content.data) <= 4 else struct.pack(self.byte_order + "I", self._place(content.data))
        )
        return struct.pack(self.byte_order + "HHI", tag, content.kind, count) + inside.ljust(4, b"\0")

    def _place(self, values: bytes) -> int:
        """Write values that do not fit into their entry and return their offset."""
        for at, fixed in self.fixed.items():
            if fixed is values:
                return at
        at = self._reserve(len(values))
        self._put(at, values)
        return at

    def _reserve(self, size: int) -> int:
        at = self.free
        for begin, end in self.taken:
            if begin < at + size and at < end:
                at = end + end % 2
        self.free = at + size + size % 2
        self._put(self.free, b"")
        return at

    def _put(self, at: int, values: bytes) -> None:
        begin = at - self.start
        self.data.extend(bytes(max(0, begin + len(values) - len(self.data))))
        self.data[begin : begin + len(values)] = values
