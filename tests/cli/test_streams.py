"""Standard streams: code pages that lack characters, readers that go away, full disks."""

import ast
import codecs
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from translate.cli import streams

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def handler() -> None:
    codecs.register_error(streams.ERRORS, streams.replace_by_ascii)


# Characters.


@pytest.mark.parametrize(
    ("encoding", "text", "shown"),
    [
        ("utf-8", "a → b − 5 × ½ ▁▇ é", "a → b − 5 × ½ ▁▇ é"),
        ("cp1252", "a → b − 5 × ½ ▁▇ é", "a -> b - 5 × ½ _* é"),
        ("cp437", "1 – 2 … ≤ 3 “x”", '1 - 2 ... ≤ 3 "x"'),
        ("ascii", "a → b − 5 × ▁▇", "a -> b - 5 x _*"),
        ("cp1252", "雪.png", "\\u96ea.png"),
        ("utf-8", os.fsdecode(b"caf\xe9.png"), "caf\\udce9.png"),
    ],
)
def test_what_an_encoding_lacks_is_written_in_ascii(encoding: str, text: str, shown: str) -> None:
    target = io.BytesIO()
    with io.TextIOWrapper(target, encoding=encoding, errors=streams.ERRORS, write_through=True) as stream:
        stream.write(text)
        assert target.getvalue().decode(encoding) == shown


def test_every_sign_of_our_messages_has_ascii_that_stands_for_it() -> None:
    def signs(path: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from (c for c in node.value if not c.isascii() and not c.isalpha())

    files = [*(CHECKOUT / "translate" / "cli").glob("*.py"), CHECKOUT / "translate" / "text.py"]
    assert {sign for path in files for sign in signs(path)} <= streams.ASCII.keys()


@pytest.mark.parametrize(
    "encoding", ["ascii", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cp1252", "cp932"))]
)
@pytest.mark.parametrize(
    "words", [["--help"], pytest.param(["train", "pix2pix", "--help"], marks=pytest.mark.slow)], ids=" ".join
)
def test_help_goes_into_a_file_of_any_code_page(encoding: str, words: list[str]) -> None:
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-m", "translate", *words], env=env, capture_output=True, cwd=CHECKOUT)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"translate" in done.stdout
    assert b"\\u" not in done.stdout


# Readers and disks.


def closed_pipe() -> io.TextIOWrapper:
    """A stream whose reader is gone."""
    ours, theirs = os.pipe()
    os.close(ours)
    return open(theirs, "w", encoding="utf-8", buffering=1)


def leads_to(stream: io.TextIOWrapper) -> str:
    return str(Path(f"/proc/self/fd/{stream.fileno()}").readlink())


def test_a_log_without_reader_is_dropped() -> None:
    with closed_pipe() as target:
        stream = streams.LossyStream(target)
        for _ in range(3):
            assert stream.write("line\n") == 5
            stream.flush()
        assert leads_to(target) == os.devnull
        assert stream.fileno() == target.fileno()


def test_a_log_on_a_full_disk_is_dropped_while_that_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8", buffering=1) as target:
        stream = streams.LossyStream(target)
        stream.write("line\n")
        stream.flush()
        assert leads_to(target) == "/dev/full"  # it may have room again
        os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())


def test_what_a_target_takes_reaches_it() -> None:
    target = io.StringIO()
    stream = streams.LossyStream(target)
    print("a → b", file=stream, flush=True)
    assert target.getvalue() == "a → b\n"
    assert (stream.isatty(), stream.writable()) == (False, True)


TALK = """
import sys
from translate import cli
from translate.cli import status

def told(model, /):
    for n in range(3):
        print("progress", n, file=sys.stderr, flush=True)
    print("result" * int(model))

status.status = told
cli.main(["status", sys.argv[1]])
"""


@pytest.mark.parametrize(
    ("redirection", "code", "errors"),
    [
        ("2>&1 >/dev/null | true", 0, ""),
        ("2>/dev/full", 0, ""),
        ("2>&-", 0, ""),
        (">/dev/full", 6, "error: standard output cannot be written: No space left on device"),
        ("| true", 141, ""),
        (">&-", 0, ""),
    ],
)
def test_a_command_whose_output_cannot_be_written(redirection: str, code: int, errors: str) -> None:
    """Of the log nothing depends on; a result that is lost is an exit code."""
    script = f'trap \'\' PIPE; set -o pipefail; sleep 0.1 | "$0" -c "$1" 50000 {redirection}'
    done = subprocess.run(["bash", "-c", script, sys.executable, TALK], capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == code
    assert [line for line in done.stderr.splitlines() if not line.startswith("progress")] == errors.splitlines()


def test_the_streams_of_a_command_write_any_character() -> None:
    env = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    told = TALK.replace('"progress"', '"a → b"').replace('"result"', '"≤"')
    done = subprocess.run([sys.executable, "-c", told, "2"], env=env, capture_output=True, text=True, cwd=CHECKOUT)
    assert (done.returncode, done.stdout) == (0, "<=<=\n")
    assert done.stderr.splitlines() == [f"a -> b {n}" for n in range(3)]
