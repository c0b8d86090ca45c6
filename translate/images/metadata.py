"""What a photo carries beside its pixels: EXIF, XMP, colour profile, resolution, texts; and the mark of a conversion."""

import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from PIL import Image

from translate.images import exif, gif, png, profiles, xmp
from translate.images.exif import Exif
from translate.images.xmp import Packet

COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for media that were changed by a generative model."""
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media that a generative model made."""

COMMENT = "Comment"
"""The text that JPEG and GIF hold too; PNG's keyword for it."""

_IPTC_RESOURCE = 0x0404  # in Photoshop's block of a JPEG file
_TIFF_XMP, _TIFF_IPTC, _TIFF_ICC = 700, 33723, 34675


@dataclass(frozen=True)
class Mark:
    """What says that an image was made by a model."""

    tool: str
    """Name and version of the program."""
    system: str
    """Name of the model."""
    version: str
    """Of the model."""
    source_type: str = COMPOSITE
    """A term of IPTC's Digital Source Type NewsCodes."""


@dataclass(frozen=True)
class Metadata:
    """What a photo carries. Its pixels count as upright: what speaks of an orientation says so."""

    exif: bytes | None = None
    """A TIFF header and directories, without thumbnail."""
    xmp: bytes | None = None
    """A packet, UTF-8 as a rule."""
    icc: bytes | None = None
    """The colour profile that the pixels have."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch across and down."""
    iptc: bytes | None = None
    """IPTC's older records (IIM)."""
    text: Mapping[str, str] = field(default_factory=dict)
    """Keyword → text, as PNG has them."""
    mark: Mark | None = None
    """The mark that was added to the XMP packet."""
    orientation: int = 1
    """From 1 to 8: how the pixels lay in the file."""
    notices: tuple[str, ...] = ()
    """What could not be kept, one short line each."""

    @classmethod
    def of(cls, image: Image.Image) -> "Metadata":
        """Of an image as it was opened, before its pixels are loaded. Damaged parts are left out, with a notice."""
        info = {
            key: value for key, value in image.info.items() if not isinstance(value, str)
        }  # PNG's texts are found anew
        if image.format == "TIFF":
            info["iptc"] = image.tag_v2.get(_TIFF_IPTC)  # type: ignore[attr-defined]
        segments = getattr(image, "applist", ())
        return cls._found(_Finder(image.format or "", info, getattr(image, "fp", None), segments))

    @classmethod
    def of_tiff(cls, file: BinaryIO) -> "Metadata":
        """Of a TIFF file that Pillow does not open, for its number of channels or their depth."""
        try:
            held = exif.values(file, frozenset({_TIFF_XMP, _TIFF_IPTC, _TIFF_ICC}))
        except (ValueError, OSError) as e:
            return cls(notices=(f"its metadata are damaged: {e}; not kept",))
        names = {_TIFF_XMP: "xmp", _TIFF_IPTC: "iptc", _TIFF_ICC: "icc_profile"}
        return cls._found(_Finder("TIFF", {names[tag]: data for tag, data in held.items()}, file, ()))

    @classmethod
    def _found(cls, found: "_Finder") -> "Metadata":
        photo = found.photo()
        packet = found.packet()
        told = found.format == "AVIF" or (photo is not None and exif.ORIENTATION in photo.image)
        turned = photo.turn_upright() if photo else 1
        if packet:
            turned = _turn_upright(packet, turned if told else None)
        told_dpi = found.dpi()
        dpi = told_dpi[::-1] if told_dpi and turned >= 5 else told_dpi or (photo.dpi() if photo else None)
        return cls(
            exif=bytes(photo) or None if photo else None,
            xmp=bytes(packet) if packet else None,
            icc=found.icc(),
            dpi=dpi if dpi and _sensible(dpi) else None,
            iptc=found.iptc(),
            text=found.text(),
            orientation=turned,
            notices=tuple(found.notices),
        )

    def without_gps(self) -> "Metadata":
        """Without coordinates: no GPS directory in EXIF, no coordinates in XMP. Makers' notes stay as they are."""
        return self._changed(lambda photo: photo.gps.clear(), Packet.drop_places)

    def marked(self, mark: Mark) -> "Metadata":
        """With a mark in XMP.

        What already says that a model made or changed the picture stays; a source type of a camera, a scanner or a hand no
        longer holds, since IPTC's property has one value, and gives way. The first tool that made the picture stays.
        """
        packet = Packet(self.xmp)
        marks = {xmp.SOURCE_TYPE: mark.source_type}
        if packet.value(xmp.SOURCE_TYPE) in (COMPOSITE, GENERATED):
            del marks[xmp.SOURCE_TYPE]
        if packet.value(xmp.SYSTEM) is None:
            marks |= {xmp.SYSTEM: mark.system, xmp.SYSTEM_VERSION: mark.version}
        if packet.value(xmp.CREATOR_TOOL) is None:
            marks[xmp.CREATOR_TOOL] = mark.tool
        packet.add(marks)
        return replace(self, xmp=bytes(packet), mark=mark)

    def in_profile(self, icc: bytes | None) -> "Metadata":
        """Of the same photo, whose pixels now have another profile: sRGB, or none."""
        if icc != profiles.srgb():
            return replace(self, icc=icc)
        colour_space = xmp.Name(xmp.EXIF, "ColorSpace")
        return replace(
            self._changed(Exif.set_srgb, lambda packet: packet.replace(colour_space, "1")),
            icc=icc,
        )

    def with_dpi_in_exif(self) -> "Metadata":
        """With the resolution in EXIF, unless EXIF has one, for formats that have no other place for it."""
        if self.dpi is None:
            return self
        photo = exif.read(io.BytesIO(self.exif)) if self.exif else Exif()
        if photo.dpi() is None:
            photo.set_dpi(self.dpi)
        return replace(self, exif=bytes(photo))

    def _changed(self, photo_change: Callable[[Exif], None], packet_change: Callable[[Packet], None]) -> "Metadata":
        changed = self
        if self.exif:
            photo = exif.read(io.BytesIO(self.exif))
            photo_change(photo)
            changed = replace(changed, exif=bytes(photo) or None)
        if self.xmp:
            packet = Packet(self.xmp)
            packet_change(packet)
            changed = replace(changed, xmp=bytes(packet))
        return changed


def to_srgb(image: Image.Image, metadata: Metadata) -> tuple[Image.Image, Metadata]:
    """An image of 8 bits in sRGB, with what it carries; deeper ones, and those without a profile, as they are.

    A profile that cannot be used counts as none, with a notice.
    """
    if metadata.icc is None:
        return image, metadata
    try:
        image, icc = profiles.to_srgb(image, metadata.icc)
    except ValueError as e:
        return image, replace(metadata, icc=None, notices=(*metadata.notices, f"its colour profile {e}; not used"))
    return image, metadata if icc == metadata.icc else metadata.in_profile(icc)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """An image as its orientation (1 to 8) says that it is seen. TIFF files are opened that way already."""
    method = _TURNS.get(orientation)
    return image if method is None or image.format == "TIFF" else image.transpose(method)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turn_upright(packet: Packet, turned: int | None) -> int:
    """Says in XMP too that the pixels are upright. `turned` is EXIF's orientation, or AVIF's own, which go before XMP's."""
    name = xmp.Name(xmp.TIFF, "Orientation")
    own = packet.value(name)
    if turned is None:
        turned = int(own) if own in set("12345678") else 1
    packet.replace(name, "1")
    if turned >= 5:
        for namespace, width, height in (
            (xmp.EXIF, "PixelXDimension", "PixelYDimension"),
            (xmp.TIFF, "ImageWidth", "ImageLength"),
            (xmp.TIFF, "XResolution", "YResolution"),
        ):
            across, down = xmp.Name(namespace, width), xmp.Name(namespace, height)
            values = packet.value(across), packet.value(down)
            if values[0] is not None and values[1] is not None:
                packet.replace(across, values[1])
                packet.replace(down, values[0])
    return turned


class _Finder:
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
            self.info["xmp"] = gif.packet(file)
        if file:
            file.seek(position)
        if any(name == "APP11" and b"jumb" in data[:64] for name, data in segments):
            self._note_credentials()

    def _scan_png(self, file: BinaryIO) -> None:
        """Texts, and what Pillow finds only while it decodes: chunks behind the pixels."""
        left = png.LIMIT
        for kind, data in png.chunks(file):
            if kind == b"eXIf":
                self.info["exif"] = data
            elif kind == b"caBX":
                self._note_credentials()
            elif kind in (b"tEXt", b"zTXt", b"iTXt"):
                found = png.text(kind, data, left)
                if found is None:
                    self._drop("text", "is damaged or too long")
                    continue
                keyword, value = found
                left -= len(value)
                if keyword == png.XMP_KEYWORD:
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
        photo.maker_note_at = 0  # no place in a block
        return photo

    def packet(self) -> Packet | None:
        data = self.info.get("xmp")
        data = data.encode() if isinstance(data, str) else data
        if not data:
            return None
        try:
            if not isinstance(data, bytes):
                raise ValueError("is no text")
            packet = Packet(data)
        except ValueError as e:
            self._drop("XMP", e)
            return None
        if packet.value(xmp.Name(xmp.XMP_NOTE, "HasExtendedXMP")):
            self.notices.append("the second part of its XMP, which is too long for one, is not kept")
        packet.drop_other_pictures()
        return packet

    def icc(self) -> bytes | None:
        data = self.info.get("icc_profile")
        if "icc_profile" not in self.info or data == b"":
            return None
        try:
            profiles.space(data if isinstance(data, bytes) else b"")
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
            return {COMMENT: comment.rstrip(b"\0").decode()}
        except UnicodeDecodeError:
            return {COMMENT: comment.rstrip(b"\0").decode("latin-1")}


_NO_TEXTS = ("Raw profile type ", "Thumb::")
"""Keywords of texts that hold other metadata once more, or describe a thumbnail."""


def _sensible(dpi: tuple[float, float]) -> bool:
    """Whether this can be a resolution; what JPEG holds is from 1 to 65535."""
    return all(math.isfinite(value) and 1 <= value <= 65535 for value in dpi)
