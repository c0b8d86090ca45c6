"""Blocks of GIF files: comments, XMP packets and palettes of frames.

Sources: GIF89a, sections 17 to 26; XMP Specification Part 3, section 1.1.2.
"""

from typing import BinaryIO

from translate.images.metadata import MAX_BYTES

XMP_BLOCK = b"\x21\xff\x0bXMP DataXMP"
"""Head of the application extension that holds XMP."""
_TRAILER = bytes([1, *range(255, -1, -1), 0])
"""Trailer of an XMP packet: whichever byte of the packet a reader takes for a block's length, it reaches the last zero."""


def header_end(data: bytes) -> int:
    """Return the offset of the end of the header, the screen descriptor and the global palette."""
    flags = data[10]
    return 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)


def read_xmp(file: BinaryIO) -> bytes | None:
    """Return the XMP packet that stands before the first frame; None if there is none."""
    file.seek(0)
    head = file.read(13)
    if len(head) < 13:
        return None
    file.seek(header_end(head))
    while (kind := file.read(2)) and kind[:1] == b"\x21":
        first = _block(file)
        if kind == b"\x21\xff" and first == b"XMP DataXMP":
            data = file.read(MAX_BYTES)
            end = data.find(_TRAILER)
            return data[:end] if end >= 0 else None
        while first:
            first = _block(file)
    return None


def _block(file: BinaryIO) -> bytes:
    size = file.read(1)
    return file.read(size[0]) if size else b""


def comment_block(comment: bytes) -> bytes:
    """Return a comment extension."""
    parts = [comment[at : at + 255] for at in range(0, len(comment), 255)]
    return b"\x21\xfe" + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def with_local_palette(still: bytes) -> bytes:
    """Return the image of a file of one frame, with its global palette as a local one."""
    at = palette_end = header_end(still)
    while still[at] == 0x21:  # extensions
        at += 2
        while still[at]:
            at += 1 + still[at]
        at += 1
    flags = 0x80 | still[at + 9] & 0x40 | still[10] & 0x07
    return still[at : at + 9] + bytes([flags]) + still[13:palette_end] + still[at + 10 : still.rindex(b";")]


def insert_xmp(data: bytes, xmp: bytes) -> bytes:
    """Return a GIF file with an XMP packet before its first frame."""
    end = header_end(data)
    return b"GIF89a" + data[6:end] + XMP_BLOCK + xmp + _TRAILER + data[end:]
