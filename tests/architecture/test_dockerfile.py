"""The Dockerfile: what it copies is all that the package is built from, and what it calls exists."""

import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from translate.cli.app import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
COPIED = [source for line in re.findall(r"^COPY (.*)$", TEXT, flags=re.MULTILINE) for source in line.split()[:-1]]


def in_context(path: str) -> bool:
    """Is a file or folder sent to the builder? Everything is left out but what a line with ! brings back."""
    kept = [line[1:].rstrip("/") for line in IGNORED if line.startswith("!")]
    return any(fnmatch(path, pattern) or path.startswith(f"{pattern}/") for pattern in kept)


def needed() -> list[str]:
    """All that the wheel is built from."""
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    return [
        "pyproject.toml",
        PROJECT["project"]["readme"],
        *PROJECT["project"]["license-files"],
        *wheel["packages"],
        *wheel["force-include"],
    ]


@pytest.mark.parametrize("path", needed())
def test_what_the_package_is_built_from_is_copied(path: str) -> None:
    assert (ROOT / path).exists()
    assert in_context(path)
    assert any(path == source or path.startswith(f"{source}/") for source in COPIED)


def test_everything_else_stays_outside() -> None:
    assert "*" in IGNORED
    assert not any(map(in_context, (".git", ".venv", "uv.lock", "tests", "datasets/mine", "checkpoints/my-run")))
    assert all((ROOT / source).exists() for source in COPIED)


def test_its_extras_and_its_entry_point_exist() -> None:
    (extras,) = re.findall(r"^ARG EXTRAS=(.*)$", TEXT, flags=re.MULTILINE)
    assert set(extras.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()
    (entry,) = re.findall(r'^ENTRYPOINT \["(.*)"\]$', TEXT, flags=re.MULTILINE)
    assert entry in PROJECT["project"]["scripts"]


def test_the_commands_in_its_comments_are_commands() -> None:
    lines = re.findall(r"^#   docker run .*? image-translate(?::\w+)? (.*)$", TEXT, flags=re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        assert app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)
