"""`translate serve`: what is wrong is said before a model is loaded, and a real signal ends it after the last answer."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from translate import cli
from translate.trained import extras

from .conftest import Fails


@pytest.mark.parametrize(("command", "package"), [("serve", "uvicorn"), ("app", "gradio")])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    command: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=package)

    monkeypatch.setattr(extras, "import_module", missing)
    assert cli.run([command, *["any"] * (command == "serve")]) == 2
    line = f"error: {command}: {package} is not installed; run: uv sync --extra app\n"
    assert capsys.readouterr().err == line


def test_a_port_in_use_ends_with_code_5(fails: Fails, cyclegan_folder: Path) -> None:
    pytest.importorskip("uvicorn")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        fails(["serve", cyclegan_folder, "--port", port, "--device", "cpu"], 5, f"port {port}", "in use", "--port 0")


def test_other_addresses_and_models_are_refused(fails: Fails, cyclegan_folder: Path) -> None:
    pytest.importorskip("uvicorn")
    fails(["serve", "no-such-model"], 4, "no-such-model")
    fails(["serve", cyclegan_folder, "--host", "no.such.host.invalid", "--device", "cpu"], 2, "no.such.host.invalid")
    fails(["serve", cyclegan_folder, "--timeout", "0"], 2, "--timeout 0")


@pytest.mark.slow
def test_sigterm_ends_the_server_with_its_code(cyclegan_folder: Path) -> None:
    pytest.importorskip("uvicorn")
    command = [sys.executable, "-m", "translate", "serve", str(cyclegan_folder), "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{url}/health", timeout=120) as answer:
            assert answer.status == 200
        os.kill(process.pid, signal.SIGTERM)
        _, printed = process.communicate(timeout=120)
    assert process.returncode == 143
    assert printed.endswith("error: stopped serving: 0 requests for conversions answered\n")
