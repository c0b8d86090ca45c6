"""Chunks of PNG files: metadata read from them and inserted.

Source: Portable Network Graphics (PNG) Specification, third edition, sections 5 and 11.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from translate.images.metadata import MAX_BYTES

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = "XML:com.adobe.xmp"
"""Keyword of the text that holds an XMP packet."""
COMMENT_KEYWORD = "Comment"
"""Keyword of the comment, a text that JPEG and GIF hold too."""
HEADER_END = len(SIGNATURE) + 25
"""Offset of the end of IHDR, which is always the first chunk."""

_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"})
"""Chunks that are needed to decode the pixels."""


_DATA_CHUNKS = frozenset({b"IDAT", b"fdAT"})
"""Chunks of compressed image data."""
_ANCILLARY = 0x20
"""Bit of the first letter of a kind that says that a decoder may leave the chunk out."""


def make_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def read_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the data of each chunk, without those whose checksum is wrong.

    The data are empty for image data and for chunks of more than MAX_BYTES.
    """
    at = len(SIGNATURE)
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        is_read = length <= MAX_BYTES and kind not in _DATA_CHUNKS
        chunk = head + file.read(length + 4) if is_read else b""
        if not is_read:
            yield kind, b""
        elif chunk == make_chunk(kind, chunk[8:-4]):
            yield kind, chunk[8:-4]
        at += 12 + length


def read_transparent_colour(path: Path) -> tuple[int, ...] | None:
    """Return the colour of a grey or RGB file that its tRNS chunk makes transparent; None if there is none."""
    with open(path, "rb") as file:
        header = b""
        for kind, data in read_chunks(file):
            if kind == b"IHDR":
                header = data
            elif kind == b"tRNS" and len(header) == 13 and len(data) == {0: 2, 2: 6}.get(header[9]):
                return tuple(value & (1 << header[8]) - 1 for (value,) in struct.iter_unpack(">H", data))
            elif kind == b"IDAT":
                break
    return None


def decode_text(kind: bytes, data: bytes, max_bytes: int = MAX_BYTES) -> tuple[str, bytes] | None:
    """Return the keyword and the text (UTF-8) of a tEXt, zTXt or iTXt chunk.

    None if it is damaged, or if the text has more than `max_bytes` when decompressed.
    """
    keyword, _, rest = data.partition(b"\0")
    try:
        if kind == b"tEXt":
            value = rest.decode("latin-1").encode()
        elif kind == b"zTXt":
            value = _decompress(rest[1:], max_bytes).decode("latin-1").encode()
        else:
            _, _, value = rest[2:].split(b"\0", 2)  # language and translated keyword come first
            value = _decompress(value, max_bytes) if rest[0] else value
    except (ValueError, IndexError, zlib.error):
        return None
    return (keyword.decode("latin-1"), value) if keyword and len(value) <= max_bytes else None


def _decompress(data: bytes, max_bytes: int) -> bytes:
    decompressor = zlib.decompressobj()
    decompressed = decompressor.decompress(data, max(max_bytes, 1))
    if not decompressor.eof:
        raise ValueError("ends early or is too long")
    return decompressed


def text_chunk(keyword: str, value: bytes) -> bytes:
    """Return an uncompressed iTXt chunk of UTF-8. A keyword is cut to 79 characters of Latin-1."""
    return make_chunk(b"iTXt", keyword.encode("latin-1", "replace")[:79] + bytes(5) + value)


def iccp_chunk(icc: bytes) -> bytes:
    """Return an iCCP chunk: a colour profile."""
    return make_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))


def phys_chunk(dpi: tuple[float, float]) -> bytes:
    """Return a pHYs chunk: the resolution in pixels per metre."""
    return make_chunk(b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), 1))


def insert_chunks(data: bytes, added: bytes) -> bytes:
    """Return a PNG file with chunks inserted before its image data."""
    view = memoryview(data)  # its slices are no copies: the file may be large
    return b"".join([view[:HEADER_END], added, view[HEADER_END:]])


def image_data(data: bytes) -> bytes:
    """Return the compressed image data of a PNG file."""
    parts, at = [], len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            parts.append(data[at + 8 : at + 8 + length])
        at += 12 + length
    return b"".join(parts)


def drop_damaged(data: bytes) -> tuple[bytes, list[str]]:
    """Return a PNG file without the ancillary chunks whose checksum is wrong, which decoders leave out, and their kinds.

    ValueError if the checksum of the header or the palette is wrong. That of image data is left to its decoder: the compressed
    data have a checksum of their own.
    """
    kept, damaged = [data[: len(SIGNATURE)]], []
    for kind, chunk in _chunks(data):
        if kind in _DATA_CHUNKS or chunk == make_chunk(kind, chunk[8:-4]):
            kept.append(chunk)
        elif kind[0] & _ANCILLARY:
            damaged.append(kind.decode("latin-1"))
        else:
            raise ValueError(f"wrong checksum of its {kind.decode('latin-1')} chunk")
    return b"".join(kept), damaged


def strip_metadata(data: bytes, *, keep_seen: bool) -> bytes:
    """Return a PNG file with only the chunks that its pixels need, so that damaged metadata do not stop a decoder.

    With `keep_seen` also those that say how the pixels are seen: profile and EXIF.
    """
    kept = [data[: len(SIGNATURE)]]
    for kind, chunk in _chunks(data):
        is_seen = kind == b"eXIf" or (kind == b"iCCP" and _is_profile(chunk[8:-4]))
        if kind in _PIXEL_CHUNKS or (keep_seen and is_seen):
            kept.append(chunk)
    return b"".join(kept)


def _is_profile(data: bytes) -> bool:
    """Return whether the data of an iCCP chunk can be decompressed."""
    try:
        _decompress(data.partition(b"\0")[2][1:], MAX_BYTES)
    except (ValueError, zlib.error):
        return False
    return True


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the whole of each chunk; the last one may be cut off."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at : at + 12 + length]
        at += 12 + length
