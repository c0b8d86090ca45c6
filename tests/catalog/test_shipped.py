"""Data sets that ship: found by name from any folder, in a checkout and inside a package."""

import shutil

import pytest

from translate.catalog import cards, shipped
from translate.catalog.cards import cards_folder
from translate.catalog.shipped import find_data, find_images, find_shipped
from translate.errors import DataError


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """A package with two cards, of which one ships; the working directory is another folder, and empty."""
    folder = tmp_path / "translate" / "_datasets"
    (folder / "earth_season" / "testA").mkdir(parents=True)
    (folder / "earth_season" / "testA" / "1.jpg").touch()
    for name in ("earth_season", "horse2zebra"):
        shutil.copy(cards_folder() / f"{name}.toml", folder)
    for module in (cards, shipped):
        monkeypatch.setattr(module, "cards_folder", lambda: folder)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("datasets/earth_season", "earth_season"),
        ("earth_season", "earth_season"),
        ("datasets/earth-season", "earth_season"),
        ("datasets/earth_season/testA", "earth_season/testA"),
        ("datasets/earth_season/testA/1.jpg", "earth_season/testA/1.jpg"),
        ("datasets/earth_season/testB", None),
        ("datasets/horse2zebra", None),
        ("datasets", None),
        ("other/earth_season", None),
    ],
)
def test_names_of_what_ships(package, name, found):
    assert find_shipped(shipped.Path(name)) == (package / found if found else None)


def test_an_absolute_path_is_none_of_them(package):
    assert find_shipped(package.parent / "earth_season") is None


def test_what_ships_is_told_and_what_is_here_comes_first(package, tmp_path):
    lines = []
    assert find_data("datasets/earth_season", lines.append) == package / "earth_season"
    assert lines == [f"datasets/earth_season: ships with the package, in {package / 'earth_season'}"]
    assert find_images("datasets/*/testA/*.jpg", lines.append) == "datasets/*/testA/*.jpg"
    here = tmp_path / "work" / "datasets" / "earth_season"
    here.mkdir(parents=True)
    assert find_data("datasets/earth_season", pytest.fail) == shipped.Path("datasets/earth_season")


def test_a_name_that_is_near_is_proposed(tmp_path):
    (tmp_path / "work" / "my_photos").mkdir()
    for name, words in {
        "datasets/horse2zebra": "translate data get horse2zebra gets it",
        "horse2zebra": "translate data get horse2zebra gets it",
        "datasets/earth_seasons": "did you mean datasets/earth_season?",
        "my_photo": "did you mean my_photos?",
    }.items():
        with pytest.raises(DataError, match="no such folder") as caught:
            find_data(name, pytest.fail)
        assert words in str(caught.value)


def test_a_name_like_no_other_is_left_to_the_layout():
    assert find_data("nowhere/at/all", pytest.fail) == shipped.Path("nowhere/at/all")
