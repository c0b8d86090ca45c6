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
        ({"truth": "pairs"}, "--truth pairs"),
    ],
)
def test_impossible_arguments_are_refused(unpaired_root, options, named):
    with pytest.raises(UsageError, match=named):
        check(unpaired_root, **options)


def test_the_report_says_how_true_images_are_known(unpaired_root, paired_root, tmp_path):
    """Of equal names alone nothing is known; names that do not match although they should are warned of."""
    truth = check(unpaired_root, crop_size=32)["truth"]
    assert [facts["known"] for facts in truth.values()] == [None]
    assert "--truth names" in truth["test"]["why"]
    asked = check(unpaired_root, crop_size=32, truth="names")
    assert (asked["truth"]["test"]["known"], asked["warnings"]) == (
        "names",
        check(unpaired_root, crop_size=32)["warnings"],
    )
    assert check(paired_root, crop_size=32)["truth"]["test"]["known"] == "side by side"
    assert check(unpaired_root / "trainA", crop_size=32)["truth"] == {}
    root = shutil.copytree(unpaired_root, tmp_path / "root")
    next((root / "testB").iterdir()).rename(root / "testB" / "other.png")
    asked = check(root, crop_size=32, truth="names")
    assert asked["truth"]["test"]["known"] is None
    assert [line for line in asked["warnings"] if line.startswith("--truth names: ") and "testB/other" in line]
    assert asked["errors"] == []


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


def test_progress_counts_each_file_and_those_that_cannot_be_read(unpaired_root, tmp_path):
    root = shutil.copytree(unpaired_root, tmp_path / "root")
    (root / "trainA" / "bad.png").write_bytes(b"no image")
    counts = []
    check(root, crop_size=32, progress=lambda *now: counts.append(now))
    assert [finished for finished, _, _ in counts] == list(range(1, 18)), "5 + 7 + 2 + 2 files, and the bad one"
    assert (counts[0][2], counts[-1]) == (17, (17, 1, 17))


def test_nothing_is_printed_without_say(unpaired_root, capfd):
    api.check_data(unpaired_root, crop_size=32, say=None)
    assert capfd.readouterr() == ("", "")
