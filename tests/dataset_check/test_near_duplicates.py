"""Near-duplicate images of a data folder."""

import imagehash
import numpy as np
import pytest
from PIL import Image

from translate.dataset_check import near_duplicates

from ..helpers import smooth_image
from .helpers import report_of, write_images, write_unpaired

# Near-duplicates.


def test_near_duplicates_within_and_across_splits(tmp_path):
    write_unpaired(tmp_path, 6, 6)
    write_images(tmp_path, "testA/new.png", "testB/other.png")
    image = Image.open(tmp_path / "trainA/a1.png")
    image.save(tmp_path / "trainA/copy.jpg", quality=70)
    image.resize((64, 64), Image.Resampling.BICUBIC).save(tmp_path / "testA/larger.png")
    Image.open(tmp_path / "trainA/a2.png").save(tmp_path / "testB/of_the_other_domain.png")
    report = report_of(tmp_path)
    assert report["near_duplicates"] == {
        "a": {
            "within": {"train": 2},
            "in_train": {"test": 1},
            "groups": [["trainA/a1.png", "trainA/copy.jpg", "testA/larger.png"]],
        },
        "b": {"within": {}, "in_train": {}, "groups": []},
    }
    assert [line for line in report["warnings"] if line.startswith("test a: 1 images look like")]


def test_plain_images_of_different_colours_are_no_duplicates(tmp_path):
    """Their hashes are equal."""
    for i, colour in enumerate(["red", "blue", "lime", "#ff0400"]):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{i}.png")
    assert report_of(tmp_path)["near_duplicates"]["a"]["groups"] == [["0.png", "3.png"]]


def test_the_hash_is_the_one_of_the_library():
    for seed in range(5):
        image = smooth_image(seed, 64, 48)
        value, _ = near_duplicates.hash_and_thumbnail(np.asarray(image))
        expected = int.from_bytes(np.packbits(imagehash.phash(image).hash.flatten()).tobytes(), "big")
        assert value == expected


@pytest.mark.parametrize("distance", [0, 1, 4, 9])
def test_groups_are_those_of_comparing_each_with_each(distance):
    rng = np.random.default_rng(distance)
    hashes = rng.integers(0, 2**64, 60, dtype=np.uint64).repeat(5)
    for _ in range(6):  # up to six bits of each are turned
        turned = np.uint64(1) << rng.integers(0, 64, len(hashes), dtype=np.uint64)
        hashes ^= np.where(rng.random(len(hashes)) < 0.5, turned, np.uint64(0))
    colours = rng.choice(np.array([0, 200], np.uint8), (len(hashes), 1), p=[0.8, 0.2]).repeat(192, axis=1)
    apart = np.array([[(int(x) ^ int(y)).bit_count() for y in hashes] for x in hashes])
    linked = (apart <= distance) & (colours[:, :1] == colours[:, 0])
    for _ in range(9):
        linked = (linked.astype(int) @ linked) > 0  # what a third links
    expected = {tuple(np.flatnonzero(row)) for row in linked if row.sum() > 1}
    assert expected or distance == 0
    assert {tuple(group) for group in near_duplicates.group_near_duplicates(hashes, colours, distance)} == expected


def test_ten_thousand_equal_images_are_one_group():
    """As many pairs as would take minutes one by one."""
    count = 10_000
    (group,) = near_duplicates.group_near_duplicates(np.zeros(count, np.uint64), np.zeros((count, 192), np.uint8), 4)
    assert len(group) == count
