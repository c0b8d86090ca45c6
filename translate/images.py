"""The one place that opens and writes image files, and knows how integers map to [-1, 1]."""

import io
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from translate import files

READABLE = frozenset(["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm", "avif", "gif", "npy"])
"""Extensions, in lower case, of the files that are opened."""

NOT_ALLOWED = frozenset(
    [
        "eps",
        "ps",
        "pdf",
        "fits",
        "fit",
        "psd",
        "blp",
        "wmf",
        "emf",
        "hdf",
        "h5",
        "grib",
        "jp2",
        "j2k",
        "jpx",
        "pcx",
        "tga",
        "icns",
        "ico",
        "cur",
        "dds",
        "dcx",
        "fli",
        "flc",
        "fpx",
        "gbr",
        "im",
        "iptc",
        "mic",
        "mpo",
        "mpeg",
        "msp",
        "pcd",
        "pict",
        "pixar",
        "qoi",
        "sgi",
        "spi",
        "sun",
        "ras",
        "xbm",
        "xpm",
        "xv",
        "svg",
        "svgz",
        "heic",
        "heif",
        "jxl",
        "dcm",
    ]
)
"""Extensions of known image formats that are not opened: some run programs, others are rarely what they seem."""

KNOWN = READABLE | NOT_ALLOWED
"""Extensions that say that a file is an image."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "GIF")  # what Pillow may try, whatever the extension

MAX_PIXELS = 178_956_970
"""Images of more pixels are refused unless asked for: Pillow's own limit against decompression bombs."""


class ImageError(Exception):
    """Why a file cannot be read or written as an image, in one line without its name."""


def extension(path: str | os.PathLike[str]) -> str:
    """The extension in lower case, without the dot."""
    return Path(path).suffix[1:].lower()


@dataclass
class Picture:
    """A decoded image as a person sees it: 8 bits, EXIF orientation applied."""

    pixels: np.ndarray
    """(H, W, C) uint8; C is 3 (RGB) or 1 (grey). Where alpha is given, composited on white."""
    alpha: np.ndarray | None = None
    """(H, W) uint8, if the file has transparency."""
    notices: list[str] = field(default_factory=list)
    """What could not be kept, one short line each."""

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]


def read(path: Path, channels: int = 3, max_pixels: int = MAX_PIXELS) -> Picture:
    """Opens a file as RGB or grey. 16-bit values are scaled, not clipped. ImageError says why it cannot be."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageError("not a regular file")
        if extension(path) == "npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)  # so far only its header is read
            if array.ndim >= 2:
                _check_size(array.shape[0], array.shape[1], max_pixels)
            return decode_array(np.array(array), channels)
        if max_pixels > MAX_PIXELS:  # asked for: lift Pillow's own limit too
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels)
        with Image.open(path, formats=FORMATS) as image:
            _check_size(image.height, image.width, max_pixels)
            frames = getattr(image, "n_frames", 1)
            picture = decode(ImageOps.exif_transpose(image), channels)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"more than {max_pixels} pixels; raise --max-pixels to allow it") from None
    except MemoryError:
        raise ImageError("too large for the memory") from None
    except Exception as e:  # decoders raise seven kinds, and a bad file must never end the work on the others
        raise ImageError(_reason(path, e)) from None
    if frames > 1:
        picture.notices.append(f"first of {frames} frames")
    return picture


def _check_size(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise ImageError(f"{width}×{height} is more than {max_pixels} pixels; raise --max-pixels to allow it")


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


def decode(image: Image.Image, channels: int = 3) -> Picture:
    """A Pillow image of any mode as a Picture, orientation as it is."""
    mode = "RGB" if channels == 3 else "L"
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return decode_array(np.asarray(image), channels)
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        flat = Image.alpha_composite(white, rgba).convert(mode)
        alpha = np.asarray(rgba.getchannel("A"))
        return Picture(_with_channels(flat), None if alpha.min() == 255 else alpha)
    if image.mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None
        image = converted
    if image.mode == "P" and mode == "L":
        image = image.convert("RGB")
    return Picture(_with_channels(image.convert(mode)))


def _with_channels(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def decode_array(array: np.ndarray, channels: int = 3) -> Picture:
    """(H, W) or (H, W, C) of 1 to 4 channels as a Picture.

    uint8 as it is; other integers as 16-bit values; floats as 0 to 1, or 0 to 255 or 65535 where values exceed that.
    """
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise ImageError(f"an array of shape {array.shape} is no image; (H, W) or (H, W, C) with 1 to 4 channels is")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype.kind in "iu" and array.dtype != np.uint8:
        array = np.round(np.clip(array, 0, 65535) / 257).astype(np.uint8)
    elif array.dtype.kind == "f":
        finite = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=65535.0, neginf=0.0)
        top = next(t for t in (1, 255, 65535, np.inf) if finite.max() <= t)
        array = np.round(np.clip(finite / min(top, 65535), 0, 1) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(f"values of type {array.dtype} are no image")
    squeezed = array[:, :, 0] if array.shape[2] == 1 else np.ascontiguousarray(array)
    return decode(Image.fromarray(squeezed), channels)


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, C) uint8 → (height, width, C) by Pillow's antialiased bicubic filter, as the reference resizes."""
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return _with_channels(image.resize((width, height), Image.Resampling.BICUBIC))


# Integers and [-1, 1].


def to_tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, C) uint8 → (C, H, W) float32 in [-1, 1]: 0 becomes −1 and 255 becomes 1."""
    return to_range(torch.from_numpy(np.array(pixels)).permute(2, 0, 1).contiguous(), torch.float32)


def to_range(integers: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 tensor of any shape → [-1, 1]."""
    return integers.to(dtype) / 255 * 2 - 1


def to_integers(x: Tensor, *, truncate: bool = False) -> Tensor:
    """[-1, 1] → uint8 of the same shape; values beyond are clipped.

    Rounded to the nearest, or cut off: in the reference's own steps, since 1 / 127.5 is not exact.
    """
    x = x.detach().float() + 1
    scaled = (x / 2 * 255).floor_() if truncate else (x * 127.5).round_()
    return scaled.clamp_(0, 255).to(torch.uint8)


def to_pixels(x: Tensor, *, truncate: bool = False) -> np.ndarray:
    """(C, H, W) in [-1, 1] → (H, W, C) uint8, rounded to the nearest or cut off."""
    return to_integers(x, truncate=truncate).permute(1, 2, 0).cpu().numpy()


def to_image(pixels: np.ndarray, alpha: np.ndarray | None = None) -> Image.Image:
    """(H, W, C) uint8 and an optional (H, W) alpha as a Pillow image."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    return image


# Writing.


@dataclass(frozen=True)
class Writer:
    """How one output format is written by Pillow."""

    format: str
    alpha: bool
    options: Mapping[str, Any]
    quality: bool = False
    """Whether `--quality` applies."""


WRITERS: dict[str, Writer] = {
    "png": Writer("PNG", True, {"compress_level": 1}),  # level 6 takes five times as long for a sixth less
    "jpg": Writer("JPEG", False, {"quality": 95, "subsampling": 0}, quality=True),
    "webp": Writer("WEBP", True, {"quality": 90}, quality=True),
    "avif": Writer("AVIF", True, {"quality": 85}, quality=True),
    "tiff": Writer("TIFF", True, {"compression": "tiff_deflate"}),
    "gif": Writer("GIF", False, {}),
}

ALIASES = {"jpeg": "jpg", "tif": "tiff"}
"""Extensions that are written by the writer of another name."""


def writer_for(ext: str) -> str | None:
    """The row of WRITERS that writes files with this extension, if any does."""
    ext = ALIASES.get(ext, ext)
    return ext if ext in WRITERS else None


def encode(picture: Picture, fmt: str, quality: int | None = None) -> bytes:
    """The bytes of an image file; `fmt` is a row of WRITERS. ImageError if the format cannot hold it."""
    writer = WRITERS[fmt]
    options = dict(writer.options)
    if quality is not None and writer.quality:
        options["quality"] = quality
    alpha = picture.alpha if writer.alpha else None
    buffer = io.BytesIO()
    try:
        to_image(picture.pixels, alpha).save(buffer, writer.format, **options)
    except Exception as e:
        raise ImageError(f"cannot be written as {fmt}: {' '.join(str(e).split())}") from None
    return buffer.getvalue()


# Grids for people to look at.


def grid(columns: Mapping[str, Tensor | Iterable[np.ndarray]], gap: int = 4, scale_to: int = 128) -> Image.Image:
    """Named columns of images, one row for each sample, on a white ground with the names on top.

    A column is a tensor (N, C, H, W) in [-1, 1] or N arrays (H, W, C) uint8. Images narrower than `scale_to` pixels are
    enlarged by a whole factor so that they can be seen.
    """
    cells = {name: [_rgb(image) for image in _arrays(column)] for name, column in columns.items()}
    first = next(iter(cells.values()))[0]
    factor = max(1, round(scale_to / first.shape[1]))
    height, width = first.shape[0] * factor, first.shape[1] * factor
    rows = min(len(column) for column in cells.values())
    font = ImageFont.load_default(14)
    sheet = Image.new("RGB", (len(cells) * (width + gap) + gap, rows * (height + gap) + 26), "white")
    draw = ImageDraw.Draw(sheet)
    for x, (name, column) in enumerate(cells.items()):
        left = gap + x * (width + gap)
        draw.text((left + width / 2, 13), name, fill="black", font=font, anchor="mm")
        for y, pixels in enumerate(column[:rows]):
            image = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(image, (left, 24 + y * (height + gap)))
    return sheet


def _arrays(column: Tensor | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for image in column:
        yield to_pixels(image) if isinstance(image, Tensor) else image


def _rgb(pixels: np.ndarray) -> np.ndarray:
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels


def find(root: Path) -> list[Path]:
    """Regular files below a folder whose extension is readable, sorted by relative path; linked folders are not entered."""
    return [path for path in walk(root) if extension(path) in READABLE]


def walk(root: Path, *, irregular: bool = False) -> list[Path]:
    """Regular files (or links to such) below a folder, sorted by relative path; hidden files are passed over.

    With `irregular` also what cannot be read: dangling links, pipes, devices.
    """
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and (irregular or path.is_file()):
                found.append(path)
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def write_image(path: Path, image: Image.Image) -> None:
    """A Pillow image as a PNG file, whole or not at all."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    files.write(path, buffer.getvalue())
