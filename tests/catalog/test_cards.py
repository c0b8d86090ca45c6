"""Cards of data sets: complete, true as far as can be checked here, and refused by file and key where wrong."""

import re
import subprocess
from pathlib import Path

import pytest

from translate import cli
from translate.catalog.builders import BUILDERS
from translate.catalog.builders.packages import CLIENTS
from translate.catalog.cards import (
    ARCHIVE_KEYS,
    CARD_KEYS,
    PACKAGE_KEYS,
    DatasetCard,
    contents_sha256,
    find_card,
    presence,
    read_card,
    read_cards,
)
from translate.cli.app import app
from translate.data.layouts import LAYOUTS, find_split, held_out_split
from translate.errors import UsageError

from .helpers import read_card_with_counts, write_card

DATASETS = Path(__file__).parents[2] / "datasets"
CARDS = read_cards(DATASETS)
SPLITS = {
    "unpaired": {"trainA", "trainB", "testA", "testB"}, "paired": {"train", "val", "test"}, "images": set(),
    "domains": {"train", "test"}, "captions": {"train", "test"},
}  # fmt: skip
LABELLED = {"ade20k", "cityscapes_labels"}
"""Sets of label maps, in folders of their own with those of instance maps."""
SPLITS_OF_LABELS = {f"{split}{kind}" for split in ("train", "val", "test") for kind in ("A", "B", "_inst")}


def test_the_sets_of_the_field_and_those_built_from_packages_are_there():
    public = {
        "horse2zebra", "apple2orange", "summer2winter_yosemite", "monet2photo", "cezanne2photo", "ukiyoe2photo",
        "vangogh2photo", "iphone2dslr_flower", "ae_photos", "cityscapes", "facades", "maps", "edges2shoes",
        "edges2handbags", "night2day", "selfie2anime",
    }  # fmt: skip
    assert public | LABELLED | set(BUILDERS) == set(CARDS)
    assert {card.build for card in CARDS.values() if card.build} == set(BUILDERS)


@pytest.mark.parametrize("card", CARDS.values(), ids=list(CARDS))
def test_a_card_is_complete_and_fits_the_program(card):
    assert card.layout in LAYOUTS
    assert set(card.counts) <= (SPLITS_OF_LABELS if card.name in LABELLED else SPLITS[card.layout])
    assert bool(card.counts) == (card.layout != "images")
    assert card.homepage.startswith("https://")
    assert all(source.url.startswith("https://") for source in card.files)
    assert all((source.bytes is None) <= (source.sha256 is None) for source in card.files)
    assert all(package.client in CLIENTS for package in card.packages)
    assert all(package.version or package.client == "apt" for package in card.packages)
    assert not card.ships or (DATASETS / card.folder).is_dir()
    for text in (card.title, card.licence, card.description, card.expect or "", card.by_hand or ""):
        assert "\n" not in text
        assert text == text.strip()


@pytest.mark.parametrize("card", CARDS.values(), ids=list(CARDS))
def test_the_command_of_a_card_is_one_of_the_program_and_names_its_folder(card):
    words = card.command.split()
    assert words[0] == "translate"
    assert f"datasets/{card.folder}" in words
    parsed = app.parse_args(words[1:], exit_on_error=False, print_error=False)
    assert parsed[0] is not None
    if card.pixels:
        assert f"--crop-size {card.pixels}" in card.command


@pytest.mark.parametrize("card", [card for card in CARDS.values() if card.counts], ids=lambda card: card.name)
def test_a_folder_as_the_card_counts_it_is_of_its_layout(card, tmp_path):
    domains = ["x", "y"] if card.layout == "domains" else ["."]
    for name in card.counts:
        for domain in domains:
            (tmp_path / name / domain).mkdir(parents=True)
            (tmp_path / name / domain / "1.png").touch()
    if card.layout == "captions":
        (tmp_path / "captions.txt").write_text("".join(f"{name}/1.png\tx\n" for name in card.counts))
    assert len(find_split(tmp_path, card.layout)) == len(domains)
    assert held_out_split(tmp_path, card.layout) is not None


def row(card: DatasetCard) -> str:
    counts = ", ".join(f"{count:,} {name}" for name, count in card.counts.items()) or "not stated"
    return f"| `{card.name}` | {card.title} | {card.layout} | {counts} | {card.licence} |"


def test_the_table_of_the_readme_is_in_step_with_the_cards():
    text = (DATASETS / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| `\w+` \|.*\|.*\|.*\|.*\|$", line)]
    assert rows == [row(card) for card in CARDS.values()]


def test_the_keys_of_cards_stand_in_the_readme():
    text = (DATASETS / "README.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in text for key in (*CARD_KEYS, *ARCHIVE_KEYS, *PACKAGE_KEYS))


# Wrong cards.

DIGEST = "0" * 64


def test_a_card_with_only_what_is_needed(tmp_path):
    card = read_card(write_card(tmp_path / "x.toml"))
    assert (card.name, card.folder, card.counts, card.files[0].file) == ("x", "x", {}, "x.zip")


@pytest.mark.parametrize(("changes", "words"), [
    *(({key: None}, [key, "missing"]) for key in ("title", "licence", "homepage", "layout", "description", "command")),
    *(({key: '""'}, [key, "missing"]) for key in ("title", "licence")),
    *(({key: "3"}, [key, "type str"]) for key in ("title", "licence", "command", "by_hand", "sha256", "folder", "build")),
    ({"truth": '"side by side"'}, ["truth", "names"]),
    ({"truth": '"names"', "layout": '"paired"', "counts": "{ train = 1 }"}, ["truth", "unpaired"]),
    ({"truth": '"names"', "layout": '"unpaired"'}, ["truth", "counts"]),
    ({"licences": '"L"'}, ["licences", "did you mean licence?"]),
    ({"qqq": "1"}, ["qqq", "homepage"]),
    ({"files": None}, ["no origin", "by_hand"]),
    ({"by_hand": '"do"'}, ["files and by_hand"]),
    ({"files": "[]"}, ["no origin"]),
    ({"files": '"https://example.org/x.zip"'}, ["files", "type list"]),
    ({"files": '["https://example.org/x.zip"]'}, ["files[0]", "table"]),
    ({"files": "[{}]"}, ["url"]),
    ({"files": '[{ url = "https://example.org/x.zip", md5 = "1" }]'}, ["files[0]", "md5", "sha256"]),
    ({"files": '[{ url = "https://example.org/x.zip", bytes = "1" }]'}, ["bytes", "type int"]),
    ({"files": '[{ url = "https://example.org/x.zip", bytes = true }]'}, ["bytes", "type int"]),
    ({"files": '[{ url = "file:///etc/passwd" }]'}, ["file:///etc/passwd", "http"]),
    ({"files": '[{ url = "ftp://example.org/x.zip" }]'}, ["ftp", "http"]),
    ({"files": '[{ url = "https:///x.zip" }]'}, ["http"]),
    ({"files": '[{ url = "https://example.org/" }]'}, ["file name"]),
    ({"files": '[{ url = "https://example.org/.." }]'}, ["file name"]),
    ({"files": '[{ url = "https://a.org/x.zip" }, { url = "https://b.org/x.zip" }]'}, ["file name"]),
    ({"files": '[{ url = "https://a.org/x.zip", sha256 = "abc" }]'}, ["sha256", "abc", "64"]),
    ({"sha256": f'"{DIGEST.replace("0", "G")}"'}, ["sha256", "64"]),
    ({"homepage": '"example.org"'}, ["example.org", "http"]),
    ({"folder": '"../x"'}, ["../x", "letters"]),
    ({"folder": '"a/b"'}, ["a/b"]),
    ({"counts": "{ trainA = 0 }"}, ["trainA", "0"]),
    ({"counts": "{ trainA = -1 }"}, ["trainA", "-1"]),
    ({"counts": "{ trainA = true }"}, ["trainA", "True"]),
    ({"counts": '{ "../x" = 3 }'}, ["../x"]),
    ({"files": None, "build": '"emoji"'}, ["build and packages"]),
    ({"packages": '[{ client = "pip", name = "x" }]'}, ["build and packages"]),
    ({"files": None, "build": '"emoji"', "packages": '[{ client = "pip" }]'}, ["name"]),
    ({"title": "= ="}, ["TOML"]),
])  # fmt: skip
def test_a_wrong_card_is_refused_by_file_and_key(tmp_path, changes, words):
    path = write_card(tmp_path / "x.toml", **changes)
    with pytest.raises(UsageError) as refused:
        read_card(path)
    message = str(refused.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_card_by_another_name(tmp_path):
    with pytest.raises(UsageError, match="my set"):
        read_card(write_card(tmp_path / "my set.toml"))
    (tmp_path / "latin.toml").write_bytes(b"title = '\xff'")
    with pytest.raises(UsageError, match="TOML"):
        read_card(tmp_path / "latin.toml")


# Names.


@pytest.mark.parametrize("name", ["earth_map", "earth-map", "Earth-Map", "EARTH_MAP"])
def test_names_are_found_however_they_are_written(name):
    assert find_card(name, CARDS).name == "earth_map"


@pytest.mark.parametrize(("name", "near"), [
    ("horse2zebr", "horse2zebra"), ("zebra2horse", "horse2zebra"), ("monet2photos", "monet2photo"), ("day2night", "night2day"),
    ("edge2shoes", "edges2shoes"), ("yosemite", "summer2winter_yosemite"), ("emojis", "emoji"), ("../earth_map", "earth_map"),
])  # fmt: skip
def test_an_unknown_name_proposes_the_nearest(name, near, capfd):
    assert cli.run(["data", "get", name]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert repr(name) in line
    assert f"did you mean {near}?" in line


@pytest.mark.parametrize("name", ["", "qqqq", "/"])
def test_a_name_like_no_other_points_to_the_list(name, capfd):
    assert cli.run(["data", "get", name]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "translate data list" in line
    assert "did you mean" not in line


# What is there.


def test_the_hash_of_a_folder_is_the_one_that_a_shell_gives(tmp_path):
    for name in ("b.png", "a/2.png", "a/10.png", "Z.png", "a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    command = "find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1"
    shell = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert contents_sha256(tmp_path) == shell.stdout.strip()
    (tmp_path / ".DS_Store").touch()
    assert contents_sha256(tmp_path) == shell.stdout.strip()
    (tmp_path / "a.png").rename(tmp_path / "c.png")
    assert contents_sha256(tmp_path) != shell.stdout.strip()


def test_what_is_here_is_told_by_the_number_of_files(tmp_path):
    card, folder = read_card_with_counts(tmp_path, trainA=2, trainB=1), tmp_path / "x"
    assert presence(card, tmp_path) == "no"
    folder.mkdir()
    assert presence(card, tmp_path) == "no"
    (folder / "trainA").mkdir()
    (folder / "trainA" / "1.png").touch()
    (folder / "trainA" / ".hidden.png").touch()
    assert presence(card, tmp_path) == "partly"
    (folder / "trainB").mkdir()
    (folder / "trainB" / "1.png").touch()
    assert presence(card, tmp_path) == "partly"
    (folder / "trainA" / "2.png").touch()
    assert presence(card, tmp_path) == "yes"
