"""Decoded images, and conversions to and from Pillow's images and arrays."""

import io
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageCms, ImageColor

from translate.images.formats import ChannelCountError, ImageError
from translate.images.metadata.photo_metadata import Metadata
from translate.images.stored_values import StoredValues
from translate.images.value_ranges import ValueRange

WHITE = (255, 255, 255)
Colour = tuple[int, ...]
"""Red, green and blue from 0 to 255."""
LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in a grey image: ITU-R BT.601, as in Pillow."""


@dataclass
class Picture:
    """Decoded image, upright by its EXIF orientation."""

    pixels: np.ndarray
    """Pixels (H, W, C) uint8; uint16 or float32 if read at the file's own depth. With alpha they are composited on a colour.

    Pixels without a value are in the middle of the range."""
    alpha: np.ndarray | None = None
    """Alpha (H, W) of the same depth, if the file has transparency."""
    notices: list[str] = field(default_factory=list)
    """Parts that could not be kept, one short line each."""
    damage: list[str] = field(default_factory=list)
    """Damage of the file in spite of which it was read, one short line each."""
    metadata: Metadata | None = None
    """Metadata of the file, if they were read."""
    stored: np.dtype | None = None
    """Data type of the file's values, if that of the pixels is another one."""
    empty: np.ndarray | None = None
    """Pixels without a value (H, W), bool; None if all have one."""
    nodata: float | None = None
    """Value that the file declares to stand for no value (NoData)."""

    @property
    def dtype(self) -> np.dtype:
        """Data type of the values in the file."""
        return self.pixels.dtype if self.stored is None else self.stored

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
        array = _sixteen_bits(np.asarray(image)) if image.mode == "I" else np.asarray(image)
        return from_array(array, channels, background, deep=deep, require_scale=True)
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


def _sixteen_bits(array: np.ndarray) -> np.ndarray:
    """Return the values of Pillow's mode I, in which it keeps 16 bits. ImageError if there are others."""
    if array.min() < 0 or array.max() > 65535:
        raise ImageError(
            f"an image of mode I with values from {array.min()} to {array.max()}, but it must hold 16 bits"
        )
    return array.astype(np.uint16)


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
    value_range: ValueRange | None = None,
    require_scale: bool = False,
) -> Picture:
    """Convert an array (H, W) or (H, W, C) to a Picture with `channels` channels.

    Of 2 or 4 channels, where 1 or 3 are wanted, the last is transparency. The other arguments, and the scale of the values, are
    those of `from_stored`. ImageError for arrays that are not images and for other numbers of channels.
    """
    return from_stored(
        StoredValues.from_array(array), channels, background, deep=deep, value_range=value_range,
        require_scale=require_scale,
    )  # fmt: skip


def from_stored(
    stored: StoredValues,
    channels: int = 3,
    background: Colour = WHITE,
    *,
    deep: bool = False,
    value_range: ValueRange | None = None,
    require_scale: bool = False,
) -> Picture:
    """Convert the values of a file to a Picture with `channels` channels.

    Unsigned integers span all of their bits, floats 0 to 1, and what lies outside is clipped, with a notice. Other integers
    have no scale: they are scaled by all that their type holds, with a notice; with `require_scale` they are refused, as are
    floats of which many lie outside 0 to 1. With a `value_range`, which declares what black and white stand for, uint8 and
    uint16 stay as they are, and all others become float32 of the same numbers.

    For 1 or 3 channels, grey is converted to colour and colour to grey, and transparency is composited on `background`. With
    `deep` the depth stays, else it becomes 8 bits. ImageError for other numbers of channels.
    """
    stored = stored.for_channels(channels)
    empty = stored.empty_pixels()
    scaled = stored.scaled(value_range, empty, require_scale=require_scale)
    array, (low, high) = scaled.array, scaled.range
    alpha = _alpha_share(stored) if stored.has_alpha else None
    if not deep:
        array = _spread(array, low, high) if value_range is not None else to_uint8(array)
        low, high = 0, 255
    colours = array[:, :, :-1] if stored.has_alpha else array
    picture = _convert_channels(colours, alpha, channels, background, (low, high))
    picture.notices += (*stored.notices, *scaled.notices)
    if deep and stored.array.dtype != picture.pixels.dtype:
        picture.stored = stored.array.dtype
    picture.empty, picture.nodata = empty, stored.nodata
    return picture


def _alpha_share(stored: StoredValues) -> np.ndarray:
    """Return the transparency (H, W) as a share of what its type holds, from 0 to 1."""
    alpha, kind = stored.array[:, :, -1], stored.array.dtype
    top = 1 if kind.kind == "f" else stored.top or np.iinfo(kind).max
    return np.clip(np.nan_to_num(alpha.astype(np.float64)) / top, 0, 1)


def _spread(array: np.ndarray, low: float, high: float) -> np.ndarray:
    """Convert values of a declared range to uint8."""
    share = (array.astype(np.float64) - low) / (high - low)
    return np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)


def to_uint8(array: np.ndarray) -> np.ndarray:
    """Convert uint16, or float32 from 0 to 1, to uint8; uint8 stays."""
    if array.dtype == np.uint16:
        return np.round(array / 257).astype(np.uint8)
    if array.dtype.kind == "f":
        return np.round(np.clip(array.astype(np.float64), 0, 1) * 255).astype(np.uint8)
    return array


def _convert_channels(
    pixels: np.ndarray, alpha: np.ndarray | None, channels: int, background: Colour, values: ValueRange
) -> Picture:
    """Convert uint8, uint16 or float32 (H, W, C) to a number of channels. ImageError where that is not possible.

    `alpha` are shares (H, W) from 0 to 1, `values` the range of the pixels.
    """
    given = pixels.shape[2]
    if given == channels and alpha is None:
        return Picture(np.ascontiguousarray(pixels))
    if channels not in (1, 3) or given not in (1, 3):
        raise ChannelCountError(f"has {given + (alpha is not None)} channels, but {channels} are wanted")
    if pixels.dtype == np.uint8:
        return from_pil_image(_to_8_bit_image(pixels, alpha), channels, background)
    low, high = values
    stored_alpha = None
    if alpha is not None:
        ground = np.array(background) * ((high - low) / 255) + low
        share = alpha[:, :, None]
        blended = pixels * share + (ground if given == 3 else ground @ LUMA) * (1 - share)
        pixels = _cast(blended, pixels.dtype)
        full = 65535 if pixels.dtype == np.uint16 else 1
        stored_alpha = None if alpha.min() >= 1 else _cast(alpha * full, pixels.dtype)
    if pixels.shape[2] == 3 and channels == 1:
        pixels = _cast(pixels @ LUMA, pixels.dtype)[:, :, None]
    elif pixels.shape[2] == 1 and channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    return Picture(np.ascontiguousarray(pixels), stored_alpha)


def _to_8_bit_image(pixels: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    if alpha is not None:
        pixels = np.concatenate([pixels, np.round(alpha * 255).astype(np.uint8)[:, :, None]], axis=2)
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))


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
