"""Data sets by their cards: contents that differ, and the commands `data list` and `data get`."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from translate import cli
from translate.catalog.cards import (
    contents_sha256,
    read_cards,
)
from translate.catalog.get import find_mismatch, get_dataset
from translate.errors import DataError

from ..helpers import run_python
from .helpers import read_card_with_counts

DATASETS = Path(__file__).parents[2] / "datasets"
CARDS = read_cards(DATASETS)


def test_a_folder_differs_by_too_few_too_many_or_other_images(tmp_path):
    card, folder = read_card_with_counts(tmp_path, train=2), tmp_path / "set"
    (folder / "train").mkdir(parents=True)
    for name in ("1.png", "2.txt", "3.svg"):
        (folder / "train" / name).touch()
    assert find_mismatch(card, folder).startswith("train has 1 images, but ")
    (folder / "train" / "2.png").touch()
    assert find_mismatch(card, folder) is None
    (folder / "train" / "3.png").touch()
    assert "3 images" in str(find_mismatch(card, folder))
    (folder / "train" / "3.png").unlink()
    known = contents_sha256(folder)
    assert find_mismatch(replace(card, sha256=known), folder) is None
    (folder / "train" / "1.png").write_text("other")
    assert known in str(find_mismatch(replace(card, sha256=known), folder))


# The commands.


def test_the_list_for_people(capfd, tmp_path):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "x.png").touch()
    assert cli.run(["data", "list", "--root", str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    head, *lines = out.splitlines()
    assert head.split() == ["name", "layout", "images", "here", "licence"]
    assert [line.split()[0] for line in lines] == list(CARDS)
    columns = [head.index(word) for word in ("layout", "images", "here", "licence")]
    assert all(line[at - 1] == " " != line[at] for line in lines for at in columns)
    by_name = {line.split()[0]: line for line in lines}
    assert "1067+1334 train, 120+140 test" in by_name["horse2zebra"]
    here = head.index("here")
    assert {name: line[here:].split()[0] for name, line in by_name.items() if line[here : here + 2] != "no"} == {
        "maps": "partly",
        **{card.name: "ships" for card in CARDS.values() if card.ships},
    }
    assert "ships with the package" in by_name["earth_map"]
    assert "ships with the package" in by_name["avatar_hair"]


def test_the_list_for_machines(capfd):
    assert cli.run(["data", "list", "--root", str(DATASETS), "--json"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert len(out.splitlines()) == 1
    listed = json.loads(out)
    sets = {entry["name"]: entry for entry in listed["sets"]}
    assert list(sets) == list(CARDS)
    assert all(sets[card.name]["here"] == "yes" for card in CARDS.values() if card.ships)
    assert sets["horse2zebra"]["counts"] == {"trainA": 1067, "trainB": 1334, "testA": 120, "testB": 140}
    assert sets["horse2zebra"]["files"][0]["url"].endswith("/horse2zebra.zip")


def test_help_and_list_need_no_torch(tmp_path):
    code = "\n".join([
        "import sys; from translate.cli import run",
        "for words in (['data', '--help'], ['data', 'get', '--help'], ['data', 'list', '--root', sys.argv[1]]):",
        "    assert run(words) == 0",
        "print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))",
    ])  # fmt: skip
    done = run_python(code, tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(word in done.stdout for word in ("list", "get", "NAME", "--root"))


@pytest.mark.parametrize("card", [card for card in CARDS.values() if card.ships], ids=lambda card: card.name)
def test_what_ships_is_there_and_whole(card, capfd):
    assert cli.run(["data", "get", card.name.replace("_", "-"), "--root", str(DATASETS)]) == 0
    out, err = capfd.readouterr()
    assert "is there already" in err
    folder = DATASETS / card.folder
    assert out.splitlines()[0] == f"folder   {folder}"
    assert re.search(rf"^next     translate train \w+ {folder} --crop-size {card.pixels}$", out, re.MULTILINE)


@pytest.mark.parametrize("name", [card.name for card in CARDS.values() if card.by_hand])
def test_what_only_people_can_get_says_what_to_do(name, capfd, tmp_path):
    assert cli.run(["data", "get", name, "--root", str(tmp_path / "data")]) == 3
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"error: {name}: ")
    assert "https://" in line
    assert f"{tmp_path}/data/{name}" in line
    assert not (tmp_path / "data").exists()


def test_what_people_have_put_there_is_found_and_checked(tmp_path):
    card = replace(CARDS["cityscapes"], counts={"train": 3, "test": 5})
    for split, count in (("train", 3), ("test", 4)):
        (tmp_path / "cityscapes" / split).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "cityscapes" / split / f"{i}.jpg").touch()
    with pytest.raises(DataError, match=r"test has 4 images, .*5"):
        get_dataset(card, tmp_path)
    (tmp_path / "cityscapes" / "test" / "4.jpg").touch()
    assert get_dataset(card, tmp_path) == tmp_path / "cityscapes"
