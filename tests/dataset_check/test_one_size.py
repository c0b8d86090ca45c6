"""Whole images that must be of one size are found before the first step."""

import pytest

from translate.data import layouts
from translate.data.preprocessing import Preprocessing
from translate.dataset_check.one_size import check_one_size
from translate.errors import DataError

from .helpers import write_images

WHOLE = Preprocessing(32, 32, False, (3, 3), "none", multiple_of=4, minimum=8)
REASON = "maps are compared place by place"


def check(root, layout="unpaired", preprocessing=WHOLE, batch_size=1, reason=""):
    check_one_size(layouts.find_split(root, layout), preprocessing, batch_size, reason)


@pytest.fixture
def root(tmp_path):
    """Images of 40×40 in a and of 48×40 in b."""
    write_images(tmp_path, "trainA/1.png", "trainA/2.png")
    return write_images(tmp_path, "trainB/1.png", "trainB/2.png", width=48)


def test_domains_may_differ_unless_the_method_has_a_reason(root):
    check(root, batch_size=2)
    with pytest.raises(DataError, match=rf"40×40 .* at 48×40; {REASON}: use a --preprocess that crops"):
        check(root, reason=REASON)
    check(root, "paired", batch_size=2, reason=REASON)  # b gets the size of a


def test_images_of_one_domain_may_differ_only_one_at_a_time(root):
    write_images(root, "trainB/3.png", height=60)
    check(root)
    with pytest.raises(DataError, match=r"1\.png at 48×40 pixels and .*3\.png at 40×60; .*use --batch-size 1, or"):
        check(root, batch_size=2)


def test_it_is_the_loaded_size_that_counts(root):
    write_images(root, "trainB/3.png", width=49, height=39)  # rounded to 48×40
    check(root, batch_size=2)
    write_images(root, "trainB/4.png", width=50, height=40)  # 50 / 4 is 12.5, which is rounded to 12
    check(root, batch_size=2)
    write_images(root, "trainB/5.png", width=51, height=40)
    with pytest.raises(DataError, match=r"5\.png at 52×40"):
        check(root, batch_size=2)


def test_crops_are_of_one_size(root):
    write_images(root, "trainB/3.png", height=60)
    check(root, preprocessing=Preprocessing(32, 32, False, (3, 3)), batch_size=2, reason=REASON)


def test_halves_have_half_the_width(tmp_path):
    write_images(tmp_path, "train/1.png", width=80)
    write_images(tmp_path, "train/2.png", width=79)  # 39 and 40 wide, both loaded at 40
    check(tmp_path, batch_size=2, reason=REASON)
    write_images(tmp_path, "train/3.png", width=88)
    with pytest.raises(DataError, match=r"3\.png at 44×40"):
        check(tmp_path, batch_size=2)


def test_files_that_cannot_be_read_are_left_to_the_loader(root):
    (root / "trainA" / "0.png").write_text("no image")
    check(root, batch_size=2)
