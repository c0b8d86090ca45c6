"""Builders of drawn faces by DiceBear, whose attributes are known exactly: the same person with and without one of them, or
faces with a caption that tells them.

DiceBear is JavaScript: Node.js, without which there is no npm either, runs it, in a folder of the unpacked packages.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

from PIL import Image

from translate import atomic
from translate.catalog.builders import packages, svg_rendering
from translate.catalog.download import TaskProgress
from translate.errors import DataError
from translate.text import one_line

CORE = "@dicebear/core"

PIXELS = 64
"""Side of the images."""
TRAIN, TEST = 300, 60
"""Images of each domain."""
CAPTIONED = {"train": 1920, "test": 384}
"""Captioned images of each split: 20 and 4 of each caption."""

LONGEST = 300
"""Seconds that Node.js may take."""

SCRIPT = """
import { readFileSync } from "node:fs";
import { createAvatar } from "@dicebear/core";
const { style, faces } = JSON.parse(readFileSync(0, "utf8"));
const drawings = await import(style);
process.stdout.write(JSON.stringify(faces.map((options) => createAvatar(drawings, options).toString())));
"""
"""Module that reads a style and the options of faces from its input, and writes their SVG texts."""


@dataclass(frozen=True)
class FaceTask:
    """Style, attributes of the two domains, and the letter that begins the seeds of its persons."""

    style: str
    letter: str
    a: Mapping[str, Any]
    b: Mapping[str, Any]


HAIR = FaceTask(
    "@dicebear/toon-head",
    "h",
    a={"beardProbability": 0, "hairColor": ["2c1b18"]},
    b={"beardProbability": 0, "hairColor": ["d6b370"]},
)
"""Dark → blond hair."""
GLASSES = FaceTask("@dicebear/adventurer", "g", a={"glassesProbability": 0}, b={"glassesProbability": 100})
"""No glasses → glasses."""


HAIR_COLOURS = {"black": "2c1b18", "brown": "724133", "auburn": "a55728", "blond": "d6b370"}
SHIRT_COLOURS = {
    "red": "b11f1f", "blue": "0b3286", "green": "147f3c", "yellow": "eab308", "purple": "731ac3", "white": "e8e9e6",
}  # fmt: skip
HAIR_LENGTHS: dict[str, dict[str, Any]] = {
    "short": {"rearHairProbability": 0},
    "long": {"rearHairProbability": 100, "rearHair": ["longStraight", "longWavy"]},
}
BEARDS: dict[str, dict[str, Any]] = {
    " and a {} shirt": {"beardProbability": 0},
    ", a {} shirt and a beard": {"beardProbability": 100, "beard": ["fullBeard", "longBeard"]},
}


def dark_to_blond(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build faces with dark hair (A) and blond hair (B)."""
    _build(HAIR, fetched, folder, progress)


def no_glasses_to_glasses(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build faces without glasses (A) and with them (B)."""
    _build(GLASSES, fetched, folder, progress)


def captioned_faces(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build train/ and test/ of faces, and captions.txt, which tells hair, shirt and beard of each."""
    options = captioned_options()
    _draw_folders(
        HAIR.style, {split: [face for _, face in rows] for split, rows in options.items()}, fetched, folder, progress
    )
    lines = [f"{split}/{i:04}.webp\t{text}\n" for split, rows in options.items() for i, (text, _) in enumerate(rows)]
    with atomic.storage_errors(folder):
        (folder / "captions.txt").write_text("".join(lines), encoding="utf-8")


def captioned_options() -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Return caption and options of all faces by split: each caption as often as any other, each time of another person."""
    kinds = [
        (f"a person with {length} {hair} hair{beard.format(shirt)}", {
            "hairColor": [HAIR_COLOURS[hair]], "clothesColor": [SHIRT_COLOURS[shirt]], **HAIR_LENGTHS[length], **BEARDS[beard],
        })
        for length, hair, shirt, beard in product(HAIR_LENGTHS, HAIR_COLOURS, SHIRT_COLOURS, BEARDS)
    ]  # fmt: skip
    return {
        split: [(text, {"seed": f"c{split}{i}", **face}) for i, (text, face) in enumerate(islice(cycle(kinds), count))]
        for split, count in CAPTIONED.items()
    }


def face_options(task: FaceTask) -> dict[str, list[dict[str, Any]]]:
    """Return the options of all faces by folder: other persons in trainA/ and trainB/, the same ones in testA/ and testB/."""
    sides = {"A": task.a, "B": task.b}
    folders = {f"train{side}": [f"{task.letter}{side}{i}" for i in range(TRAIN)] for side in sides}
    folders |= {f"test{side}": [f"{task.letter}T{i}" for i in range(TEST)] for side in sides}
    return {name: [{"seed": seed, **sides[name[-1]]} for seed in seeds] for name, seeds in folders.items()}


def _build(task: FaceTask, fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    _draw_folders(task.style, face_options(task), fetched, folder, progress)


def _draw_folders(
    style: str,
    faces: Mapping[str, list[dict[str, Any]]],
    fetched: Mapping[str, Path],
    folder: Path,
    progress: TaskProgress,
) -> None:
    """Draw faces into the sub-folders that their options are given by."""
    render = svg_rendering.load_renderer(fetched[svg_rendering.RESVG])
    texts = iter(draw_faces(style, fetched, [face for rows in faces.values() for face in rows]))
    for name, rows in faces.items():
        with atomic.storage_errors(folder):
            (folder / name).mkdir()
        for i in range(len(rows)):
            progress(f"drawing {name}", i + 1, len(rows), "faces")
            face = draw(render, next(texts))
            with atomic.storage_errors(folder):
                face.save(folder / name / f"{i:04}.webp", lossless=True, method=6)


def draw(render: svg_rendering.SvgRenderer, text: str) -> Image.Image:
    """Draw a face from its SVG text, on white; thin lines look better scaled down."""
    large = svg_rendering.on_white(render(text, 2 * PIXELS))
    return large.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)


def draw_faces(style: str, fetched: Mapping[str, Path], faces: list[dict[str, Any]]) -> list[str]:
    """Run DiceBear in a folder beside the packages and return an SVG text for each face; DataError where that fails."""
    node = shutil.which("node")
    if not node:
        raise DataError(f"node is needed to run {CORE}, and is not on this machine; install Node.js")
    home = fetched[CORE].parent / "modules"
    for name in (CORE, style):
        _unpack(fetched[name], home / "node_modules" / name)
    script = home / "draw.mjs"
    with atomic.storage_errors(home):
        script.write_text(SCRIPT, encoding="utf-8")
    request = json.dumps({"style": style, "faces": faces})
    try:
        done = subprocess.run(
            [node, script.name], cwd=home, input=request, capture_output=True, encoding="utf-8", timeout=LONGEST
        )
        texts = json.loads(done.stdout) if done.returncode == 0 else None
    except subprocess.TimeoutExpired:
        raise DataError(f"{style}: node took more than {LONGEST} s; give the same command again") from None
    except ValueError:
        texts = None
    if not isinstance(texts, list) or len(texts) != len(faces):
        lines = [line for line in done.stderr.splitlines() if "Error" in line] or ["no drawings"]
        raise DataError(f"{style}: node failed: {one_line(lines[0])}; it must be Node.js 18 or newer")
    return texts


def _unpack(package: Path, folder: Path) -> None:
    """Write the modules of an npm package below a folder."""
    members = packages.read_members(package, lambda name: name.endswith((".js", "package.json")) and ".." not in name)
    for name, data in members.items():
        path = folder / name.removeprefix("package/")
        with atomic.storage_errors(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
