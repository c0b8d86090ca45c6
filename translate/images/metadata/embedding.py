"""Embedding of metadata in encoded files: parts that fit into a format, Pillow's options, and blocks inserted afterwards.

The rows of `images.writing.WRITERS` say which of these functions serve which format.
"""

import io
import struct
from dataclasses import replace
from typing import Any

from translate.images.metadata import exif, gif_blocks, png_chunks, xmp
from translate.images.metadata.georeference import GDAL_NODATA, nodata_entry
from translate.images.metadata.icc import colour_space, srgb_profile
from translate.images.metadata.photo_metadata import Metadata
from translate.images.metadata.png_chunks import COMMENT_KEYWORD

PART_NAMES = {
    "exif": "EXIF", "xmp": "XMP", "icc": "colour profile", "dpi": "resolution", "iptc": "IPTC records",
    "georeference": "georeference", "nodata": "NoData",
}  # fmt: skip
"""Parts of Metadata → their names in notices."""

JPEG_SEGMENT = 65_533
"""Bytes that one segment of a JPEG file holds."""
_EXIF_HEAD, _XMP_HEAD = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_IPTC_HEAD = b"Photoshop 3.0\x008BIM\x04\x04\0\0"

_MARKS = frozenset({xmp.SOURCE_TYPE, xmp.SYSTEM, xmp.SYSTEM_VERSION, xmp.CREATOR_TOOL})
"""Properties of the mark, which are never dropped."""

Fitted = tuple[Metadata, list[str]]
"""Metadata that fits, and a notice for each part that does not."""


def drop_unsupported(metadata: Metadata, fmt: str, supported: frozenset[str]) -> Fitted:
    """Remove the parts that a format does not hold; `supported` names those that it does."""
    dropped: dict[str, Any] = {part: None for part in PART_NAMES if getattr(metadata, part) and part not in supported}
    notices = [f"{fmt} holds no {PART_NAMES[part]}" for part in dropped]
    if "xmp" in dropped and metadata.mark:
        notices[list(dropped).index("xmp")] += ", so it is not marked as made by a model"
    return replace(metadata, **dropped), notices


def fit_profile(metadata: Metadata, channels: int) -> Fitted:
    """Remove a profile of another colour space than the picture's; grey without a profile counts as that of sRGB."""
    if metadata.icc is None or colour_space(metadata.icc) == {1: "GRAY", 3: "RGB "}.get(channels):
        return metadata, []
    notices = [] if channels == 1 and metadata.icc == srgb_profile() else ["its colour profile does not fit the output"]
    return replace(metadata, icc=None), notices


def fit_text(metadata: Metadata, fmt: str, supported: frozenset[str], max_comment: int | None) -> Fitted:
    """Remove the texts that a format does not hold, and a comment of more than `max_comment` bytes."""
    kept = {
        key: value
        for key, value in metadata.text.items()
        if "text" in supported or (key == COMMENT_KEYWORD and "comment" in supported)
    }
    if max_comment is not None and len(kept.get(COMMENT_KEYWORD, "").encode()) > max_comment:
        del kept[COMMENT_KEYWORD]
    dropped = sorted(metadata.text.keys() - kept.keys())
    return replace(metadata, text=kept), [f"{fmt} does not hold its text {', '.join(dropped)}"] if dropped else []


def fit_jpeg(metadata: Metadata) -> Fitted:
    """Shrink metadata to JPEG's segments of 64 KiB.

    EXIF loses the maker's note, or, where that is not enough, is dropped; XMP loses its largest properties, but never the
    mark.
    """
    notices = []
    limit = JPEG_SEGMENT - len(_EXIF_HEAD)
    if metadata.exif and len(metadata.exif) > limit:
        parsed = exif.read(io.BytesIO(metadata.exif))
        parsed.photo.pop(exif.MAKER_NOTE, None)
        block = bytes(parsed)
        fits = 0 < len(block) <= limit
        metadata = replace(metadata, exif=block if fits else None)
        notices.append(f"jpg holds 64 KiB of EXIF, so {'the maker’s note' if fits else 'its EXIF'} is not kept")
    limit = JPEG_SEGMENT - len(_XMP_HEAD)
    if metadata.xmp and len(metadata.xmp) > limit:
        packet = xmp.XmpPacket(metadata.xmp)
        packet.shrink(limit, _MARKS.__contains__)
        metadata = replace(metadata, xmp=bytes(packet))
        notices.append("jpg holds 64 KiB of XMP, so its largest properties are not kept")
    if metadata.iptc and len(metadata.iptc) > JPEG_SEGMENT - len(_IPTC_HEAD) - 6:
        metadata = replace(metadata, iptc=None)
        notices.append("jpg holds 64 KiB of IPTC records, so they are not kept")
    return metadata, notices


def dpi_to_exif(metadata: Metadata) -> Fitted:
    """Move the resolution into EXIF, for formats that hold it nowhere else."""
    return metadata.with_dpi_in_exif(), []


def gif_save_options(metadata: Metadata) -> dict[str, Any]:
    """Return Pillow's options that write fitted metadata into GIF: the comment."""
    comment = metadata.text.get(COMMENT_KEYWORD)
    return {"comment": comment.encode()} if comment else {}


def jpeg_save_options(metadata: Metadata) -> dict[str, Any]:
    """Return Pillow's options that write fitted metadata into JPEG, and encode it as the file was that they were read from."""
    comment = metadata.text.get(COMMENT_KEYWORD)
    options = {
        "xmp": metadata.xmp, "icc_profile": metadata.icc, "dpi": metadata.dpi, "comment": comment and comment.encode(),
        "extra": _iptc_segment(metadata.iptc), "exif": metadata.exif and _EXIF_HEAD + metadata.exif,
    }  # fmt: skip
    return _without_empty(options) | (metadata.jpeg.options() if metadata.jpeg else {})


def webp_save_options(metadata: Metadata) -> dict[str, Any]:
    """Return Pillow's options that write fitted metadata into WebP."""
    return _without_empty({"xmp": metadata.xmp, "icc_profile": metadata.icc, "exif": metadata.exif})


def avif_save_options(metadata: Metadata) -> dict[str, Any]:
    """Return Pillow's options that write fitted metadata into AVIF."""
    block = metadata.exif and _without_orientation(metadata.exif)
    return _without_empty({"xmp": metadata.xmp, "icc_profile": metadata.icc, "exif": block and _EXIF_HEAD + block})


def heif_save_options(metadata: Metadata) -> dict[str, Any]:
    """Return the options that write fitted metadata into HEIC."""
    block = metadata.exif and _EXIF_HEAD + metadata.exif
    return _without_empty({"xmp": metadata.xmp, "icc_profile": metadata.icc, "exif": block})


def _without_empty(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value}


def _without_orientation(block: bytes) -> bytes:
    """Return EXIF without its orientation; empty where it holds nothing else.

    AVIF holds the orientation in a property of its own, and Pillow rewrites EXIF that holds it too.
    """
    parsed = exif.read(io.BytesIO(block))
    parsed.image.pop(exif.ORIENTATION, None)
    return bytes(parsed)


def _iptc_segment(records: bytes | None) -> bytes:
    if not records:
        return b""
    body = _IPTC_HEAD + struct.pack(">I", len(records)) + records + bytes(len(records) % 2)
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body


def embed_in_png(data: bytes, metadata: Metadata) -> bytes:
    """Return a PNG file with fitted metadata before its image data."""
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


def embed_in_gif(data: bytes, metadata: Metadata) -> bytes:
    """Return a GIF file with the XMP packet of fitted metadata."""
    return gif_blocks.insert_xmp(data, metadata.xmp) if metadata.xmp else data


def embed_in_tiff(data: bytes, metadata: Metadata) -> bytes:
    """Return a TIFF file with fitted metadata: its first directory is rewritten at the end, the pixels stay in place."""
    byte_order = {b"II*\0": "<", b"MM\0*": ">"}[data[:4]]
    parsed = exif.read(io.BytesIO(metadata.exif)) if metadata.exif else exif.Exif(byte_order)
    added = dict(parsed.tree(byte_order))
    if metadata.dpi:
        resolution = exif.Exif(byte_order)
        resolution.set_dpi(metadata.dpi)
        added |= resolution.image
    for tag, kind, value in (
        (exif.TIFF_XMP, exif.BYTE, metadata.xmp),
        (exif.TIFF_IPTC, exif.UNDEFINED, metadata.iptc),
        (exif.TIFF_ICC, exif.UNDEFINED, metadata.icc),
    ):
        if value:
            added[tag] = exif.IfdEntry(kind, value)
    if metadata.georeference:
        added |= metadata.georeference.in_order(byte_order)
    if metadata.nodata is not None:
        added[GDAL_NODATA] = nodata_entry(metadata.nodata)
    return _with_entries(data, byte_order, added) if added else data


def _with_entries(data: bytes, byte_order: str, added: dict[int, "exif.IfdEntry | exif.Directory | bytes"]) -> bytes:
    """Return a TIFF file with entries added to its first directory; they replace entries of the same tags."""
    (first,) = struct.unpack_from(byte_order + "I", data, 4)
    (count,) = struct.unpack_from(byte_order + "H", data, first)
    end = first + 2 + 12 * count
    rows = [data[at : at + 12] for at in range(first + 2, end, 12)]
    entries = {struct.unpack_from(byte_order + "H", row)[0]: row for row in rows}
    writer = exif.IfdWriter(byte_order, len(data))
    at = writer.directory({**entries, **added}, struct.unpack_from(byte_order + "I", data, end)[0])
    return data[:4] + struct.pack(byte_order + "I", at) + data[8:] + bytes(writer.data)
