"""The range of values of a domain: one rule for the whole set."""

import os

import numpy as np
import pytest
import tifffile

from translate.data import value_scan
from translate.data.split import ImageRef, Split
from translate.data.value_scan import DomainValues, find_ranges, format_range, measure_set, range_of_set
from translate.errors import DataError

NOTHING = {"a": None, "b": None}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def files(path, arrays, ext="npy"):
    path.mkdir(exist_ok=True)
    refs = []
    for number, array in enumerate(arrays):
        file = path / f"{number}.{ext}"
        np.save(file, array) if ext == "npy" else tifffile.imwrite(file, array, metadata=None)
        refs.append(ImageRef(file))
    return tuple(refs)


def find(a, b=(), declared=NOTHING):
    said = []
    return find_ranges(Split(a, b, False), declared, said.append), said


@pytest.mark.parametrize(
    ("types", "low", "high", "expected"),
    [
        ({"float32": 2}, 0, 1, None),
        ({"float32": 2}, -0.04, 1.09, None),  # overshoot of a filter
        ({"float32": 2}, 0, 1.2, (0, 1.2)),
        ({"float32": 2}, 0.01, 0.05, (0.01, 0.05)),  # would be nearly one value of 0 to 1
        ({"float32": 1, "float64": 1}, -30, 40, (-30, 40)),
        ({"int16": 2}, 0, 1, (0, 1)),  # integers that keep to 0 and 1 are no floats
        ({"int16": 2}, -1024, 3071, (-1024, 3071)),
        ({"uint32": 2}, 0, 90_000, (0, 90_000)),
        ({"int16": 1, "float32": 1}, -5, 9.5, (-5, 9.5)),
        ({"float32": 2}, 7, 7, (7, 8)),
        ({"float32": 2}, None, None, None),
    ],
)
def test_the_rule(types, low, high, expected):
    assert range_of_set(DomainValues(types, low, high, 100, 0)) == expected


def test_all_files_of_a_domain_count_and_each_domain_alone(tmp_path):
    a = files(tmp_path / "a", [np.full((2, 2), value, np.float32) for value in (5, 900.5, -3)])
    b = files(tmp_path / "b", [np.full((2, 2), value, np.int16) for value in (-40, 60)], "tif")
    found, said = find(a, b)
    assert found == {"a": (-3, 900.5), "b": (-40, 60)}
    assert "3 float32 files" in said[0]
    assert "-3 to 900.5" in said[0]
    assert "--range-a" in said[0]
    assert "2 int16 files" in said[1]


def test_the_halves_of_a_file_are_domains_of_their_own(tmp_path):
    (ref,) = files(tmp_path / "ab", [np.array([[1, 2, 300, 400]], np.int32)])
    halves = [(ImageRef(ref.path, half),) for half in ("left", "right")]
    assert find(*halves)[0] == {"a": (1, 2), "b": (300, 400)}


def test_a_declared_range_stays(tmp_path):
    a = files(tmp_path / "a", [np.full((2, 2), 5, np.float32)])
    assert find(a, declared={"a": "0:9", "b": None}) == ({}, [])


def test_files_of_8_and_16_bits_are_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(value_scan, "measure_values", lambda *_: pytest.fail("measured"))
    a = files(tmp_path / "a", [np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint16)])
    assert find((*a, ImageRef(tmp_path / "photo.jpg")))[0] == {"a": None}


def test_floats_of_0_to_1_share_a_domain_with_photos_but_others_do_not(tmp_path):
    shares = np.linspace(0, 1, 4, dtype=np.float32).reshape(2, 2)
    photo = np.zeros((2, 2), np.uint8)
    assert find(files(tmp_path / "a", [shares, photo])) == ({"a": None}, [])
    with pytest.raises(DataError, match=r"no scale in common: declare the range of all by --range-a"):
        find(files(tmp_path / "b", [shares * 300, photo]))


def test_nodata_is_left_out_and_told(tmp_path):
    array = np.array([[-9999, 2], [np.nan, 40]], np.float32)
    tifffile.imwrite(tmp_path / "x.tif", array, extratags=[(42113, "s", 0, "-9999", True)], metadata=None)
    found, said = find((ImageRef(tmp_path / "x.tif"),))
    assert found == {"a": (2, 40)}
    assert "NoData" in said[0]
    assert "50.00% of the pixels have no value" in said[1]
    with pytest.raises(DataError, match="no pixel of its 1 files has a value"):
        find(files(tmp_path / "empty", [np.full((2, 2), np.nan)]))


def test_an_unreadable_file_does_not_stop_the_scan(tmp_path):
    refs = files(tmp_path / "a", [np.full((2, 2), 5.0), np.full((2, 2), 70.0)])
    data = refs[1].path.read_bytes()
    refs[1].path.write_bytes(data[:-8])
    assert find(refs)[0] == {"a": (5, 6)}


def test_a_set_is_measured_once_until_it_changes(tmp_path, monkeypatch):
    refs = files(tmp_path / "a", [np.full((2, 2), 5.0), np.full((2, 2), 70.0)])
    first = measure_set(refs, print)
    measured = []
    original = value_scan.measure_values
    monkeypatch.setattr(value_scan, "measure_values", lambda *given: measured.append(given) or original(*given))
    assert measure_set(refs, print) == first
    assert not measured
    np.save(refs[0].path, np.full((2, 2), -5.0))  # of the same size
    os.utime(refs[0].path, ns=(1, 1))
    assert measure_set(refs, print).low == -5
    assert len(measured) == 2


@pytest.mark.parametrize(
    ("span", "text"),
    [
        ((-400, 8848), "-400:8848"),
        ((0.1, 20.5), "0.1:20.5"),
        ((float(np.float32(1000.1234)), 2e9), "1000.1234:2000000000"),
    ],
)
def test_a_range_as_the_flags_take_it(span, text):
    assert format_range(span) == text
    low, high = map(float, text.split(":"))
    assert np.float32(low) == np.float32(span[0])
    assert np.float32(high) == np.float32(span[1])
