"""What each output format holds of what a photo carries, and how it is put in."""

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from translate.images.metadata import exif, gif_blocks, png_chunks, xmp
from translate.images.metadata.icc import colour_space, srgb_profile
from translate.images.metadata.photo_metadata import Metadata
from translate.images.metadata.png_chunks import COMMENT_KEYWORD

SUPPORTED: dict[str, frozenset[str]] = {
    "png": frozenset({"exif", "xmp", "icc", "dpi", "text", "comment"}),
    "jpg": frozenset({"exif", "xmp", "icc", "dpi", "comment", "iptc"}),
    "webp": frozenset({"exif", "xmp", "icc", "dpi"}),
    "avif": frozenset({"exif", "xmp", "icc", "dpi"}),
    "tiff": frozenset({"exif", "xmp", "icc", "dpi", "iptc"}),
    "gif": frozenset({"xmp", "comment"}),
    "npy": frozenset(),
}
"""Of each row of WRITERS. WebP and AVIF hold a resolution in EXIF only."""

PART_NAMES = {"exif": "EXIF", "xmp": "XMP", "icc": "colour profile", "dpi": "resolution", "iptc": "IPTC records"}

JPEG_SEGMENT = 65_533
"""Bytes that one segment of a JPEG file holds."""
_EXIF_HEAD, _XMP_HEAD = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_IPTC_HEAD = b"Photoshop 3.0\x008BIM\x04\x04\0\0"

_MARKS = frozenset({xmp.SOURCE_TYPE, xmp.SYSTEM, xmp.SYSTEM_VERSION, xmp.CREATOR_TOOL})
_TIFF_XMP, _TIFF_IPTC, _TIFF_ICC = 700, 33723, 34675


def supported_by(metadata: Metadata, fmt: str, channels: int) -> tuple[Metadata, list[str]]:
    """What a format holds of the metadata of a picture with so many channels, and a line on each part that it does not."""
    lost: dict[str, Any] = {part: None for part in PART_NAMES if getattr(metadata, part) and part not in SUPPORTED[fmt]}
    notices = [f"{fmt} holds no {PART_NAMES[part]}" for part in lost]
    if "xmp" in lost and metadata.mark:
        notices[list(lost).index("xmp")] += ", so it is not marked as made by a model"
    metadata = replace(metadata, **lost)
    for fit in (_fit_profile, _fit_text, _fit_jpeg):
        metadata, more = fit(metadata, fmt, channels)
        notices += more
    if fmt in ("webp", "avif"):
        metadata = metadata.with_dpi_in_exif()
    return metadata, notices


def _fit_profile(metadata: Metadata, fmt: str, channels: int) -> tuple[Metadata, list[str]]:
    """A profile of other colours than the picture's does not fit; greys without a profile count as those of sRGB."""
    if metadata.icc is None or colour_space(metadata.icc) == {1: "GRAY", 3: "RGB "}.get(channels):
        return metadata, []
    notices = [] if channels == 1 and metadata.icc == srgb_profile() else ["its colour profile does not fit the output"]
    return replace(metadata, icc=None), notices


def _fit_text(metadata: Metadata, fmt: str, channels: int) -> tuple[Metadata, list[str]]:
    held = SUPPORTED[fmt]
    kept = {
        key: value
        for key, value in metadata.text.items()
        if "text" in held or (key == COMMENT_KEYWORD and "comment" in held)
    }
    if fmt == "jpg" and len(kept.get(COMMENT_KEYWORD, "").encode()) > JPEG_SEGMENT:
        del kept[COMMENT_KEYWORD]
    lost = sorted(metadata.text.keys() - kept.keys())
    return replace(metadata, text=kept), [f"{fmt} does not hold its text {', '.join(lost)}"] if lost else []


def _fit_jpeg(metadata: Metadata, fmt: str, channels: int) -> tuple[Metadata, list[str]]:
    """JPEG's segments end at 64 KiB: EXIF loses the maker's note, then all; XMP its largest properties, never the mark."""
    if fmt != "jpg":
        return metadata, []
    notices = []
    most = JPEG_SEGMENT - len(_EXIF_HEAD)
    if metadata.exif and len(metadata.exif) > most:
        photo = exif.read(io.BytesIO(metadata.exif))
        photo.photo.pop(exif.MAKER_NOTE, None)
        block = bytes(photo)
        fits = 0 < len(block) <= most
        metadata = replace(metadata, exif=block if fits else None)
        notices.append(f"jpg holds 64 KiB of EXIF, so {'the maker’s note' if fits else 'its EXIF'} is not kept")
    most = JPEG_SEGMENT - len(_XMP_HEAD)
    if metadata.xmp and len(metadata.xmp) > most:
        packet = xmp.XmpPacket(metadata.xmp)
        packet.shrink(most, _MARKS.__contains__)
        metadata = replace(metadata, xmp=bytes(packet))
        notices.append("jpg holds 64 KiB of XMP, so its largest properties are not kept")
    if metadata.iptc and len(metadata.iptc) > JPEG_SEGMENT - len(_IPTC_HEAD) - 6:
        metadata = replace(metadata, iptc=None)
        notices.append("jpg holds 64 KiB of IPTC records, so they are not kept")
    return metadata, notices


def pillow_save_options(metadata: Metadata, fmt: str) -> dict[str, Any]:
    """Pillow's options that write fitted metadata, in the formats where Pillow does that whole: jpg, webp, avif and gif."""
    comment = metadata.text.get(COMMENT_KEYWORD)
    if fmt == "gif":
        return {"comment": comment.encode()} if comment else {}
    if fmt not in ("jpg", "webp", "avif"):
        return {}
    options: dict[str, Any] = {"xmp": metadata.xmp, "icc_profile": metadata.icc}
    if fmt == "jpg":
        options |= {"dpi": metadata.dpi, "comment": comment and comment.encode(), "extra": _iptc_segment(metadata.iptc)}
    block = _without_orientation(metadata.exif) if metadata.exif and fmt == "avif" else metadata.exif
    if block:
        options["exif"] = block if fmt == "webp" else _EXIF_HEAD + block
    return {name: value for name, value in options.items() if value}


def _without_orientation(block: bytes) -> bytes:
    """AVIF says in a property of its own how a picture lies; Pillow writes EXIF anew where that speaks of it too.

    Empty where it speaks of nothing else.
    """
    photo = exif.read(io.BytesIO(block))
    photo.image.pop(exif.ORIENTATION, None)
    return bytes(photo)


def _iptc_segment(records: bytes | None) -> bytes:
    if not records:
        return b""
    body = _IPTC_HEAD + struct.pack(">I", len(records)) + records + bytes(len(records) % 2)
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body


def embed(data: bytes, fmt: str, metadata: Metadata) -> bytes:
    """The bytes of a PNG, TIFF or GIF file with fitted metadata, whoever wrote them; of other formats as they are.

    PNG: before the image data. TIFF: the first directory is written anew at the end, so that the pixels stay where they are.
    """
    return _ATTACH[fmt](data, metadata) if fmt in _ATTACH else data


def _attach_png(data: bytes, metadata: Metadata) -> bytes:
    added = []
    if metadata.icc:
        added.append(png_chunks.iccp_chunk(metadata.icc))
    if metadata.dpi:
        added.append(png_chunks.phys_chunk(metadata.dpi))
    if metadata.exif:
        added.append(png_chunks.make_chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        added.append(png_chunks.text_chunk(png_chunks.XMP_KEYWORD, metadata.xmp))
    added += [png_chunks.text_chunk(keyword, value.encode()) for keyword, value in metadata.text.items()]
    return png_chunks.insert_chunks(data, b"".join(added))


def _attach_gif(data: bytes, metadata: Metadata) -> bytes:
    return gif_blocks.insert_xmp(data, metadata.xmp) if metadata.xmp else data


def _attach_tiff(data: bytes, metadata: Metadata) -> bytes:
    order = {b"II*\0": "<", b"MM\0*": ">"}[data[:4]]
    photo = exif.read(io.BytesIO(metadata.exif)) if metadata.exif else exif.Exif(order)
    added = dict(photo.tree(order))
    if metadata.dpi:
        resolution = exif.Exif(order)
        resolution.set_dpi(metadata.dpi)
        added |= resolution.image
    for tag, kind, value in (
        (_TIFF_XMP, exif.BYTE, metadata.xmp),
        (_TIFF_IPTC, exif.UNDEFINED, metadata.iptc),
        (_TIFF_ICC, exif.UNDEFINED, metadata.icc),
    ):
        if value:
            added[tag] = exif.IfdEntry(kind, value)
    return _with_entries(data, order, added) if added else data


def _with_entries(data: bytes, order: str, added: dict[int, "exif.IfdEntry | exif.Directory | bytes"]) -> bytes:
    """A TIFF file with more entries in its first directory, or other ones in their place."""
    (first,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, first)
    end = first + 2 + 12 * count
    rows = [data[at : at + 12] for at in range(first + 2, end, 12)]
    entries = {struct.unpack_from(order + "H", row)[0]: row for row in rows}
    room = exif.IfdWriter(order, len(data))
    at = room.directory({**entries, **added}, struct.unpack_from(order + "I", data, end)[0])
    return data[:4] + struct.pack(order + "I", at) + data[8:] + bytes(room.data)


_ATTACH: dict[str, Callable[[bytes, Metadata], bytes]] = {
    "png": _attach_png,
    "gif": _attach_gif,
    "tiff": _attach_tiff,
}
