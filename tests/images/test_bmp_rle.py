"""BMP files of RLE4, encoded here by hand."""

import struct

import cv2
import numpy as np
import pytest

from translate import images
from translate.images import ImageError

PALETTE = np.random.default_rng(1).integers(0, 256, (16, 3), dtype=np.uint8)


def bmp(data, width, height):
    entries = b"".join(bytes([*colour[::-1].tolist(), 0]) for colour in PALETTE)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 4, 2, len(data), 0, 0, 16, 0)
    return b"BM" + struct.pack("<IHHI", 118 + len(data), 0, 0, 118) + header + entries + data


def absolute(run):
    """A run of 3 to 255 indices, two a byte, padded to a word."""
    padded = [*run, *[0] * (-len(run) % 4)]
    return bytes([0, len(run)]) + bytes(16 * a + b for a, b in zip(padded[::2], padded[1::2], strict=True))


def read(path, data, width, height):
    (path / "x.bmp").write_bytes(bmp(data, width, height))
    return images.read(path / "x.bmp").pixels


@pytest.mark.parametrize("length", [3, 4, 5, 6, 7, 9])
def test_absolute_runs_of_any_length(length, tmp_path):
    """Two rows, the lower one first, each of an absolute run; the upper one begins with a repeated pair."""
    rng = np.random.default_rng(length)
    lower, upper = rng.integers(0, 16, (2, length)).tolist()
    data = absolute(lower) + bytes([3, 0x5A]) + b"\0\0" + bytes([3, 0x5A]) + absolute(upper) + b"\0\1"
    seen = read(tmp_path, data, length + 3, 2)
    assert np.array_equal(seen, PALETTE[[[5, 10, 5, *upper], [*lower, 5, 10, 5]]])


def test_encoded_runs_are_decoded_as_by_opencv(tmp_path):
    rng = np.random.default_rng(0)
    rows = [bytes(rng.integers(0, 256, 12).tolist()[k] if k % 2 else 4 for k in range(12)) for _ in range(3)]
    seen = read(tmp_path, b"".join(row + b"\0\0" for row in rows) + b"\0\1", 24, 3)
    assert np.array_equal(seen, cv2.imread(str(tmp_path / "x.bmp"))[:, :, ::-1])


def test_a_step_leaves_pixels_of_colour_0(tmp_path):
    """One pixel, a step of 2 right and 1 up, one pixel."""
    seen = read(tmp_path, bytes([1, 0x10, 0, 2, 2, 1, 1, 0x20, 0, 1]), 4, 2)
    assert np.array_equal(seen, PALETTE[[[0, 0, 0, 2], [1, 0, 0, 0]]])


def test_the_mark_of_the_end_may_be_missing_but_no_pixel(tmp_path):
    assert np.array_equal(read(tmp_path, bytes([4, 0x37]), 4, 1), PALETTE[[[3, 7, 3, 7]]])
    for data in (bytes([3, 0x37]), bytes([4, 0x37, 0]), bytes([4, 0x37]) + b"\0\2"):
        with pytest.raises(ImageError, match="ends early"):
            read(tmp_path, data, 4, 2)
