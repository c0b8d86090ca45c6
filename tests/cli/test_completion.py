"""`translate --install-completion`: the script of a shell."""

import subprocess
from pathlib import Path

import pytest
from cyclopts.completion import detect

from translate import cli

from .conftest import Fails, Run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZSH_CUSTOM"):
        monkeypatch.delenv(name, raising=False)
    return folder


def test_the_script_of_bash_knows_commands_methods_and_flags(run: Run, home: Path) -> None:
    (line,) = run("--install-completion", "--shell", "bash")[1]
    script = Path(line.split(": completion installed")[0])
    assert script.is_relative_to(home)
    text = script.read_text()
    assert all(word in text for word in [*cli.COMMANDS, "cyclegan", "--crop-size", "--preset"])
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_a_shell_that_cannot_be_told(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    def detect_none() -> None:
        raise detect.ShellDetectionError

    monkeypatch.setattr(detect, "detect_shell", detect_none)
    fails(["--install-completion"], 2, "--shell bash, zsh, fish or powershell")
