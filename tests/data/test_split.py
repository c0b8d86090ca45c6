"""Splits: their length, fingerprint, subsets and held-out parts."""

import os
import shutil

import pytest

from translate.data import layouts
from translate.data.split import ImageRef, Split, evenly_spaced, next_readable

from ..helpers import run_python
from .helpers import write_named_files

# Layouts are decided by names alone, so these files hold a few bytes that are no image.


# Splits.


@pytest.mark.parametrize(("a", "b", "length"), [(5, 7, 7), (7, 5, 7), (3, 3, 3), (4, 0, 4)])
def test_an_epoch_is_as_long_as_the_larger_domain(a, b, length, tmp_path):
    assert len(Split((ImageRef(tmp_path),) * a, (ImageRef(tmp_path),) * b, paired=False)) == length


NAMES = ["trainA/1.png", "trainA/2.png", "trainB/1.png", "trainB/2.png"]


def fingerprint(root):
    return layouts.find_split(root, "paired").fingerprint()


def test_a_fingerprint_stays_when_the_folder_is_moved_or_touched(tmp_path):
    root = write_named_files(tmp_path / "here", *NAMES)
    before = fingerprint(root)
    shutil.move(root, tmp_path / "there")
    os.utime(tmp_path / "there" / "trainA" / "1.png", (1, 1))
    assert fingerprint(tmp_path / "there") == before


def grow(root):
    (root / "trainA" / "1.png").write_bytes(b"longer than before")


def rename(root):
    for domain in ("trainA", "trainB"):
        (root / domain / "1.png").rename(root / domain / "0.png")


def add(root):
    write_named_files(root, "trainA/3.png", "trainB/3.png")


def drop(root):
    for domain in ("trainA", "trainB"):
        (root / domain / "2.png").unlink()


@pytest.mark.parametrize("change", [grow, rename, add, drop])
def test_a_fingerprint_changes_with_the_files(change, tmp_path):
    root = write_named_files(tmp_path, *NAMES)
    before = fingerprint(root)
    change(root)
    assert fingerprint(root) != before


def test_a_fingerprint_changes_with_the_direction(tmp_path):
    write_named_files(tmp_path, "trainA/1.png", "trainB/1.longer.png", "trainB/1.png")
    found = layouts.find_split(tmp_path, "unpaired")
    assert found.swapped().fingerprint() != found.fingerprint()


# Evenly spaced indices, and the next readable image.


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [(10, 5, [0, 2, 4, 6, 8]), (7, 3, [0, 2, 4]), (3, 9, [0, 1, 2]), (4, 4, [0, 1, 2, 3]), (5, 0, []), (0, 3, [])],
)
def test_evenly_spaced_indices(size, count, expected):
    assert evenly_spaced(size, count) == expected


@pytest.mark.parametrize(("start", "expected"), [(0, 2), (2, 2), (3, 4), (4, 4), (5, 2)])
def test_the_next_readable_image_is_found_in_a_ring(start, expected):
    asked = []

    def is_readable(index):
        asked.append(index)
        return index in (2, 4)

    assert next_readable(start, 6, is_readable) == expected
    assert len(asked) == len(set(asked)) <= 6


def test_there_may_be_no_readable_image():
    assert next_readable(1, 3, lambda index: False) is None


def test_splits_import_no_torch():
    code = "import sys, translate.data.split; print('torch' in sys.modules)"
    done = run_python(code)
    assert done.stdout == "False\n"
