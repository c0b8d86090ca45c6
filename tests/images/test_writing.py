"""Tests of the table of output formats and of the encoding of still images."""

import io

import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.images import DEPTHS, WRITERS, ImageError, Picture, Writer

from .arrays import integers, smooth

LOSSLESS = ("png", "tiff")
PILLOWS = [name for name, writer in WRITERS.items() if writer.format]
"""Writers of files that Pillow opens."""


def reopened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 7), (64, 48)])
@pytest.mark.parametrize("fmt", PILLOWS)
def test_writers_keep_size_and_colours(fmt, size, channels, tmp_path):
    pixels = smooth(*size, channels)
    data = images.encode(Picture(pixels), fmt)
    assert reopened(data).format == WRITERS[fmt].format
    (tmp_path / f"x.{fmt}").write_bytes(data)
    back = images.read(tmp_path / f"x.{fmt}", channels)
    assert back.alpha is None
    assert back.pixels.shape == pixels.shape
    difference = np.abs(back.pixels.astype(float) - pixels)
    if fmt in LOSSLESS or (fmt == "gif" and channels == 1):
        assert difference.max() == 0
    else:
        assert difference.mean() < (
            10 if fmt == "heic" else 6
        )  # HEVC has colours of half the resolution, as of cameras


@pytest.mark.parametrize("fmt", [name for name in PILLOWS if not WRITERS[name].quality and name != "gif"])
def test_lossless_writers_keep_noise(fmt):
    pixels = integers((31, 17, 3)).astype(np.uint8)
    assert np.array_equal(np.asarray(reopened(images.encode(Picture(pixels), fmt))), pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fmt", PILLOWS)
def test_alpha_is_carried_where_the_format_has_it(fmt, channels):
    pixels = smooth(24, 32, channels)
    alpha = smooth(24, 32, 1)[:, :, 0]
    image = reopened(images.encode(Picture(pixels, alpha), fmt))
    assert image.size == (32, 24)
    if not WRITERS[fmt].alpha:
        assert "A" not in image.getbands()
        assert "transparency" not in image.info
        return
    carried = np.asarray(image.getchannel("A")).astype(float)
    colours = np.asarray(image.convert("RGB" if channels == 3 else "L")).reshape(pixels.shape).astype(float)
    assert np.abs(carried - alpha).max() <= (0 if fmt in LOSSLESS else 8)
    shown = alpha > 128  # what is hidden may be given up
    assert np.abs(colours - pixels)[shown].mean() <= (0 if fmt in LOSSLESS else 6)


@pytest.mark.parametrize("fmt", ["png", "tiff", "jpg", "gif", "avif"])
def test_grey_is_written_as_grey(fmt):
    image = reopened(images.encode(Picture(smooth(8, 8, 1)), fmt))
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")), 2, 0)
    assert np.array_equal(red, green)
    assert np.array_equal(red, blue)


@pytest.mark.parametrize("fmt", WRITERS)
def test_quality_makes_a_difference_only_where_it_applies(fmt):
    picture = Picture(integers((64, 64, 3)).astype(np.uint8))
    low, high = images.encode(picture, fmt, 20), images.encode(picture, fmt, 95)
    assert (len(low) < len(high)) if WRITERS[fmt].quality else low == high


@pytest.mark.parametrize("fmt", WRITERS)
def test_the_same_picture_gives_the_same_bytes(fmt):
    assert images.encode(Picture(smooth(20, 20)), fmt) == images.encode(Picture(smooth(20, 20)), fmt)


def test_what_a_format_cannot_hold_is_an_image_error():
    with pytest.raises(ImageError, match="cannot be written as webp"):
        images.encode(Picture(np.zeros((1, 16_384, 3), np.uint8)), "webp")


@pytest.mark.parametrize(
    ("ext", "writer"), [("jpeg", "jpg"), ("tif", "tiff"), ("png", "png"), ("bmp", None), ("", None)]
)
def test_writer_for_an_extension(ext, writer):
    assert images.writer_for(ext) == writer


@pytest.mark.parametrize("fmt", PILLOWS)
def test_what_is_written_can_be_read(fmt):
    assert fmt in images.READABLE_EXTENSIONS
    assert WRITERS[fmt].format in images.PILLOW_FORMATS


@pytest.mark.parametrize("depth", [np.uint16, np.float32])
def test_a_format_without_an_encoder_of_arrays_is_refused(depth, monkeypatch):
    """A row with deep values but without `encode_array` writes nothing, rather than the bytes of another format."""
    monkeypatch.setitem(WRITERS, "new", Writer("JPEG2000", True, depths=DEPTHS, channels=None))
    with pytest.raises(ImageError, match=f"new cannot be written with 3 channels of {np.dtype(depth)}"):
        images.encode(Picture(np.zeros((4, 4, 3), depth)), "new")
    with pytest.raises(ImageError, match="new cannot be written with 5 channels of uint8"):
        images.encode(Picture(np.zeros((4, 4, 5), np.uint8)), "new")


def test_every_deep_format_has_an_encoder_of_arrays():
    for writer in WRITERS.values():
        assert writer.encode_array is not None or (writer.depths == ("uint8",) and writer.channels == (1, 3))
