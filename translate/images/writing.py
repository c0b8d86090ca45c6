"""Encoding image files."""

import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from translate.images.formats import ImageError
from translate.images.metadata.embedding import embed, pillow_save_options, supported_by
from translate.images.metadata.photo_metadata import Metadata
from translate.images.picture import Picture, to_pil_image, to_uint8
from translate.text import one_line


@dataclass(frozen=True)
class Writer:
    """How one output format is written; `format` and `options` are Pillow's for images of 8 bits."""

    format: str
    alpha: bool
    options: Mapping[str, Any]
    quality: bool = False
    """Whether `--quality` applies."""
    depths: tuple[str, ...] = ("uint8",)
    """What it holds."""
    channels: tuple[int, ...] | None = (1, 3)
    """How many it holds; None: any number."""


DEPTHS = ("uint8", "uint16", "float32")

WRITERS: dict[str, Writer] = {
    # Against zlib's level 6: a third of the time, and on photos as many bytes (tools/bench_png.py)
    "png": Writer("PNG", True, {"compress_level": 1, "compress_type": zlib.Z_RLE}, depths=DEPTHS[:2]),
    "jpg": Writer("JPEG", False, {"quality": 95, "subsampling": 0}, quality=True),
    "webp": Writer("WEBP", True, {"quality": 90}, quality=True),
    "avif": Writer("AVIF", True, {"quality": 85}, quality=True),
    "tiff": Writer("TIFF", True, {"compression": "tiff_deflate"}, depths=DEPTHS, channels=None),
    "gif": Writer("GIF", False, {}),
    "npy": Writer("", True, {}, depths=DEPTHS, channels=None),
}

ALIASES = {"jpeg": "jpg", "tif": "tiff"}
"""Extensions that are written by the writer of another name."""


def writer_for(ext: str) -> str | None:
    """The row of WRITERS that writes files with this extension, if any does."""
    ext = ALIASES.get(ext, ext)
    return ext if ext in WRITERS else None


def encode(picture: Picture, fmt: str, quality: int | None = None) -> bytes:
    """The bytes of an image file; `fmt` is a row of WRITERS. ImageError if the format cannot hold it.

    Values that are deeper than the format holds are reduced to what it holds. Of the picture's metadata it writes what the
    format holds; `supported_by` says what that is.
    """
    writer = WRITERS[fmt]
    channels = picture.pixels.shape[2]
    if writer.channels is not None and channels not in writer.channels:
        raise ImageError(f"{fmt} holds 1 or 3 channels, not {channels}; use --format tiff or npy")
    pixels = reduce_depth(picture.pixels, writer)
    alpha = _scaled(picture.alpha, pixels.dtype) if picture.alpha is not None and writer.alpha else None
    metadata, _ = supported_by(picture.metadata or Metadata(), fmt, channels)
    try:
        if fmt == "npy":
            return _npy(pixels, alpha)
        if pixels.dtype == np.uint8 and channels in (1, 3):
            options = {**writer.options, **pillow_save_options(metadata, fmt)}
            if quality is not None and writer.quality:
                options["quality"] = quality
            buffer = io.BytesIO()
            to_pil_image(pixels, alpha).save(buffer, writer.format, **options)
            return embed(buffer.getvalue(), fmt, metadata)
        return embed(_deep_png(pixels, alpha) if fmt == "png" else _deep_tiff(pixels, alpha), fmt, metadata)
    except Exception as e:
        raise ImageError(f"cannot be written as {fmt}: {one_line(e)}") from None


def reduce_depth(values: np.ndarray, writer: Writer) -> np.ndarray:
    """The values at the greatest depth that the format holds."""
    if values.dtype.name in writer.depths:
        return values
    if values.dtype == np.float32 and "uint16" in writer.depths:
        return np.round(np.clip(values.astype(np.float64), 0, 1) * 65535).astype(np.uint16)
    return to_uint8(values)


def _scaled(alpha: np.ndarray, depth: np.dtype) -> np.ndarray:
    """Alpha at the depth of the colours that it goes with."""
    top = {"uint8": 255, "uint16": 65535, "float32": 1}
    if alpha.dtype == depth:
        return alpha
    scaled = alpha.astype(np.float64) / top[alpha.dtype.name] * top[depth.name]
    return (scaled if depth.kind == "f" else np.round(scaled)).astype(depth)


def _joined(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    return pixels if alpha is None else np.concatenate([pixels, alpha[:, :, None]], axis=2)


def _npy(pixels: np.ndarray, alpha: np.ndarray | None) -> bytes:
    buffer = io.BytesIO()
    joined = _joined(pixels, alpha)
    np.save(buffer, joined[:, :, 0] if joined.shape[2] == 1 else joined, allow_pickle=False)
    return buffer.getvalue()


def _deep_png(pixels: np.ndarray, alpha: np.ndarray | None) -> bytes:
    """16 bits, which Pillow writes for grey only."""
    import cv2

    if alpha is not None and pixels.shape[2] == 1:  # OpenCV has no grey with alpha
        pixels = np.repeat(pixels, 3, axis=2)
    joined = _joined(pixels, alpha)
    ordered = joined[:, :, [2, 1, 0, 3][: joined.shape[2]]] if joined.shape[2] > 1 else joined
    done, data = cv2.imencode(".png", np.ascontiguousarray(ordered), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ImageError("16-bit PNG failed")
    return data.tobytes()


def _deep_tiff(pixels: np.ndarray, alpha: np.ndarray | None) -> bytes:
    """16 bits, floats, or other numbers of channels than 1 and 3."""
    import tifffile

    buffer = io.BytesIO()
    joined = _joined(pixels, alpha)
    colours = 3 if pixels.shape[2] == 3 else 1
    extra = [2] * (alpha is not None) if pixels.shape[2] in (1, 3) else [0] * (pixels.shape[2] - 1)  # 2: alpha
    tifffile.imwrite(
        buffer, joined[:, :, 0] if joined.shape[2] == 1 else joined, photometric="rgb" if colours == 3 else "minisblack",
        planarconfig="contig" if joined.shape[2] > 1 else None, extrasamples=extra or None, compression="zlib", metadata=None,
    )  # fmt: skip
    return buffer.getvalue()
