"""Layouts of data folders, decided by names alone."""

import os
import unicodedata

import pytest

from translate.data import layouts
from translate.data.layouts import LAYOUT_CONTENTS, LAYOUTS
from translate.errors import DataError

from .helpers import write_named_files

# Layouts are decided by names alone, so these files hold a few bytes that are no image.


def shown(root, refs):
    return [ref.path.relative_to(root).as_posix() + (f" {ref.half}" if ref.half else "") for ref in refs]


def refused(root, layout, split="train"):
    with pytest.raises(DataError) as caught:
        layouts.find_split(root, layout, split)
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_layout_says_what_it_expects():
    assert LAYOUT_CONTENTS.keys() == LAYOUTS.keys()


# What is found.


@pytest.mark.parametrize("folder", ["", "train/"])
def test_photos_are_any_folder_or_its_train_without_classes(folder, tmp_path):
    write_named_files(tmp_path, f"{folder}cats/1.jpg", f"{folder}dogs/2.tif", f"{folder}0.png", f"{folder}notes.txt")
    found = layouts.find_split(tmp_path, "photos")
    assert shown(tmp_path, found.a) == [f"{folder}0.png", f"{folder}cats/1.jpg", f"{folder}dogs/2.tif"]
    assert (found.b, found.paired, found.labels, found.label_names) == ((), False, (), ())


def test_unpaired_folders_are_searched_through_and_sorted(tmp_path):
    write_named_files(
        tmp_path, "trainA/b.png", "trainA/sub/a.JPG", "trainA/a.txt", "trainB/2.webp", "trainB/10.npy", "testA/x.png"
    )
    found = layouts.find_split(tmp_path, "unpaired")
    assert shown(tmp_path, found.a) == ["trainA/b.png", "trainA/sub/a.JPG"]
    assert shown(tmp_path, found.b) == ["trainB/10.npy", "trainB/2.webp"]
    assert not found.paired


def test_twin_folders_are_paired_by_relative_path_without_extension(tmp_path):
    write_named_files(
        tmp_path,
        "trainA/1.png",
        "trainA/s/2.v1.jpg",
        "trainA/s/1.png",
        "trainB/s/2.v1.webp",
        "trainB/1.jpg",
        "trainB/s/1.png",
    )
    found = layouts.find_split(tmp_path, "paired")
    assert shown(tmp_path, found.a) == ["trainA/1.png", "trainA/s/1.png", "trainA/s/2.v1.jpg"]
    assert shown(tmp_path, found.b) == ["trainB/1.jpg", "trainB/s/1.png", "trainB/s/2.v1.webp"]
    assert found.paired


@pytest.mark.parametrize(("layout", "pairs"), [("paired", True), ("unpaired", False)])
def test_side_by_side_files_are_a_on_the_left_and_b_on_the_right(layout, pairs, tmp_path):
    write_named_files(tmp_path, "train/1.jpg", "train/s/2.png")
    found = layouts.find_split(tmp_path, layout)
    assert shown(tmp_path, found.a) == ["train/1.jpg left", "train/s/2.png left"]
    assert shown(tmp_path, found.b) == ["train/1.jpg right", "train/s/2.png right"]
    assert found.paired is pairs


@pytest.mark.parametrize("layout", ["paired", "unpaired"])
def test_twin_folders_come_before_side_by_side_files(layout, tmp_path):
    write_named_files(tmp_path, "train/1.jpg", "trainA/2.jpg", "trainB/2.jpg")
    assert shown(tmp_path, layouts.find_split(tmp_path, layout).a) == ["trainA/2.jpg"]


def test_a_folder_of_images_has_one_domain(tmp_path):
    write_named_files(tmp_path, "b.png", "sub/a.gif", "notes.txt")
    found = layouts.find_split(tmp_path, "images")
    assert shown(tmp_path, found.a) == ["b.png", "sub/a.gif"]
    assert found.b == ()
    assert len(found) == 2


@pytest.mark.parametrize("layout", ["paired", "unpaired"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_splits_are_told_by_their_prefix(layout, split, tmp_path):
    for name in ("train", "val", "test"):
        write_named_files(tmp_path, f"{name}A/{name}.png", f"{name}B/{name}.png")
    found = layouts.find_split(tmp_path, layout, split)
    assert shown(tmp_path, (*found.a, *found.b)) == [f"{split}A/{split}.png", f"{split}B/{split}.png"]


@pytest.mark.parametrize("layout", ["paired", "unpaired"])
@pytest.mark.parametrize("names", [("trainA/1.png", "trainB/1.png"), ("train/1.png",)], ids=["twins", "side by side"])
def test_direction_b2a_swaps_the_domains(layout, names, tmp_path):
    write_named_files(tmp_path, *names)
    there, back = (layouts.find_split(tmp_path, layout, direction=direction) for direction in ("a2b", "b2a"))
    assert (back.a, back.b, back.paired) == (there.b, there.a, there.paired)
    assert there.a != there.b


def test_odd_names_are_paired_too(tmp_path):
    names = ["new\nline", os.fsdecode(b"caf\xe9"), " ", "a.b.c", "ünï"]
    write_named_files(tmp_path, *(f"trainA/{name}.png" for name in names), *(f"trainB/{name}.jpg" for name in names))
    found = layouts.find_split(tmp_path, "paired")
    assert [a.path.stem for a in found.a] == [b.path.stem for b in found.b] == sorted(names)
    assert found.fingerprint() == layouts.find_split(tmp_path, "paired").fingerprint()


def test_a_linked_domain_is_read(tmp_path):
    write_named_files(tmp_path, "else/1.png", "root/trainB/1.png")
    (tmp_path / "root" / "trainA").symlink_to(tmp_path / "else")
    assert shown(tmp_path / "root", layouts.find_split(tmp_path / "root", "unpaired").a) == ["trainA/1.png"]


@pytest.mark.parametrize("layout", ["paired", "unpaired"])
@pytest.mark.parametrize("folders", [("1", "2", "3"), ("one",)])
def test_side_by_side_files_may_lie_in_folders(layout, folders, tmp_path):
    write_named_files(tmp_path, *(f"train/{folder}/x.png" for folder in folders))
    assert len(layouts.find_split(tmp_path, layout)) == len(folders)


def test_names_that_differ_in_one_common_way_are_paired_and_told(tmp_path):
    write_named_files(tmp_path, "trainA/1_A.png", "trainA/2_A.png", "trainB/1_B.jpg", "trainB/2_B.jpg")
    found = layouts.find_split(tmp_path, "paired")
    assert shown(tmp_path, (*found.a, *found.b)) == [
        "trainA/1_A.png",
        "trainA/2_A.png",
        "trainB/1_B.jpg",
        "trainB/2_B.jpg",
    ]
    (line,) = found.notices
    assert "2 pairs, matched without the endings '_A' and '_B'" in line
    assert found.swapped().notices == found.notices
    assert layouts.find_split(tmp_path, "unpaired").notices == ()


def test_unmatched_images_are_left_out_where_that_is_asked_for(tmp_path):
    write_named_files(
        tmp_path, "trainA/1.png", "trainA/2.png", "trainA/2.jpg", "trainB/1.png", "trainB/2.png", "trainB/3.png"
    )
    assert "same pair" in refused(tmp_path, "paired")
    found = layouts.find_split(tmp_path, "paired", skip_unmatched=True)
    assert shown(tmp_path, (*found.a, *found.b)) == ["trainA/1.png", "trainB/1.png"]
    (line,) = found.notices
    assert "1 pairs are used, 4 images without a partner of their own are left out" in line
    assert all(name in line for name in ("trainB/3.png", "trainA/2.jpg"))


def test_the_held_out_pairs_of_a_set_with_unmatched_images(tmp_path):
    write_named_files(tmp_path, "testA/1.png", "testB/1.png", "testB/2.png")
    with pytest.raises(DataError, match="testB/2"):
        layouts.held_out_split(tmp_path, "paired")
    assert len(layouts.held_out_split(tmp_path, "paired", skip_unmatched=True).b) == 1


def test_domain_names_match_in_either_unicode_form(tmp_path):
    """The names are those of train, as they are written there."""
    e, o = (unicodedata.normalize("NFD", name) for name in ("été", "über"))
    write_named_files(tmp_path, f"train/{e}/1.png", f"train/{o}/2.png", "test/été/3.png", "attributes/x.txt")
    assert layouts.find_split(tmp_path, "domains").label_names == tuple(sorted((e, o)))
    found = layouts.find_split(tmp_path, "domains", "test")
    assert [found.label_names[label] for label in found.labels] == [e]
    assert layouts.find_split(tmp_path, "images", "test").labels == found.labels


def test_rows_of_a_table_match_in_either_unicode_form(tmp_path):
    write_named_files(tmp_path, f"train/{unicodedata.normalize('NFD', 'été')}.png")
    (tmp_path / "attributes.csv").write_text("file,old\nété.png,1\n", encoding="utf-8")
    assert layouts.find_split(tmp_path, "domains").labels == ((1.0,),)


# What is refused. The message names the folder or files, and what is wanted.


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_such_root(layout, tmp_path):
    message = refused(tmp_path / "absent", layout)
    assert str(tmp_path / "absent") in message
    assert LAYOUT_CONTENTS[layout] in message


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_is_no_root(layout, tmp_path):
    write_named_files(tmp_path, "file.png")
    assert str(tmp_path / "file.png") in refused(tmp_path / "file.png", layout)


@pytest.mark.parametrize("layout", ["paired", "unpaired"])
@pytest.mark.parametrize(("there", "missing"), [("trainA", "trainB"), ("trainB", "trainA")])
def test_a_missing_domain(layout, there, missing, tmp_path):
    write_named_files(tmp_path, f"{there}/1.png")
    message = refused(tmp_path, layout)
    assert str(tmp_path / missing) in message
    assert LAYOUT_CONTENTS[layout] in message


@pytest.mark.parametrize("layout", ["paired", "unpaired"])
def test_neither_twins_nor_side_by_side(layout, tmp_path):
    write_named_files(tmp_path, "photos/1.png")
    message = refused(tmp_path, layout)
    assert str(tmp_path) in message
    assert LAYOUT_CONTENTS[layout] in message


@pytest.mark.parametrize("layout", ["paired", "unpaired"])
@pytest.mark.parametrize("empty", ["trainA", "trainB"])
def test_a_domain_without_images(layout, empty, tmp_path):
    write_named_files(tmp_path, "trainA/1.png", "trainB/1.png", f"{empty}/readme.txt")
    (tmp_path / empty / "1.png").unlink()
    message = refused(tmp_path, layout)
    assert str(tmp_path / empty) in message
    assert "no images" in message
    assert "png" in message


@pytest.mark.parametrize(("layout", "folder"), [("paired", "train"), ("unpaired", "train"), ("images", "")])
def test_a_folder_without_images(layout, folder, tmp_path):
    write_named_files(tmp_path, f"{folder}/readme.txt" if folder else "readme.txt")
    message = refused(tmp_path, layout)
    assert str(tmp_path / folder) in message
    assert "no images" in message


def test_images_without_a_partner_are_named(tmp_path):
    write_named_files(tmp_path, "trainA/1.png", "trainA/s/2.png", "trainB/1.png", "trainB/2.png")
    message = refused(tmp_path, "paired")
    assert "2 images have no partner" in message
    assert "trainA/s/2, trainB/2" in message
    assert "cyclegan" in message
    assert "--skip-unmatched" in message


@pytest.mark.parametrize("layout", ["paired", "unpaired"])
@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        (("train/A/1.png", "train/B/1.png"), "rename them to {root}/trainA and {root}/trainB"),
        (("train/cats/1.png", "train/dogs/1.png"), "rename them to {root}/trainA and {root}/trainB"),
        (("train/trainA/1.png", "train/trainB/1.png"), "give {root}/train instead of {root}"),
    ],
)
def test_two_folders_of_images_are_not_cut_into_halves(layout, names, remedy, tmp_path):
    write_named_files(tmp_path, *names, "train/empty/readme.txt")
    message = refused(tmp_path, layout)
    assert remedy.format(root=tmp_path) in message
    assert all(name.split("/")[1] in message for name in names)


def test_no_pair_at_all_is_refused_whatever_is_asked_for(tmp_path):
    write_named_files(tmp_path, "trainA/1.png", "trainB/2.png")
    with pytest.raises(DataError, match="2 images have no partner"):
        layouts.find_split(tmp_path, "paired", skip_unmatched=True)


def test_of_many_images_without_a_partner_some_are_named(tmp_path):
    write_named_files(tmp_path, "trainB/x.png", "trainA/x.png", *(f"trainA/{i}.png" for i in range(9)))
    message = refused(tmp_path, "paired")
    assert "9 images have no partner" in message
    assert "trainA/4, …" in message


def test_two_images_of_one_name_are_no_pair(tmp_path):
    write_named_files(tmp_path, "trainA/1.png", "trainA/1.jpg", "trainB/1.png")
    message = refused(tmp_path, "paired")
    assert "1.png" in message
    assert "1.jpg" in message


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("trainA", "trainB", "testA", "testB", "valA", "valB"), "valA"),
        (("trainA", "trainB", "testA", "testB"), "testA"),
        (("train", "test"), "test"),
        (("train", "val", "test"), "val"),
        (("trainA", "trainB"), None),
    ],
)
@pytest.mark.parametrize("layout", ["paired", "unpaired"])
def test_held_out_images_are_of_val_then_of_test(layout, folders, expected, tmp_path):
    write_named_files(tmp_path, *(f"{folder}/1.png" for folder in folders))
    found = layouts.held_out_split(tmp_path, layout)
    assert (None if found is None else found.a[0].path.parent.name) == expected
    if found is not None:
        assert layouts.held_out_split(tmp_path, layout, "b2a") == found.swapped()
