"""BMP files whose channels lie in bit fields of any width."""

import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.images import ImageError, Reading
from translate.images.bmp_bit_fields import read_bit_fields

from .arrays import bytes_of

LAYOUTS = {  # bits of a pixel; masks of red, green, blue and alpha
    "444": (16, (0xF00, 0xF0, 0xF)),
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "332": (16, (0xE0, 0x1C, 0x3)),
    "10-10-10": (32, (0x3FF00000, 0xFFC00, 0x3FF)),
    "blue last": (32, (0xFF00, 0xFF0000, 0xFF000000)),
    "rgba": (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
}


def levels(masks):
    """Random values of each channel, within its bits."""
    shares = bytes_of(len(masks)) / 255
    return np.round(shares * [2 ** mask.bit_count() - 1 for mask in masks]).astype(np.uint32)


def bmp(bits, masks, values, *, top_down=False):
    height, width, _ = values.shape
    words = sum(values[:, :, i] << ((mask & -mask).bit_length() - 1) for i, mask in enumerate(masks))
    rows = [row.astype(f"<u{bits // 8}").tobytes() for row in words]
    body = b"".join(row + bytes(-len(row) % 4) for row in (rows if top_down else rows[::-1]))
    size = 56 if len(masks) == 4 else 40
    header = struct.pack(
        "<IiiHHIIiiII", size, width, -height if top_down else height, 1, bits, 3, len(body), 0, 0, 0, 0
    )
    header += struct.pack(f"<{len(masks)}I", *masks)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_field_is_a_share_of_its_own_range(layout, top_down, tmp_path):
    bits, masks = LAYOUTS[layout]
    values = levels(masks)
    (tmp_path / "x.bmp").write_bytes(bmp(bits, masks, values, top_down=top_down))
    pixels = read_bit_fields(tmp_path / "x.bmp", 10**6)
    top = 65535 if layout == "10-10-10" else 255
    assert pixels.dtype == (np.uint16 if top == 65535 else np.uint8)
    assert np.array_equal(pixels, np.round(values / [2 ** mask.bit_count() - 1 for mask in masks] * top))
    picture = images.read(tmp_path / "x.bmp", how=Reading(3, deep=True))
    assert (picture.alpha is not None) == (len(masks) == 4)
    if len(masks) == 3:
        assert np.array_equal(picture.pixels, pixels)


@pytest.mark.parametrize("layout", ["444", "4444", "rgba"])
def test_another_decoder_sees_the_same(layout, tmp_path):
    bits, masks = LAYOUTS[layout]
    data = bmp(bits, masks, levels(masks))
    (tmp_path / "x.bmp").write_bytes(data)
    assert np.array_equal(read_bit_fields(tmp_path / "x.bmp", 10**6), imagecodecs.bmp_decode(data))


def test_damaged_and_other_files(tmp_path):
    bits, masks = LAYOUTS["444"]
    data = bmp(bits, masks, levels(masks))
    (tmp_path / "x.bmp").write_bytes(data[:-3])
    with pytest.raises(ImageError, match="ends early"):
        images.read(tmp_path / "x.bmp")
    (tmp_path / "x.bmp").write_bytes(data)
    with pytest.raises(ImageError, match="--max-pixels"):
        read_bit_fields(tmp_path / "x.bmp", 3)
    (tmp_path / "x.bmp").write_bytes(data[:18] + bytes(4) + data[22:])
    with pytest.raises(ImageError, match="damaged"):
        images.read(tmp_path / "x.bmp")
    Image.new("RGB", (3, 3)).save(tmp_path / "x.bmp")
    assert read_bit_fields(tmp_path / "x.bmp", 10**6) is None
    (tmp_path / "x.bmp").write_bytes(b"BM")
    assert read_bit_fields(tmp_path / "x.bmp", 10**6) is None
