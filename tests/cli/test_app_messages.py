"""The exact wording of messages: messages.txt has commands, their exit codes and all that they print.

After a change of wording, `UPDATE_MESSAGES=1 uv run pytest -n 0 tests/cli/test_app_messages.py` writes the file anew; read its
difference as a user would. Other tests match the exception or the exit code, and the thing that a message names.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from translate import cli

from .conftest import SMALL, colours, contents, folder, noise, write_model
from .reference_files import generator, save

GOLDEN = Path(__file__).with_name("messages.txt")

FILES = {
    "misspelt.toml": "crop_sise = 32\n",
    "wrong.toml": "epochs = 1.5\n",
    "broken.toml": "epochs =\n",
    "other.toml": 'method = "cyclegan"\n',
    "text.pth": "no weights",
    "notes.json": "no metrics",
    "absent.csv": "photo,map\n1.png,2.png\n",
    "twice.csv": "1.png,1.png\n1.png,3.png\n",
    "columns.csv": "1.png;1.png\n",
    "empty.csv": "photo,map\n",
}


def read_golden() -> dict[str, str]:
    """Return command → exit code and output, in the order of the file."""
    blocks = GOLDEN.read_text(encoding="utf-8").split("\n\n")
    pairs = [block.strip("\n").partition("\n") for block in blocks if block.startswith("$ ")]
    return {command.removeprefix("$ "): printed for command, _, printed in pairs}


@pytest.fixture(scope="module")
def answers() -> Iterator[dict[str, str]]:
    """Command → its output; written to the golden file if UPDATE_MESSAGES is set."""
    printed: dict[str, str] = {}
    yield printed
    if os.environ.get("UPDATE_MESSAGES"):
        text = GOLDEN.read_text(encoding="utf-8")
        for command, lines in printed.items():
            start = text.index(f"$ {command}\n") + len(f"$ {command}\n")
            end = text.index("\n\n", start - 1)
            text = text[:start] + lines + text[end:]
        GOLDEN.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, trained: Path, paired_root: Path) -> Path:
    """Data folders, models, a run and photos, good and bad ones."""
    place = tmp_path_factory.mktemp("workspace")
    shutil.copytree(paired_root, place / "pairs")
    shutil.copytree(trained, place / "run")
    shutil.copytree(trained, place / "other")
    write_model(place / "one-way", "pix2pix")
    write_model(place / "two-way", "cyclegan", generator="resnet_1blocks")
    shutil.copytree(place / "one-way", place / "damaged")
    (place / "damaged" / "model.safetensors").write_bytes(b"no weights")
    save(str(place / "latest_net_G_A.pth"), generator())
    for name, domains in {
        "unmatched": {"A": ["1", "2"], "B": ["1", "3"]},
        "half": {"A": ["1"]},
        "nameless": {"A": ["1"], "B": ["2"]},
        "empty-b": {"A": ["1"], "B": []},
    }.items():
        for domain, images in domains.items():
            colours(place / name / f"train{domain}", *(f"{image}.png" for image in images))
    for split in ("nested/train/A", "nested/train/B", "deep/train/trainA", "deep/train/trainB"):
        colours(place / split, "1.png")
    folder(place / "real", a=noise(1), b=noise(2))
    folder(place / "fake", c=noise(3), d=noise(4))
    folder(place / "photos", a=noise(5, 9, 7))
    (place / "photos" / "bad.jpg").write_text("no image")
    (place / "photos" / "notes.txt").write_text("no image")
    for name, text in FILES.items():
        (place / name).write_text(text)
    (place / "latin.csv").write_bytes(b"1.png,1.png\n2.png,\xe9.png\n")
    return place


def masked(text: str) -> str:
    """Return the text without times, speeds and the path of the working directory."""
    text = text.replace(f"{Path.cwd()}/", "")
    return re.sub(r" in \d[\d.]* s \([^)]*\)", " in … s", text).rstrip("\n")


@pytest.mark.parametrize("command", read_golden())
def test_the_wording_of_a_message(
    command: str, workspace: Path, answers: dict[str, str], elsewhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(workspace, elsewhere, dirs_exist_ok=True)
    before = contents()
    arguments = shlex.split(command.replace("SMALL", " ".join(SMALL)))
    assert arguments.pop(0) == "translate"
    code = cli.run(arguments)
    out, err = capfd.readouterr()
    answers[command] = masked(f"[{code}]\n{out}{err}")
    if code > 1:
        assert contents() == before, "something was written"
    if not os.environ.get("UPDATE_MESSAGES"):
        assert answers[command] == read_golden()[command]
