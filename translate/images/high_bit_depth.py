"""Files that Pillow would reduce to 8 bits, misreads or cannot open: more or odd bits, more channels, planar storage, NoData.

TIFF is read by tifffile with the decoders of imagecodecs, PNG and PNM by OpenCV.
"""

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from translate.images.bmp_rle import is_rle4, read_rle4
from translate.images.formats import ImageError, check_size
from translate.images.metadata import png_chunks
from translate.images.orientation import orient_array
from translate.images.stored_values import StoredValues

if TYPE_CHECKING:
    from tifffile import TiffPage

_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANES, _FORMAT, _EXTRA, _NODATA = (
    258,
    259,
    262,
    277,
    284,
    339,
    338,
    42113,
)
_WHITE_IS_ZERO, _RGB = 0, 2
"""Smallest and largest of the photometric interpretations in which NoData is a stored value: grey and RGB."""
_UNSUPPORTED_COMPRESSIONS = frozenset({34887, 50001, 50002})
"""Compressions of TIFF that Pillow is built without: LERC, WebP, JPEG XL."""

GREY_ALPHA = 4
"""Colour type of grey with alpha in PNG (PNG specification, 11.2.1)."""

MAX_CHANNELS = 1024
"""Largest number of channels; a TIFF that says that it has more is damaged."""


def needs_other_decoder(path: Path, image: Image.Image, channels: int) -> bool:
    """Return whether an opened file holds values that Pillow does not decode, or some of the wanted channels."""
    if image.format == "PNG":
        return _png_header(path)[0] == 16
    if image.format == "TIFF":
        return _is_special_tiff(image) or (channels not in (1, 3) and has_unspecified_channel(image))
    if image.format == "BMP":
        return is_rle4(path)
    return image.format == "PPM" and image.mode in ("I", "RGB") and _pnm_maximum(path) > 255


def _is_special_tiff(image: Image.Image) -> bool:
    tags = image.tag_v2  # type: ignore[attr-defined]
    if tags.get(_COMPRESSION) in _UNSUPPORTED_COMPRESSIONS:
        return True
    if image.mode == "L" and tags.get(_SAMPLES, 1) > 1:  # Pillow 13 opens these without their other channels
        return True
    bits, formats = (_tuple(tags.get(tag, (1,))) for tag in (_BITS, _FORMAT))
    planes = tags.get(_PLANES, 1) == 2 and tags.get(_SAMPLES, 1) > 1
    is_colour_of_few_bits = tags.get(_PHOTOMETRIC) in range(_WHITE_IS_ZERO, _RGB + 1) and not set(bits) <= {1, 2, 4, 8}
    return (
        max(bits) > 8
        or is_colour_of_few_bits
        or (max(bits) < 8 and len(bits) > 1)
        or max(formats) > 1
        or (planes and image.mode != "RGB")
        or (_NODATA in tags and tags.get(_PHOTOMETRIC) in range(_WHITE_IS_ZERO, _RGB + 1))
    )


def has_unspecified_channel(image: Image.Image) -> bool:
    """Return whether an opened TIFF file holds a channel of which it does not say what it is."""
    return image.format == "TIFF" and 0 in _tuple(image.tag_v2.get(_EXTRA, ()))  # type: ignore[attr-defined]


def scale_transparent_grey(path: Path, image: Image.Image) -> None:
    """Scale the transparent grey of an opened PNG file of less than 8 bits as Pillow scales its pixels."""
    key = image.info.get("transparency")
    if image.format == "PNG" and image.mode in ("1", "L") and isinstance(key, int):
        top = 2 ** _png_header(path)[0] - 1
        image.info["transparency"] = (key & top) * 255 // top


def _tuple(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def _png_header(path: Path) -> tuple[int, int]:
    """Return the bits per sample and the colour type."""
    with open(path, "rb") as file:
        header = file.read(26)
    return header[24], header[25]


def read_native_depth(path: Path, image: Image.Image) -> StoredValues:
    """Read an opened file in its own data type, upright. ImageError if no decoder can."""
    if image.format == "TIFF":
        stored = read_tiff(path, max_pixels=None)
        if stored is None:
            raise ImageError("damaged image: its values cannot be decoded")
        return stored
    if image.format == "BMP":
        return StoredValues.from_array(read_rle4(path))
    array = _decode_by_opencv(path)
    if array is None:
        raise ImageError("damaged image: its values cannot be decoded")
    if image.format == "PNG":
        array = _with_png_transparency(path, array)
    oriented = orient_array(array, image.getexif().get(Base.Orientation, 1))
    return replace(StoredValues.from_array(oriented), top=_pnm_maximum(path) if image.format == "PPM" else None)


def _with_png_transparency(path: Path, array: np.ndarray) -> np.ndarray:
    """Return a PNG of 16 bits with the transparency that OpenCV leaves out, or without the colours that it adds."""
    if _png_header(path)[1] == GREY_ALPHA and array.ndim == 3:  # OpenCV decodes it as colour with alpha
        return array[:, :, [0, 3]]
    key = png_chunks.read_transparent_colour(path)
    if key is None:
        return array
    colours = array[:, :, None] if array.ndim == 2 else array[:, :, :3]
    if len(key) != colours.shape[2]:
        return array
    alpha = np.where((colours == np.array(key, colours.dtype)).all(axis=2), 0, 65535).astype(np.uint16)
    return np.concatenate([colours, alpha[:, :, None]], axis=2)


def read_tiff(path: Path, max_pixels: int | None) -> StoredValues | None:
    """Read the first page of a TIFF, upright; None where it cannot be decoded. ImageError above `max_pixels`."""
    import tifffile  # takes a while to import, and few files need it

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # errors of a file are reported by an ImageError
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            assert isinstance(page, tifffile.TiffPage)
            if max_pixels is not None:
                check_size(page.imagelength, page.imagewidth, max_pixels)
            if page.imagedepth != 1 or page.samplesperpixel > MAX_CHANNELS:
                return None
            return _decode_page(page)
    except ImageError:
        raise
    except Exception:  # of a damaged file, which the caller reports
        return None


def _decode_page(page: "TiffPage") -> StoredValues | None:
    """Return a page upright, with larger values lighter and colours in RGB; None for other colour spaces."""
    from tifffile import EXTRASAMPLE, PHOTOMETRIC

    photometric = page.photometric
    if photometric not in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.RGB, PHOTOMETRIC.SEPARATED):
        return None
    array = page.asarray()
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        array = np.moveaxis(array, 0, 2)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    bits = page.bitspersample
    if bits == 24 and array.dtype == np.uint32 and page.parent.byteorder == "<":
        array = _swap_three_bytes(array)
    is_part = array.dtype.kind == "u" and 1 < bits < 8 * array.dtype.itemsize
    top = 2**bits - 1 if is_part else 1 if array.dtype.kind == "f" else int(np.iinfo(array.dtype).max)
    nodata = _nodata(page)
    if photometric == PHOTOMETRIC.MINISWHITE:
        array = ~array if array.dtype.kind == "i" else array.dtype.type(top) - array
        nodata = None if nodata is None else -1 - nodata if array.dtype.kind == "i" else top - nodata
    elif photometric == PHOTOMETRIC.SEPARATED:
        array = _cmyk_to_rgb(array)
    elif EXTRASAMPLE.ASSOCALPHA in page.extrasamples and array.shape[2] in (2, 4):
        array = _unpremultiply(array, top)
    stored = StoredValues.from_array(orient_array(array, page.tags.valueof(Base.Orientation, 1)))
    is_unspecified = stored.has_alpha and EXTRASAMPLE.UNSPECIFIED in page.extrasamples
    return replace(
        stored, top=top if is_part else None, has_alpha=stored.has_alpha and not is_unspecified,
        has_unspecified=is_unspecified, nodata=nodata,
    )  # fmt: skip


def _swap_three_bytes(array: np.ndarray) -> np.ndarray:
    """Return integers of 24 bits in the file's byte order, as libtiff reads them: tifffile takes them for big-endian."""
    return (array & 0xFF) << 16 | array & 0xFF00 | array >> 16


def _nodata(page: "TiffPage") -> float | None:
    """Return the value that a page declares to stand for no value, by GDAL's tag; None if there is none."""
    text = page.tags.valueof(_NODATA, None)
    try:
        return None if text is None else float(str(text).strip("\0 "))
    except ValueError:
        return None


def _unpremultiply(array: np.ndarray, top: float) -> np.ndarray:
    """Convert colours with premultiplied alpha to straight alpha."""
    alpha = np.maximum(array[:, :, -1:].astype(np.float64), 1e-9)
    colours = np.clip(array[:, :, :-1] * (top / alpha), 0, top)
    colours = colours if array.dtype.kind == "f" else np.round(colours)
    return np.concatenate([colours.astype(array.dtype), array[:, :, -1:]], axis=2)


def _cmyk_to_rgb(array: np.ndarray) -> np.ndarray:
    """Convert CMYK (H, W, 4) of unsigned integers as Pillow does without a profile: each ink absorbs its share of light."""
    if array.ndim != 3 or array.shape[2] != 4:
        raise ImageError(f"its {array.shape[-1]} inks are not cyan, magenta, yellow and black")
    top = np.iinfo(array.dtype).max
    light = (top - array).astype(np.float64)
    return np.round(light[:, :, :3] * light[:, :, 3:] / top).astype(array.dtype)


def _decode_by_opencv(path: Path) -> np.ndarray | None:
    """Return the stored values in RGB order, (H, W) or (H, W, C); None where they cannot be decoded."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors of a file are reported by an ImageError
    array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is not None and array.ndim == 3 and array.shape[2] in (3, 4):
        array = array[:, :, [2, 1, 0, 3][: array.shape[2]]]  # OpenCV orders blue, green, red
    return array


def _pnm_maximum(path: Path) -> int:
    """Return the largest possible value of a PGM or PPM file: the third number of its header."""
    with open(path, "rb") as file:
        head = re.sub(rb"#[^\n]*\n", b" ", file.read(4096))
    return int(head[2:].split(maxsplit=3)[2])
