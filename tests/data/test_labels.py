"""Labels of images: by folders, and by a table of attributes."""

import pytest

from translate.data import layouts
from translate.errors import DataError, UsageError

from .helpers import write_empty_images


def table(root, *rows, images=("1.png", "2.png", "sub/3.png"), split="train"):
    write_empty_images(root, *(f"{split}/{name}" for name in images))
    (root / "attributes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def labelled(root, found):
    """Path below the root → label."""
    assert found.b == ()
    assert not found.paired
    return {ref.path.relative_to(root).as_posix(): label for ref, label in zip(found.a, found.labels, strict=True)}


def refused(root, layout, split="train"):
    with pytest.raises(DataError) as caught:
        layouts.find_split(root, layout, split)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(root), "ROOT")


# Domains by folder.


def test_domains_are_the_folders_of_train_in_sorted_order(tmp_path):
    write_empty_images(
        tmp_path, "train/b/2.png", "train/b/deep/er/1.JPG", "train/a/9.webp", "train/c/1.npy", "train/.x/1.png"
    )
    write_empty_images(tmp_path, "train/readme.txt", "train/.hidden.png")
    found = layouts.find_split(tmp_path, "domains")
    assert found.label_names == ("a", "b", "c")
    assert labelled(tmp_path, found) == {
        "train/a/9.webp": 0,
        "train/b/2.png": 1,
        "train/b/deep/er/1.JPG": 1,
        "train/c/1.npy": 2,
    }


def test_domains_of_other_splits_have_the_numbers_of_train(tmp_path):
    write_empty_images(tmp_path, "train/a/1.png", "train/b/1.png", "train/c/1.png", "test/c/2.png", "test/b/3.png")
    found = layouts.find_split(tmp_path, "domains", "test")
    assert found.label_names == ("a", "b", "c")
    assert labelled(tmp_path, found) == {"test/b/3.png": 1, "test/c/2.png": 2}
    assert layouts.held_out_split(tmp_path, "domains") == found
    write_empty_images(tmp_path, "val/a/4.png")
    assert labelled(tmp_path, layouts.held_out_split(tmp_path, "domains")) == {"val/a/4.png": 0}


def test_a_linked_domain_is_read(tmp_path):
    write_empty_images(tmp_path, "else/1.png", "train/b/1.png")
    (tmp_path / "train" / "a").symlink_to(tmp_path / "else")
    assert labelled(tmp_path, layouts.find_split(tmp_path, "domains")) == {"train/a/1.png": 0, "train/b/1.png": 1}


@pytest.mark.parametrize(
    ("names", "split", "message"),
    [
        (["train/a/1.png"], "train", "ROOT/train: 1 folders in it; ROOT must hold train/<domain>/"),
        (["a/1.png", "b/1.png"], "train", "ROOT/train: no such folder; ROOT must hold train/<domain>/"),
        (["train/a/1.png", "train/b/1.png", "train/2.jpg"], "train", "ROOT/train/2.jpg: "),
        (["train/a/1.png", "train/b/x.txt"], "train", "ROOT/train/b: no images in it"),
        (["train/a/1.png", "train/b,c/1.png"], "train", "ROOT/train: 'b,c' cannot be the name of a domain"),
        (["train/a/1.png", "train/b /1.png"], "train", "ROOT/train: 'b ' cannot be the name of a domain"),
        (["train/a/1.png", "train/b\nc/1.png"], "train", r"ROOT/train: 'b\nc' cannot be the name of a domain"),
        (["train/a/1.png", "train/b/1.png"], "test", "ROOT/test: no such folder"),
        (["train/a/1.png", "train/b/1.png", "test/d/1.png"], "test", "ROOT/test/d: "),
        (["test/a/1.png", "test/b/1.png"], "test", "ROOT/train: no such folder"),
    ],
)
def test_folders_that_are_no_domains(tmp_path, names, split, message):
    assert refused(write_empty_images(tmp_path, *names), "domains", split).startswith(message)


# Domains by table.


@pytest.mark.parametrize("no", ["0", "-1"])
def test_a_table_gives_a_value_for_each_attribute(tmp_path, no):
    """In any order of rows; −1 is no, as in CelebA."""
    table(tmp_path, "\ufefffile, Male,Young", f"sub/3.png,1,{no}", "", f"2.png, {no} ,{no}", "1.png,1,1", "4.png,1,1")
    write_empty_images(tmp_path, "test/4.png")
    found = layouts.find_split(tmp_path, "domains")
    assert found.label_names == ("Male", "Young")
    assert labelled(tmp_path, found) == {
        "train/1.png": (1.0, 1.0),
        "train/2.png": (0.0, 0.0),
        "train/sub/3.png": (1.0, 0.0),
    }
    assert labelled(tmp_path, layouts.find_split(tmp_path, "domains", "test")) == {"test/4.png": (1.0, 1.0)}


def test_one_attribute_is_enough_and_names_may_have_commas(tmp_path):
    table(tmp_path, "file,smile", '"1,5.png",1', images=["1,5.png"])
    assert labelled(tmp_path, layouts.find_split(tmp_path, "domains")) == {"train/1,5.png": (1.0,)}


ROWS = ("1.png,1,0", "2.png,0,0", "sub/3.png,0,1")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["image_id,x,y", *ROWS], "its first row is 'image_id,x,y'; it must be file,<attribute>,…"),
        (["file;x;y", *ROWS], "its first row is 'file;x;y'; it must be file,<attribute>,…"),
        (["file"], "its first row is 'file'"),
        ([""], "its first row is ''"),
        (["file,x,x", *ROWS], "two columns are called x; rename"),
        (["file,x,", *ROWS], "'' cannot be the name of a domain or attribute"),
        (['file,x,"y,z"', *ROWS], "'y,z' cannot be the name of a domain or attribute"),
        (["file,x,y", *ROWS[:2]], "no row for 1 images of train/, among them 'sub/3.png'"),
        (["file,x,y", *ROWS, "5.png,0,0"], "row 5: '5.png' is no image of train/; remove the row"),
        (
            ["file,x,y", *ROWS[:2], r"sub\3.png,0,1"],
            r"row 4: 'sub\\3.png' is no image of train/; remove the row, or give",
        ),
        (["file,x,y", *ROWS, "", "1.png,1,0"], "row 6: 1.png "),
        (["file,x,y", *ROWS[:2], "sub/3.png,0,2"], "row 4: y is '2'; use 0 and 1, or -1 and 1"),
        (["file,x,y", *ROWS[:2], "sub/3.png,,1"], "row 4: x is ''; use 0 and 1"),
        (["file,x,y", *ROWS[:2], "sub/3.png,1"], "row 4 has 1 values for 2 attributes"),
        (["file,x,y", *ROWS[:2], "sub/3.png,-1,1"], "row 2 has a 0 and row 4 a -1; use either"),
        (["file,x,y", *ROWS[:2], "sub/3.png,0,1\x00"], "row 4: y is '1\\x00'; use 0 and 1"),
    ],
)
def test_tables_that_cannot_be(tmp_path, rows, message):
    assert refused(table(tmp_path, *rows), "domains").startswith(f"ROOT/attributes.csv: {message}")


def test_a_row_of_two_images_is_refused(tmp_path):
    write_empty_images(table(tmp_path, "file,x,y", *ROWS), "test/2.png")
    assert "row 3: 2.png is in train/ and in test/; rename one" in refused(tmp_path, "domains")


def test_a_table_in_another_encoding(tmp_path):
    table(tmp_path)
    (tmp_path / "attributes.csv").write_bytes("file,größe\n".encode("latin-1"))
    assert refused(tmp_path, "domains").startswith("ROOT/attributes.csv: cannot be read")


# A folder of images.


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (
            ["cat/1.png", "dog/1.png", "dog/old/2.png", "empty/x.txt"],
            {"cat/1.png": 0, "dog/1.png": 1, "dog/old/2.png": 1},
        ),
        (["cat/1.png", "dog/1.png", "3.png"], {}),
        (["cat/1.png"], {}),
        (["1.png", "2.png"], {}),
    ],
)
@pytest.mark.parametrize("base", ["", "train/"])
def test_classes_are_the_subfolders_where_all_images_lie_in_two_or_more(tmp_path, names, classes, base):
    write_empty_images(tmp_path, *(base + name for name in names))
    found = layouts.find_split(tmp_path, "images")
    assert len(found.a) == sum(name.endswith("png") for name in names)
    assert found.label_names == (("cat", "dog") if classes else ())
    if classes:
        assert labelled(tmp_path, found) == {base + name: label for name, label in classes.items()}
    else:
        assert found.labels == ()


def test_other_splits_of_a_folder_of_images_have_the_classes_of_train(tmp_path):
    write_empty_images(tmp_path, "train/a/1.png", "train/b/1.png", "test/b/1.png", "test/c/1.png", "test/2.png")
    found = layouts.held_out_split(tmp_path, "images")
    assert found.label_names == ("a", "b")
    assert labelled(tmp_path, found) == {"test/2.png": -1, "test/b/1.png": 1, "test/c/1.png": -1}
    write_empty_images(tmp_path, "train/3.png")
    assert layouts.held_out_split(tmp_path, "images").labels == ()


def test_a_folder_of_images_without_train_has_nothing_held_out(tmp_path):
    assert layouts.held_out_split(write_empty_images(tmp_path, "1.png"), "images") is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["trainA/1.png", "trainB/1.png", "testA/1.png"], "trainA and trainB, which are two domains; give one, as ROOT/trainA"),
        (["testA/1.png", "testB/1.png"], "testA and testB, which are two domains; give one, as ROOT/testA"),
        (["test/1.png", "2.png"], "test/, but no train/; put the images to train on into ROOT/train"),
    ],
)  # fmt: skip
def test_a_root_of_several_things_is_no_folder_of_images(tmp_path, names, message):
    assert refused(write_empty_images(tmp_path, *names), "images") == f"ROOT: holds {message}"
    assert len(layouts.find_split(write_empty_images(tmp_path, "train/5.png"), "images").a) == 1


@pytest.mark.parametrize("layout", ["domains", "images"])
def test_there_are_no_two_domains_to_swap(tmp_path, layout):
    with pytest.raises(UsageError, match="--direction b2a swaps two domains"):
        layouts.find_split(write_empty_images(tmp_path, "train/a/1.png", "train/b/1.png"), layout, direction="b2a")
