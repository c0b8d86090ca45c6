"""What the files of a labelled set are taken for: images, masks, splits, classes."""

from pathlib import Path

import pytest

from translate.conversion.augment.labelled_set import LabelledSet, list_labelled_set, split_of_name, split_of_path
from translate.errors import DataError, UsageError

from .helpers import write_set


def listed(tmp_path: Path, *paths: str) -> LabelledSet:
    return list_labelled_set(write_set(tmp_path / "in", *paths), tmp_path / "out")


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/train/1.jpg", "masks/train/1.png"),
        ("train/images/1.jpg", "train/labels/1.png"),
        ("JPEGImages/1.jpg", "SegmentationClass/1.png"),
        ("train/1.jpg", "train/1_mask.png"),
        ("images/1.jpg", "masks/1_mask.png"),
        ("cat/1.jpg", "masks/cat/1.png"),
    ],
)
def test_masks_are_found_by_name(tmp_path: Path, image: str, mask: str) -> None:
    found = listed(tmp_path, image, mask)
    assert list(found.images) == [image]
    assert [(each.path, each.image) for each in found.masks] == [(mask, image)]


def test_a_class_may_be_named_as_a_folder_of_masks(tmp_path: Path) -> None:
    found = listed(tmp_path, "train/mask/1.jpg", "train/no_mask/1.jpg", "train/no_mask/2_mask.jpg")
    assert not found.masks
    assert {image.label for image in found.images.values()} == {"mask", "no_mask"}


def test_a_mask_without_an_image_and_one_of_two_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"masks/2.png: is in a folder of masks, but no image has its name"):
        listed(tmp_path / "1", "images/1.jpg", "masks/1.png", "masks/2.png")
    with pytest.raises(DataError, match=r"masks/1.png: may belong to images/1.jpg, images/1.png"):
        listed(tmp_path / "2", "images/1.jpg", "images/1.png", "masks/1.png")


def test_splits_and_classes(tmp_path: Path) -> None:
    found = listed(tmp_path, "train2017/cat/1.png", "val2017/cat/1.png", "Test/dog/1.png", "more/1.png")
    assert {path: (image.split, image.label) for path, image in found.images.items()} == {
        "train2017/cat/1.png": ("train", "cat"),
        "val2017/cat/1.png": ("val", "cat"),
        "Test/dog/1.png": ("test", "dog"),
        "more/1.png": ("", "more"),
    }
    assert [image.path for image in found.training_images()] == ["train2017/cat/1.png"]


def test_a_set_without_splits_is_for_training(tmp_path: Path) -> None:
    assert len(listed(tmp_path, "cat/1.png", "dog/1.png").training_images()) == 2


def test_an_image_that_a_list_holds_out_is_never_for_training(tmp_path: Path) -> None:
    found = listed(tmp_path, "images/1.png", "images/2.png", "images/3.png")
    named = {"instances_train.json": ["images/1.png", "images/2.png"], "instances_val.json": ["images/2.png"]}
    assert [image.path for image in found.with_splits(named).training_images()] == ["images/1.png"]


def test_words_of_splits() -> None:
    assert [split_of_name(f"a/{name}.json") for name in ("instances_train2017", "val", "trainable", "x")] == [
        "train", "val", "", "",
    ]  # fmt: skip
    assert split_of_path("x/Validation/a.png") == "val"
    assert split_of_path("latest/train.png") == ""


def test_names_in_label_files(tmp_path: Path) -> None:
    found = listed(tmp_path, "train/images/1.png", "val/images/1.png", "val/images/2.png")
    assert found.find_name("2.png", "annotations/all.json") == "val/images/2.png"
    assert found.find_name("1.png", "annotations/instances_val.json") == "val/images/1.png"
    assert found.find_name("./train/images/1.png", "x.csv") == "train/images/1.png"
    assert found.find_name("images\\1.png", "train/labels.csv") == "train/images/1.png"
    with pytest.raises(DataError, match=r"x.csv: names '1.png', which may be train/images/1.png, val/images/1.png"):
        found.find_name("1.png", "x.csv")
    with pytest.raises(DataError, match=r"x.csv: names '9.png', which is no image of the set"):
        found.find_name("9.png", "x.csv")


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    root = write_set(tmp_path / "in", "1.png")
    for output in (root / "out", tmp_path, root):
        with pytest.raises(UsageError, match=str(output)):
            list_labelled_set(root, output)
    with pytest.raises(DataError, match="no such folder"):
        list_labelled_set(tmp_path / "no", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        list_labelled_set(tmp_path / "empty", tmp_path / "out")
