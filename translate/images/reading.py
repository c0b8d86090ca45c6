"""Opening image files of any kind that is allowed, without trusting them."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from translate.images.formats import MAX_PIXELS, ImageError, extension
from translate.images.picture import WHITE, Colour, Picture, decode, decode_array

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "GIF")  # what Pillow may try, whatever the extension

ORIENTATION = 0x0112
BITS_PER_SAMPLE, SAMPLES_PER_PIXEL, SAMPLE_FORMAT = 258, 277, 339


@dataclass(frozen=True)
class Reading:
    """How files are opened."""

    channels: int = 3
    """Wanted. 1 and 3 are made of each other; any other number must be that of the file."""
    max_pixels: int = MAX_PIXELS
    background: Colour = WHITE
    """Behind what is transparent."""
    deep: bool = False
    """At the file's own depth: uint8, uint16 or float32 (0 to 1). Else all becomes 8 bits."""
    declared: bool = False
    """The range of the values is declared: floats stay as they are."""


def read(path: Path, channels: int = 3, max_pixels: int = MAX_PIXELS, how: Reading | None = None) -> Picture:
    """Opens a file. 16-bit values are scaled, not clipped. ImageError says why it cannot be."""
    how = how or Reading(channels, max_pixels)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageError("not a regular file")
        if extension(path) == "npy":
            return _read_array(path, how)
        if how.max_pixels > MAX_PIXELS:  # asked for: lift Pillow's own limit too
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, how.max_pixels)
        if extension(path) in ("tif", "tiff") and (picture := _read_wide_tiff(path, how)) is not None:
            return picture
        with Image.open(path, formats=FORMATS) as image:
            check_size(image.height, image.width, how.max_pixels)
            frames = getattr(image, "n_frames", 1)
            if how.deep and _is_deep(path, image):
                picture = _read_deep(path, image, how)
            else:
                picture = decode(ImageOps.exif_transpose(image), how.channels, how.background, deep=how.deep)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"more than {how.max_pixels} pixels; raise --max-pixels to allow it") from None
    except MemoryError:
        raise ImageError("too large for the memory") from None
    except Exception as e:  # decoders raise seven kinds, and a bad file must never end the work on the others
        raise ImageError(_reason(path, e)) from None
    if frames > 1:
        picture.notices.append(f"first of {frames} frames")
    return picture


def check_size(height: int, width: int, max_pixels: int) -> None:
    """ImageError where an image is larger than allowed."""
    if height * width > max_pixels:
        raise ImageError(f"{width}×{height} is more than {max_pixels} pixels; raise --max-pixels to allow it")


def _read_array(path: Path, how: Reading) -> Picture:
    array = np.load(path, mmap_mode="r", allow_pickle=False)  # so far only its header is read
    if array.ndim >= 2:
        check_size(array.shape[0], array.shape[1], how.max_pixels)
    return decode_array(np.array(array), how.channels, how.background, deep=how.deep, declared=how.declared)


def _is_deep(path: Path, image: Image.Image) -> bool:
    """Whether Pillow would cut the file's values down to 8 bits."""
    if image.format == "PNG":
        with open(path, "rb") as file:
            header = file.read(26)
        return header[24] == 16 and header[25] != 0  # grey alone Pillow reads whole
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        return max(tags.get(BITS_PER_SAMPLE, (8,))) > 8 and tags.get(SAMPLES_PER_PIXEL, 1) > 1
    return False


def _read_deep(path: Path, image: Image.Image, how: Reading) -> Picture:
    """Colours of more than 8 bits, by OpenCV."""
    import cv2  # takes a while to import, and few files need it

    array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ImageError("damaged image: its 16-bit values cannot be decoded")
    if array.ndim == 3 and array.shape[2] in (3, 4):
        array = array[:, :, [2, 1, 0, 3][: array.shape[2]]]  # OpenCV orders blue, green, red
    elif array.ndim == 3 and image.mode in ("LA", "PA"):
        array = array[:, :, :2]
    array = _upright(array, image.getexif().get(ORIENTATION, 1))
    return decode_array(array, how.channels, how.background, deep=True, declared=how.declared)


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """The image as its EXIF orientation (1 to 8) says that it is seen."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _read_wide_tiff(path: Path, how: Reading) -> Picture | None:
    """A TIFF that Pillow cannot open, for its number of channels or its float colours; None for others."""
    try:
        with Image.open(path, formats=FORMATS):
            return None
    except Image.DecompressionBombError:
        raise
    except Exception:
        import tifffile

        try:
            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages[0]
                assert isinstance(page, tifffile.TiffPage)
                check_size(page.imagelength, page.imagewidth, how.max_pixels)
                if page.imagedepth != 1 or page.samplesperpixel > 1024:
                    return None
                array = page.asarray()
                if page.planarconfig == 2 and array.ndim == 3:  # one plane after another
                    array = np.moveaxis(array, 0, 2)
        except ImageError:
            raise
        except Exception:
            return None  # Pillow's reason is the one to tell
        return decode_array(array, how.channels, how.background, deep=how.deep, declared=how.declared)


def _reason(path: Path, error: Exception) -> str:
    """One line on why a file could not be opened."""
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
    return "damaged image: " + " ".join(str(error).split())[:200]
