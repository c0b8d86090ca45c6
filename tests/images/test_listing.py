"""Tests of the lists of files in a folder."""

import os
from pathlib import Path

import pytest

from translate import images


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


def test_linked_files_and_folders_are_listed(tmp_path):
    touch(tmp_path, "root/a.png", "else/b.png", "else/deep/d.png")
    (tmp_path / "root" / "c.png").symlink_to(tmp_path / "else" / "b.png")
    (tmp_path / "root" / "folder").symlink_to(tmp_path / "else")
    (tmp_path / "root" / "broken.png").symlink_to(tmp_path / "absent")
    (tmp_path / "root" / ".hidden").symlink_to(tmp_path / "else")
    os.mkfifo(tmp_path / "root" / "pipe.png")
    expected = ["a.png", "c.png", "folder/b.png", "folder/deep/d.png"]
    assert listed(tmp_path / "root", images.list_files(tmp_path / "root")) == expected
    irregular = images.list_files(tmp_path / "root", irregular=True)
    assert set(listed(tmp_path / "root", irregular)) == {*expected, "broken.png", "pipe.png"}


def test_a_link_to_a_folder_that_holds_it_is_not_entered(tmp_path):
    """Neither to the folder itself, nor to one above the root, nor round by way of a folder elsewhere."""
    touch(tmp_path, "up/root/a.png", "up/root/sub/b.png", "up/other.png", "else/c.png")
    links = {"self": "up/root", "sub/top": "up/root", "above": "up", "all": ".", "away": "else"}
    for name, target in links.items():
        (tmp_path / "up" / "root" / name).symlink_to(tmp_path / target)
    (tmp_path / "else" / "back").symlink_to(tmp_path / "up" / "root")
    notes = images.WalkNotes()
    found = images.list_files(tmp_path / "up" / "root", notes=notes)
    assert listed(tmp_path / "up" / "root", found) == ["a.png", "away/c.png", "sub/b.png"]
    assert notes.repeated == ["above", "all", "away/back", "self", "sub/top"]
    assert sorted(notes.folders) == ["away", "sub"]


def test_a_folder_that_many_links_reach_is_listed_once(tmp_path):
    """Ten folders that each link to all others have 10! paths without a circle; a walk over those would not end."""
    names = [f"n{i}" for i in range(10)]
    touch(tmp_path, *(f"all/{name}/{name}.png" for name in names))
    for name in names:
        for other in names:
            (tmp_path / "all" / name / f"to_{other}").symlink_to(tmp_path / "all" / other)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "in").symlink_to(tmp_path / "all" / "n3")
    found = images.list_files(tmp_path / "root")
    assert sorted(path.name for path in found) == [f"{name}.png" for name in names]


def test_a_real_folder_keeps_its_name_whatever_links_lead_to_it(tmp_path):
    touch(tmp_path, "z/1.png")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    assert listed(tmp_path, images.list_files(tmp_path)) == ["z/1.png"]


def test_folders_that_cannot_be_listed_are_noted(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "locked/b.png")

    def refuse_locked(folder, scandir=os.scandir):
        if folder == tmp_path / "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse_locked)
    notes = images.WalkNotes()
    assert listed(tmp_path, images.list_files(tmp_path, notes=notes)) == ["a.png"]
    assert notes.unreadable == {"locked": "Permission denied"}


@pytest.mark.parametrize("ext", sorted(images.READABLE_EXTENSIONS))
def test_readable_extensions_are_listed_in_any_case(ext, tmp_path):
    names = [f"1.{ext}", f"2.{ext.upper()}", f"3.{ext.title()}"]
    touch(tmp_path, *names, "4.txt", "5", f"6.{ext}.part", "7.eps")
    assert listed(tmp_path, images.list_images(tmp_path)) == names
