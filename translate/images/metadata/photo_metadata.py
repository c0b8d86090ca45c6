"""What a photo carries beside its pixels: EXIF, XMP, colour profile, resolution, texts; and the mark of a conversion."""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from PIL import Image

from translate.images.metadata import exif, xmp
from translate.images.metadata.exif import Exif
from translate.images.metadata.extraction import MetadataExtractor
from translate.images.metadata.icc import convert_to_srgb, srgb_profile
from translate.images.metadata.xmp import XmpPacket

COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for media that were changed by a generative model."""
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media that a generative model made."""
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
    def from_image(cls, image: Image.Image) -> "Metadata":
        """Of an image as it was opened, before its pixels are loaded. Damaged parts are left out, with a notice."""
        info = {
            key: value for key, value in image.info.items() if not isinstance(value, str)
        }  # PNG's texts are found anew
        if image.format == "TIFF":
            info["iptc"] = image.tag_v2.get(_TIFF_IPTC)  # type: ignore[attr-defined]
        segments = getattr(image, "applist", ())
        return cls._found(MetadataExtractor(image.format or "", info, getattr(image, "fp", None), segments))

    @classmethod
    def from_tiff(cls, file: BinaryIO) -> "Metadata":
        """Of a TIFF file that Pillow does not open, for its number of channels or their depth."""
        try:
            held = exif.read_tags(file, frozenset({_TIFF_XMP, _TIFF_IPTC, _TIFF_ICC}))
        except (ValueError, OSError) as e:
            return cls(notices=(f"its metadata are damaged: {e}; not kept",))
        names = {_TIFF_XMP: "xmp", _TIFF_IPTC: "iptc", _TIFF_ICC: "icc_profile"}
        return cls._found(MetadataExtractor("TIFF", {names[tag]: data for tag, data in held.items()}, file, ()))

    @classmethod
    def _found(cls, found: "MetadataExtractor") -> "Metadata":
        photo = found.photo()
        packet = found.packet()
        told = found.format == "AVIF" or (photo is not None and exif.ORIENTATION in photo.image)
        turned = photo.reset_orientation() if photo else 1
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
        return self._changed(lambda photo: photo.gps.clear(), XmpPacket.drop_gps)

    def with_mark(self, mark: Mark) -> "Metadata":
        """With a mark in XMP.

        What already says that a model made or changed the picture stays; a source type of a camera, a scanner or a hand no
        longer holds, since IPTC's property has one value, and gives way. The first tool that made the picture stays.
        """
        packet = XmpPacket(self.xmp)
        marks = {xmp.SOURCE_TYPE: mark.source_type}
        if packet.value(xmp.SOURCE_TYPE) in (COMPOSITE, GENERATED):
            del marks[xmp.SOURCE_TYPE]
        if packet.value(xmp.SYSTEM) is None:
            marks |= {xmp.SYSTEM: mark.system, xmp.SYSTEM_VERSION: mark.version}
        if packet.value(xmp.CREATOR_TOOL) is None:
            marks[xmp.CREATOR_TOOL] = mark.tool
        packet.add(marks)
        return replace(self, xmp=bytes(packet), mark=mark)

    def with_profile(self, icc: bytes | None) -> "Metadata":
        """Of the same photo, whose pixels now have another profile: sRGB, or none."""
        if icc != srgb_profile():
            return replace(self, icc=icc)
        colour_space = xmp.PropertyName(xmp.EXIF, "ColorSpace")
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

    def _changed(self, photo_change: Callable[[Exif], None], packet_change: Callable[[XmpPacket], None]) -> "Metadata":
        changed = self
        if self.exif:
            photo = exif.read(io.BytesIO(self.exif))
            photo_change(photo)
            changed = replace(changed, exif=bytes(photo) or None)
        if self.xmp:
            packet = XmpPacket(self.xmp)
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
        image, icc = convert_to_srgb(image, metadata.icc)
    except ValueError as e:
        return image, replace(metadata, icc=None, notices=(*metadata.notices, f"its colour profile {e}; not used"))
    return image, metadata if icc == metadata.icc else metadata.with_profile(icc)


def apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
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


def _turn_upright(packet: XmpPacket, turned: int | None) -> int:
    """Says in XMP too that the pixels are upright. `turned` is EXIF's orientation, or AVIF's own, which go before XMP's."""
    name = xmp.PropertyName(xmp.TIFF, "Orientation")
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
            across, down = xmp.PropertyName(namespace, width), xmp.PropertyName(namespace, height)
            values = packet.value(across), packet.value(down)
            if values[0] is not None and values[1] is not None:
                packet.replace(across, values[1])
                packet.replace(down, values[0])
    return turned


def _sensible(dpi: tuple[float, float]) -> bool:
    """Whether this can be a resolution; what JPEG holds is from 1 to 65535."""
    return all(math.isfinite(value) and 1 <= value <= 65535 for value in dpi)
