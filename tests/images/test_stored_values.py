"""The scale of stored values: by type or declared, never by the file's own; and pixels without a value."""

import numpy as np
import pytest
import tifffile

from translate import images
from translate.images import ImageError, StoredValues
from translate.images.stored_values import nodata_for, put_nodata

from ..helpers import read_deep

RAMP = np.linspace(0, 1, 256, dtype=np.float32).reshape(1, -1).repeat(4, 0)


def saved(path, array, **options):
    tifffile.imwrite(path / "x.tif", array, metadata=None, **options)
    return path / "x.tif"


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("u1", (0, 255)), ("u2", (0, 65535)), ("u4", (0, 2**32 - 1)), ("f2", (0, 1)), ("f4", (0, 1)), ("f8", (0, 1)),
     ("i1", None), ("i2", None), ("i4", None), ("i8", None), ("u8", None)],
)  # fmt: skip
def test_ranges_of_types(dtype, expected):
    assert StoredValues(np.zeros((1, 1, 1), dtype)).type_range == expected


@pytest.mark.parametrize("odd", [1.0001, 1.5, 300, np.inf, -np.inf, -0.2])
def test_one_odd_value_does_not_change_the_others(odd, tmp_path):
    """It is clipped, and told."""
    array = RAMP.copy()
    array[0, 0] = odd
    picture = read_deep(saved(tmp_path, array), 1, require_scale=True)
    assert np.array_equal(picture.pixels[:, 1:, 0], RAMP[:, 1:])
    assert picture.pixels[0, 0, 0] == (1 if odd > 0 else 0)
    assert picture.notices == ["values outside 0 to 1 are clipped"]
    assert read_deep(saved(tmp_path, RAMP), 1).notices == []


@pytest.mark.parametrize("scale", [255, 65535, 1000])
def test_floats_beyond_1_are_refused_where_a_scale_is_needed(scale, tmp_path):
    path = saved(tmp_path, RAMP * scale)
    with pytest.raises(ImageError, match=r"floats count as 0 to 1.*--input-range LOW:HIGH.*--range-a"):
        read_deep(path, 1, require_scale=True)
    declared = read_deep(path, 1, require_scale=True, value_range=(0, scale))
    np.testing.assert_array_equal(declared.pixels[:, :, 0], RAMP * scale)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u8"])
def test_types_without_a_scale_are_refused_or_shown_by_all_that_they_hold(dtype, tmp_path):
    limits = np.iinfo(dtype)
    np.save(tmp_path / "x.npy", np.array([[limits.min, limits.max]], dtype))
    with pytest.raises(ImageError, match=r"integers have no scale of their own; .*--input-range"):
        read_deep(tmp_path / "x.npy", 1, require_scale=True)
    picture = read_deep(tmp_path / "x.npy", 1)
    assert picture.pixels.ravel().tolist() == [0, 1]
    assert "all that the type holds" in picture.notices[0]
    assert picture.dtype == np.dtype(dtype)


def test_32_bits_are_a_share_of_all_that_they_hold(tmp_path):
    array = np.linspace(0, 2**32 - 1, 256).astype(np.uint32).reshape(1, -1)
    picture = read_deep(saved(tmp_path, array), 1, require_scale=True)
    np.testing.assert_allclose(picture.pixels[0, :, 0], np.arange(256) / 255, rtol=0, atol=1e-6)
    assert picture.dtype == np.uint32


# Pixels without a value.


@pytest.mark.parametrize(
    ("dtype", "nodata", "text"),
    [("f4", -9999, "-9999"), ("f4", float(np.float32(-3.4028235e38)), "-3.4028234663852886e+38"), ("f4", np.nan, "nan"),
     ("i2", -32768, "-32768"), ("u2", 0, "0"), ("u1", 255, "255"), ("u1", 7, " 7 ")],
)  # fmt: skip
def test_nodata_is_in_the_middle_of_a_declared_range_and_marked(dtype, nodata, text, tmp_path):
    array = np.full((3, 4), 20, dtype)
    array[1, 2] = nodata
    picture = read_deep(saved(tmp_path, array, extratags=[(42113, "s", 0, text, True)]), 1, value_range=(10, 40))
    assert np.argwhere(picture.empty).tolist() == [[1, 2]]
    assert picture.pixels[1, 2, 0] == 25
    assert (picture.pixels[~picture.empty] == 20).all()
    assert picture.nodata == pytest.approx(nodata, nan_ok=True)
    assert picture.notices == []


@pytest.mark.parametrize(("dtype", "middle"), [("u1", 128), ("u2", 32768), ("u4", 0.5), ("f4", 0.5)])
def test_nodata_is_in_the_middle_of_the_range_of_a_type(dtype, middle, tmp_path):
    array = np.ones((3, 4), dtype)
    array[0, 0] = 0
    picture = read_deep(saved(tmp_path, array, extratags=[(42113, "s", 0, "0", True)]), 1)
    assert picture.pixels[0, 0, 0] == middle
    assert picture.empty.sum() == 1


def test_a_colour_pixel_is_nodata_if_all_of_its_channels_are(tmp_path):
    array = np.array([[[0, 0, 0], [0, 0, 9], [9, 9, 9]]], np.uint8)
    path = saved(tmp_path, array, photometric="rgb", extratags=[(42113, "s", 0, "0", True)])
    assert read_deep(path, 3).empty.tolist() == [[True, False, False]]


def test_a_text_that_is_no_number_declares_nothing(tmp_path):
    path = saved(tmp_path, np.zeros((2, 2), "f4"), extratags=[(42113, "s", 0, "none", True)])
    picture = read_deep(path, 1)
    assert picture.nodata is None
    assert picture.empty is None


@pytest.mark.parametrize(
    ("declared", "dtype", "expected"),
    [(-9999, "f4", -9999), (None, "f4", np.nan), (1e300, "f4", np.nan), (-9999, "i2", -9999), (-9999, "u1", None),
     (0, "u1", 0), (0.5, "u1", None), (np.nan, "u2", None), (None, "u2", None)],
)  # fmt: skip
def test_which_value_stands_for_nodata_in_an_output(declared, dtype, expected):
    found = nodata_for(declared, np.dtype(dtype))
    assert found == pytest.approx(expected, nan_ok=True) if expected is not None else found is None


@pytest.mark.parametrize(("dtype", "nodata", "step"), [("u1", 0, 1), ("u1", 255, 254), ("i2", -9999, -9998)])
def test_a_translated_pixel_never_becomes_nodata(dtype, nodata, step):
    pixels = np.full((1, 3, 1), nodata, dtype)
    empty = np.array([[True, False, False]])
    assert put_nodata(pixels, empty, nodata).ravel().tolist() == [nodata, step, step]


def test_nodata_of_floats_is_put_only_where_it_belongs():
    pixels = np.array([[[-9999.0], [-9999.0], [4.0]]], np.float32)
    made = put_nodata(pixels, np.array([[True, False, False]]), -9999)
    assert made[0, 0, 0] == -9999
    assert made[0, 1, 0] == np.nextafter(np.float32(-9999), np.float32(0))
    assert made[0, 2, 0] == 4
    assert np.isnan(put_nodata(pixels, np.array([[True, False, False]]), np.nan)[0, 0, 0])


def test_without_empty_pixels_and_equal_values_nothing_changes():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.array_equal(put_nodata(pixels, None, 200), pixels)


def test_transparency_has_no_part_in_nodata_and_range(tmp_path):
    array = np.full((2, 2, 4), 0.5, np.float32)
    array[:, :, 3] = 9
    path = saved(tmp_path, array, photometric="rgb", extrasamples=[2])
    picture = images.read(path, how=images.Reading(3, deep=True, require_scale=True))
    assert picture.notices == []
    assert (picture.pixels == 0.5).all()
