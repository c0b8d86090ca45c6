"""Limits of stored values, and types by the header alone."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from translate.images import ImageError
from translate.images.value_statistics import may_hold_16_bits, measure_values, read_declared_type


def test_limits_count_neither_nodata_nor_what_is_not_finite(tmp_path):
    array = np.array([[-9999, 3, np.nan, 7.5], [np.inf, 4, 5, -np.inf]], np.float32)
    tifffile.imwrite(tmp_path / "x.tif", array, extratags=[(42113, "s", 0, "-9999", True)], metadata=None)
    found = measure_values(tmp_path / "x.tif")
    assert (found.dtype, found.scale, found.low, found.high) == ("float32", (0, 1), 3, 7.5)
    assert (found.pixels, found.empty) == (8, 2)


def test_halves_are_measured_apart(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[1, 2, 30, 40], [3, 4, 50, 60]], np.int16))
    left, right = (measure_values(tmp_path / "x.npy", half) for half in ("left", "right"))
    assert (left.low, left.high, right.low, right.high) == (1, 4, 30, 60)
    assert (left.pixels, left.scale) == (4, None)


def test_transparency_is_not_measured(tmp_path):
    np.save(tmp_path / "x.npy", np.dstack([np.full((2, 2, 3), 9, np.uint16), np.full((2, 2), 65535, np.uint16)]))
    assert measure_values(tmp_path / "x.npy").high == 9


def test_an_image_without_any_value_has_no_limits(tmp_path):
    np.save(tmp_path / "x.npy", np.full((2, 3), np.nan))
    found = measure_values(tmp_path / "x.npy")
    assert (found.low, found.high, found.empty) == (None, None, 6)


@pytest.mark.parametrize("name", ["x.npy", "x.tif"])
def test_a_damaged_file_raises_its_reason(name, tmp_path):
    (tmp_path / name).write_bytes(b"II*\0 damaged")
    with pytest.raises(ImageError):
        measure_values(tmp_path / name)
    assert read_declared_type(tmp_path / name) is None


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f4"])
@pytest.mark.parametrize("ext", ["npy", "tif"])
def test_types_by_the_header(ext, dtype, tmp_path):
    array = np.zeros((2, 2), dtype)
    np.save(tmp_path / "x.npy", array)
    tifffile.imwrite(tmp_path / "x.tif", array, metadata=None)
    found = read_declared_type(tmp_path / f"x.{ext}")
    assert (found.dtype, found.has_nodata) == (np.dtype(dtype), False)
    assert may_hold_16_bits(tmp_path / f"x.{ext}") == (dtype == "u2")


def test_depth_of_png_by_the_header(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "8.png")
    Image.new("I;16", (2, 2)).save(tmp_path / "16.png")
    assert not may_hold_16_bits(tmp_path / "8.png")
    assert may_hold_16_bits(tmp_path / "16.png")
    assert read_declared_type(tmp_path / "16.png") is None
