"""Extraction of EXIF, XMP, ICC profile, resolution, IPTC records and texts from an opened image."""

import io
from collections.abc import Iterable
from typing import Any, BinaryIO

from translate.images.metadata import exif, gif_blocks, png_chunks, xmp
from translate.images.metadata.exif import Exif
from translate.images.metadata.icc import colour_space
from translate.images.metadata.png_chunks import COMMENT_KEYWORD
from translate.images.metadata.xmp import XmpPacket

_IPTC_RESOURCE = 0x0404  # in Photoshop's block of a JPEG file


class MetadataExtractor:
    """Finds what an opened image carries, and notes what it had to leave."""

    def __init__(
        self, format: str, info: dict[Any, Any], file: BinaryIO | None, segments: Iterable[tuple[str, bytes]]
    ) -> None:
        """Of Pillow's name of a format, Pillow's info, the opened file, and a JPEG file's segments."""
        self.format, self.info, self.file = format, info, file
        self.notices: list[str] = []
        self.texts: dict[str, str] = {}
        position = file.tell() if file else 0
        if format == "PNG" and file:
            self._scan_png(file)
        elif format == "GIF" and file:
            self.info["xmp"] = gif_blocks.read_xmp(file)
        if file:
            file.seek(position)
        if any(name == "APP11" and b"jumb" in data[:64] for name, data in segments):
            self._note_credentials()

    def _scan_png(self, file: BinaryIO) -> None:
        """Texts, and what Pillow finds only while it decodes: chunks behind the pixels."""
        left = png_chunks.MAX_TEXT_BYTES
        for kind, data in png_chunks.read_chunks(file):
            if kind == b"eXIf":
                self.info["exif"] = data
            elif kind == b"caBX":
                self._note_credentials()
            elif kind in (b"tEXt", b"zTXt", b"iTXt"):
                found = png_chunks.decode_text(kind, data, left)
                if found is None:
                    self._drop("text", "is damaged or too long")
                    continue
                keyword, value = found
                left -= len(value)
                if keyword == png_chunks.XMP_KEYWORD:
                    self.info["xmp"] = value
                else:
                    self.texts[keyword] = value.decode("utf-8", "replace")

    def _note_credentials(self) -> None:
        self.notices.append("its content credentials (C2PA) are not kept: they are of its old pixels")

    def _drop(self, what: str, why: object) -> None:
        self.notices.append(f"its {what} {why}; not kept")

    def photo(self) -> Exif | None:
        try:
            if self.format == "TIFF":
                photo = self._of_tiff()
            else:
                data = self._block()
                if not data:
                    return None
                photo = exif.read(io.BytesIO(data))
        except (ValueError, OSError, OverflowError) as e:
            self._drop("EXIF", f"is damaged: {e}")
            return None
        if photo.damaged:
            self.notices.append("parts of its EXIF are damaged and not kept")
        return photo

    def _block(self) -> bytes:
        data = self.info.get("exif") or b""
        if not data and (raw := self.texts.get("Raw profile type exif")):
            data = bytes.fromhex("".join(raw.split("\n")[3:]))  # as ImageMagick writes it: name and length come first
        if not isinstance(data, bytes):
            raise ValueError("is text")
        while data.startswith(b"Exif\0\0"):
            data = data[6:]
        return data

    def _of_tiff(self) -> Exif:
        if self.file is None:
            raise RuntimeError("what a TIFF file carries must be read before its pixels are")
        position = self.file.tell()
        try:
            photo = exif.read(self.file)
        finally:
            self.file.seek(position)
        photo.maker_note_offset = 0  # no place in a block
        return photo

    def packet(self) -> XmpPacket | None:
        data = self.info.get("xmp")
        data = data.encode() if isinstance(data, str) else data
        if not data:
            return None
        try:
            if not isinstance(data, bytes):
                raise ValueError("is no text")
            packet = XmpPacket(data)
        except ValueError as e:
            self._drop("XMP", e)
            return None
        if packet.value(xmp.PropertyName(xmp.XMP_NOTE, "HasExtendedXMP")):
            self.notices.append("the second part of its XMP, which is too long for one, is not kept")
        packet.drop_auxiliary_images()
        return packet

    def icc(self) -> bytes | None:
        data = self.info.get("icc_profile")
        if "icc_profile" not in self.info or data == b"":
            return None
        try:
            colour_space(data if isinstance(data, bytes) else b"")
        except ValueError as e:
            self.notices.append(f"its colour profile {e}; not used")
            return None
        return data

    def dpi(self) -> tuple[float, float] | None:
        if self.format in ("JPEG", "MPO") and self.info.get("jfif_unit") not in (1, 2):
            return None  # Pillow makes up 72
        try:
            across, down = (float(value) for value in self.info.get("dpi", ()))
        except (TypeError, ValueError, ZeroDivisionError):
            return None
        return across, down

    def iptc(self) -> bytes | None:
        data = self.info.get("iptc") or self.info.get("photoshop", {}).get(_IPTC_RESOURCE)
        return data if isinstance(data, bytes) and data else None

    def text(self) -> dict[str, str]:
        if self.format == "PNG":
            return {key: value for key, value in self.texts.items() if not key.startswith(_NO_TEXTS)}
        comment = self.info.get("comment")
        if not isinstance(comment, bytes) or not comment.strip(b"\0 "):
            return {}
        try:
            return {COMMENT_KEYWORD: comment.rstrip(b"\0").decode()}
        except UnicodeDecodeError:
            return {COMMENT_KEYWORD: comment.rstrip(b"\0").decode("latin-1")}


_NO_TEXTS = ("Raw profile type ", "Thumb::")
"""Keywords of texts that hold other metadata once more, or describe a thumbnail."""
