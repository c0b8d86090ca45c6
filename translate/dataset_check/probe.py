"""Properties of one image file: from its header alone, or from all of it, decoded."""

import errno
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from translate import images
from translate.dataset_check import near_duplicates
from translate.dataset_check.label_look import LabelLook, label_look
from translate.images import ImageError, Reading
from translate.images.value_statistics import ValueStatistics, is_of_open_type, measure_values

_GREY = ("1", "L", "LA", "La", "I", "F")
_MODES = {"CMYK": "cmyk", "LAB": "lab", "P": "palette", "PA": "palette"}

_TYPE_KINDS = {
    "uint16": ["16-bit"], "uint32": ["32-bit"], "int8": ["signed"], "int16": ["signed"], "int32": ["signed"],
    "int64": ["signed"], "float16": ["float"], "float32": ["float"], "float64": ["float"],
}  # fmt: skip


@dataclass(frozen=True)
class ImageHeader:
    """Properties of an image by its file's header."""

    width: int
    height: int
    """Height in pixels; width and height are those with the EXIF orientation applied."""
    channels: int
    """Channels to read it with: 3 for grey and colour images, else the file's own number."""
    kinds: tuple[str, ...]
    """Differences from a plain colour image, as "grey", "alpha" or "animated"."""


@dataclass(frozen=True, slots=True)
class ProbedImage:
    """Properties of a file that was decoded, or the reason why it could not be."""

    path: Path
    error: str = ""
    """Reason why the file cannot be read; empty where it can."""
    width: int = 0
    height: int = 0
    """Height in pixels; width and height are those with the EXIF orientation applied."""
    bytes_per_pixel: int = 0
    """Bytes of one pixel, all channels, as training stores it."""
    kinds: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()
    """Damage in spite of which the file was read."""
    hash_and_thumbnail: tuple[int, bytes] = (0, b"")
    """Perceptual hash and thumbnail: see `near_duplicates`."""
    seconds: float = 0.0
    """Processor time of decoding and resizing; 0 where it was not measured."""
    values: ValueStatistics | None = None
    """Limits of the values, and the pixels without one."""
    labels: LabelLook | None = None
    """Kind and values of an image that looks like a label map; None of others."""


def read_header(path: Path, *, frames: bool = True) -> ImageHeader | None:
    """Read the header of a regular file; None where it cannot be parsed. `frames`: look for animation, which may be slow."""
    try:
        if images.extension(path) == "npy":
            return _array_header(np.load(path, mmap_mode="r", allow_pickle=False).shape)
        with Image.open(path, formats=images.PILLOW_FORMATS) as image:
            return _image_header(image, frames)
    except Exception:
        if images.format_of(path) != "tiff":
            return None
    import tifffile

    try:  # more channels than Pillow reads
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            assert isinstance(page, tifffile.TiffPage)
            return _array_header((page.imagelength, page.imagewidth, page.samplesperpixel))
    except Exception:
        return None


def _array_header(shape: tuple[int, ...]) -> ImageHeader:
    channels = shape[2] if len(shape) == 3 else 1
    kinds = {1: ("grey",), 2: ("grey", "alpha"), 3: (), 4: ("alpha",)}
    if channels in kinds:
        return ImageHeader(shape[1], shape[0], 3, kinds[channels])
    return ImageHeader(shape[1], shape[0], channels, (f"{channels} channels",))


def _image_header(image: Image.Image, frames: bool) -> ImageHeader:
    mode = image.mode
    kinds = [_MODES[mode]] if mode in _MODES else []
    if mode in _GREY or mode.startswith("I;16"):
        kinds.append("grey")
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        kinds.append("alpha")
    orientation = images.read_orientation(image)
    if orientation > 1:
        kinds.append("exif-rotated")
    pages = images.tiff_pages_of(image)
    if frames and (pages.total if pages else getattr(image, "n_frames", 1)) > 1:
        kinds.append("animated")
    height, width = pages.size if pages else image.size[::-1]
    if orientation >= 5:
        height, width = width, height
    return ImageHeader(width, height, 3, tuple(kinds))


def probe_image(path: Path, resize_to: int | None, half: bool = False) -> ProbedImage:
    """Decode a whole file; with `resize_to` also measure the time of that and of resizing to a square of this side.

    `half`: the file must hold two images side by side. What is wrong is in the result's `error`, never raised.
    """
    if reason := why_not_regular(path):
        return ProbedImage(path, reason)
    header = read_header(path)
    channels, kinds = (header.channels, list(header.kinds)) if header else (3, [])
    try:
        values = measure_values(path) if is_of_open_type(path) else None
        start = time.thread_time()
        picture = images.read(path, how=Reading(channels, deep=True, value_range=_own_range(values)))
    except ImageError as e:
        return ProbedImage(path, str(e))
    pixels = picture.pixels
    if half and picture.width < 2:
        return ProbedImage(path, "one pixel wide: too narrow to hold A and B side by side")
    seconds = 0.0
    if resize_to is not None:
        images.resize(pixels, resize_to, resize_to)
        seconds = time.thread_time() - start
    kinds += _TYPE_KINDS.get(picture.dtype.name, [])
    height, width, count = pixels.shape
    shown = images.to_uint8_array(images.to_tensor(pixels, span)) if (span := _own_range(values)) else pixels
    looks = near_duplicates.hash_and_thumbnail(shown)
    values = values or _limits(pixels)
    size = count * pixels.dtype.itemsize
    labels = None if half else label_look(path)
    damage = tuple(picture.damage)
    return ProbedImage(path, "", width, height, size, tuple(kinds), damage, looks, seconds, values, labels)


def _own_range(values: ValueStatistics | None) -> images.ValueRange | None:
    """Return the limits of values whose type says no range, so that they can be shown; None for other values."""
    if values is None or values.low is None or values.high is None:
        return None
    is_open = values.scale is None or (values.scale == (0, 1) and not 0 <= values.low <= values.high <= 1)
    return (values.low, values.high if values.high > values.low else values.low + 1) if is_open else None


def _limits(pixels: np.ndarray) -> ValueStatistics:
    """Return the statistics of decoded pixels, of 8 or 16 bits."""
    low, high, size = float(pixels.min()), float(pixels.max()), pixels.shape[0] * pixels.shape[1]
    return ValueStatistics(pixels.dtype.name, images.type_range(pixels.dtype), low, high, size, 0)


def why_not_regular(path: Path) -> str:
    """Return why a path is no regular file or link to one; empty if it is. The file is not opened."""
    try:
        mode = os.stat(path).st_mode
    except OSError as e:
        if e.errno == errno.ELOOP:
            return "link loop"
        return "broken link" if path.is_symlink() else "no such file"
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISDIR(mode):
        return "folder named like an image"
    return "not a regular file"
