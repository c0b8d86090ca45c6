"""Pairs of outline and coloured drawing: which emoji, in which split, and how they are drawn."""

import json

import numpy as np
import pytest
from PIL import Image

from translate.catalog.builders import openmoji, svg_rendering
from translate.data.layouts import find_split
from translate.errors import DataError

from ..helpers import RESVG, build_dataset, write_tgz, write_wheel

ENTRY = {
    "hexcode": "1F400", "annotation": "rat", "tags": "animal", "group": "animals-nature", "subgroups": "animal-mammal",
    "skintone": "",
}  # fmt: skip


@pytest.mark.parametrize("changes", [
    {"skintone": 1}, {"group": "flags"}, {"group": "extras-unicode"}, {"subgroups": "brand"}, {"annotation": "White Flag"},
    {"hexcode": "1F468-200D-1F469-200D"},
])  # fmt: skip
def test_what_is_left_out(changes):
    assert openmoji.usable(ENTRY)
    assert not openmoji.usable({**ENTRY, **changes})


@pytest.mark.parametrize("variants", [
    ["student", "woman student", "man student"],
    ["person walking facing right", "woman walking facing right", "walking"],
    ["woman", "man", "person"],
    ["one o’clock", "one-thirty", "alarm clock"],
])  # fmt: skip
def test_variants_of_an_emoji_are_in_one_split(variants):
    assert len({openmoji.split_of(variant) for variant in variants}) == 1


def test_a_tenth_of_the_words_is_test():
    splits = [openmoji.split_of("a" * i + "b" * k) for i in range(1, 41) for k in range(1, 41)]
    assert splits.count("test") == pytest.approx(160, rel=0.25)  # three standard errors are 36


@pytest.fixture
def drawn(tmp_path, no_resvg):
    """Packages of 25 emoji, the first of them grey, and the emoji."""
    entries = [
        {**ENTRY, "hexcode": f"{code:X}", "annotation": f"b{'a' * i}"} for i, code in enumerate(range(0x1F400, 0x1F419))
    ]
    svg = '<svg viewBox="0 0 32 16" fill="{}"/>'
    members = {"package/data/openmoji.json": json.dumps([*entries, {**ENTRY, "group": "flags"}]).encode()}
    for entry in entries:
        colour = "#ff0000" if entry is not entries[0] else "#777777"
        members[f"package/black/svg/{entry['hexcode']}.svg"] = svg.format("#000000").encode()
        members[f"package/color/svg/{entry['hexcode']}.svg"] = svg.format(colour).encode()
    fetched = {
        openmoji.PACKAGE: write_tgz(tmp_path / "openmoji.tgz", members),
        svg_rendering.RESVG: write_wheel(tmp_path / "draw.whl", {"resvg_py/__init__.py": RESVG}),
    }
    return fetched, entries


def test_outlines_are_coloured_side_by_side_with_captions(tmp_path, drawn):
    fetched, entries = drawn
    folder = build_dataset("openmoji_color", fetched, tmp_path / "out")
    expected = {
        f"{openmoji.split_of(entry['annotation'])}/{entry['hexcode']}.png": entry for entry in entries[1:]
    }  # one is grey
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")} == set(expected)
    assert {path.split("/")[0] for path in expected} == {"train", "test"}
    lines = (folder / "captions.txt").read_text().splitlines()
    assert lines == [f"{file}\t{entry['annotation']}\tanimal" for file, entry in expected.items()]
    pixels = np.asarray(Image.open(folder / lines[0].split("\t")[0]))
    assert pixels.shape == (128, 256, 3)
    for columns, colour in (
        (slice(0, 64), (255, 255, 255)),
        (slice(64, 128), (0, 0, 0)),
        (slice(128, 192), (255, 255, 255)),
        (slice(192, 256), (255, 0, 0)),
    ):
        assert (pixels[:, columns] == colour).all()


def test_coloured_drawings_have_their_name_and_their_tags_as_captions(tmp_path, drawn):
    fetched, entries = drawn
    folder = build_dataset("openmoji_captions", fetched, tmp_path / "out")
    files = [f"{openmoji.split_of(entry['annotation'])}/{entry['hexcode']}.png" for entry in entries[1:]]
    expected = [
        [f"{file}\t{entry['annotation']}", f"{file}\tanimal"] for file, entry in zip(files, entries[1:], strict=True)
    ]
    assert (folder / "captions.txt").read_text().splitlines() == [line for lines in expected for line in lines]
    pixels = np.asarray(Image.open(folder / files[0]))
    assert pixels.shape == (128, 128, 3)
    assert (pixels[:, 64:] == (255, 0, 0)).all()
    assert len(find_split(folder, "captions")) + len(find_split(folder, "captions", "test")) == 24


@pytest.mark.parametrize("members", [
    {"package/data/openmoji.json": b"[{}]"},
    {"package/data/openmoji.json": b"[1]"},
    {"package/data/openmoji.json": b"{"},
    {"package/data/openmoji.json": json.dumps([ENTRY]).encode()},
    {"package/black/svg/1F400.svg": b"<svg/>"},
])  # fmt: skip
def test_a_package_that_is_another_is_one_line(tmp_path, no_resvg, members):
    fetched = {
        openmoji.PACKAGE: write_tgz(tmp_path / "openmoji.tgz", members),
        svg_rendering.RESVG: write_wheel(tmp_path / "draw.whl", {"resvg_py/__init__.py": RESVG}),
    }
    with pytest.raises(DataError, match=r"openmoji\.tgz: not as expected") as failed:
        build_dataset("openmoji_color", fetched, tmp_path / "out")
    assert "\n" not in str(failed.value)
