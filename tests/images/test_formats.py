"""Tests of the lists of image files in a folder."""

import os
from pathlib import Path

import pytest

from translate import images


def test_no_extension_is_both_readable_and_not_allowed():
    assert not images.READABLE_EXTENSIONS & images.REFUSED_EXTENSIONS


def touch(root, *names):
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def listed(root, paths):
    return [path.relative_to(root).as_posix() for path in paths]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    touch(tmp_path, "a.png", ".b.png", ".git/c.png", "d/.e/f.png", "d/g.txt")
    assert listed(tmp_path, images.list_files(tmp_path)) == ["a.png", "d/g.txt"]


def test_files_are_sorted_by_relative_path(tmp_path):
    names = ["b.png", "B.png", "a/z.png", "a.png", "a/b/c.png", "10.png", "9.png"]
    touch(tmp_path, *names)
    assert listed(tmp_path, images.list_files(tmp_path)) == sorted(names)


def test_files_of_odd_names_are_listed(tmp_path):
    names = ["new\nline.png", os.fsdecode(b"caf\xe9.png"), "ünï.png", " .png", "-rf.png", "a\\b.png"]
    touch(tmp_path, *names)
    assert sorted(listed(tmp_path, images.list_files(tmp_path))) == sorted(names)


def test_linked_files_are_listed_and_linked_folders_not_entered(tmp_path):
    touch(tmp_path, "root/a.png", "else/b.png")
    (tmp_path / "root" / "c.png").symlink_to(tmp_path / "else" / "b.png")
    (tmp_path / "root" / "folder").symlink_to(tmp_path / "else")
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "broken.png").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "root" / "pipe.png")
    assert listed(tmp_path / "root", images.list_files(tmp_path / "root")) == ["a.png", "c.png"]


@pytest.mark.parametrize("ext", sorted(images.READABLE_EXTENSIONS))
def test_readable_extensions_are_listed_in_any_case(ext, tmp_path):
    names = [f"1.{ext}", f"2.{ext.upper()}", f"3.{ext.title()}"]
    touch(tmp_path, *names, "4.txt", "5", f"6.{ext}.part", "7.eps")
    assert listed(tmp_path, images.list_images(tmp_path)) == names
