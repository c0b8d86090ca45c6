"""Commands as the user types them: with what the program was started with in front."""

import os
import sys
from pathlib import Path

import pytest

from translate.invocation import command_line, portable_line, tool_line


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An environment with the program in it, which is on the path: its folder."""
    folder = tmp_path / "env" / "bin"
    folder.mkdir(parents=True)
    for name in ("translate", "tensorboard"):
        (folder / name).touch(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setattr(sys, "argv", [str(folder / "translate"), "demo"])
    return folder


def test_by_its_name(installed):
    assert command_line("convert", Path("a b"), "out") == "translate convert 'a b' out"
    assert tool_line("tensorboard", "--logdir", "demo") == "tensorboard --logdir demo"


def test_by_uv_run(installed, monkeypatch):
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert command_line("demo") == portable_line("demo") == "uv run translate demo"
    assert tool_line("tensorboard") == "uv run tensorboard"


def test_as_a_module(installed, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/translate/__main__.py"])
    assert command_line("demo") == "python -m translate demo"
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert command_line("demo") == "uv run python -m translate demo"


def test_by_a_path_that_the_shell_does_not_search(installed, monkeypatch):
    monkeypatch.setenv("PATH", os.defpath)
    assert command_line("demo") == f"{installed}/translate demo"
    assert tool_line("tensorboard") == f"{installed}/tensorboard"
    assert portable_line("demo") == "translate demo"


def test_by_a_path_where_the_name_is_another_program(installed, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "translate").touch(0o755)
    monkeypatch.setenv("PATH", str(other))
    assert command_line("demo") == f"{installed}/translate demo"


def test_from_another_program(installed, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/ipython"])
    assert command_line("demo") == "translate demo"
