"""Decoded images, and conversions to and from Pillow's images and arrays."""

import io
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageCms, ImageColor

from translate.images.formats import ImageError
from translate.images.metadata.photo_metadata import Metadata

WHITE = (255, 255, 255)
Colour = tuple[int, ...]
"""Red, green and blue from 0 to 255."""


@dataclass
class Picture:
    """Decoded image, upright by its EXIF orientation."""

    pixels: np.ndarray
    """Pixels (H, W, C) uint8; uint16 or float32 if read at the file's own depth. With alpha they are composited on a colour."""
    alpha: np.ndarray | None = None
    """Alpha (H, W) of the same depth, if the file has transparency."""
    notices: list[str] = field(default_factory=list)
    """Parts that could not be kept, one short line each."""
    damage: list[str] = field(default_factory=list)
    """Damage of the file in spite of which it was read, one short line each."""
    metadata: Metadata | None = None
    """Metadata of the file, if they were read."""

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]


def parse_colour(name: str) -> Colour:
    """Return a colour by its name or #rrggbb. ValueError for an unknown name."""
    return ImageColor.getcolor(name, "RGB")  # type: ignore[return-value]


def from_pil_image(image: Image.Image, channels: int = 3, background: Colour = WHITE, *, deep: bool = False) -> Picture:
    """Convert a Pillow image of any mode to a Picture with `channels` channels, without a change of orientation.

    Transparent images are composited on `background`. With `deep` the depth stays, else it becomes 8 bits. ImageError if the
    image does not have the channels.
    """
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return from_array(np.asarray(image), channels, background, deep=deep)
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        if channels not in (1, 3):
            return from_array(np.asarray(image.convert("LA" if channels == 2 else "RGBA")), channels, background)
        return _composite(image.convert("RGBA"), channels, background)
    if image.mode == "LAB":
        image = _convert_to_srgb(image, ImageCms.createProfile("LAB"))
    elif image.mode == "CMYK" and image.info.get("icc_profile"):
        with suppress(ImageCms.PyCMSError, OSError):  # a damaged profile counts as none
            image = _convert_to_srgb(image, ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"])))
    if channels not in (1, 3):
        return from_array(np.asarray(image.convert("RGB") if image.mode == "P" else image), channels, background)
    mode = "RGB" if channels == 3 else "L"
    if image.mode == "P" and mode == "L":
        image = image.convert("RGB")
    return Picture(add_channel_axis(image if image.mode == mode else image.convert(mode)))  # else a copy is made


def _composite(rgba: Image.Image, channels: int, background: Colour) -> Picture:
    ground = Image.new("RGBA", rgba.size, (*background, 255))
    flat = Image.alpha_composite(ground, rgba).convert("RGB" if channels == 3 else "L")
    alpha = np.asarray(rgba.getchannel("A"))
    return Picture(add_channel_axis(flat), None if alpha.min() == 255 else alpha)


def _convert_to_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile | ImageCms.core.CmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return converted


def add_channel_axis(image: Image.Image) -> np.ndarray:
    """Return a Pillow image as an array (H, W, C)."""
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def from_array(
    array: np.ndarray,
    channels: int = 3,
    background: Colour = WHITE,
    *,
    deep: bool = False,
    preserve_range: bool = False,
) -> Picture:
    """Convert an array (H, W) or (H, W, C) to a Picture with `channels` channels.

    uint8 stays; other integers are taken as 16-bit values; floats as 0 to 1, or as 0 to 255 or 65535 where values exceed
    that. With `preserve_range` values stay as they are, and integers other than uint8 and uint16 become floats. For 1 or 3
    channels, grey is converted to colour and colour to grey, and arrays of 2 or 4 channels are taken as grey or colour with
    alpha, composited on `background`. With `deep` the depth stays, else it becomes 8 bits. ImageError for arrays that are
    not images and for other numbers of channels.
    """
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or 0 in array.shape:
        raise ImageError(f"an array of shape {array.shape} is not an image; its shape must be (H, W) or (H, W, C)")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype.kind in "iu" and preserve_range and array.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        array = array.astype(np.float32)
    elif array.dtype.kind in "iu" and array.dtype != np.uint8:
        array = np.clip(array, 0, 65535).astype(np.uint16)
    elif array.dtype.kind == "f":
        array = _scale_floats(array, preserve_range)
    elif array.dtype != np.uint8:
        raise ImageError(f"an array of {array.dtype} is not an image; its values must be integers or floats")
    if not deep:
        array = to_uint8(array)
    return _convert_channels(array, channels, background)


def _scale_floats(array: np.ndarray, preserve_range: bool) -> np.ndarray:
    """Return floats as float32, from 0 to 1 unless their range is preserved; not-a-number becomes 0."""
    finite = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=65535.0, neginf=0.0)
    if preserve_range:
        return finite.astype(np.float32)
    top = next(t for t in (1, 255, 65535, np.inf) if finite.max() <= t)
    return np.clip(finite / min(top, 65535), 0, 1).astype(np.float32)


def to_uint8(array: np.ndarray) -> np.ndarray:
    """Convert uint16, or float32 from 0 to 1, to uint8; uint8 stays."""
    if array.dtype == np.uint16:
        return np.round(array / 257).astype(np.uint8)
    if array.dtype.kind == "f":
        return np.round(np.clip(array.astype(np.float64), 0, 1) * 255).astype(np.uint8)
    return array


def _convert_channels(array: np.ndarray, channels: int, background: Colour) -> Picture:
    """Convert uint8, uint16 or float32 (H, W, C) to a number of channels. ImageError where that is not possible."""
    given = array.shape[2]
    if given == channels:
        return Picture(np.ascontiguousarray(array))
    if channels not in (1, 3) or given not in (1, 2, 3, 4):
        raise ImageError(f"has {given} channels, but {channels} are wanted")
    if array.dtype == np.uint8:
        return from_pil_image(
            Image.fromarray(array[:, :, 0] if given == 1 else np.ascontiguousarray(array)), channels, background
        )
    top = 1.0 if array.dtype.kind == "f" else 65535.0
    pixels, alpha = (array[:, :, :-1], array[:, :, -1]) if given in (2, 4) else (array, None)
    if alpha is not None:
        ground = np.array(background) * (top / 255)
        share = alpha[:, :, None] / top
        blended = pixels * share + (ground if given == 4 else ground @ _LUMA) * (1 - share)
        pixels = _cast(blended, array.dtype)
        alpha = None if alpha.min() >= top else np.ascontiguousarray(alpha)
    if pixels.shape[2] == 3 and channels == 1:
        pixels = _cast(pixels @ _LUMA, array.dtype)[:, :, None]
    elif pixels.shape[2] == 1 and channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    return Picture(np.ascontiguousarray(pixels), alpha)


_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as in Pillow


def _cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return values.astype(dtype) if dtype.kind == "f" else np.round(values).astype(dtype)


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, C) to (height, width, C) of the same depth by Pillow's antialiased bicubic filter, as the reference does.

    Values of more than 8 bits are filtered as floats, channel by channel.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    if pixels.dtype == np.uint8 and pixels.shape[2] in (1, 3):
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        return add_channel_axis(image.resize((width, height), Image.Resampling.BICUBIC))
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), Image.Resampling.BICUBIC), np.float32
        )
        for plane in np.moveaxis(pixels.astype(np.float32), 2, 0)
    ]
    stacked = np.stack(planes, axis=2)
    if pixels.dtype.kind == "f":
        return stacked
    return np.clip(np.round(stacked), 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)


def to_pil_image(pixels: np.ndarray, alpha: np.ndarray | None = None) -> Image.Image:
    """Convert pixels (H, W, 1 or 3) and an optional alpha (H, W) to a Pillow image of 8 bits."""
    pixels = to_uint8(pixels)
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if alpha is not None:
        image.putalpha(Image.fromarray(to_uint8(alpha)))
    return image
