"""Errors and warnings of the report, in words: each names its folder or split."""

import numpy as np
import tifffile
from PIL import Image

from .helpers import report_of


def put(root, *names, size=(40, 40), mode="RGB"):
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").rotate(7 * len(name) + 31 * i).resize(size).convert(mode).save(root / name)
    return root


def test_a_sound_folder_has_no_messages(tmp_path):
    report = report_of(put(tmp_path, "trainA/1.png", "trainB/2.png"))
    assert (report["errors"], report["warnings"]) == ([], [])


def test_an_error_names_the_missing_folder(tmp_path):
    (error,) = report_of(put(tmp_path, "trainA/1.png"))["errors"]
    assert error.startswith(f"{tmp_path}/trainB: ")


def test_an_error_names_the_folder_without_a_readable_image(tmp_path):
    put(tmp_path, "trainA/1.png", "trainB/2.png")
    (tmp_path / "trainB/2.png").write_text("no image")
    (error,) = report_of(tmp_path)["errors"]
    assert error.startswith(f"{tmp_path}/trainB: ")


def test_warnings_name_folder_and_flag(tmp_path):
    put(tmp_path, "trainA/1.png", size=(90, 40))
    put(tmp_path, "trainB/2.png", size=(31, 40))
    long, small = report_of(tmp_path, load_size=40)["warnings"]
    assert long.startswith("trainA: ")
    assert "--preprocess" in long
    assert small.startswith("trainB: ")
    assert "--crop-size" in small


def test_a_warning_counts_grey_images_among_colour(tmp_path):
    put(tmp_path, "trainA/1.png", "trainA/3.png", "trainB/2.png")
    Image.linear_gradient("L").save(tmp_path / "trainA/grey.png")
    assert [line for line in report_of(tmp_path)["warnings"] if line.startswith("trainA: 1 of 3 ")]


# Values.


def put_arrays(folder, *arrays, **options):
    folder.mkdir(parents=True, exist_ok=True)
    for i, array in enumerate(arrays):
        tifffile.imwrite(folder / f"{i}.tif", array, metadata=None, **options)


def slope(dtype, low, high):
    return np.linspace(low, high, 40 * 40).reshape(40, 40).astype(dtype)


def warnings(root, place):
    return [line for line in report_of(root)["warnings"] if line.startswith(f"{place}: ")]


def test_values_that_fill_under_a_tenth_of_their_range_are_named_with_the_flag(tmp_path):
    put_arrays(tmp_path / "trainA", slope("u2", 200, 3800))
    put_arrays(tmp_path / "trainB", slope("u1", 100, 120))
    put_arrays(tmp_path / "testA", slope("u2", 200, 3800))
    put_arrays(tmp_path / "testB", slope("u1", 100, 120))
    deep, flat = (warnings(tmp_path, place)[0] for place in ("trainA", "trainB"))
    assert "from 200 to 3800, 5.5% of the range 0 to 65535" in deep
    assert "--range-a 200:3800" in deep
    assert "--range-b 100:120" in flat
    assert not warnings(tmp_path, "testA"), "the range is that of training"


def test_values_that_fill_a_tenth_have_no_message(tmp_path):
    put_arrays(tmp_path / "trainA", slope("u2", 0, 6600), slope("u2", 0, 40))
    put_arrays(tmp_path / "trainB", slope("f4", 0, 1), slope("f4", 0, 0.01))
    assert not [line for line in report_of(tmp_path)["warnings"] if "range" in line]


def test_values_without_a_scale_are_named_with_the_range_of_the_set(tmp_path):
    put_arrays(tmp_path / "trainA", slope("f4", 0, 500), slope("f4", -2, 900))
    put_arrays(tmp_path / "trainB", slope("i2", -5, 5), slope("u1", 0, 255))
    report = report_of(tmp_path)
    assert report["splits"]["train"]["a"]["values"]["range_of_set"] == [-2, 900]
    (own,), (mixed,) = warnings(tmp_path, "trainA"), warnings(tmp_path, "trainB")
    assert "2 float32 files have no scale of their own" in own
    assert "-2 to 900, unless --range-a" in own
    assert "no scale in common; training refuses them unless --range-b" in mixed


def test_pixels_without_a_value_are_counted(tmp_path):
    half, most = slope("f4", 0, 1), slope("f4", 0, 1)
    half[:10], most[:30] = np.nan, -9999
    put_arrays(tmp_path / "trainA", half, most, slope("f4", 0, 1), extratags=[(42113, "s", 0, "-9999", True)])
    put_arrays(tmp_path / "trainB", slope("f4", 0, 1))
    some, mostly = warnings(tmp_path, "trainA")
    assert "in 2 of 3 files, 33.33% of all" in some
    assert "mostly NoData in 1 of 3 files" in mostly
    assert not warnings(tmp_path, "trainB")
