"""The jobs of docs/recipes.md, run on small data.

Blocks marked `sh` and `python` are run from top to bottom in a folder whose data have the names that the recipe uses. Lines are
run as they stand, but for sizes: a training sees a few images, by small networks unless a preset or a given model decides them.
"""

import io
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from translate import cli
from translate.cli.app import app
from translate.conversion.watch import watching

from ..helpers import smooth_image, write_tiff

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
TINY = {
    "--images": "2",
    "--crop-size": "32",
    "--load-size": "36",
    "--g-width": "4",
    "--d-width": "4",
    "--device": "cpu",
}
WITH_PRESET = {"--images": "2", "--crop-size": "64", "--load-size": "64", "--device": "cpu"}
LENGTHS = ("--epochs", "--decay-epochs", "--decay-images")
EXTRAS = {"watch": "watchfiles", "video": "av"}


def blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    fenced = re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [(language, block) for language, block in fenced if language in languages]


def lines(block: str) -> list[list[str]]:
    return [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]


def split_extra(words: list[str]) -> tuple[str | None, list[str]]:
    """The extra of a line `uv run [--extra NAME] translate …`, and the words behind `translate`."""
    start = words.index("translate")
    assert words[:2] == ["uv", "run"]
    return (words[3] if words[2] == "--extra" else None), words[start + 1 :]


def with_sizes(words: list[str]) -> list[str]:
    """A command with small sizes in place of its own."""
    if words[0] == "train":
        sizes = WITH_PRESET if "--preset" in words else TINY
        kept, rest = [], iter(words)
        for word in rest:
            if word in sizes or word in LENGTHS:
                next(rest)
            else:
                kept.append(word)
        return [*kept, *(part for pair in sizes.items() for part in pair)]
    if "--tile" in words:
        words[words.index("--tile") + 1] = "32"
    return words


# Data of the names that the recipes use.


def draw(*places: str, count: int = 4, side: int = 40, suffix: str = "png") -> None:
    for place in places:
        Path(place).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            smooth_image(len(place) + i, side, side).save(Path(place, f"{i}.{suffix}"))


def twins(root: str) -> None:
    draw(f"{root}/trainA", f"{root}/trainB", f"{root}/testA", f"{root}/testB")


def archive() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 44, 3), np.uint16)
    for place in ("scan_pairs/trainA", "scan_pairs/trainB", "archive/1901"):
        Path(place).mkdir(parents=True)
        for i in range(3):
            write_tiff(Path(place, f"{i}.tif"), pixels + i)


def driving() -> None:
    twins("day_night")
    draw("driving/images", suffix="jpg")
    draw("driving/labels")


def textures() -> None:
    twins("texture_styles")
    Path("textures").mkdir()
    smooth_image(0, 32, 32, 4).save("textures/moss.png")


def with_model(make: Callable[[], None]) -> Callable[[Path], None]:
    def both(model: Path) -> None:
        shutil.copytree(model, "checkpoints/restore")
        make()

    return both


def clip() -> None:
    pytest.importorskip("av", reason="needs the extra video")
    from ..videos.video_files import picture, write_video

    write_video(Path("films/a.mp4"), [picture(i) for i in range(3)])


DATA: dict[str, Callable[[Path], None]] = {
    "Virtual staining of whole slides": lambda _: (twins("stain_data"), draw("slides", count=1, side=70, suffix="tif"))[
        1
    ],
    "Scans of an archive, at 16 bits": lambda _: archive(),
    "Night pictures for a driving set, labels kept": lambda _: driving(),
    "Game textures with transparency": lambda _: textures(),
    "One image from a program or a web service": lambda _: smooth_image(1).save("upload.jpg"),
    "A folder every night, on a Slurm cluster": with_model(lambda: draw("incoming")),
    "A scanner's folder": with_model(lambda: draw("scanner")),
    "A film in colours": lambda _: clip(),
    "Colours for an album": lambda _: draw("album", suffix="jpg"),
    "A shipped model, fine-tuned on fifty photos of your own, and published": lambda _: draw(
        "my_photos/train", "my_photos/test", count=6, side=64
    ),
}
OUTPUTS = {
    "Virtual staining of whole slides": ["stained/0.tiff"],
    "Scans of an archive, at 16 bits": ["restored/1901/2.tif", "restored/report.html"],
    "Night pictures for a driving set, labels kept": ["night/images/3.jpg", "night/labels/3.png"],
    "Game textures with transparency": ["seamless/moss.png"],
    "One image from a program or a web service": ["coloured.png"],
    "A folder every night, on a Slurm cluster": ["outgoing/3.png", "outgoing/manifest.jsonl"],
    "A scanner's folder": ["converted/3.png"],
    "A film in colours": ["coloured_films/a.mp4"],
    "Colours for an album": ["coloured/3.jpg", "coloured/report.html"],
    "A shipped model, fine-tuned on fifty photos of your own, and published": ["my-model/model.safetensors"],
}


def test_there_is_a_test_for_each_recipe() -> None:
    assert RECIPES.keys() == DATA.keys() == OUTPUTS.keys()
    assert len(RECIPES) == 10


def commands() -> list[list[str]]:
    found = [words for _, block in blocks(PAGE, "sh") for words in lines(block)]
    found = [words[3 : words.index(">")] if words[0] == "cat" else words for words in found]
    return [split_extra(words)[1] for words in found if "translate" in words]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_each_command_is_one(words: list[str]) -> None:
    """Parsed as it stands: its names, flags and values are those of the program."""
    assert app.parse_args(words, exit_on_error=False, print_error=False)


def run_piped(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run `cat FILE | uv run translate … > FILE`."""
    bar, end = words.index("|"), words.index(">")
    stdin, made = io.BytesIO(Path(words[1]).read_bytes()), io.BytesIO()
    stdout = SimpleNamespace(buffer=made, isatty=lambda: False, write=lambda text: None, flush=lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin, isatty=lambda: False))
        patch.setattr(sys, "stdout", stdout)
        assert cli.run(split_extra(words[bar + 1 : end])[1]) == 0
    Path(words[end + 1]).write_bytes(made.getvalue())


def stop_when_done(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C once a file is there."""

    def sleep(seconds: float, real: Callable[[float], None] = time.sleep) -> None:
        real(seconds)
        if Path(output).exists():
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(watching, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))


def run_line(words: list[str], output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if words[0] == "mkdir":
        Path(words[2]).mkdir(parents=True, exist_ok=True)
    elif words[0] == "cp":
        shutil.copytree(words[2], words[3])
    elif words[0] == "cat":
        run_piped(words, monkeypatch)
    else:
        extra, command = split_extra(words)
        if extra:
            pytest.importorskip(EXTRAS[extra], reason=f"needs the extra {extra}")
        if "--watch" in command:
            stop_when_done(output, monkeypatch)
        assert cli.run(with_sizes(command)) == (130 if "--watch" in command else 0)


@pytest.mark.slow
@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe(title: str, cyclegan_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    DATA[title](cyclegan_folder)
    names: dict[str, object] = {}
    for language, block in blocks(RECIPES[title], "sh", "python"):
        if language == "python":
            exec(block, names)
            continue
        for words in lines(block):
            run_line(words, OUTPUTS[title][-1], monkeypatch)
    for name in OUTPUTS[title]:
        assert Path(name).is_file(), name
    if title.startswith("Scans"):
        import tifffile

        assert tifffile.imread("restored/1901/0.tif").dtype == np.uint16
    if title.startswith("Game"):
        with Image.open("seamless/moss.png") as made, Image.open("textures/moss.png") as given:
            assert np.array_equal(np.asarray(made)[:, :, 3], np.asarray(given)[:, :, 3])
