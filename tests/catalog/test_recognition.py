"""The card of a data folder is found by name and content together."""

import shutil

import pytest

from translate.catalog.cards import cards_folder
from translate.catalog.recognition import recognise_folder

from .helpers import write_card


@pytest.fixture
def cards(tmp_path):
    """A folder with the card of an unpaired set whose held-out files match by name."""
    (tmp_path / "cards").mkdir()
    write_card(
        tmp_path / "cards" / "season.toml",
        layout='"unpaired"',
        truth='"names"',
        counts="{ trainA = 1, testA = 2 }",
    )
    return tmp_path / "cards"


def fill(folder, **counts):
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"{i}.png").touch()
    return folder


def test_a_folder_of_the_name_and_the_counts_of_a_card(cards, tmp_path):
    folder = fill(tmp_path / "season", trainA=1, testA=2)
    assert recognise_folder(folder, cards).name == "season"
    (tmp_path / "link").symlink_to(folder)  # it is the folder's own name that counts
    assert recognise_folder(tmp_path / "link", cards).name == "season"


def test_neither_a_renamed_folder_nor_another_set_of_the_name(cards, tmp_path):
    assert recognise_folder(fill(tmp_path / "mine", trainA=1, testA=2), cards) is None
    assert recognise_folder(fill(tmp_path / "season", trainA=1, testA=3), cards) is None
    assert recognise_folder(fill(tmp_path / "elsewhere" / "season", trainA=1), cards) is None


def test_a_card_that_says_nothing_of_truth_is_not_looked_for(tmp_path):
    (tmp_path / "cards").mkdir()
    write_card(tmp_path / "cards" / "season.toml", layout='"unpaired"', counts="{ trainA = 1 }")
    assert recognise_folder(fill(tmp_path / "season", trainA=1), tmp_path / "cards") is None


@pytest.mark.parametrize("name", ["avatar_glasses", "avatar_hair", "earth_season"])
def test_a_set_that_ships_is_known_until_a_pixel_of_it_differs(tmp_path, name):
    shipped = cards_folder() / name
    assert recognise_folder(shipped).name == name
    copy = shutil.copytree(shipped, tmp_path / name)
    assert recognise_folder(copy) is not None
    path = next((copy / "testB").iterdir())
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert recognise_folder(copy) is None
