"""Reading of image files of all allowed formats, which may be damaged or hostile."""

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from translate.images import heif
from translate.images.bmp_bit_fields import read_bit_fields
from translate.images.formats import (
    CAN_READ_HEIF,
    HEIF_MISSING,
    MAX_PIXELS,
    ImageError,
    check_size,
    extension,
    format_of_content,
)
from translate.images.high_bit_depth import (
    has_unspecified_channel,
    needs_other_decoder,
    read_native_depth,
    read_tiff,
    scale_transparent_grey,
)
from translate.images.label_maps import (
    LabelFormat,
    check_instance_size,
    instance_edges,
    read_instance_map,
    read_label_map,
)
from translate.images.metadata.photo_metadata import Metadata, to_srgb
from translate.images.orientation import apply_orientation
from translate.images.picture import WHITE, Colour, Picture, from_pil_image, from_stored
from translate.images.quiet_decoders import silence_decoders, take_tiff_error
from translate.images.repair import repair
from translate.images.stored_values import UNSPECIFIED, StoredValues
from translate.images.tiff_pages import TiffPages, find_pages
from translate.images.value_ranges import ValueRange
from translate.text import one_line

silence_decoders()
heif.register()

PILLOW_FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
    "TIFF",
    "PPM",
    "AVIF",
    "GIF",
    *((heif.PILLOW_NAME,) if CAN_READ_HEIF else ()),
)
"""Formats that Pillow may try, whatever the extension."""


_COMPRESSION, _PHOTOMETRIC, _STRIP_BYTES, _SUBSAMPLING = 259, 262, 279, 530
_YCBCR = 6


@dataclass(frozen=True)
class Reading:
    """Options of reading an image file."""

    channels: int = 3
    """Number of channels. Grey is converted to colour and colour to grey; any other number must be that of the file."""
    max_pixels: int = MAX_PIXELS
    """Largest number of pixels."""
    background: Colour = WHITE
    """Colour that transparent images are composited on."""
    deep: bool = False
    """True to keep the file's own depth: uint8, uint16 or float32 (0 to 1). Else the depth becomes 8 bits."""
    value_range: ValueRange | None = None
    """Values that black and white stand for, where they are declared: stored values stay. None: those of the type."""
    require_scale: bool = False
    """True to refuse files whose values have no known scale; else it is that of their type, with a notice (`from_stored`)."""
    metadata: bool = False
    """True to keep the metadata. With and without, pixels of 8 bits that have a colour profile are converted to sRGB, unless
    the range of their values is declared."""
    labels: LabelFormat | None = None
    """Format of label maps, if the file is one: pixels are its stored channels, and there are no metadata."""
    instances: Path | None = None
    """Instance map of a label map with edges."""


def read(path: Path, channels: int = 3, max_pixels: int = MAX_PIXELS, how: Reading | None = None) -> Picture:
    """Read an image file. `how`, if given, replaces `channels` and `max_pixels`.

    Values of 16 bits are scaled to 8, not clipped. ImageError, whose text is one line without the path, if the file cannot be
    read.
    """
    try:
        return _read(path, how or Reading(channels, max_pixels))
    except ImageError:
        raise
    except Image.DecompressionBombError:
        limit = how.max_pixels if how else max_pixels
        raise ImageError(f"more than {limit} pixels; raise --max-pixels to allow it") from None
    except MemoryError:
        raise ImageError("too large for memory") from None
    except Exception as e:  # decoders raise seven kinds, and a bad file must not stop the work on the others
        raise ImageError(failure_reason(path, e)) from None


def _read(path: Path, how: Reading) -> Picture:
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ImageError("not a regular file")
    if how.max_pixels > MAX_PIXELS:  # asked for: lift Pillow's own limit too
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, how.max_pixels)
    if how.labels is not None:
        return _read_labels(path, how.labels, how)
    if extension(path) == "npy":
        return _read_array(path, how)
    try:
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            return _read_opened(image, path, how)
    except (ImageError, Image.DecompressionBombError, MemoryError):
        raise
    except Exception:  # decoders raise seven kinds
        if (picture := _read_otherwise(path, how)) is None:
            raise
        return picture


def _read_labels(path: Path, labels: LabelFormat, how: Reading) -> Picture:
    """Read a label map, with the edges of its instance map where the format has them."""
    stored = read_label_map(path, labels, how.max_pixels)
    if not labels.edges:
        return Picture(stored[:, :, None])
    if how.instances is None:
        raise ImageError("has no instance map, which the model needs for the edges of objects")
    instances = read_instance_map(how.instances, how.max_pixels)
    check_instance_size(how.instances, instances.shape, stored.shape)
    return Picture(np.stack([stored, instance_edges(instances)], axis=2))


def _read_otherwise(path: Path, how: Reading) -> Picture | None:
    """Read a file that Pillow cannot decode: repaired, or by another decoder; None where there is no way to."""
    if (array := read_bit_fields(path, how.max_pixels)) is not None:
        return _from_stored(StoredValues.from_array(array), how)
    repaired = repair(path, how.max_pixels)
    if repaired is None:
        return _read_wide_tiff(path, how)
    with Image.open(io.BytesIO(repaired.data), formats=PILLOW_FORMATS) as image:
        picture = _read_opened(image, path, how)
    _add_damage(picture, repaired.damage)
    return picture


def _add_damage(picture: Picture, damage: str) -> None:
    picture.damage.append(damage)
    picture.notices.append(damage)


def _read_opened(image: Image.Image, path: Path, how: Reading) -> Picture:
    """Decode an opened file. `path` is read by decoders other than Pillow."""
    pages = tiff_pages_of(image)
    if pages and pages.sub_directory is not None:
        return _read_sub_directory(path, pages, how)
    if pages and pages.main > 0:
        image.seek(pages.main)
    if pages and _has_subsampled_chroma(image):
        raise ImageError(
            "its colours are uncompressed YCbCr of reduced resolution, which is not read; save it anew as RGB"
        )
    check_size(image.height, image.width, how.max_pixels)
    metadata = Metadata.from_image(image) if how.metadata else Metadata.of_pixels(image)  # before the pixels are loaded
    frames = pages.total if pages else getattr(image, "n_frames", 1)
    found = heif.notices(image) if image.format == heif.PILLOW_NAME else []  # before the pixels are loaded
    scale_transparent_grey(path, image)
    if needs_other_decoder(path, image, how.channels):
        picture = _from_stored(read_native_depth(path, image, pages, metadata.orientation), how)
    else:
        take_tiff_error()  # of a file before
        picture, metadata = _decode(image, metadata, how)
        if take_tiff_error():
            _add_damage(picture, "damaged: some of its rows may be wrong")
    if has_unspecified_channel(image) and how.channels in (1, 3) and UNSPECIFIED not in picture.notices:
        picture.notices.append(UNSPECIFIED)
    if pages and pages.main > 0:
        picture.notices.append(f"page {pages.main + 1} of {frames}: those before it are reduced copies or masks")
    elif frames > 1:
        picture.notices.append(_frames_notice(image.format, frames))
    picture.notices += found
    return _with_metadata(picture, metadata if how.metadata else None)


def _frames_notice(format: str | None, frames: int) -> str:
    """Return the notice of a file of which one of several pictures was read."""
    if format in ("MPO", heif.PILLOW_NAME):
        return f"the main one of its {frames} pictures; the others are not kept"
    return f"first of {frames} frames"


def tiff_pages_of(image: Image.Image) -> TiffPages | None:
    """Return the pages of an opened TIFF file; None for other formats."""
    file = getattr(image, "fp", None)
    return find_pages(file) if image.format == "TIFF" and file else None


def _has_subsampled_chroma(image: Image.Image) -> bool:
    """Return whether an opened TIFF holds uncompressed YCbCr with fewer values of colour, which Pillow takes for pixels."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if tags.get(_COMPRESSION, 1) != 1 or tags.get(_PHOTOMETRIC) != _YCBCR or tags.get(_SUBSAMPLING) == (1, 1):
        return False
    stored: tuple[int, ...] = tags.get(_STRIP_BYTES, ())
    return sum(stored) < 3 * image.width * image.height


def from_opened(image: Image.Image, how: Reading) -> Picture:
    """Convert an opened Pillow image as `read` reads its file: upright by its EXIF, in sRGB if it has a colour profile.

    Damaged metadata count as none. `how.metadata` and `how.max_pixels` are not looked at.
    """
    return _decode(image, Metadata.of_pixels(image), how)[0]


def _decode(image: Image.Image, metadata: Metadata, how: Reading) -> tuple[Picture, Metadata]:
    """Decode an image upright, and in sRGB unless the range of its values is declared; return it with its metadata."""
    image.load()
    upright = apply_orientation(image, metadata.orientation)
    if how.value_range is None:
        upright, metadata = to_srgb(upright, metadata)
    return from_pil_image(upright, how.channels, how.background), metadata


def _with_metadata(picture: Picture, metadata: Metadata | None) -> Picture:
    picture.metadata = metadata
    picture.notices += metadata.notices if metadata else ()
    return picture


def read_size(path: Path) -> tuple[int, int]:
    """Return height and width as the file's header has them, before any turn; (0, 0) if it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return 0, 0
        if extension(path) == "npy":
            height, width = np.load(path, mmap_mode="r", allow_pickle=False).shape[:2]
        else:
            with Image.open(path, formats=PILLOW_FORMATS) as image:
                pages = tiff_pages_of(image)
                height, width = pages.size if pages else image.size[::-1]
        return height, width
    except Exception:  # reading the file will say why
        return 0, 0


def _read_array(path: Path, how: Reading) -> Picture:
    array = np.load(path, mmap_mode="r", allow_pickle=False)  # reads only the header
    if array.ndim >= 2:
        check_size(array.shape[0], array.shape[1], how.max_pixels)
    return _from_stored(StoredValues.from_array(np.array(array)), how)


def _from_stored(stored: StoredValues, how: Reading) -> Picture:
    return from_stored(
        stored,
        how.channels,
        how.background,
        deep=how.deep,
        value_range=how.value_range,
        require_scale=how.require_scale,
    )


def _read_wide_tiff(path: Path, how: Reading) -> Picture | None:
    """Read a TIFF that Pillow cannot open, for its number of channels or its float colours; None for other files."""
    with open(path, "rb") as file:
        if file.read(2) not in (b"II", b"MM"):
            return None
        pages = find_pages(file)
        stored = read_tiff(path, how.max_pixels, pages)
        if stored is None:
            return None
        metadata = Metadata.from_tiff(file) if how.metadata else None
    return _with_metadata(_from_stored(stored, how), metadata)


def _read_sub_directory(path: Path, pages: TiffPages, how: Reading) -> Picture:
    """Read a TIFF file whose pages are reduced copies of a picture in a directory below the first."""
    picture = _read_wide_tiff(path, how)
    if picture is None:
        raise ImageError("damaged image: its values cannot be decoded")
    picture.notices.append("its pages are reduced copies of the picture that was read")
    return picture


def failure_reason(path: Path, error: Exception) -> str:
    """Return one line that says why a file could not be opened."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    try:
        with open(path, "rb") as f:
            head = f.read(64)
    except OSError as e:
        return f"cannot be read: {e.strerror}"
    if not head:
        return "empty file"
    if head.startswith((b"%!PS", b"%PDF", b"8BPS", b"SIMPLE", b"\xc5\xd0\xd3\xc6")):
        return "format not allowed"
    if not CAN_READ_HEIF and format_of_content(head) == "heic":
        return HEIF_MISSING
    if isinstance(error, Image.UnidentifiedImageError):
        if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")):
            return "damaged, or of a kind that is not read; save it anew as RGB of 8 or 16 bits"
        return "not an image"
    return f"damaged image: {one_line(error)}"
