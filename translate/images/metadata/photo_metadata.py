"""Metadata of a photo: EXIF, XMP, colour profile, resolution, texts; and the mark of an image made by a model."""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from PIL import Image

from translate.images.jpeg_quality import JpegEncoding
from translate.images.metadata import exif, place, xmp
from translate.images.metadata.exif import Exif
from translate.images.metadata.extraction import MetadataExtractor
from translate.images.metadata.georeference import TAGS, Georeference
from translate.images.metadata.icc import convert_to_srgb, srgb_profile
from translate.images.metadata.xmp import XmpPacket

COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for media that were changed by a generative model."""
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media that a generative model made."""
MODEL_SOURCE_TYPES = frozenset({COMPOSITE, GENERATED})
"""Source types that name a generative model."""


@dataclass(frozen=True)
class Mark:
    """Mark of an image that was made by a model."""

    tool: str
    """Name and version of the program."""
    system: str
    """Name of the model."""
    version: str
    """Version of the model."""
    source_type: str = COMPOSITE
    """Term of IPTC's Digital Source Type NewsCodes."""


@dataclass(frozen=True)
class FoundMark:
    """Origin of an image as the XMP of its file names it, which anyone may have written; None for what it does not say."""

    source_type: str | None
    """Term of IPTC's Digital Source Type."""
    system: str | None
    """Model that made or changed the image."""
    version: str | None
    """Version of the model."""
    tool: str | None
    """Program that made the image."""

    @property
    def names_a_model(self) -> bool:
        """True if the mark says that a generative model made or changed the image."""
        return self.system is not None or self.source_type in MODEL_SOURCE_TYPES


@dataclass(frozen=True)
class Metadata:
    """Metadata of a photo. Its pixels are upright, and every orientation in the metadata is set so."""

    exif: bytes | None = None
    """TIFF header and directories, without thumbnail."""
    xmp: bytes | None = None
    """XMP packet, usually in UTF-8."""
    icc: bytes | None = None
    """Colour profile of the pixels."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch across and down."""
    iptc: bytes | None = None
    """IPTC's older records (IIM)."""
    georeference: Georeference | None = None
    """Place of the pixels on Earth, by the tags of GeoTIFF."""
    nodata: str | None = None
    """Value that stands for no value (NoData) in an output, as a number in text."""
    text: Mapping[str, str] = field(default_factory=dict)
    """Keyword → text, as in PNG."""
    mark: Mark | None = None
    """Mark that was added to the XMP packet."""
    orientation: int = 1
    """Orientation of the pixels in the file, from 1 to 8."""
    notices: tuple[str, ...] = ()
    """Parts that could not be kept, one short line each."""
    jpeg: JpegEncoding | None = None
    """Encoding of a JPEG file, which one made from it has too."""

    @classmethod
    def from_image(cls, image: Image.Image) -> "Metadata":
        """Read the metadata of an opened image, before its pixels are loaded. Damaged parts are left out, with a notice."""
        extractor = MetadataExtractor.of_image(image)
        is_placed = image.format == "TIFF" and not TAGS.isdisjoint(image.tag_v2)  # type: ignore[attr-defined]
        metadata = cls._from_extractor(extractor, extractor.georeference() if is_placed else None)
        return replace(metadata, jpeg=JpegEncoding.from_image(image))

    @classmethod
    def of_pixels(cls, image: Image.Image) -> "Metadata":
        """Read only what decides how the pixels of an opened image are seen, as `from_image` does: orientation and profile."""
        extractor = MetadataExtractor.of_image(image)
        return cls(icc=extractor.icc(), orientation=_find_orientation(extractor))

    @classmethod
    def from_tiff(cls, file: BinaryIO) -> "Metadata":
        """Read the metadata of a TIFF file that Pillow does not open, for its number of channels or their depth."""
        try:
            values = exif.read_tags(file, frozenset({exif.TIFF_XMP, exif.TIFF_IPTC, exif.TIFF_ICC}))
        except (ValueError, OSError) as e:
            return cls(notices=(f"its metadata are damaged: {e}; not kept",))
        names = {exif.TIFF_XMP: "xmp", exif.TIFF_IPTC: "iptc", exif.TIFF_ICC: "icc_profile"}
        info = {names[tag]: data for tag, data in values.items()}
        extractor = MetadataExtractor("TIFF", info, file, ())
        return cls._from_extractor(extractor, extractor.georeference())

    @classmethod
    def _from_extractor(cls, extractor: "MetadataExtractor", georeference: Georeference | None) -> "Metadata":
        photo = extractor.exif()
        packet = extractor.xmp()
        orientation = _orientation(extractor, photo, packet)
        if photo:
            photo.reset_orientation()
        if packet:
            _reset_xmp_orientation(packet, orientation)
        dpi = extractor.dpi()
        if dpi and orientation >= 5:
            dpi = dpi[::-1]
        dpi = dpi or (photo.dpi() if photo else None)
        if georeference and orientation != 1:
            extractor.notices.append("its georeference is of the image before its turn upright; not kept")
            georeference = None
        return cls(
            exif=bytes(photo) or None if photo else None,
            xmp=bytes(packet) if packet else None,
            icc=extractor.icc(),
            dpi=dpi if dpi and _is_valid_dpi(dpi) else None,
            iptc=extractor.iptc(),
            georeference=georeference,
            text=extractor.text(),
            orientation=orientation,
            notices=tuple(extractor.notices),
        )

    def enlarged(self, scale: int) -> "Metadata":
        """Return the metadata of the image enlarged by a whole factor: its size in EXIF and XMP, and its georeference.

        The resolution in print stays, so that the print is larger.
        """
        if scale == 1:
            return self
        changed = self._changed(lambda photo: photo.enlarge(scale), lambda packet: _enlarge_xmp(packet, scale))
        placed = self.georeference.enlarged(scale) if self.georeference else None
        return replace(changed, georeference=placed)

    def without_place(self) -> tuple["Metadata", list[str]]:
        """Return the metadata without where the photo was taken, and a notice for each part from which it was removed.

        These are EXIF's GPS directory and the maker's note, which may hold a place too; properties of XMP, IPTC's records and
        PNG's texts that are named so; the georeference of a TIFF. IPTC's records are removed wholly where they are damaged.
        Free texts stay: title, description, keywords, comment.
        """
        dropped: dict[str, list[str]] = {}
        changed = self._changed(
            lambda photo: dropped.update(EXIF=photo.drop_place()),
            lambda packet: dropped.update(XMP=packet.drop_place()),
        )
        if self.iptc:
            try:
                records, dropped["IPTC records"] = place.drop_from_iim(self.iptc)
            except ValueError as e:
                records, dropped["IPTC records"] = b"", [f"all, since they {e}"]
            changed = replace(changed, iptc=records or None)
        if self.georeference:
            changed, dropped["georeference"] = replace(changed, georeference=None), ["tags of GeoTIFF"]
        dropped["texts"] = sorted(key for key in self.text if place.is_place(key))
        kept = {key: value for key, value in self.text.items() if key not in dropped["texts"]}
        notices = [
            f"the place is left out of its {part}: {', '.join(names)}" for part, names in dropped.items() if names
        ]
        return replace(changed, text=kept), notices

    def found_mark(self) -> FoundMark | None:
        """Return the mark that the XMP holds; None if it names neither a source type nor a model."""
        if self.xmp is None:
            return None
        packet = XmpPacket(self.xmp)
        names = (xmp.SOURCE_TYPE, xmp.SYSTEM, xmp.SYSTEM_VERSION, xmp.CREATOR_TOOL)
        found = FoundMark(*[packet.value(name) for name in names])
        return None if found.source_type is None and found.system is None else found

    def with_mark(self, mark: Mark) -> "Metadata":
        """Return the metadata with a mark in XMP.

        A source type that says that a model made or changed the image stays. Another one, as of a camera or a scanner, is
        replaced: it no longer holds, and IPTC's property has one value. The first tool that made the image stays.
        """
        packet = XmpPacket(self.xmp)
        marks = {xmp.SOURCE_TYPE: mark.source_type}
        if packet.value(xmp.SOURCE_TYPE) in MODEL_SOURCE_TYPES:
            del marks[xmp.SOURCE_TYPE]
        if packet.value(xmp.SYSTEM) is None:
            marks |= {xmp.SYSTEM: mark.system, xmp.SYSTEM_VERSION: mark.version}
        if packet.value(xmp.CREATOR_TOOL) is None:
            marks[xmp.CREATOR_TOOL] = mark.tool
        packet.add(marks)
        return replace(self, xmp=bytes(packet), mark=mark)

    def with_profile(self, icc: bytes | None) -> "Metadata":
        """Return the metadata of the same photo with pixels of another profile: sRGB, or none."""
        if icc != srgb_profile():
            return replace(self, icc=icc)
        colour_space = xmp.PropertyName(xmp.EXIF, "ColorSpace")
        return replace(
            self._changed(Exif.set_srgb, lambda packet: packet.replace(colour_space, "1")),
            icc=icc,
        )

    def with_dpi_in_exif(self) -> "Metadata":
        """Return the metadata with the resolution in EXIF, unless EXIF has one, for formats that hold it nowhere else."""
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
    """Convert an image of 8 bits to sRGB, with its metadata; deeper images and those without a profile stay as they are.

    A profile that cannot be used counts as none, with a notice.
    """
    if metadata.icc is None:
        return image, metadata
    try:
        image, icc = convert_to_srgb(image, metadata.icc)
    except ValueError as e:
        return image, replace(metadata, icc=None, notices=(*metadata.notices, f"its colour profile {e}; not used"))
    return image, metadata if icc == metadata.icc else metadata.with_profile(icc)


def read_orientation(image: Image.Image) -> int:
    """Return the orientation of an opened image, from 1 to 8, as `Metadata.from_image` finds it, in less time."""
    return _find_orientation(MetadataExtractor.of_image(image))


def _find_orientation(extractor: MetadataExtractor) -> int:
    """Return the orientation from 1 to 8, without a look at XMP where EXIF has one."""
    photo = extractor.exif()
    has_own = photo is not None and exif.ORIENTATION in photo.image
    return _orientation(extractor, photo, None if has_own else extractor.xmp())


def _orientation(extractor: MetadataExtractor, photo: Exif | None, packet: XmpPacket | None) -> int:
    """Return the orientation from 1 to 8. That of EXIF, or of AVIF, takes precedence over XMP's."""
    if extractor.format == "AVIF" or (photo is not None and exif.ORIENTATION in photo.image):
        return photo.orientation() if photo else 1
    value = packet.value(_XMP_ORIENTATION) if packet else None
    return int(value) if value in set("12345678") else 1


_XMP_ORIENTATION = xmp.PropertyName(xmp.TIFF, "Orientation")


def _reset_xmp_orientation(packet: XmpPacket, orientation: int) -> None:
    """Set XMP's orientation to upright; `orientation` is the one before."""
    packet.replace(_XMP_ORIENTATION, "1")
    if orientation >= 5:
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


def _enlarge_xmp(packet: XmpPacket, scale: int) -> None:
    """Follow an enlargement of the pixels in the sizes that XMP repeats from EXIF and TIFF."""
    for namespace, names in (
        (xmp.EXIF, ("PixelXDimension", "PixelYDimension")),
        (xmp.TIFF, ("ImageWidth", "ImageLength")),
    ):
        for name in names:
            place = xmp.PropertyName(namespace, name)
            value = packet.value(place)
            if value is not None and value.isdecimal():
                packet.replace(place, str(scale * int(value)))


def _is_valid_dpi(dpi: tuple[float, float]) -> bool:
    """Return whether this can be a resolution; JPEG holds 1 to 65535."""
    return all(math.isfinite(value) and 1 <= value <= 65535 for value in dpi)
