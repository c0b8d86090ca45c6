"""`translate convert MODEL - -`: an image from standard input, to standard output."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from translate import cli

from .conftest import noise

Piped = Callable[..., tuple[int, bytes, str]]


class Terminal(io.BytesIO):
    """Stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Piped:
    """Run convert with these bytes on stdin; exit code, the bytes of stdout, and stderr."""

    def call(content: bytes, *arguments: object, stdin: type[io.BytesIO] = io.BytesIO) -> tuple[int, bytes, str]:
        given, made = stdin(content), io.BytesIO()
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=given, isatty=given.isatty))
        stdout = SimpleNamespace(buffer=made, isatty=lambda: False, write=lambda text: None, flush=lambda: None)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stdout)
            code = cli.run(["convert", *map(str, arguments), "--device", "cpu"])
        return code, made.getvalue(), capfd.readouterr().err

    return call


def encoded(fmt: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(1, 9, 7)).save(buffer, fmt)
    return buffer.getvalue()


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


@pytest.fixture
def reference(run, one_way_model: Path) -> np.ndarray:
    """The conversion of that image as a file."""
    Path("a.png").write_bytes(encoded())
    run("convert", one_way_model, "a.png", "b.png", "--device", "cpu")
    return pixels(Path("b.png").read_bytes())


def test_an_image_goes_through_as_a_file_does(piped: Piped, one_way_model: Path, reference: np.ndarray) -> None:
    code, out, err = piped(encoded(), one_way_model, "-", "-")
    assert (code, pixels(out).tolist()) == (0, reference.tolist()), err
    assert out.startswith(b"\x89PNG")
    code, out, _ = piped(b"", one_way_model, "a.png", "-")
    assert (code, pixels(out).tolist()) == (0, reference.tolist())
    assert piped(encoded(), one_way_model, "-", "c.png")[:2] == (0, b"")
    assert pixels(Path("c.png").read_bytes()).tolist() == reference.tolist()


@pytest.mark.parametrize(
    ("given", "asked", "start"),
    [("JPEG", None, b"\x89PNG"), ("JPEG", "keep", b"\xff\xd8"), ("WEBP", "keep", b"RIFF"), ("PNG", "tiff", b"II*\0")],
)
def test_the_format(piped: Piped, one_way_model: Path, given: str, asked: str | None, start: bytes) -> None:
    flags = ["--format", asked] if asked else []
    code, out, err = piped(encoded(given), one_way_model, "-", "-", *flags)
    assert (code, out[: len(start)]) == (0, start), err


@pytest.mark.parametrize(
    ("content", "arguments", "code", "words"),
    [
        (b"", ["-", "-"], 3, "standard input is empty"),
        (b"no image", ["-", "-"], 3, "standard input holds no image of a known format"),
        (b"\x89PNG\r\n\x1a\n, and no more", ["-", "-"], 1, "failed: 'stdin.png'"),
        (b"", ["nowhere.png", "-"], 3, "nowhere.png: no such file"),
        (encoded(), ["-", "out"], 2, "out: is no name of an image file"),
        (encoded(), ["-", "-", "--json"], 2, "--json"),
        (encoded(), ["-", "-", "--limit", "2"], 2, "--limit"),
        (encoded(), ["-o", "-"], 2, "unknown option -o"),
    ],
)
def test_what_cannot_be_done_writes_nothing(
    piped: Piped, one_way_model: Path, content: bytes, arguments: list[str], code: int, words: str
) -> None:
    found, out, err = piped(content, one_way_model, *arguments)
    assert (found, out) == (code, b""), err
    assert words in err
    assert not list(Path().iterdir())


def test_a_terminal_is_no_pipe(piped: Piped, one_way_model: Path) -> None:
    code, _, err = piped(b"", one_way_model, "-", "b.png", stdin=Terminal)
    assert (code, "standard input is a terminal" in err) == (2, True)
