"""Output formats, one row each, and the encoding of still images."""

import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from translate.images import animation_encoders as animations
from translate.images.animation_encoders import AnimationEncoder
from translate.images.formats import CAN_READ_HEIF, FORMATS, ImageError
from translate.images.metadata import embedding
from translate.images.metadata.embedding import Fitted
from translate.images.metadata.photo_metadata import Metadata
from translate.images.picture import Picture, to_pil_image, to_uint8
from translate.text import one_line

DEPTHS = ("uint8", "uint16", "float32", "int8", "int16", "int32", "uint32", "float16", "float64")
"""Data types of values: those of pictures that networks take, shallowest first, and the others that files hold."""


@dataclass(frozen=True)
class Writer:
    """An output format: what it holds, and the functions that write it."""

    format: str
    """Pillow's name of the format; "" if Pillow does not write it."""
    alpha: bool
    """True if it holds alpha."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Pillow's options."""
    quality: bool = False
    """True if `--quality` applies."""
    depths: tuple[str, ...] = ("uint8",)
    """Data types of values, a subset of DEPTHS."""
    channels: tuple[int, ...] | None = (1, 3)
    """Numbers of channels; None: any."""
    encode_array: Callable[[np.ndarray, np.ndarray | None], bytes] | None = None
    """Encoder of pixels (H, W, C) and alpha (H, W) that Pillow does not write: deeper than 8 bits, or of other channels."""
    metadata: frozenset[str] = frozenset()
    """Parts of `Metadata` that it holds: exif, xmp, icc, dpi, iptc, text (any keyword), comment (one)."""
    max_comment: int | None = None
    """Largest comment in bytes; None: any."""
    fit: Callable[[Metadata], Fitted] | None = None
    """Further limits of the format on metadata."""
    save_options: Callable[[Metadata], dict[str, Any]] = lambda metadata: {}
    """Pillow's options that write fitted metadata."""
    embed: Callable[[bytes, Metadata], bytes] = lambda data, metadata: data
    """Put fitted metadata into an encoded file, where Pillow does not write it."""
    encode_animation: AnimationEncoder | None = None
    """Encoder of animations."""
    plays_for_ever: bool = False
    """True if its animations hold no number of plays."""

    def save_options_for(self, metadata: Metadata, quality: int | None) -> dict[str, Any]:
        """Return all options for Pillow: of the format, of fitted metadata, and the quality where it applies.

        A quality that is asked for replaces all of the source's encoding.
        """
        if quality is None or not self.quality:
            return {**self.options, **self.save_options(metadata)}
        return {**self.options, **self.save_options(replace(metadata, jpeg=None)), "quality": quality}


def writer_for(ext: str) -> str | None:
    """Return the row of WRITERS that writes files with this extension; None if there is none."""
    row = FORMATS.get(ext)
    return row if row in WRITERS else None


def supported_by(metadata: Metadata, fmt: str, channels: int) -> Fitted:
    """Return the metadata that a format holds of a picture with `channels` channels, and a notice for each part it does not."""
    writer = WRITERS[fmt]
    metadata, notices = embedding.drop_unsupported(metadata, fmt, writer.metadata)
    metadata, more = embedding.fit_profile(metadata, channels)
    notices += more
    metadata, more = embedding.fit_text(metadata, fmt, writer.metadata, writer.max_comment)
    notices += more
    if writer.fit is not None:
        metadata, more = writer.fit(metadata)
        notices += more
    return metadata, notices


def encode(picture: Picture, fmt: str, quality: int | None = None) -> bytes:
    """Return the bytes of an image file; `fmt` is a row of WRITERS.

    Values deeper than the format holds are reduced to its greatest depth. Of the metadata, the parts that `supported_by`
    keeps are written. `quality` is from 1 to 100, for formats that have one; None is that of the JPEG which the picture was
    read from, with its metadata (at least 85), else the format's own. ImageError if the format cannot hold the picture.
    """
    writer = WRITERS[fmt]
    channels = picture.pixels.shape[2]
    if writer.channels is not None and channels not in writer.channels:
        raise ImageError(f"{fmt} holds 1 or 3 channels, not {channels}; use --format tiff or npy")
    pixels = reduce_depth(picture.pixels, writer)
    alpha = _convert_depth(picture.alpha, pixels.dtype) if picture.alpha is not None and writer.alpha else None
    metadata, _ = supported_by(picture.metadata or Metadata(), fmt, channels)
    by_pillow = writer.format and pixels.dtype == np.uint8 and channels in (1, 3)
    if not by_pillow and writer.encode_array is None:
        raise ImageError(
            f"{fmt} cannot be written with {channels} channels of {pixels.dtype}; use --format tiff or npy"
        )
    try:
        if by_pillow:
            buffer = io.BytesIO()
            to_pil_image(pixels, alpha).save(buffer, writer.format, **writer.save_options_for(metadata, quality))
            return writer.embed(buffer.getvalue(), metadata)
        assert writer.encode_array is not None
        return writer.embed(writer.encode_array(pixels, alpha), metadata)
    except Exception as e:
        raise ImageError(f"cannot be written as {fmt}: {one_line(e)}") from None


def reduce_depth(values: np.ndarray, writer: Writer) -> np.ndarray:
    """Return the values at the greatest depth that the format holds."""
    if values.dtype.name in writer.depths:
        return values
    if values.dtype == np.float32 and "uint16" in writer.depths:
        return np.round(np.clip(values.astype(np.float64), 0, 1) * 65535).astype(np.uint16)
    return to_uint8(values)


def _convert_depth(alpha: np.ndarray, depth: np.dtype) -> np.ndarray:
    """Scale alpha to the depth of its colours."""
    if alpha.dtype == depth:
        return alpha
    given, wanted = (1 if kind.kind == "f" else int(np.iinfo(kind).max) for kind in (alpha.dtype, depth))
    scaled = alpha.astype(np.float64) / given * wanted
    return (scaled if depth.kind == "f" else np.round(scaled)).astype(depth)


def _append_alpha(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    return pixels if alpha is None else np.concatenate([pixels, alpha[:, :, None]], axis=2)


def _encode_npy(pixels: np.ndarray, alpha: np.ndarray | None) -> bytes:
    buffer = io.BytesIO()
    joined = _append_alpha(pixels, alpha)
    np.save(buffer, joined[:, :, 0] if joined.shape[2] == 1 else joined, allow_pickle=False)
    return buffer.getvalue()


def _encode_png(pixels: np.ndarray, alpha: np.ndarray | None) -> bytes:
    """Encode 16 bits, which Pillow writes for grey only."""
    import cv2

    if alpha is not None and pixels.shape[2] == 1:  # OpenCV has no grey with alpha
        pixels = np.repeat(pixels, 3, axis=2)
    joined = _append_alpha(pixels, alpha)
    ordered = joined[:, :, [2, 1, 0, 3][: joined.shape[2]]] if joined.shape[2] > 1 else joined
    succeeded, data = cv2.imencode(".png", np.ascontiguousarray(ordered), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not succeeded:
        raise ImageError("16-bit PNG failed")
    return data.tobytes()


def _encode_tiff(pixels: np.ndarray, alpha: np.ndarray | None) -> bytes:
    """Encode 16 bits, floats, or other numbers of channels than 1 and 3."""
    import tifffile

    buffer = io.BytesIO()
    joined = _append_alpha(pixels, alpha)
    colours = 3 if pixels.shape[2] == 3 else 1
    extra = [2] * (alpha is not None) if pixels.shape[2] in (1, 3) else [0] * (pixels.shape[2] - 1)  # 2: alpha
    tifffile.imwrite(
        buffer, joined[:, :, 0] if joined.shape[2] == 1 else joined, photometric="rgb" if colours == 3 else "minisblack",
        planarconfig="contig" if joined.shape[2] > 1 else None, extrasamples=extra or None, compression="zlib", metadata=None,
    )  # fmt: skip
    return buffer.getvalue()


_PHOTO = frozenset({"exif", "xmp", "icc", "dpi"})

WRITERS: dict[str, Writer] = {
    "png": Writer(
        "PNG", True,
        {"compress_level": 1, "compress_type": zlib.Z_RLE},  # a third of the time of zlib's level 6 (tools/bench_png.py)
        depths=DEPTHS[:2], encode_array=_encode_png,
        metadata=_PHOTO | {"text", "comment"}, embed=embedding.embed_in_png,
        encode_animation=animations.encode_png_animation,
    ),
    "jpg": Writer(
        "JPEG", False, {"quality": 95, "subsampling": 0}, quality=True,
        metadata=_PHOTO | {"comment", "iptc"}, max_comment=embedding.JPEG_SEGMENT, fit=embedding.fit_jpeg,
        save_options=embedding.jpeg_save_options,
    ),
    "webp": Writer(
        "WEBP", True, {"quality": 90}, quality=True,
        metadata=_PHOTO, fit=embedding.dpi_to_exif, save_options=embedding.webp_save_options,
        encode_animation=animations.encode_webp_animation,
    ),
    "avif": Writer(
        "AVIF", True, {"quality": 85}, quality=True,
        metadata=_PHOTO, fit=embedding.dpi_to_exif, save_options=embedding.avif_save_options,
        encode_animation=animations.encode_avif_animation, plays_for_ever=True,
    ),
    "tiff": Writer(
        "TIFF", True, {"compression": "tiff_deflate"}, depths=DEPTHS, channels=None, encode_array=_encode_tiff,
        metadata=_PHOTO | {"iptc", "georeference", "nodata"}, embed=embedding.embed_in_tiff,
    ),
    "gif": Writer(
        "GIF", False,
        metadata=frozenset({"xmp", "comment"}), save_options=embedding.gif_save_options, embed=embedding.embed_in_gif,
        encode_animation=animations.encode_gif_animation,
    ),
    "npy": Writer("", True, depths=DEPTHS, channels=None, encode_array=_encode_npy),
}  # fmt: skip
"""Output formats by name: to add one, add its row, and its name to `formats.WRITER_NAMES`."""
if CAN_READ_HEIF:
    WRITERS["heic"] = Writer(
        "HEIF", True, {"quality": 90}, quality=True,
        metadata=_PHOTO, fit=embedding.dpi_to_exif, save_options=embedding.heif_save_options,
    )  # fmt: skip

ANIMATED = tuple(name for name, writer in WRITERS.items() if writer.encode_animation is not None)
"""Formats that hold animations."""
