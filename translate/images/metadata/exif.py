"""EXIF: directories of tags as in TIFF, read from a block or a file and written anew without what no longer holds.

Sources: CIPA DC-008 (Exif 3.0), sections 4.6.4 to 4.6.8; TIFF 6.0, section 2.
"""

import struct
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

MAX_BYTES = 4 << 20
"""Bytes of EXIF that are read; cameras write less than 64 KiB."""

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of one value of each TIFF type."""
WORDS = {3: 2, 8: 2, 4: 4, 5: 4, 9: 4, 10: 4, 11: 4, 13: 4, 12: 8}
"""Bytes that a byte order turns about, of the types that have any."""
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x0112, 0x011A, 0x011B, 0x0128
PHOTO_POINTER, GPS_POINTER, INTEROP_POINTER = 0x8769, 0x8825, 0xA005
MAKER_NOTE = 0x927C
COLOUR_SPACE, PIXEL_WIDTH, PIXEL_HEIGHT = 0xA001, 0xA002, 0xA003
SUBJECT_AREA, SUBJECT_LOCATION = 0x9214, 0xA214
INTEROP_INDEX = 0x0001

DESCRIBING = frozenset(
    {
        0x010D, 0x010E, 0x010F, 0x0110, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 0x0131, 0x0132,
        0x013B, 0x013C, 0x4746, 0x4749, 0x8298, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F,
    }
)  # fmt: skip
"""Tags of the first directory that speak of the photo (title, maker, artist, rights, rating …), not of how pixels lie."""


class IfdEntry(NamedTuple):
    """The values of a tag, in the byte order of their block."""

    kind: int
    data: bytes


Directory = Mapping[int, "IfdEntry | Directory | bytes"]
"""What a tag stands for: values, a directory of its own, or the twelve bytes of an entry that stays as it is."""


@dataclass
class Exif:
    """What a photo's EXIF says: no thumbnail, and nothing about how the pixels of its file lie."""

    byte_order: str = "<"
    """Byte order: < or >."""
    image: dict[int, IfdEntry] = field(default_factory=dict)
    photo: dict[int, IfdEntry] = field(default_factory=dict)
    gps: dict[int, IfdEntry] = field(default_factory=dict)
    interop: dict[int, IfdEntry] = field(default_factory=dict)
    maker_note_offset: int = 0
    """Where the maker's note lay. It is written to the same place, since its offsets count from the block's start."""
    damaged: bool = False
    """Some of it could not be read."""

    def number(self, tag: int) -> int | None:
        """A whole number of the first directory."""
        entry = self.image.get(tag)
        if entry is None or entry.kind not in (SHORT, LONG) or not entry.data:
            return None
        value: int = struct.unpack_from(self.byte_order + ("H" if entry.kind == SHORT else "I"), entry.data)[0]
        return value

    def short(self, value: int) -> IfdEntry:
        return IfdEntry(SHORT, struct.pack(self.byte_order + "H", value))

    def reset_orientation(self) -> int:
        """Says that the pixels lie as they are seen, and returns the orientation (1 to 8) that they had."""
        turned = self.number(ORIENTATION) or 1
        if ORIENTATION in self.image:
            self.image[ORIENTATION] = self.short(1)
        if not 2 <= turned <= 8:
            return 1
        for tag in (SUBJECT_AREA, SUBJECT_LOCATION):  # counted before the turn
            self.photo.pop(tag, None)
        if turned >= 5:
            _swap(self.photo, PIXEL_WIDTH, PIXEL_HEIGHT)
            _swap(self.image, X_RESOLUTION, Y_RESOLUTION)
        return turned

    def dpi(self) -> tuple[float, float] | None:
        """Pixels per inch across and down, if it says so."""
        factor = {2: 1.0, 3: 2.54}.get(self.number(RESOLUTION_UNIT) or 2)
        entries = [self.image.get(tag) for tag in (X_RESOLUTION, Y_RESOLUTION)]
        if factor is None or any(entry is None or entry.kind != RATIONAL or len(entry.data) != 8 for entry in entries):
            return None
        above, below, above_down, below_down = struct.unpack(
            self.byte_order + "4I", b"".join(entry.data for entry in entries if entry)
        )
        if not below or not below_down:
            return None
        return above / below * factor, above_down / below_down * factor

    def set_dpi(self, dpi: tuple[float, float]) -> None:
        for tag, value in zip((X_RESOLUTION, Y_RESOLUTION), dpi, strict=True):
            self.image[tag] = IfdEntry(RATIONAL, struct.pack(self.byte_order + "II", round(value * 10_000), 10_000))
        self.image[RESOLUTION_UNIT] = self.short(2)  # inches

    def set_srgb(self) -> None:
        """Says that the colours are sRGB, where it names a colour space at all."""
        if COLOUR_SPACE in self.photo:
            self.photo[COLOUR_SPACE] = self.short(1)
        if INTEROP_INDEX in self.interop:
            self.interop[INTEROP_INDEX] = IfdEntry(ASCII, b"R98\0")

    def tree(self, order: str) -> dict[int, "IfdEntry | Directory | bytes"]:
        """The first directory with the others in it, in a byte order; empty if nothing is known."""
        photo: Directory = {**self._in(order, self.photo)}
        if self.interop:
            photo = {**photo, INTEROP_POINTER: self._in(order, self.interop)}
        pointers = {PHOTO_POINTER: photo, GPS_POINTER: self._in(order, self.gps)}
        return {**self._in(order, self.image), **{tag: directory for tag, directory in pointers.items() if directory}}

    def _in(self, order: str, directory: Mapping[int, IfdEntry]) -> dict[int, IfdEntry]:
        if order == self.byte_order:
            return dict(directory)
        return {tag: IfdEntry(entry.kind, _byte_swapped(entry)) for tag, entry in directory.items()}

    def __bytes__(self) -> bytes:
        """As a block of its own, which starts with TIFF's header; empty if nothing is known."""
        tree = self.tree(self.byte_order)
        if not tree:
            return b""
        note = self.photo.get(MAKER_NOTE)
        kept = note is not None and 8 <= self.maker_note_offset < 1 << 16  # farther away it lay in a TIFF file
        room = IfdWriter(self.byte_order, 8, {self.maker_note_offset: note.data} if kept and note else {})
        first = room.directory(tree)
        mark = b"II*\0" if self.byte_order == "<" else b"MM\0*"
        return mark + struct.pack(self.byte_order + "I", first) + bytes(room.data)


def _swap(directory: dict[int, IfdEntry], one: int, other: int) -> None:
    if one in directory and other in directory:
        directory[one], directory[other] = directory[other], directory[one]


def _byte_swapped(entry: IfdEntry) -> bytes:
    """The values in the other byte order."""
    size = WORDS.get(entry.kind, 1)
    return b"".join(entry.data[at : at + size][::-1] for at in range(0, len(entry.data), size))


def read(file: BinaryIO) -> Exif:
    """The EXIF of a block or of a TIFF file, both of which begin with TIFF's header.

    ValueError if there is no first directory. What else is damaged is left out, and `damaged` says so.
    """
    source, first = _opened(file)
    exif = Exif(source.byte_order)
    exif.image = source.directory(first, DESCRIBING | {PHOTO_POINTER, GPS_POINTER})
    photo, gps = (exif.image.pop(tag, None) for tag in (PHOTO_POINTER, GPS_POINTER))
    exif.photo = source.sub_directory(photo)
    exif.maker_note_offset = source.offsets.get(MAKER_NOTE, 0)
    exif.interop = source.sub_directory(exif.photo.pop(INTEROP_POINTER, None))
    exif.photo.pop(GPS_POINTER, None)
    exif.gps = source.sub_directory(gps)
    exif.damaged = source.damaged
    return exif


def read_tags(file: BinaryIO, tags: Set[int]) -> dict[int, bytes]:
    """What some tags of a TIFF file's first directory hold. ValueError if there is none."""
    source, first = _opened(file)
    return {tag: entry.data for tag, entry in source.directory(first, tags).items()}


def _opened(file: BinaryIO) -> "tuple[_Source, int]":
    """What reads the directories, and the offset of the first. ValueError if there is no header."""
    file.seek(0)
    head = file.read(8)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    if order is None or len(head) < 8:
        raise ValueError("no TIFF header")
    return _Source(file, order), struct.unpack(order + "I", head[4:])[0]


class _Source:
    """Reads directories, each at most once and never more bytes than the limit: loops and huge counts end there."""

    def __init__(self, file: BinaryIO, order: str) -> None:
        self.file, self.byte_order, self.left, self.damaged = file, order, MAX_BYTES, False
        self.read: set[int] = set()
        """Offsets of directories."""
        self.offsets: dict[int, int] = {}
        """Of values that do not lie in their entry."""

    def bytes_at(self, offset: int, size: int) -> bytes:
        if size > self.left:
            raise ValueError("larger than EXIF can be")
        self.file.seek(offset)
        data = self.file.read(size)
        if len(data) < size:
            raise ValueError("ends early")
        self.left -= size
        return data

    def sub_directory(self, pointer: IfdEntry | None) -> dict[int, IfdEntry]:
        """The directory that an entry points to; empty if there is none or it is damaged."""
        if pointer is None:
            return {}
        try:
            return self.directory(struct.unpack(self.byte_order + "I", pointer.data)[0])
        except (ValueError, struct.error):
            self.damaged = True
            return {}

    def directory(self, offset: int, wanted: Set[int] | None = None) -> dict[int, IfdEntry]:
        if offset in self.read:
            raise ValueError("its directories loop")
        self.read.add(offset)
        (count,) = struct.unpack(self.byte_order + "H", self.bytes_at(offset, 2))
        rows = self.bytes_at(offset + 2, 12 * count)
        found: dict[int, IfdEntry] = {}
        for row in (rows[at : at + 12] for at in range(0, len(rows), 12)):
            tag, kind, number = struct.unpack_from(self.byte_order + "HHI", row)
            if tag in found or (wanted is not None and tag not in wanted):
                continue
            try:
                found[tag] = IfdEntry(kind, self._values(tag, SIZES[kind] * number, row[8:]))
            except (KeyError, ValueError):
                self.damaged = True
        return found

    def _values(self, tag: int, size: int, inside: bytes) -> bytes:
        if size <= 4:
            return inside[:size]
        self.offsets[tag] = struct.unpack(self.byte_order + "I", inside)[0]
        return self.bytes_at(self.offsets[tag], size)


class IfdWriter:
    """Bytes that grow from an offset of a file, around values whose place is given."""

    def __init__(self, order: str, start: int, given: Mapping[int, bytes] | None = None) -> None:
        self.byte_order, self.start, self.free, self.data = order, start, start + start % 2, bytearray()
        self.given = given or {}
        self.taken = [(at, at + len(values)) for at, values in self.given.items()]
        for at, values in self.given.items():
            self._put(at, values)

    def directory(self, directory: Directory, following: int = 0) -> int:
        """Writes a directory and what it holds; its offset. `following` is the offset of the next directory."""
        at = self._reserve(2 + 12 * len(directory) + 4)
        rows = b"".join(self._row(tag, directory[tag]) for tag in sorted(directory))
        self._put(
            at,
            struct.pack(self.byte_order + "H", len(directory)) + rows + struct.pack(self.byte_order + "I", following),
        )
        return at

    def _row(self, tag: int, held: "IfdEntry | Directory | bytes") -> bytes:
        if isinstance(held, bytes):
            return held
        if not isinstance(held, IfdEntry):
            return struct.pack(self.byte_order + "HHII", tag, LONG, 1, self.directory(held))
        count = len(held.data) // SIZES[held.kind]
        inside = held.data if len(held.data) <= 4 else struct.pack(self.byte_order + "I", self._place(held.data))
        return struct.pack(self.byte_order + "HHI", tag, held.kind, count) + inside.ljust(4, b"\0")

    def _place(self, values: bytes) -> int:
        """The offset of values that do not fit into their entry."""
        for at, given in self.given.items():
            if given is values:
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
