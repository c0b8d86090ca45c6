"""Commands that the program prints, and those in its documents: each is one of the program, with flags that it has."""

import re
import shlex
from pathlib import Path

import pytest

from translate import cli, demo
from translate.catalog.cards import read_cards
from translate.cli.app import app
from translate.cli.plugin_flag import split_arguments
from translate.cli.unknown_flags import parse
from translate.methods import METHODS
from translate.methods.base import Method
from translate.trained.folder import write_trained_model

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "datasets" / "README.md",
    *ROOT.glob("checkpoints/**/README.md"),
]


def check_command(command: str) -> None:
    """Parse a command as a shell and the program would, with whatever it is started with in front."""
    words = shlex.split(command, comments=True)
    _, words = split_arguments(words[words.index("translate") + 1 :])
    assert words[0] in cli.COMMANDS or words[0].startswith("-"), command
    assert parse(app, words)[0] is not None


def commands_of(text: str) -> list[str]:
    """Return the commands in the code blocks of a page, continued lines joined."""
    blocks = re.findall(r"^```(?:sh|bash)?\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"(?:^    .*\n)+", text, flags=re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if re.match(r"(uv run )?(--extra \w+ )?translate ", line)]


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_of_the_documents(page: Path) -> None:
    for command in commands_of(page.read_text(encoding="utf-8")):
        first = re.split(r"\s+(?:&&|\||;|>)\s+", command)[0]
        if "…" not in first and "$" not in first:  # something stands for them
            check_command(first.replace("train regression", "train pix2pix"))  # a plug-in of docs/extending.md


def test_the_documents_have_commands() -> None:
    assert sum(len(commands_of(page.read_text(encoding="utf-8"))) for page in DOCUMENTS) > 50


@pytest.mark.parametrize("card", read_cards().values(), ids=lambda card: card.name)
def test_the_command_of_every_card(card) -> None:
    check_command(card.command)


@pytest.mark.parametrize("here", [1.0, 3.0])
def test_the_commands_of_the_demo(here: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    metrics = {"trained here": {"L1 (of 255)": here}, "shipped model": {"L1 (of 255)": 2.0}}
    commands = [command for _, command in demo.next_commands(Path("a demo"), {"blond-hair": metrics})]
    assert all(command.startswith("uv run ") for command in commands)
    for command in commands[:2]:
        check_command(command)


@pytest.mark.parametrize("name", ["pix2pix", "dcgan"])
def test_the_command_of_a_model_card(name: str, tmp_path: Path) -> None:
    cls: type[Method] = METHODS[name]
    write_trained_model(
        tmp_path, cls(cls.resolve_config(cls.Config(g_width=4, d_width=4, crop_size=32))), title="x", seen=0
    )
    (command,) = commands_of((tmp_path / "README.md").read_text(encoding="utf-8"))
    check_command(command)
    assert command.split()[2] == "."
