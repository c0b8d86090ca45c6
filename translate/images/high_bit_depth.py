"""Files that Pillow would reduce to 8 bits, or cannot open: more bits, more channels, planar storage.

TIFF is read by tifffile with the decoders of imagecodecs, PNG by imagecodecs, PNM by OpenCV.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from translate.images.formats import ImageError, check_size
from translate.images.metadata import png_chunks
from translate.images.orientation import orient_array
from translate.images.tiff_pages import TiffPages

if TYPE_CHECKING:
    from tifffile import TiffPage

_BITS, _COMPRESSION, _SAMPLES, _PLANES = 258, 259, 277, 284
_UNSUPPORTED_COMPRESSIONS = frozenset({34887, 50001, 50002})
"""Compressions of TIFF that Pillow is built without: LERC, WebP, JPEG XL."""

MAX_CHANNELS = 1024
"""Largest number of channels; a TIFF that says that it has more is damaged."""


def needs_other_decoder(path: Path, image: Image.Image) -> bool:
    """Return whether an opened file holds values or channels that Pillow does not decode."""
    if image.format == "PNG":
        return _png_bits(path) == 16
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if tags.get(_COMPRESSION) in _UNSUPPORTED_COMPRESSIONS:
            return True
        if image.mode == "L" and tags.get(_SAMPLES, 1) > 1:  # Pillow 13 opens these without their other channels
            return True
        planes = tags.get(_PLANES, 1) == 2 and tags.get(_SAMPLES, 1) > 1
        return max(tags.get(_BITS, (1,))) > 8 or (planes and image.mode != "RGB")
    return image.format == "PPM" and image.mode in ("I", "RGB") and _pnm_maximum(path) > 255


def _png_bits(path: Path) -> int:
    """Return the bits per sample of a PNG file."""
    with open(path, "rb") as file:
        return file.read(25)[24]


def read_native_depth(
    path: Path, image: Image.Image, pages: TiffPages | None, orientation: int, *, preserve_range: bool
) -> np.ndarray:
    """Read an opened file at its own depth, upright: (H, W) or (H, W, C). ImageError if no decoder can.

    `pages` are those of a TIFF, `orientation` is that of any other file, from 1 to 8.

    With `preserve_range` stored values stay as they are; else values of 9 to 15 bits are scaled to 16.
    """
    if pages is not None:
        array = read_tiff(path, None, pages, preserve_range=preserve_range)
        if array is None:
            raise ImageError("damaged image: its values cannot be decoded")
        return array
    array = _decode_png(path) if image.format == "PNG" else _decode_by_opencv(path)
    if array is None:
        raise ImageError("damaged image: its 16-bit values cannot be decoded")
    if image.format == "PPM" and not preserve_range:
        array = np.round(array * (65535 / _pnm_maximum(path))).astype(np.uint16)
    return orient_array(array, orientation)


def read_tiff(path: Path, max_pixels: int | None, pages: TiffPages, *, preserve_range: bool) -> np.ndarray | None:
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
            return _decode_page(page, preserve_range)
    except ImageError:
        raise
    except Exception:  # of a damaged file, which the caller reports
        return None


def _decode_page(page: "TiffPage", preserve_range: bool) -> np.ndarray | None:
    """Return a page upright, with larger values lighter and colours in RGB; None for other colour spaces."""
    from tifffile import EXTRASAMPLE, PHOTOMETRIC

    planar = page.planarconfig == 2 and page.samplesperpixel > 1
    photometric = page.photometric
    if photometric not in (
        PHOTOMETRIC.MINISBLACK,
        PHOTOMETRIC.MINISWHITE,
        PHOTOMETRIC.RGB,
        PHOTOMETRIC.SEPARATED,
        PHOTOMETRIC.PALETTE,
    ):
        return None
    array = page.asarray()
    if photometric == PHOTOMETRIC.PALETTE:
        assert page.colormap is not None
        array = np.moveaxis(page.colormap[:, array], 0, 2)
    if planar:
        array = np.moveaxis(array, 0, 2)
    if not preserve_range and 8 < page.bitspersample < 16:
        array = np.round(array * (65535 / (2**page.bitspersample - 1))).astype(np.uint16)
    top = 1 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    if photometric == PHOTOMETRIC.MINISWHITE:
        array = top - array
    elif photometric == PHOTOMETRIC.SEPARATED:
        array = _cmyk_to_rgb(array, len(page.extrasamples), top)
    elif EXTRASAMPLE.ASSOCALPHA in page.extrasamples and array.shape[2] in (2, 4):
        array = _unpremultiply(array, top)
    return orient_array(array, page.tags.valueof(Base.Orientation, 1))


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
