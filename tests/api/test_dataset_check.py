"""Check of a data folder from Python: its arguments, and the list of bad files."""

import shutil

import pytest

from translate import api
from translate.errors import DataError, UsageError


def check(root, **options):
    return api.check_data(root, say=lambda line: None, **options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"layout": "triples"}, "--layout triples"),
        ({"crop_size": 0}, "--crop-size 0"),
        ({"crop_size": 64, "load_size": 32}, "--crop-size 64"),
        ({"distance": 17}, "--distance 17"),
        ({"limit": 0}, "--limit 0"),
        ({"quarantine": "bad.png"}, r"--quarantine bad\.png"),
    ],
)
def test_impossible_arguments_are_refused(unpaired_root, options, named):
    with pytest.raises(UsageError, match=named):
        check(unpaired_root, **options)


def test_a_missing_folder_is_no_data(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        check(tmp_path / "nowhere")


def test_the_load_size_follows_the_crop_size(unpaired_root):
    assert check(unpaired_root, crop_size=128)["load_size"] == 143
    assert check(unpaired_root, crop_size=32, load_size=40)["load_size"] == 40


def test_bad_files_are_listed_one_a_line(unpaired_root, tmp_path):
    root = shutil.copytree(unpaired_root, tmp_path / "root")
    assert check(root, crop_size=32, quarantine=tmp_path / "none.txt")["errors"] == []
    assert (tmp_path / "none.txt").read_bytes() == b""
    for name in ("plain.png", "two\nlines.png"):
        (root / "trainA" / name).write_bytes(b"not an image")
    check(root, crop_size=32, quarantine=tmp_path / "bad.txt")
    lines = (tmp_path / "bad.txt").read_text().splitlines()
    assert sorted(lines) == sorted([str(root / "trainA" / "plain.png"), f'"{root}/trainA/two\\nlines.png"'])
