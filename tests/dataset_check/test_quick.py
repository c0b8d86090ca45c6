"""Notices on the data at the start of a training."""

from translate.data import layouts
from translate.dataset_check import quick

from .helpers import write_images, write_unpaired

# At the start of training.


def lines_of(root, crop=32, layout="unpaired"):
    return quick.quick_check(root, layouts.find_split(root, layout), crop)


def test_training_says_what_a_person_should_know(tmp_path):
    assert lines_of(write_unpaired(tmp_path, 3, 9)) == []
    write_images(tmp_path, "trainB/one_more.png")
    (tmp_path / "trainA/drawing.psd").touch()
    (tmp_path / "trainA/sub").mkdir()
    (tmp_path / "trainA/sub/photo.JXL").touch()
    (tmp_path / "trainA/photo.jpg_large").write_bytes((tmp_path / "trainA/a0.png").read_bytes())
    (tmp_path / "trainA/notes.txt").write_text("no picture")
    imbalance, formats, names = lines_of(tmp_path)
    assert "1 files look like images" in names
    assert "trainA/photo.jpg_large" in names
    assert "10 images, the other 3" in imbalance
    assert "1 jxl, 1 psd" in formats
    assert ["crop of 41 px" in line for line in lines_of(tmp_path, 41)] == [True, True, False, False, False]
    assert lines_of(tmp_path, None) == [imbalance, formats, names]


def test_halves_are_what_is_compared_with_the_crop(tmp_path):
    write_images(tmp_path, "train/1.png", width=80)
    (halves,) = lines_of(tmp_path, 40, "paired")
    assert "its left half is an image of A, its right half one of B" in halves
    assert len(lines_of(tmp_path, 41, "paired")) == 3


def test_whole_images_are_compared_with_what_the_networks_take(tmp_path):
    root = write_unpaired(tmp_path)
    split = layouts.find_split(root, "unpaired")
    assert quick.quick_check(root, split, None, 40) == []
    first, second = quick.quick_check(root, split, None, 41)
    assert "all of the images of domain a are smaller than 41 px, the least that the networks take" in first
    assert "domain b" in second


def test_the_quick_check_reads_a_bounded_number_of_headers(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(quick, "read_header", lambda path, frames: opened.append(path))
    root = tmp_path
    for name in ("trainA", "trainB"):
        (root / name).mkdir()
        for i in range(200):
            (root / name / f"{i}.png").touch()
    assert lines_of(root) == []
    assert len(opened) == 2 * quick.HEADERS_READ
