"""Files that Pillow would reduce to 8 bits, misreads or cannot open: more or odd bits, more channels, planar storage, NoData.

TIFF is read by tifffile with the decoders of imagecodecs, PNG and AVIF by imagecodecs, PNM by OpenCV, HEIC by libheif.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from translate.images import heif
from translate.images.bmp_rle import is_rle4, read_rle4
from translate.images.formats import ImageError, check_size
from translate.images.metadata import png_chunks
from translate.images.orientation import orient_array
from translate.images.stored_values import StoredValues
from translate.images.tiff_pages import TiffPages

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

MAX_CHANNELS = 1024
"""Largest number of channels; a TIFF that says that it has more is damaged."""


def needs_other_decoder(path: Path, image: Image.Image, channels: int) -> bool:
    """Return whether an opened file holds values that Pillow does not decode, or some of the wanted channels."""
    if image.format == "PNG":
        return _png_bits(path) == 16
    if image.format == "TIFF":
        return _is_special_tiff(image) or (channels not in (1, 3) and has_unspecified_channel(image))
    if image.format == "BMP":
        return is_rle4(path)
    if image.format in (heif.PILLOW_NAME, "AVIF"):
        return heif.bit_depth(path, image) > 8
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
        top = 2 ** _png_bits(path) - 1
        image.info["transparency"] = (key & top) * 255 // top


def _tuple(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def _png_bits(path: Path) -> int:
    """Return the bits per sample of a PNG file."""
    with open(path, "rb") as file:
        return file.read(25)[24]


def read_native_depth(path: Path, image: Image.Image, pages: TiffPages | None, orientation: int) -> StoredValues:
    """Read an opened file in its own data type, upright. ImageError if no decoder can.

    `pages` are those of a TIFF, `orientation` is that of any other file, from 1 to 8.
    """
    if pages is not None:
        stored = read_tiff(path, None, pages)
        if stored is None:
            raise ImageError("damaged image: its values cannot be decoded")
        return stored
    if image.format == "BMP":
        return StoredValues.from_array(read_rle4(path))
    if image.format in (heif.PILLOW_NAME, "AVIF"):
        values, top = heif.read_deep(path, image)
        return replace(StoredValues.from_array(orient_array(values, orientation)), top=top)
    array = _decode_png(path) if image.format == "PNG" else _decode_by_opencv(path)
    if array is None:
        raise ImageError("damaged image: its values cannot be decoded")
    oriented = orient_array(array, orientation)
    return replace(StoredValues.from_array(oriented), top=_pnm_maximum(path) if image.format == "PPM" else None)


def read_tiff(path: Path, max_pixels: int | None, pages: TiffPages) -> StoredValues | None:
    """Read the main page of a TIFF, upright; None where it cannot be decoded. ImageError above `max_pixels`."""
    import tifffile  # takes a while to import, and few files need it

    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[pages.main]
            if pages.sub_directory is not None:
                assert page.pages is not None
                page = page.pages[pages.sub_directory]
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
    if photometric == PHOTOMETRIC.YCBCR:
        return _decode_ycbcr(page)
    if photometric not in (
        PHOTOMETRIC.MINISBLACK,
        PHOTOMETRIC.MINISWHITE,
        PHOTOMETRIC.RGB,
        PHOTOMETRIC.SEPARATED,
        PHOTOMETRIC.PALETTE,
    ):
        return None
    array = page.asarray()
    bits = page.bitspersample
    if photometric == PHOTOMETRIC.PALETTE:
        assert page.colormap is not None
        array, bits = np.moveaxis(page.colormap[:, array], 0, 2), 16
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        array = np.moveaxis(array, 0, 2)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if bits == 24 and array.dtype == np.uint32 and page.parent.byteorder == "<":
        array = _swap_three_bytes(array)
    is_part = array.dtype.kind == "u" and 1 < bits < 8 * array.dtype.itemsize
    top = 2**bits - 1 if is_part else 1 if array.dtype.kind == "f" else int(np.iinfo(array.dtype).max)
    nodata = _nodata(page)
    if photometric == PHOTOMETRIC.MINISWHITE:
        array = ~array if array.dtype.kind == "i" else array.dtype.type(top) - array
        nodata = None if nodata is None else -1 - nodata if array.dtype.kind == "i" else top - nodata
    elif photometric == PHOTOMETRIC.SEPARATED:
        array = _cmyk_to_rgb(array, len(page.extrasamples), top)
    elif EXTRASAMPLE.ASSOCALPHA in page.extrasamples and array.shape[2] in (2, 4):
        array = _unpremultiply(array, top)
    stored = StoredValues.from_array(orient_array(array, page.tags.valueof(Base.Orientation, 1)))
    is_unspecified = stored.has_alpha and EXTRASAMPLE.UNSPECIFIED in page.extrasamples
    return replace(
        stored, top=top if is_part else None, has_alpha=stored.has_alpha and not is_unspecified,
        has_unspecified=is_unspecified, nodata=nodata,
    )  # fmt: skip


def _decode_ycbcr(page: "TiffPage") -> StoredValues | None:
    """Return an uncompressed page of YCbCr of 8 bits in RGB, upright; None for all other pages of YCbCr.

    Pillow reads such pages from version 13 on.
    """
    if (page.compression, page.planarconfig, page.bitspersample, page.subsampling) != (1, 1, 8, (1, 1)):
        return None
    image = Image.frombytes("YCbCr", (page.imagewidth, page.imagelength), page.asarray().tobytes()).convert("RGB")
    return StoredValues.from_array(orient_array(np.asarray(image), page.tags.valueof(Base.Orientation, 1)))


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


def _cmyk_to_rgb(array: np.ndarray, extra: int, top: float) -> np.ndarray:
    """Convert CMYK (H, W, 4) as Pillow does without a profile: each ink absorbs its share of light. `extra` channels stay."""
    if array.ndim != 3 or array.shape[2] != 4 + extra:
        raise ImageError(f"its {array.shape[-1] - extra} inks are not cyan, magenta, yellow and black")
    light = top - array[:, :, :4].astype(np.float64)
    rgb = light[:, :, :3] * light[:, :, 3:] / top
    rgb = rgb if array.dtype.kind == "f" else np.round(rgb)
    return np.concatenate([rgb.astype(array.dtype), array[:, :, 4:]], axis=2)


def _decode_png(path: Path) -> np.ndarray | None:
    """Return the stored values of a PNG, (H, W) or (H, W, C), with alpha for a transparent colour; None if it is damaged."""
    import imagecodecs

    try:  # without metadata, on which the decoder would print its own lines
        return imagecodecs.png_decode(png_chunks.strip_metadata(path.read_bytes(), keep_seen=False))
    except imagecodecs.PngError:
        return None


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
