"""Colour profiles (ICC): pixels of 8 bits are converted to sRGB; deeper ones stay in the profile that they have."""

import io
from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageCms

from translate.text import one_line

COLOUR_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}
"""Mode of a Pillow image → colour space of its profiles (ICC.1:2022, table 20)."""


@cache
def srgb_profile() -> bytes:
    """Return the profile of sRGB with its date of creation set to 0, so that equal images give equal files."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)
    return bytes(profile)


def colour_space(icc: bytes) -> str:
    """Return the colour space of a profile, four characters. ValueError if the profile is damaged."""
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space
    except OSError:
        raise ValueError("is damaged") from None


def convert_to_srgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, bytes]:
    """Convert an image to sRGB; return it with the profile that it then has.

    The pixels stay as they are where the profile is sRGB already, and where they have more than 8 bits, which cannot be
    converted. ValueError if the profile is damaged or of another colour space.
    """
    image = _to_convertible_mode(image)
    if image.mode == "LAB":  # decoding converts it to sRGB without a profile
        return image, srgb_profile()
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    mode = {"LA": "L", "RGBA": "RGB"}.get(image.mode, image.mode)
    if mode not in COLOUR_SPACES:
        return image, icc
    if colour_space(icc) != COLOUR_SPACES[mode]:
        raise ValueError(f"is for {colour_space(icc).strip()} and not for {COLOUR_SPACES[mode].strip()}")
    convert = _conversion(icc, mode)
    if convert is None:
        return image, icc
    converted = convert(image.convert(mode))
    if alpha is not None:
        converted.putalpha(alpha)
    return converted, srgb_profile()


def changes_colours(image: Image.Image, icc: object) -> bool:
    """Return whether a profile changes the pixels of an image in "L" or "RGB": False for sRGB and for unusable ones."""
    try:
        return isinstance(icc, bytes) and _changes_mode(icc, image.mode)
    except ValueError:
        return False


@lru_cache(16)
def _changes_mode(icc: bytes, mode: str) -> bool:
    return colour_space(icc) == COLOUR_SPACES[mode] and _conversion(icc, mode) is not None


def _to_convertible_mode(image: Image.Image) -> Image.Image:
    """Return an image without palette, transparent colour and premultiplied alpha, none of which survives a conversion."""
    if image.mode in ("PA", "RGBa") or (image.mode in ("P", "RGB") and "transparency" in image.info):
        return image.convert("RGBA")
    if image.mode == "L" and "transparency" in image.info:
        return image.convert("LA")
    return image.convert("RGB") if image.mode in ("P", "YCbCr") else image


@lru_cache(16)
def _conversion(icc: bytes, mode: str) -> Callable[[Image.Image], Image.Image] | None:
    """Return the conversion of a profile to sRGB; None for sRGB itself, where no colour changes by more than 2 of 255."""
    exact = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB", flags=exact)
    except ImageCms.PyCMSError as e:
        raise ValueError(f"cannot be used: {one_line(e)}") from None
    if mode == "CMYK":
        return transform.apply
    probes = _probes(mode)
    converted = transform.apply(probes)
    changes = np.asarray(converted, np.int16) - np.asarray(probes.convert("RGB"), np.int16)
    if np.abs(changes).max() <= 2:
        return None
    if (
        mode == "L"
    ):  # each of its 256 values exactly: on whole images the colour engine is up to 10 of 255 off in the darks
        table = np.asarray(converted)[0, :, 1].tolist()
        return lambda image: image.point(table)
    return transform.apply


def _probes(mode: str) -> Image.Image:
    """Return an image of all greys, and of colours evenly spaced in the cube."""
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    probes = greys if mode == "L" else np.concatenate([greys, colours])
    return Image.fromarray(probes[None]).convert(mode)
