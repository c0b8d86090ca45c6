"""Known pairs among unpaired images: tables of two columns, equal names, and what is no table of pairs."""

import unicodedata

import pytest

from translate.data import layouts
from translate.data.known_pairs import find_pairs
from translate.errors import DataError, UsageError

from .helpers import write_empty_images


@pytest.fixture
def root(tmp_path):
    """Four images of A and three of B; 1 is in both, and s/é, in each with the other form of its accent."""
    composed, apart = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    write_empty_images(
        tmp_path, "trainA/1.png", "trainA/2.png", f"trainA/s/{composed}.png", "trainA/x y.png", "trainB/1.jpg",
        "trainB/7.png", f"trainB/s/{apart}.png",
    )  # fmt: skip
    return tmp_path


def find(root, given, direction="a2b"):
    split = layouts.find_split(root, "unpaired", "train", direction)
    return find_pairs(str(given), root, split, direction)


def listed(root, found):
    """The pairs as paths below the root, in their order."""
    assert found.split.paired
    refs = zip(found.split.a, found.split.b, strict=True)
    return [tuple(unicodedata.normalize("NFC", ref.path.relative_to(root).as_posix()) for ref in pair) for pair in refs]


def table(root, text):
    path = root / "pairs.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


TWO = [("trainA/2.png", "trainB/1.jpg"), ("trainA/x y.png", "trainB/7.png")]


@pytest.mark.parametrize(
    "text",
    [
        "2.png,1.jpg\nx y.png,7.png\n",
        "trainA,trainB\r\n2.png,1.jpg\r\nx y.png,7.png",
        "\ufeffphoto,drawing\n\n 2.png , 1.jpg\n,\nx y.png,7.png\n",
        '"x y.png","7.png"\n"2.png", "1.jpg"\n',
    ],
)
def test_a_table_has_two_columns_with_or_without_a_header(root, text):
    assert listed(root, find(root, table(root, text))) == TWO


def test_the_order_of_lines_changes_nothing_and_other_pairs_have_another_digest(root):
    first = find(root, table(root, "2.png,1.jpg\nx y.png,7.png\n"))
    assert find(root, table(root, "a,b\nx y.png,7.png\n2.png,1.jpg\n")) == first
    crossed = find(root, table(root, "2.png,7.png\nx y.png,1.jpg\n"))
    fewer = find(root, table(root, "2.png,1.jpg\n"))
    assert len({first.digest, crossed.digest, fewer.digest, ""}) == 4


def test_names_in_either_form_of_unicode_are_found(root):
    text = unicodedata.normalize("NFD", "s/é.png") + "," + unicodedata.normalize("NFC", "s/é.png")
    assert listed(root, find(root, table(root, text))) == [("trainA/s/é.png", "trainB/s/é.png")]


def test_the_other_direction_swaps_the_sides_and_not_the_columns(root):
    path = table(root, "2.png,1.jpg\n")
    assert listed(root, find(root, path, "b2a")) == [("trainB/1.jpg", "trainA/2.png")]
    assert find(root, path, "b2a").digest == find(root, path).digest


def test_files_of_one_name_are_pairs_where_that_is_asked_for(root):
    same = [("trainA/1.png", "trainB/1.jpg"), ("trainA/s/é.png", "trainB/s/é.png")]
    assert listed(root, find(root, "names")) == same
    assert listed(root, find(root, "names", "b2a")) == [(b, a) for a, b in same]


def test_halves_of_files_are_pairs_by_name_and_by_table(tmp_path):
    write_empty_images(tmp_path, "train/1.png", "train/2.png", "train/3.png")
    found = find(tmp_path, "names").split
    assert [(a.path, a.half, b.half) for a, b in zip(found.a, found.b, strict=True)] == [
        (tmp_path / "train" / f"{n}.png", "left", "right") for n in (1, 2, 3)
    ]
    some = find(tmp_path, table(tmp_path, "2.png,2.png\n3.png,1.png")).split
    assert [(ref.path.name, ref.half) for ref in (*some.a, *some.b)] == [
        ("2.png", "left"), ("3.png", "left"), ("2.png", "right"), ("1.png", "right"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "holds no pair; write one a line"),
        ("a,b\n", "holds no pair"),
        ("2.png,1.jpg\n2.png,7.png", r"line 2: '2.png' is in the pair of line 1 already; remove one"),
        ("a,b\n2.png,1.jpg\n\n1.png,1.jpg", r"line 4: '1.jpg' is in the pair of line 2 already"),
        ("2.png,1.jpg\n3.png,7.png", r"line 2: '3.png' is no image of .*trainA; give its path relative"),
        ("trainA/2.png,trainB/1.jpg", r"line 1: 'trainA/2.png' is no image of .*trainA; give its path relative"),
        ("2.png,1.png", r"line 1: '1.png' is no image of .*trainB"),
        ("../trainA/2.png,1.jpg", r"line 1: '../trainA/2.png' is no image"),
        ("2.png;1.jpg\n", r"line 1 has 1 column; write two: a path in .*trainA, a comma, a path in .*trainB"),
        ("a,b\n2.png,1.jpg,0.9\n", r"line 2 has 3 columns; write two"),
        (b"a,b\n2.png,\xe9.png\n", r"line 2 is not UTF-8; save it as CSV"),
        ("2.png,1.jpg\n".encode("utf-16"), r"line 1 is not UTF-8"),
        ("2.png," + "x" * 200_000, r"line 1 cannot be read \(field larger than field limit"),
    ],
)
def test_what_is_no_table_of_pairs_is_one_line_that_names_file_and_line(root, text, named):
    path = table(root, text)
    with pytest.raises(DataError, match=named) as caught:
        find(root, path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there_is_wrong_usage(root, tmp_path):
    for path in (root / "none.csv", root):
        with pytest.raises(UsageError, match=r"--pairs .*: no such file; give a CSV file of two columns, or names"):
            find(root, path)


def test_names_that_are_no_pairs_are_refused(root):
    write_empty_images(root, "trainB/1.png")
    with pytest.raises(DataError, match=r"trainB/1.png and 1.jpg would be the same side of a pair; rename"):
        find(root, "names")
    for name in ("1.png", "1.jpg", "s/" + unicodedata.normalize("NFD", "é") + ".png"):
        (root / "trainB" / name).unlink()
    with pytest.raises(DataError, match=r"no image of .*trainA has the name of one of .*trainB; .*--pairs pairs.csv"):
        find(root, "names")


def test_pairs_of_which_an_image_is_held_out_are_left_out(root):
    everything = layouts.find_split(root, "unpaired")
    found = find(root, table(root, "2.png,1.jpg\nx y.png,7.png\n1.png,s/é.png\n"))
    without_2 = tuple(ref for ref in everything.a if ref.path.name != "2.png")
    without_7 = tuple(ref for ref in everything.b if ref.path.name != "7.png")
    used = everything.__class__(without_2, without_7, paired=False)
    assert listed(root, found.within(used)) == [("trainA/1.png", "trainB/s/é.png")]
    assert found.within(used).digest == found.digest
    assert found.within(everything) == found
    nothing = everything.__class__(everything.a, without_7[:0], paired=False)
    with pytest.raises(DataError, match="of each of the 3 pairs an image is held out; use a smaller --hold-out"):
        found.within(nothing)
