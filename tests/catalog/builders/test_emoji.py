"""Pairs of emoji: splits by group, and how they are drawn."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate.catalog.builders import emoji, svg_rendering

from ..helpers import RESVG, build_dataset, write_tgz, write_wheel

# Emoji.


@pytest.mark.parametrize("variants", [
    ["1f44b", "1f44b-1f3fb", "1f44b-1f3ff"],
    ["1f468-200d-1f692", "1f469-200d-1f692", "1f9d1-1f3fd-200d-1f692"],
    ["1f3c3", "1f3c3-200d-2640", "1f3c3-200d-2642-200d-27a1"],
    ["1f468", "1f9d1-1f3fb", "1f469-200d-1f9b0"],
])  # fmt: skip
def test_variants_of_an_emoji_are_in_one_split(variants):
    assert len({emoji.group_of(variant) for variant in variants}) == 1
    assert len({emoji.split_of(variant) for variant in variants}) == 1


def test_the_splits_are_80_10_and_10_percent():
    splits = [emoji.split_of(f"{code:x}") for code in range(0x2000, 0x2000 + 5000)]
    assert splits.count("train") == pytest.approx(4000, rel=0.05)
    assert splits.count("test") == pytest.approx(500, rel=0.2)


def test_flags_and_skin_tones_are_left_out():
    assert emoji.key_of("2764-FE0F") == "2764"
    assert emoji.usable("2764")
    assert not any(map(emoji.usable, ["1f1e9-1f1ea", "1f3f4", "1f3f3-200d-1f308", "1f44b-1f3fb", "1f3f4-e0067-e007f"]))


@pytest.fixture
def emoji_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """25 emoji of two colours, and a program that draws the flat ones."""
    monkeypatch.setattr(emoji, "TRAIN", 12)
    codes = [f"{code:x}" for code in range(0x1F400, 0x1F400 + 25)]
    icons = {"height": 16, "icons": {f"i{code}": {"body": '<path fill="#ff0000"/>', "width": 32} for code in codes}}
    picture = io.BytesIO()
    Image.new("RGBA", (40, 40), "#0000ff").save(picture, "WEBP", lossless=True)
    three = {f"package/assets/{code}.webp": picture.getvalue() for code in [*codes, "1f1e9-1f1ea"]}
    return {
        emoji.FLAT: write_tgz(tmp_path / "flat.tgz", {
            "package/icons.json": json.dumps(icons).encode(),
            "package/chars.json": json.dumps({code: f"i{code}" for code in [*codes, "1f44b-1f3fb"]}).encode(),
        }),
        emoji.THREE: write_tgz(tmp_path / "three.tgz", three),
        svg_rendering.RESVG: write_wheel(tmp_path / "draw.whl", {"resvg_py/__init__.py": RESVG}),
    }  # fmt: skip


def test_emoji_are_drawn_side_by_side_on_white(emoji_packages, tmp_path, no_resvg):
    folder = build_dataset("emoji", emoji_packages, tmp_path / "out")
    assert len(list((folder / "train").iterdir())) == 12
    assert {file.parent.name for file in folder.rglob("*.jpg")} <= {"train", "test"}
    for file in folder.rglob("*.jpg"):
        assert file.parent.name == emoji.split_of(file.stem)
        pixels = np.asarray(Image.open(file), int)
        assert pixels.shape == (128, 256, 3)
        for columns, colour in (
            (slice(4, 60), (255, 255, 255)),
            (slice(68, 124), (255, 0, 0)),
            (slice(132, 252), (0, 0, 255)),
        ):
            assert np.abs(pixels[:, columns] - colour).max() <= 2


def test_the_small_set_has_the_test_of_the_large_one_without_what_is_damaged(
    emoji_packages, tmp_path, no_resvg, monkeypatch
):
    monkeypatch.setattr(emoji, "TRAIN_SMALL", 5)
    damaged = next(
        code for code in (f"{code:x}" for code in range(0x1F400, 0x1F400 + 25)) if emoji.split_of(code) == "test"
    )
    monkeypatch.setattr(emoji, "DAMAGED", {damaged})
    large, small = (build_dataset(name, emoji_packages, tmp_path / name) for name in ("emoji", "emoji_flat2three"))
    names = {
        folder: {split: {p.stem for p in (folder / split).iterdir()} for split in ("train", "test")}
        for folder in (large, small)
    }
    assert names[small]["test"] == names[large]["test"] - {damaged} != names[large]["test"]
    assert len(names[small]["train"]) == 5
    assert {path.suffix for path in small.rglob("*.*")} == {".webp"}


def test_of_two_renderings_of_one_emoji_the_shorter_name_wins(tmp_path):
    """In whatever order the package lists them."""
    for names in (["1f441-fe0f", "1f441"], ["1f441", "1f441-fe0f"]):
        file = write_tgz(tmp_path / "x.tgz", {f"package/assets/{name}.webp": name.encode() for name in names})
        assert emoji.renderings(file) == {"1f441": b"1f441"}
