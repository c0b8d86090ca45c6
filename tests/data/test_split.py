"""Splits: their length, fingerprint, subsets and held-out parts."""

import hashlib
import os
import shutil
import unicodedata

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


def test_files_of_one_name_are_held_out_together_in_either_unicode_form(tmp_path):
    names = [f"é{i}" for i in range(20)]
    for side, form in (("A", "NFC"), ("B", "NFD")):
        write_named_files(tmp_path, *(f"train{side}/{unicodedata.normalize(form, name)}.png" for name in names))
    for part in layouts.find_split(tmp_path, "unpaired").hold_out(0.3):
        of_a, of_b = ({unicodedata.normalize("NFC", ref.path.stem) for ref in refs} for refs in (part.a, part.b))
        assert of_a == of_b


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_what_is_held_out_depends_on_the_names_as_they_are_written(form, tmp_path):
    """By the order of their hashes, as in earlier versions: a run that resumes holds out the same images."""
    names = [unicodedata.normalize(form, f"é{i}") for i in range(10)]
    write_named_files(tmp_path, *(f"train{side}/{name}.png" for side in "AB" for name in names))
    for layout in ("paired", "unpaired"):
        held_out = layouts.find_split(tmp_path, layout).hold_out(0.3)[1]
        ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
        assert {ref.path.stem for ref in held_out.a} == set(ranked[:3])


def test_pairs_of_other_names_are_held_out_whole(tmp_path):
    write_named_files(tmp_path, *(f"train{side}/{i}_{side}.png" for side in "AB" for i in range(20)))
    kept, held_out = layouts.find_split(tmp_path, "paired").hold_out(0.25)
    assert (len(kept), len(held_out)) == (15, 5)
    for part in (kept, held_out):
        assert [a.path.stem[:-2] for a in part.a] == [b.path.stem[:-2] for b in part.b]


# Evenly spaced indices, and the next readable image.


@pytest.mark.parametrize("paired", [True, False])
def test_photos_are_paired_with_themselves_or_drawn_apart(paired):
    """With themselves they are cropped alike and read together; apart each domain has draws of its own."""
    split = Split((ImageRef("1.png"), ImageRef("2.png")), (), paired=False, labels=(0, 1), label_names=("x", "y"))
    both = split.with_itself(paired=paired)
    assert both.a == both.b == split.a
    assert (both.paired, both.labels, both.label_names) == (paired, (), ())
    assert (both.draw_name("a") == both.draw_name("b")) == paired


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
