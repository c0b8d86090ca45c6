"""`--plugin FILE.py` with any command: before or after it, and what is refused."""

import sys
from pathlib import Path

import pytest

from translate import cli
from translate.cli.plugin_flag import load_plugins

from ..helpers import forget_plugins

PLUGIN = """
from translate.methods.pix2pix import Pix2Pix

class Mine(Pix2Pix):
    \"\"\"pix2pix under another name.\"\"\"
    name = "mine"

METHODS = {"mine": Mine}
"""


@pytest.fixture
def plugin(elsewhere, monkeypatch):
    """A file with a method, and the commands as in a new process: their flags are made when they are imported."""
    forget_plugins(monkeypatch)
    for module in ("app", "train", "resume"):
        monkeypatch.delitem(sys.modules, f"translate.cli.{module}", raising=False)
        monkeypatch.delattr(cli, module, raising=False)
    Path("mine.py").write_text(PLUGIN)
    return "mine.py"


def test_a_method_of_a_file_has_its_command(plugin, run, fails, paired_root, monkeypatch):
    small = ["--crop-size", "32", "--g-width", "4", "--d-width", "4", "--device", "cpu", "--run", "r"]
    run("--plugin", plugin, "train", "mine", paired_root, *small, "--images", "2")
    run("resume", "r", "--images", "3", f"--plugin={plugin}")
    run("convert", "r", paired_root / "test", "out", "--plugin", plugin)
    forget_plugins(monkeypatch)
    fails(["convert", "r", paired_root / "test", "out"], 4, "its method, mine, is not known here", "--plugin FILE.py")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["status", "--plugin", "nowhere.py"], ["nowhere.py"]),
        (["status", "--plugin"], ["--plugin", "FILE.py"]),
        (["status", "--plugin", "--json"], ["--plugin", "FILE.py"]),
        (["--plugin", "mine.py"], ["is for a command"]),
    ],
)
def test_a_flag_without_a_file_or_a_command_is_refused(plugin, fails, arguments, words):
    fails(arguments, 2, *words)


def test_words_after_two_dashes_are_no_flags():
    assert load_plugins(["convert", "--", "--plugin", "x"]) == ["convert", "--", "--plugin", "x"]
