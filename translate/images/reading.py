"""Reading of image files of all allowed formats, which may be damaged or hostile."""

import io
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from translate.images.formats import MAX_PIXELS, ImageError, check_size, extension, format_of
from translate.images.high_bit_depth import (
    has_unspecified_channel,
    needs_other_decoder,
    read_native_depth,
    read_tiff,
    scale_transparent_grey,
)
from translate.images.metadata import png_chunks
from translate.images.metadata.photo_metadata import Metadata, to_srgb
from translate.images.orientation import apply_orientation
from translate.images.picture import WHITE, Colour, Picture, from_pil_image, from_stored
from translate.images.stored_values import UNSPECIFIED, StoredValues
from translate.images.value_ranges import ValueRange
from translate.text import one_line

logging.getLogger("PIL").setLevel(logging.CRITICAL)  # errors of a file are reported by an ImageError

PILLOW_FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
    "TIFF",
    "PPM",
    "AVIF",
    "GIF",
)
"""Formats that Pillow may try, whatever the extension."""


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
    """True to read the metadata too, and to convert pixels of 8 bits that have a colour profile to sRGB."""


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
        raise ImageError(_reason(path, e)) from None


def _read(path: Path, how: Reading) -> Picture:
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ImageError("not a regular file")
    if extension(path) == "npy":
        return _read_array(path, how)
    if how.max_pixels > MAX_PIXELS:  # asked for: lift Pillow's own limit too
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, how.max_pixels)
    try:
        image = Image.open(path, formats=PILLOW_FORMATS)
    except Image.UnidentifiedImageError:
        if (picture := _read_wide_tiff(path, how)) is not None:
            return picture
        raise
    except ValueError:  # a PNG with more text than Pillow takes
        image = Image.open(io.BytesIO(png_chunks.strip_metadata(path.read_bytes())), formats=("PNG",))
    with image:
        check_size(image.height, image.width, how.max_pixels)
        metadata = Metadata.from_image(image) if how.metadata else None  # before the pixels are loaded
        frames = getattr(image, "n_frames", 1)
        scale_transparent_grey(path, image)
        if needs_other_decoder(path, image, how.channels):
            picture = _from_stored(read_native_depth(path, image), how)
        elif metadata is None:
            picture = from_pil_image(ImageOps.exif_transpose(image), how.channels, how.background)
        else:
            image.load()
            upright, metadata = to_srgb(apply_orientation(image, metadata.orientation), metadata)
            picture = from_pil_image(upright, how.channels, how.background)
        if has_unspecified_channel(image) and how.channels in (1, 3) and UNSPECIFIED not in picture.notices:
            picture.notices.append(UNSPECIFIED)
    if frames > 1:
        picture.notices.append(f"first of {frames} frames")
    return _with_metadata(picture, metadata)


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
                width, height = image.size
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
    if format_of(path) != "tiff" or (stored := read_tiff(path, how.max_pixels)) is None:
        return None
    picture = _from_stored(stored, how)
    if not how.metadata:
        return picture
    with open(path, "rb") as file:
        return _with_metadata(picture, Metadata.from_tiff(file))


def _reason(path: Path, error: Exception) -> str:
    """Return one line that says why a file could not be opened."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    try:
        with open(path, "rb") as f:
            head = f.read(8)
    except OSError as e:
        return f"cannot be read: {e.strerror}"
    if not head:
        return "empty file"
    if head.startswith((b"%!PS", b"%PDF", b"8BPS", b"SIMPLE", b"\xc5\xd0\xd3\xc6")):
        return "format not allowed"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return f"damaged image: {one_line(error)}"
