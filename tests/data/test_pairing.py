"""Pairs of files by their names: equal ones, and those that differ in one common way."""

import unicodedata

import pytest

from translate.data import pairing

from .helpers import write_named_files


def match(root, a, b):
    """Match files of trainA and trainB by their names without extension."""
    folders = root / "trainA", root / "trainB"
    paths = [[folder / f"{name}.png" for name in names] for folder, names in zip(folders, (a, b), strict=True)]
    return pairing.match_names(*paths, folders)


def pairs(root, found):
    return {
        a.relative_to(root / "trainA").with_suffix("").as_posix(): b.relative_to(root / "trainB")
        .with_suffix("")
        .as_posix()
        for a, b in found.pairs
    }


@pytest.mark.parametrize(
    ("a", "b", "expected", "rule"),
    [
        (["1", "s/2.v1"], ["s/2.v1", "1"], {"1": "1", "s/2.v1": "s/2.v1"}, ""),
        (["x_A", "y_A"], ["x_B", "y_B"], {"x_A": "x_B", "y_A": "y_B"}, "without the endings '_A' and '_B'"),
        (["1_real", "2_real"], ["2_fake", "1_fake"], {"1_real": "1_fake", "2_real": "2_fake"}, "'_real' and '_fake'"),
        (["x", "y"], ["x-mask", "y-mask"], {"x": "x-mask", "y": "y-mask"}, "without the ending '-mask'"),
        (["0001A", "0002A"], ["0001B", "0002B"], {"0001A": "0001B", "0002A": "0002B"}, "'A' and 'B'"),
        (["u/1_rgb_raw"], ["u/1_gt"], {}, ""),  # of one file the last word alone is its ending
        (["u/1_raw"], ["u/1_gt"], {"u/1_raw": "u/1_gt"}, "'_raw' and '_gt'"),
        (["1", "2", "10"], ["001", "002", "010"], {"1": "001", "2": "002", "10": "010"}, "leading zeros"),
        (["im1_A", "im2_A"], ["im01_B", "im02_B"], {"im1_A": "im01_B", "im2_A": "im02_B"}, "leading zeros"),
        (["clip1_001", "clip2_001"], ["clip1_002", "clip2_002"], {}, ""),  # frames of other numbers are no pairs
        (["IMG_1", "IMG_2"], ["DSC_1", "DSC_2"], {}, ""),  # cameras number alike
        (["100", "10"], ["1", "01"], {}, ""),  # zeros at the end count
        (["1001"], ["11"], {}, ""),  # and those within
        ([], ["1_B"], {}, ""),
    ],
)
def test_names_match_if_they_are_equal_or_differ_in_one_common_way(a, b, expected, rule, tmp_path):
    found = match(tmp_path, a, b)
    assert pairs(tmp_path, found) == expected
    assert found.is_one_to_one is bool(expected)
    assert rule in found.rule
    assert bool(found.rule) is bool(rule)


def test_equal_names_come_before_every_other_rule(tmp_path):
    """By endings x_A would be the partner of x_B, and by zeros 01 that of 1: equal names leave no room for that."""
    assert match(tmp_path, ["x_A", "y_A"], ["x_A", "y_A"]).rule == ""
    assert match(tmp_path, ["1", "01"], ["01", "1"]).rule == ""


def test_a_rule_that_makes_two_files_one_name_is_not_used(tmp_path):
    found = match(tmp_path, ["1", "01", "2"], ["001", "02", "3"])
    assert found.rule == ""
    assert pairs(tmp_path, found) == {}


def test_the_rule_with_most_pairs_is_used_where_none_fits_all(tmp_path):
    found = match(tmp_path, ["1_A", "2_A", "3_A"], ["1_B", "2_B", "4_B"])
    assert pairs(tmp_path, found) == {"1_A": "1_B", "2_A": "2_B"}
    assert not found.is_one_to_one
    folders = tmp_path / "trainA", tmp_path / "trainB"
    assert "2 images have no partner of the same name: trainA/3_A, trainB/4_B;" in pairing.describe_mismatch(
        found, folders
    )
    first, second = pairing.describe_match(found, folders)
    assert "2 pairs, matched without the endings '_A' and '_B'" in first
    assert "2 images without a partner of their own are left out: trainA/3_A.png, trainB/4_B.png" in second


def test_a_match_of_equal_names_needs_no_words(tmp_path):
    assert pairing.describe_match(match(tmp_path, ["1"], ["1"]), (tmp_path / "trainA", tmp_path / "trainB")) == []


def test_files_that_share_a_name_and_their_partner_are_left_out(tmp_path):
    write_named_files(tmp_path, "trainA/1.png", "trainA/1.jpg", "trainA/2.png", "trainB/1.png", "trainB/2.png")
    folders = tmp_path / "trainA", tmp_path / "trainB"
    found = pairing.match_names(sorted(folders[0].iterdir()), sorted(folders[1].iterdir()), folders)
    assert pairs(tmp_path, found) == {"2": "2"}
    assert sorted(path.name for path in found.left_out) == ["1.jpg", "1.png", "1.png"]


@pytest.mark.parametrize("name", ["été", "münchen", "Å", "가", "ệ"])
def test_names_match_in_either_unicode_form(name, tmp_path):
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert composed != decomposed
    found = match(tmp_path, [composed, "x"], ["x", decomposed])
    assert found.is_one_to_one
    assert (found.rule, len(found.pairs)) == ("", 2)


def test_pairs_are_in_the_order_of_the_first_names_as_they_are_written(tmp_path):
    """So that a folder of an earlier version, whose names are decomposed on both sides, keeps the order of its images."""
    names = [unicodedata.normalize("NFD", "é"), "f"]  # e and an accent: before f; composed, é comes after it
    found = match(tmp_path, names, names)
    assert [a.stem for a, _ in found.pairs] == sorted(names)
