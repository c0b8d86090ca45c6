"""Landscape photos: which are in the public domain, and how crops of them become pairs and domains."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate.catalog.builders import land
from translate.catalog.cards import list_files
from translate.errors import DataError

from ..helpers import build_dataset, encode_jpeg, write_tgz

DATASETS = Path(__file__).parents[3] / "datasets"

COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: The game's authors
License: GPL-3+

Files: images/land/*
Copyright: Various
License: public-domain
 Given away.
 .
 By many.

Files: images/land/*-sfiera*
Copyright: S
License: CC-BY-SA-4.0

Files:
 images/land/mountain1*
 images/land/sea1*
Copyright: Various
License: public-domain

Files: images/land/lava5*
Copyright: M
License: CC-BY-SA-4.0

License: CC-BY-SA-4.0
 Its text.
"""


def test_stanzas_by_hand():
    assert land.read_stanzas(COPYRIGHT) == [
        (["*"], "GPL-3+"),
        (["images/land/*"], "public-domain"),
        (["images/land/*-sfiera*"], "CC-BY-SA-4.0"),
        (["images/land/mountain1*", "images/land/sea1*"], "public-domain"),
        (["images/land/lava5*"], "CC-BY-SA-4.0"),
    ]


@pytest.mark.parametrize(("file", "free"), [
    ("sea0@2x.jpg", True), ("mountain1@2x.jpg", True), ("lava5@2x.jpg", False), ("hills5-sfiera@2x.jpg", False),
    ("mountain14-sfiera@2x.jpg", False),  # the last stanza that matches is about mountain1
])  # fmt: skip
def test_a_photo_is_free_if_no_stanza_says_otherwise(file, free):
    assert land.is_public_domain(f"images/land/{file}", land.read_stanzas(COPYRIGHT)) == free


def test_a_photo_that_no_stanza_names_is_not_free():
    assert not land.is_public_domain("images/land/x.jpg", [(["*"], "public-domain")])


def photo(seed: int) -> bytes:
    """A photo of 144×72 pixels that gets redder from left to right, on a colour of its own."""
    pixels = np.empty((72, 144, 3), np.uint8)
    pixels[:] = np.random.default_rng(seed).integers(0, 256, 3)
    pixels[..., 0] = np.linspace(0, 255, 144)
    return encode_jpeg(Image.fromarray(pixels))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of twenty free photos, two that are not free, and one of a space station."""
    names = [f"sea{i}" for i in range(20)] + ["lava5", "hills5-sfiera", "station1"]
    folder = "usr/share/games/endless-sky/plugins/endless-sky-high-dpi/images"
    members = {f"{folder}/land/{name}@2x.jpg": photo(i) for i, name in enumerate(names)}
    members |= {f"{folder}/ship/x@2x.jpg": b"", "usr/share/doc/endless-sky-high-dpi/copyright": COPYRIGHT.encode()}
    return write_tgz(tmp_path / "land.tgz", members)


def test_grey_and_colour_are_side_by_side_and_a_photo_is_in_one_split(package, tmp_path):
    folder = build_dataset("land_color", {land.PACKAGE: package}, tmp_path / "out")
    crops = {split: [path.stem.rsplit("_", 1)[0] for path in (folder / split).iterdir()] for split in land.COLOR_CROPS}
    assert set(crops["train"]) | set(crops["test"]) == {f"sea{i}" for i in range(20)}
    assert not set(crops["train"]) & set(crops["test"])
    for split, count in land.COLOR_CROPS.items():
        assert all(crops[split].count(name) == count for name in crops[split])
    for path in list_files(folder):
        check_pair(path)


def check_pair(path: Path) -> None:
    """The left half has no colour at all, and is the grey of the right one, up to what JPEG changes."""
    both = Image.open(path)
    assert both.size == (256, 128)
    left, right = both.crop((0, 0, 128, 128)), both.crop((128, 0, 256, 128))
    pixels = np.asarray(left)
    assert (pixels == pixels[..., :1]).all()
    difference = np.abs(pixels[..., 0].astype(int) - np.asarray(right.convert("L")))
    assert difference.mean() < 3


@pytest.mark.parametrize("path", list_files(DATASETS / "land_color" / "test")[::6], ids=lambda path: path.stem)
def test_the_pairs_that_ship_are_of_grey_and_colour(path):
    check_pair(path)


def test_crops_are_the_same_each_time_and_other_ones_for_another_name():
    first, again, other = (
        [np.asarray(crop) for crop in land.random_crops(photo(0), name, 3)] for name in ("a", "a", "b")
    )
    assert all(map(np.array_equal, first, again))
    assert not any(map(np.array_equal, first, other))


def test_spread_crops_reach_from_edge_to_edge():
    """A third of an image 2:1 that is half as wide as the image is 0 to 127.5 of the red that rises from 0 to 255."""
    means = [np.asarray(crop)[..., 0].mean() for crop in land.spread_crops(photo(0), 3)]
    assert means == pytest.approx([255 / 4, 255 / 2, 255 * 3 / 4], abs=3)


def test_desert_and_green_land_take_the_photos_of_the_list(package, tmp_path, monkeypatch):
    monkeypatch.setattr(
        land, "DESERT_PHOTOS", {"trainA": "sea0 sea1", "trainB": "sea2", "testA": "sea3", "testB": "sea4"}
    )
    folder = build_dataset("land_desert", {land.PACKAGE: package}, tmp_path / "out")
    found = {side.name: {path.stem for path in side.iterdir()} for side in folder.iterdir()}
    assert found == {
        side: {f"{name}_{i}" for name in names.split() for i in range(land.DESERT_CROPS)}
        for side, names in land.DESERT_PHOTOS.items()
    }
    assert {np.asarray(Image.open(path)).shape for path in list_files(folder)} == {(128, 128, 3)}


def test_no_photo_of_the_list_is_there_twice():
    names = " ".join(land.DESERT_PHOTOS.values()).split()
    assert len(set(names)) == len(names)


def test_a_photo_that_is_not_free_is_refused(package, tmp_path, monkeypatch):
    monkeypatch.setattr(land, "DESERT_PHOTOS", {"trainA": "sea0 lava5"})
    with pytest.raises(DataError, match=r"land\.tgz: has no photo lava5 in the public domain"):
        build_dataset("land_desert", {land.PACKAGE: package}, tmp_path / "out")


def test_a_package_without_a_copyright_file(tmp_path):
    package = write_tgz(tmp_path / "land.tgz", {"usr/images/land/sea0@2x.jpg": photo(0)})
    with pytest.raises(DataError, match=r"land\.tgz: has no copyright file"):
        build_dataset("land_color", {land.PACKAGE: package}, tmp_path / "out")
