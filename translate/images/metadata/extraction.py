"""Extraction of EXIF, XMP, ICC profile, resolution, IPTC records and texts from an opened image."""

import io
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, BinaryIO

from PIL import Image

from translate.images.heif import GAIN_MAP_NOTICE
from translate.images.metadata import MAX_BYTES, exif, gif_blocks, png_chunks, xmp
from translate.images.metadata.exif import Exif
from translate.images.metadata.georeference import Georeference, read_georeference
from translate.images.metadata.icc import colour_space
from translate.images.metadata.png_chunks import COMMENT_KEYWORD
from translate.images.metadata.xmp import XmpPacket

CREDENTIALS_NOTICE = "its content credentials (C2PA) are not kept: they are of its old pixels"
"""Notice of a file with content credentials, which an output that is signed has as an ingredient."""
_IPTC_RESOURCE = 0x0404  # in Photoshop's block of a JPEG file


class MetadataExtractor:
    """Extractor of the metadata of an opened image, with notices for the parts that are not kept.

    `format` is Pillow's name of the format, `info` Pillow's info, which is changed, `file` the opened file, and `segments`
    are a JPEG file's.
    """

    def __init__(
        self, format: str, info: dict[Any, Any], file: BinaryIO | None, segments: Iterable[tuple[str, bytes]]
    ) -> None:
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

    @classmethod
    def of_image(cls, image: Image.Image) -> "MetadataExtractor":
        """Return the extractor of an opened image, or of one in memory that still has the info of its file."""
        file = getattr(image, "fp", None)
        file = None if file is None or file.closed else file
        # of an opened PNG, texts are read by the extractor itself, since Pillow has not yet read those behind the pixels
        info = {key: value for key, value in image.info.items() if not isinstance(value, str)}
        if image.format == "TIFF":
            info["iptc"] = image.tag_v2.get(exif.TIFF_IPTC)  # type: ignore[attr-defined]
        if file is None and image.format != "TIFF":
            with suppress(Exception):  # decoders raise many kinds; then the block stays as it was in the file
                info["exif"] = image.getexif().tobytes()  # with changes that were made in memory
        extractor = cls(image.format or "", info, file, getattr(image, "applist", ()))
        if file is None:
            extractor.texts = {str(key): value for key, value in image.info.items() if isinstance(value, str)}
        return extractor

    def _scan_png(self, file: BinaryIO) -> None:
        """Read texts, and what Pillow finds only while it decodes: chunks after the image data."""
        left = MAX_BYTES
        for kind, data in png_chunks.read_chunks(file):
            if kind == b"eXIf":
                self.info["exif"] = data
            elif kind == b"caBX":
                self._note_credentials()
            elif kind in (b"tEXt", b"zTXt", b"iTXt"):
                decoded = png_chunks.decode_text(kind, data, left)
                if decoded is None:
                    self._drop("text", "is damaged or too long")
                    continue
                keyword, value = decoded
                left -= len(value)
                if keyword == png_chunks.XMP_KEYWORD:
                    self.info["xmp"] = value
                else:
                    self.texts[keyword] = value.decode("utf-8", "replace")

    def _note_credentials(self) -> None:
        self.notices.append(CREDENTIALS_NOTICE)

    def _drop(self, part: str, reason: object) -> None:
        self.notices.append(f"its {part} {reason}; not kept")

    def exif(self) -> Exif | None:
        """Return the EXIF; None if there is none or it is damaged. A TIFF's is empty once its pixels are loaded."""
        try:
            if self.format == "TIFF":
                photo = self._exif_of_tiff()
            else:
                data = self._exif_block()
                if not data:
                    return None
                photo = exif.read(io.BytesIO(data))
        except (ValueError, OSError, OverflowError) as e:
            self._drop("EXIF", f"is damaged: {e}")
            return None
        if photo.damaged:
            self.notices.append("parts of its EXIF are damaged and not kept")
        return photo

    def _exif_block(self) -> bytes:
        data = self.info.get("exif") or b""
        if not data and (raw := self.texts.get("Raw profile type exif")):
            data = bytes.fromhex("".join(raw.split("\n")[3:]))  # ImageMagick writes name and length first
        if not isinstance(data, bytes):
            raise ValueError("is text")
        while data.startswith(b"Exif\0\0"):
            data = data[6:]
        return data

    def _exif_of_tiff(self) -> Exif:
        if self.file is None:  # Pillow has turned the pixels upright and closed the file
            return Exif()
        position = self.file.tell()
        try:
            photo = exif.read(self.file)
        finally:
            self.file.seek(position)
        photo.maker_note_offset = 0  # its offset in the file is none in a block
        return photo

    def xmp(self) -> XmpPacket | None:
        """Return the XMP packet without descriptions of auxiliary images; None if there is none or it is damaged."""
        data = self.info.get("xmp")
        data = data.encode() if isinstance(data, str) else data
        if not data:
            return None
        try:
            if not isinstance(data, bytes):
                raise ValueError("is not text")
            packet = XmpPacket(data)
        except ValueError as e:
            self._drop("XMP", e)
            return None
        if packet.value(xmp.PropertyName(xmp.XMP_NOTE, "HasExtendedXMP")):
            self.notices.append("the second part of its XMP, which is too long for one, is not kept")
        if packet.has_gain_map():
            self.notices.append(GAIN_MAP_NOTICE)
        packet.drop_auxiliary_images()
        return packet

    def icc(self) -> bytes | None:
        """Return the colour profile; None if there is none or it is damaged."""
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
        """Return pixels per inch across and down as the format stores them outside of EXIF; None if it does not."""
        if self.format in ("JPEG", "MPO") and self.info.get("jfif_unit") not in (1, 2):
            return None  # Pillow would assume 72
        try:
            across, down = (float(value) for value in self.info.get("dpi", ()))
        except (TypeError, ValueError, ZeroDivisionError):
            return None
        return across, down

    def iptc(self) -> bytes | None:
        """Return the IPTC records (IIM); None if there are none."""
        data = self.info.get("iptc") or self.info.get("photoshop", {}).get(_IPTC_RESOURCE)
        return data if isinstance(data, bytes) and data else None

    def georeference(self) -> Georeference | None:
        """Return the georeference of a TIFF; None if there is none or it is damaged."""
        try:
            return None if self.file is None else read_georeference(self.file)
        except (ValueError, OSError) as e:
            self._drop("georeference", e)
            return None

    def text(self) -> dict[str, str]:
        """Return texts by keyword: PNG's, or the comment of JPEG and GIF."""
        if self.format == "PNG":
            return {key: value for key, value in self.texts.items() if not key.startswith(_DROPPED_KEYWORDS)}
        comment = self.info.get("comment")
        if not isinstance(comment, bytes) or not comment.strip(b"\0 "):
            return {}
        try:
            return {COMMENT_KEYWORD: comment.rstrip(b"\0").decode()}
        except UnicodeDecodeError:
            return {COMMENT_KEYWORD: comment.rstrip(b"\0").decode("latin-1")}


_DROPPED_KEYWORDS = ("Raw profile type ", "Thumb::")
"""Beginnings of keywords of texts that repeat other metadata, or describe a thumbnail."""
