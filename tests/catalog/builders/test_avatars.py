"""Drawn faces: the same persons on both sides of the test, others in training; the program that draws them."""

import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate.catalog.builders import avatars, svg_rendering
from translate.data.layouts import find_split
from translate.errors import DataError

from ..helpers import RESVG, build_dataset, write_tgz, write_wheel

DATASETS = Path(__file__).parents[3] / "datasets"


@pytest.mark.parametrize("task", [avatars.HAIR, avatars.GLASSES])
def test_persons_of_the_test_are_the_same_and_all_others_differ(task):
    options = avatars.face_options(task)
    seeds = {name: [face["seed"] for face in faces] for name, faces in options.items()}
    assert seeds["testA"] == seeds["testB"]
    everyone = seeds["trainA"] + seeds["trainB"] + seeds["testA"]
    assert len(set(everyone)) == len(everyone)
    for name, faces in options.items():
        assert all({**face, "seed": 0} == {"seed": 0, **(task.a if name.endswith("A") else task.b)} for face in faces)


def test_each_caption_tells_the_options_of_its_face_and_none_is_rarer_than_others():
    options = avatars.captioned_options()
    seeds = [face["seed"] for rows in options.values() for _, face in rows]
    assert len(set(seeds)) == len(seeds) == 1920 + 384
    for rows, times in ((options["train"], 20), (options["test"], 4)):
        assert set(Counter(text for text, _ in rows).values()) == {times}
    assert len({text for text, _ in options["test"]}) == 2 * 4 * 6 * 2
    for text, face in options["train"]:
        length, hair, shirt, beard = re.fullmatch(
            r"a person with (\w+) (\w+) hair(?: and|,) a (\w+) shirt( and a beard)?", text
        ).groups()
        assert [avatars.HAIR_COLOURS[hair]] == face["hairColor"]
        assert [avatars.SHIRT_COLOURS[shirt]] == face["clothesColor"]
        assert face["rearHairProbability"] == {"long": 100, "short": 0}[length]
        assert face["beardProbability"] == (100 if beard else 0)


NODE = """
import json, sys
request = json.load(sys.stdin)
assert request["style"] == "@dicebear/toon-head" and sys.argv[1] == "draw.mjs"
colours = [f"#{face['hairColor'][0]}" for face in request["faces"]]
print(json.dumps([f'<svg viewBox="0 0 32 16" fill="{colour}"/>' for colour in colours]))
"""
"""Stand-in for Node.js: a face is nothing but the colour of its hair."""


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Packages of a style and its core, and a renderer; few faces."""
    monkeypatch.setattr(avatars, "TRAIN", 3)
    monkeypatch.setattr(avatars, "TEST", 2)
    core = {"package/package.json": b'{"type": "module", "exports": "./lib/index.js"}', "package/lib/index.js": CORE}
    style = {**core, "package/lib/index.js": b"export const kind = 'head';", "package/README.md": b""}
    return {
        avatars.CORE: write_tgz(tmp_path / "core.tgz", core),
        avatars.HAIR.style: write_tgz(tmp_path / "style.tgz", style),
        svg_rendering.RESVG: write_wheel(tmp_path / "draw.whl", {"resvg_py/__init__.py": RESVG}),
    }


CORE = b"export const createAvatar = (style, options) => ({ toString: () => `${style.kind} ${options.seed}` });"


def test_faces_are_drawn_into_their_folders(fetched, tmp_path, client, no_resvg):
    (tmp_path / "node.py").write_text(NODE)
    client("node", f'exec {sys.executable} {tmp_path}/node.py "$@"')
    folder = build_dataset("avatar_hair", fetched, tmp_path / "out")
    names = {side.name: sorted(path.name for path in side.iterdir()) for side in folder.iterdir()}
    assert names["trainA"] == names["trainB"] == ["0000.webp", "0001.webp", "0002.webp"]
    assert names["testA"] == names["testB"] == ["0000.webp", "0001.webp"]
    for side, colour in {"A": (0x2C, 0x1B, 0x18), "B": (0xD6, 0xB3, 0x70)}.items():
        for path in folder.glob(f"*{side}/*"):
            pixels = np.asarray(Image.open(path))
            assert pixels.shape == (64, 64, 3)
            assert (pixels[:, :24] == 255).all()
            assert (pixels[:, 40:] == colour).all()  # without loss


def test_captioned_faces_are_drawn_beside_their_captions(fetched, tmp_path, client, no_resvg, monkeypatch):
    monkeypatch.setattr(avatars, "CAPTIONED", {"train": 60, "test": 2})
    (tmp_path / "node.py").write_text(NODE)
    client("node", f'exec {sys.executable} {tmp_path}/node.py "$@"')
    folder = build_dataset("avatar_captions", fetched, tmp_path / "out")
    train, test = (find_split(folder, "captions", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (60, 2)
    lines = (folder / "captions.txt").read_text().splitlines()
    assert lines[0] == "train/0000.webp\ta person with short black hair and a red shirt"
    assert lines[59] == "train/0059.webp\ta person with long black hair, a white shirt and a beard"
    pixels = np.asarray(Image.open(folder / "train" / "0059.webp"))
    assert (pixels[:, 40:] == (0x2C, 0x1B, 0x18)).all()


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
def test_the_script_gives_each_face_to_the_style_in_order(fetched):
    faces = [{"seed": seed} for seed in ("x", "y", "z")]
    assert avatars.draw_faces(avatars.HAIR.style, fetched, faces) == ["head x", "head y", "head z"]


@pytest.mark.parametrize("script", [
    "echo 'SyntaxError: no such thing' >&2; exit 1",
    "echo 'TypeError: x' >&2; echo '[1'",
    f"echo '{json.dumps(['<svg/>'])}'",
])  # fmt: skip
def test_a_node_that_fails_is_one_line(fetched, client, script):
    client("node", script)
    with pytest.raises(DataError) as failed:
        avatars.draw_faces(avatars.HAIR.style, fetched, [{"seed": "x"}, {"seed": "y"}])
    assert "\n" not in str(failed.value)
    assert str(failed.value).startswith("@dicebear/toon-head: node failed: ")
    assert "Node.js 18" in str(failed.value)


def test_without_node(fetched, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(DataError, match=r"node is needed .* install Node\.js"):
        avatars.draw_faces(avatars.HAIR.style, fetched, [])


@pytest.mark.parametrize("name", ["avatar_hair", "avatar_glasses"])
def test_of_those_that_ship_each_agrees_best_with_its_true_image(name):
    """Their card says that files of one name show the same person: no other has as many pixels that are exactly the same."""
    a, b = (sorted((DATASETS / name / f"test{side}").iterdir()) for side in "AB")
    assert [path.name for path in a] == [path.name for path in b]
    a, b = (np.stack([np.asarray(Image.open(path)) for path in paths]) for paths in (a, b))
    equal = np.stack([(b == image).all(-1).sum((1, 2)) for image in a])
    assert equal.argmax(1).tolist() == list(range(len(a)))
    assert (equal.diagonal() < a[0, ..., 0].size).all()  # the attribute differs in each


@pytest.mark.parametrize("name", ["avatar_hair", "avatar_glasses"])
def test_no_face_of_the_test_is_one_of_training(name):
    faces = {
        split: {path.read_bytes() for side in "AB" for path in (DATASETS / name / f"{split}{side}").iterdir()}
        for split in ("train", "test")
    }
    assert len(faces["test"]) == 120
    assert not faces["train"] & faces["test"]
