"""Captions of images: files and folders of them, and what is refused in a line."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from translate.caption_tokens import CAPTION_LENGTH, tokenise
from translate.data.captions import MAX_CAPTIONS, Caption, caption_labels
from translate.data.layouts import find_split
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing
from translate.data.sampler import label_tensor
from translate.errors import DataError

from .helpers import CPU, TIERS, first_batches


@pytest.fixture
def root(tmp_path):
    """train/ with three images and test/ with one, of a grey of their own."""
    for number, name in enumerate(("train/a.png", "train/deep/b.png", "train/c.png", "test/d.png")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (60 * number,) * 3).save(path)
    return tmp_path


LINES = "train/a.png\tred apple\tmore\ntrain/deep/b.png\tpear\n\ntrain/c.png\tplum\ntest/d.png\tred plum\n"
TABLE = 'file,caption\ntrain/a.png,red apple\ntrain/deep/b.png,pear\ntrain/c.png,"plum"\ntest/d.png,red plum\n'


@pytest.mark.parametrize(("name", "content"), [
    ("captions.txt", LINES), ("captions.txt", LINES.replace("\n", "\r\n")), ("captions.csv", TABLE),
])  # fmt: skip
def test_a_file_has_the_captions_of_all_splits(root, name, content):
    (root / name).write_bytes(content.encode("utf-8-sig"))
    split = find_split(root, "captions")
    assert [ref.path.name for ref in split.a] == ["a.png", "c.png", "b.png"]
    assert split.labels == (tokenise("red apple"), tokenise("plum"), tokenise("pear"))
    assert split.label_names == ()
    assert find_split(root, "captions", "test").labels == (tokenise("red plum"),)


def test_a_file_beside_the_images_is_read_before_that_of_the_root(root):
    (root / "captions.txt").write_text(LINES)
    (root / "train" / "captions.txt").write_text("a.png\tone\nc.png\ttwo\ndeep/b.png\tthree\n")
    assert find_split(root, "captions").labels == (tokenise("one"), tokenise("two"), tokenise("three"))


def test_folders_are_captions_where_there_is_no_file(tmp_path):
    for name in ("red_apple/1.png", "pear/2.png", "pear/3.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 20)).save(path)
    split = find_split(tmp_path, "captions")
    assert split.label_names == ("pear", "red_apple")
    assert split.labels == (tokenise("pear"),) * 2 + (tokenise("red apple"),)


def test_images_have_as_many_captions_and_repeat_their_own():
    labels = caption_labels([[Caption("one"), Caption("two")], [Caption("three")]])
    assert labels[0] == tokenise("one") + tokenise("two")
    assert labels[1] == tokenise("three") * 2
    assert len(caption_labels([[Caption("x")] * 40])[0]) == MAX_CAPTIONS * CAPTION_LENGTH


@pytest.mark.parametrize(("lines", "said"), [
    (LINES + "train/e.png\tlost\n", "line 6: train/e.png is no image in {root}; remove the line, or give the path relative"),
    (LINES.replace("\tpear", "\t "), "line 2: the caption of train/deep/b.png is empty; write one, or remove the line"),
    (LINES.replace("\tpear", ""), "line 2: has no tab between path and caption; write path, tab, caption"),
    (LINES.replace("train/c.png\tplum\n", ""), "no caption for 1 images, among them 'train/c.png'; add lines, or remove"),
])  # fmt: skip
def test_captions_that_do_not_fit_are_one_line(root, lines, said):
    (root / "captions.txt").write_text(lines)
    with pytest.raises(DataError, match=re.escape(said.format(root=root))) as error:
        find_split(root, "captions")
    assert str(error.value).startswith(f"{root / 'captions.txt'}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(("files", "said"), [
    ({}, "no captions.txt or captions.csv there or in"),
    ({"captions.csv": "name,text\na,b\n"}, "its first row is 'name,text'; it must be file,caption"),
    ({"captions.txt": LINES, "captions.csv": TABLE}, "holds captions.txt and captions.csv; remove one of them"),
])  # fmt: skip
def test_other_files_are_refused(root, files, said):
    for name, content in files.items():
        (root / name).write_text(content)
    with pytest.raises(DataError, match=re.escape(said)):
        find_split(root, "captions")


def test_a_file_that_is_no_text_is_refused(root):
    (root / "captions.txt").write_bytes(b"train/a.png\t\xff\xfe\n")
    with pytest.raises(DataError, match=r"captions\.txt: cannot be read .*; save it as text in UTF-8"):
        find_split(root, "captions")


def test_embeddings_are_rows_in_the_order_of_the_captions(root):
    (root / "captions.txt").write_text(LINES)
    rows = np.arange(8, dtype=np.float32).reshape(4, 2) / 4
    np.save(root / "captions.npy", rows)
    split = find_split(root, "captions")
    assert split.embedding_size == 2
    assert label_tensor(split).tolist() == rows[[0, 2, 1]].tolist()  # a, c and deep/b
    assert label_tensor(find_split(root, "captions", "test")).tolist() == rows[3:].tolist()


@pytest.mark.parametrize(("rows", "said"), [
    (np.zeros((3, 2)), "has 3 rows for the 4 captions of captions.txt; give a row for each, in their order"),
    (np.zeros((5, 2)), "has 5 rows for the 4 captions"),
    (np.zeros(4), "is float64 of shape (4,); save numbers of shape (captions, size)"),
    (np.array([["a"]] * 4), "is <U1 of shape (4, 1); save numbers"),
    (np.array([[0.0], [0.0], [np.inf], [0.0]]), "row 2 holds numbers that are not finite"),
    (None, "cannot be read"),
])  # fmt: skip
def test_embeddings_that_do_not_fit_are_one_line(root, rows, said):
    (root / "captions.txt").write_text(LINES)
    if rows is None:
        (root / "captions.npy").write_bytes(b"no array")
    else:
        np.save(root / "captions.npy", rows)
    with pytest.raises(DataError, match=re.escape(said)) as error:
        find_split(root, "captions")
    assert str(error.value).startswith(f"{root / 'captions.npy'}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_shows_the_tokens_of_the_image(root, tier):
    (root / "captions.txt").write_text(LINES)
    split = find_split(root, "captions")
    lines = []
    options = LoaderOptions(batch_size=3, seed=0, tier=tier, workers=0)
    loader = Loader(split, Preprocessing(20, 16, True, (3, 3)), options, device=CPU, say=lines.append)
    captions = {0: "red apple", 60: "pear", 120: "plum"}
    for batch in first_batches(loader.batches(0), 3):
        grey = ((batch["a"].mean((1, 2, 3)) + 1) * 127.5).round().tolist()
        assert batch["label"].tolist() == [list(tokenise(captions[value])) for value in grey]
        assert batch["label"].dtype == torch.int64
    assert label_tensor(split).shape == (3, CAPTION_LENGTH)
    assert "3 images," in lines[0]
