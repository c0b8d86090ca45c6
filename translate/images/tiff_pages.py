"""Pages of a TIFF file: their number, and the first that is the picture and not a thumbnail, a reduced copy or a mask.

The directories are walked by their offsets, each once and without its values, in a time proportional to their number.
Sources: TIFF 6.0, section 2, tags NewSubfileType and SubfileType; BigTIFF design, section "Differences".
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MAX_PAGES = 100_000
"""Largest number of pages that are counted."""

_MAX_SEARCH = 64
"""Number of leading pages among which the picture is looked for: to reach a page, decoders read all before it."""
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _WIDTH, _HEIGHT, _SUB_DIRECTORIES = 254, 255, 256, 257, 330
_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType."""
_OLD_REDUCED = 2
"""Value of SubfileType for a reduced copy."""
_SHORT, _LONG, _IFD, _LONG8, _IFD8 = 3, 4, 13, 16, 18


class _Layout(NamedTuple):
    """Sizes and codes of a directory's numbers."""

    byte_order: str
    entries: str
    """Code of the number of entries."""
    offset: str
    """Code of an offset, which is also that of the number of an entry's values."""
    entry_size: int
    """Bytes of an entry."""

    def number(self, code: str, data: bytes, at: int = 0) -> int:
        value: int = struct.unpack_from(self.byte_order + code, data, at)[0]
        return value


class _Page(NamedTuple):
    size: tuple[int, int]
    """Height and width in pixels; 0 where they are not given."""
    reduced: bool
    """True for a thumbnail, a reduced copy or a mask."""
    sub_directories: tuple[int, ...]
    """Offsets of the directories below this one."""


class TiffPages(NamedTuple):
    """Pages of a TIFF file."""

    total: int
    """Number of pages, at most MAX_PAGES."""
    main: int
    """Number of the first page that is no reduced copy and no mask, from 0; that of the first page where all are."""
    size: tuple[int, int]
    """Height and width of the picture in pixels, before any turn; (0, 0) where they are not given."""
    sub_directory: int | None
    """Number of the first such directory below page 0, where no page is one and this one is; else None."""


def find_pages(file: BinaryIO) -> TiffPages:
    """Walk the pages of an opened TIFF file, whose position stays; a damaged file has those before the damage."""
    position = file.tell()
    try:
        return _find_pages(file)
    finally:
        file.seek(position)


def _find_pages(file: BinaryIO) -> TiffPages:
    if (start := _header(file)) is None:
        return TiffPages(0, 0, (0, 0), None)
    layout, offset = start
    total, first, main, size = 0, None, None, (0, 0)
    for page in _pages(file, layout, offset):
        first = first or page
        if main is None and total < _MAX_SEARCH and not page.reduced:
            main, size = total, page.size
        total += 1
    if main is not None or first is None:
        return TiffPages(total, main or 0, size, None)
    for number, below in enumerate(first.sub_directories):
        found = _directory(file, layout, below)
        if found is not None and not found[0].reduced:
            return TiffPages(total, 0, found[0].size, number)
    return TiffPages(total, 0, first.size, None)


def _header(file: BinaryIO) -> tuple[_Layout, int] | None:
    """Return the layout of the directories and the offset of the first; None without TIFF's header."""
    file.seek(0)
    head = file.read(16)
    byte_order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if byte_order is None or len(head) < 16:
        return None
    version = struct.unpack_from(byte_order + "H", head, 2)[0]
    layout = _Layout(byte_order, "Q", "Q", 20) if version == 43 else _Layout(byte_order, "H", "I", 12)
    return layout, layout.number(layout.offset, head, 8 if version == 43 else 4)


def _pages(file: BinaryIO, layout: _Layout, offset: int) -> Iterator[_Page]:
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < MAX_PAGES:
        seen.add(offset)
        if (found := _directory(file, layout, offset)) is None:
            return
        page, offset = found
        yield page


def _directory(file: BinaryIO, layout: _Layout, offset: int) -> tuple[_Page, int] | None:
    """Return the directory at an offset, and the offset of the next; None where it lies outside of the file."""
    try:
        file.seek(offset)
        count = layout.number(layout.entries, file.read(struct.calcsize(layout.entries)))
        size = min(count, 0xFFFF) * layout.entry_size  # BigTIFF could claim more entries than there is memory
        rows = file.read(size)
        following = layout.number(layout.offset, file.read(struct.calcsize(layout.offset)))
    except (struct.error, OSError, OverflowError, ValueError):
        return None
    entries = {
        layout.number("H", rows, at): rows[at : at + layout.entry_size] for at in range(0, len(rows), layout.entry_size)
    }
    kind, old_kind, height, width = (
        next(iter(_values(file, layout, entries.get(tag, b""))), 0)
        for tag in (_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _HEIGHT, _WIDTH)
    )
    reduced = bool(kind & (_REDUCED | _MASK)) or old_kind == _OLD_REDUCED
    return _Page((height, width), reduced, _values(file, layout, entries.get(_SUB_DIRECTORIES, b""))), following


def _values(file: BinaryIO, layout: _Layout, entry: bytes) -> tuple[int, ...]:
    """Return the whole numbers of an entry; none where there are no such or they lie outside of the file."""
    if len(entry) < layout.entry_size:
        return ()
    code = {_SHORT: "H", _LONG: "I", _IFD: "I", _LONG8: "Q", _IFD8: "Q"}.get(layout.number("H", entry, 2))
    number = layout.number(layout.offset, entry, 4)
    if code is None or number > MAX_PAGES:
        return ()
    size = number * struct.calcsize(code)
    inside = entry[4 + struct.calcsize(layout.offset) :]
    try:
        if size > len(inside):
            file.seek(layout.number(layout.offset, inside))
            inside = file.read(size)
        return struct.unpack_from(f"{layout.byte_order}{number}{code}", inside)
    except (struct.error, OSError, OverflowError):
        return ()
