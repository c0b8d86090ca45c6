"""The chunks of PNG files: what they hold beside pixels, and how to put more of it in.

Source: Portable Network Graphics (PNG) Specification, third edition, sections 5 and 11.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = "XML:com.adobe.xmp"
MAX_TEXT_BYTES = 4 << 20
"""Bytes of a text, once inflated."""
HEADER_END = len(SIGNATURE) + 25
"""Where IHDR, always the first chunk, ends."""

_NEEDED = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"})


def make_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its length and check sum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def read_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of each chunk; of image data, and of what is longer than the limit, only the kind."""
    at = len(SIGNATURE)
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield kind, file.read(length) if length <= MAX_TEXT_BYTES and kind not in (b"IDAT", b"fdAT") else b""
        at += 12 + length


def decode_text(kind: bytes, data: bytes, most: int = MAX_TEXT_BYTES) -> tuple[str, bytes] | None:
    """Keyword and text (UTF-8) of a tEXt, zTXt or iTXt chunk. None if it is damaged or has more bytes than allowed."""
    keyword, _, rest = data.partition(b"\0")
    try:
        if kind == b"tEXt":
            value = rest.decode("latin-1").encode()
        elif kind == b"zTXt":
            value = _inflated(rest[1:], most).decode("latin-1").encode()
        else:
            _, _, value = rest[2:].split(b"\0", 2)  # language and translated keyword come first
            value = _inflated(value, most) if rest[0] else value
    except (ValueError, IndexError, zlib.error):
        return None
    return (keyword.decode("latin-1"), value) if keyword and len(value) <= most else None


def _inflated(data: bytes, most: int) -> bytes:
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(data, max(most, 1))
    if not inflater.eof:
        raise ValueError("ends early or is too long")
    return inflated


def text_chunk(keyword: str, value: bytes) -> bytes:
    """An iTXt chunk, uncompressed, of UTF-8. Keywords have 1 to 79 characters of Latin-1."""
    return make_chunk(b"iTXt", keyword.encode("latin-1", "replace")[:79] + bytes(5) + value)


def iccp_chunk(icc: bytes) -> bytes:
    """An iCCP chunk."""
    return make_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))


def phys_chunk(dpi: tuple[float, float]) -> bytes:
    """A pHYs chunk: pixels per metre."""
    return make_chunk(b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), 1))


def insert_chunks(data: bytes, added: bytes) -> bytes:
    """A PNG file with more chunks, before its image data."""
    whole = memoryview(data)  # of which slices are no copies: it may be large
    return b"".join([whole[:HEADER_END], added, whole[HEADER_END:]])


def image_data(data: bytes) -> bytes:
    """The compressed image data of a PNG file."""
    parts, at = [], len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            parts.append(data[at + 8 : at + 8 + length])
        at += 12 + length
    return b"".join(parts)


def strip_metadata(data: bytes) -> bytes:
    """A PNG file with nothing but what its pixels need: what damaged metadata cannot keep from being opened."""
    kept, at = [data[: len(SIGNATURE)]], len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in _NEEDED:
            kept.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(kept)


COMMENT_KEYWORD = "Comment"
"""The text that JPEG and GIF hold too; PNG's keyword for it."""
