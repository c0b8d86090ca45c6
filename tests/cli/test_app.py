"""The command line as a whole: commands, flags that no command has, help and version."""

import re
import subprocess
import sys
from dataclasses import fields

import pytest

import translate
from translate import cli
from translate.methods import METHODS

from ..helpers import run_python
from .conftest import (
    Fails,
)


@pytest.mark.parametrize(("arguments", "words"), [
    (["train", "pix2pix", "data", "--crop-sise", "32"], ["--crop-sise", "--crop-size"]),
    (["train", "pix2pix", "data", "--lambda-cycle", "1"], ["--lambda-cycle"]),
    (["train", "cyclegan", "data", "--lambda-l1", "1"], ["--lambda-l1"]),
    (["train", "pix2pix", "data", "--epochs", "ten"], ["--epochs", "ten"]),
    (["train", "pix2pix", "data", "--epochs"], ["--epochs"]),
    (["train", "pix2pix", "data", "--flip", "maybe"], ["--flip", "maybe", "on"]),
    (["train", "pix2pix", "data", "--generator", "unet_100"], ["unet_100", "unet_128"]),
    (["train", "pix2pix", "data", "--adversarial", "wasserstein"], ["wasserstein", "wgan-gp"]),
    (["train", "pix2pix", "data", "--precision", "fp8"], ["fp8", "bf16"]),
    (["train", "pix2pix", "data", "--direction", "atob"], ["atob", "a2b"]),
    (["train", "pix2pix"], ["ROOT"]),
    (["train", "pix2pix", "data", "more"], ["more"]),
    (["train", "pixtopix", "data"], ["pixtopix", "pix2pix"]),
    (["train", "pix2pix", "data", "--preset", "fancy"], ["fancy", "paper"]),
    (["train", "pix2pix", "data", "--epochs", "-1"], ["epochs", "-1", "at least 0"]),
    (["train", "pix2pix", "data", "--images", "0"], ["images", "0", "at least 1"]),
    (["train", "pix2pix", "data", "--lr", "nan"], ["lr", "nan"]),
    (["train", "pix2pix", "data", "--real-label", "1.5"], ["--real-label", "1.5"]),
    (["convert", "m", "in"], ["OUTPUT"]),
    (["convert", "m", "in", "out", "--overwite"], ["--overwite", "--overwrite"]),
    (["convert", "m", "in", "out", "--limit", "some"], ["--limit", "some"]),
    (["convert", "m", "in", "out", "--format", "bmp"], ["--format", "bmp", "png"]),
    (["convert", "m", "in", "out", "--quality", "101"], ["--quality", "101"]),
    (["convert", "m", "in", "out", "--limit", "0"], ["--limit", "0"]),
    (["resume"], ["RUN"]),
    (["demo", "--minutes", "0"], ["--minutes", "0"]),
    (["demo", "--minute", "1"], ["--minute", "--minutes"]),
], ids=lambda value: " ".join(value) if isinstance(value, list) else None)  # fmt: skip
def test_wrong_flags(fails: Fails, arguments: list[str], words: list[str]) -> None:
    fails(arguments, 2, *words)


@pytest.mark.parametrize("command", ["zoom", "x"])
def test_commands_that_do_not_exist(fails: Fails, command: str) -> None:
    fails([command], 2, command, "convert", "train")
    fails([command, "a", "--b"], 2, command)


def test_the_help_that_is_named_lists_the_flag(fails: Fails, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments, flag in (
        (["train", "pix2pix", "d", "--crop-sise", "1"], "--crop-size"),
        (["convert", "--fmt"], "--format"),
    ):
        (line,) = fails(arguments, 2)
        named = re.search(r"translate ((?:[a-z0-9]+ )+--help)", line)
        assert named, line
        assert cli.run(named[1].split()) == 0
        assert flag in capfd.readouterr().out


def test_the_overview_names_every_command(capfd: pytest.CaptureFixture[str]) -> None:
    """With its purpose, and once."""
    for words in ([], ["-h"], ["--help"]):
        assert cli.run(words) == 0
        lines = capfd.readouterr().out.splitlines()
        listed = [line.split(maxsplit=1) for line in lines if line.startswith("  ")]
        assert listed == [[name, purpose] for name, (_, purpose) in cli.COMMANDS.items()]
        assert max(map(len, lines)) <= 100
    from translate.cli.app import app

    assert set(cli.COMMANDS) == {name for name in app if not name.startswith("-")}


def flags_of(config: type) -> list[str]:
    return ["--" + f.name.replace("_", "-") for f in fields(config)]


HELP: list[tuple[list[str], list[str]]] = [
    ([], ["demo", "train", "resume", "convert", "--version"]),
    (["demo"], ["--out", "--minutes"]),
    (["train"], list(METHODS)),
    *((["train", name], ["--run", "--config", "--preset", *flags_of(METHODS[name].Config)]) for name in METHODS),
    (["resume"], ["RUN"]),
    (["convert"], ["MODEL", "INPUT", "OUTPUT", "--to", "--format", "--quality", "--batch-size", "--overwrite", "--dry-run",
                   "--limit", "--max-pixels", "--seed", "--device", "--precision", "--json"]),
]  # fmt: skip


@pytest.mark.parametrize(("command", "named"), HELP, ids=lambda words: " ".join(words) or "translate")
def test_help_names_everything(capfd: pytest.CaptureFixture[str], command: list[str], named: list[str]) -> None:
    assert cli.run([*command, "--help"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert set(named) <= set(re.findall(r"[\w-]+", out))


def test_help_and_version_need_no_torch() -> None:
    code = """
import sys, translate
from translate.cli import run
assert translate.__version__ and run(["--help"]) == run(["--version"]) == 0
print(sorted({"torch", "numpy", "PIL"} & set(sys.modules)))
"""
    done = run_python(code)
    assert done.stdout.splitlines()[-2:] == [translate.__version__, "[]"]


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "translate", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{translate.__version__}\n"


def test_the_version_is_told_alone(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capfd.readouterr() == (f"{translate.__version__}\n", "")
