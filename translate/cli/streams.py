"""Standard streams of the command line, so that no terminal, code page or log reader stops a command.

* A character that the encoding of stdout or stderr lacks is written in ASCII: on Windows a file or pipe gets the code page.
* What cannot be written to stderr is dropped: the reader of the log may be gone (`2>&1 | head`), or its disk full.
* What cannot be written to stdout is an error of the command, in one line.
"""

import codecs
import errno
import io
import os
import sys
from typing import Any, TextIO

from translate.errors import StorageError

ASCII = {
    "→": "->", "←": "<-", "↑": "^", "↓": "v", "−": "-", "–": "-", "—": "-", "×": "x", "·": "-", "…": "...", "±": "+-",
    "≈": "~", "≤": "<=", "≥": ">=", "²": "2", "³": "3", "µ": "u", "°": " degrees", "β": "beta", "γ": "gamma",
    "Δ": "Delta", "ε": "epsilon", "λ": "lambda", "σ": "sigma", "•": "*", "█": "#", "━": "-", "╸": "-", "╺": "-",
    "“": '"', "”": '"', "‘": "'", "’": "'",
} | dict(zip("▁▂▃▄▅▆▇", "_.:-=+*", strict=True))  # fmt: skip
"""Characters of our own messages → what stands for them in ASCII."""

ERRORS = "translate-ascii"
"""Name of the codec error handler."""

GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ESHUTDOWN)
"""Errors of a stream that nobody will ever read again: a pipe without reader, a closed terminal."""


def prepare() -> None:
    """Make stdout and stderr safe, for the rest of the process."""
    codecs.register_error(ERRORS, replace_by_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)
    if sys.stderr is None:  # closed by the caller: a print to None goes to stdout
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for the rest of the process)
    sys.stderr = LossyStream(sys.stderr)
    if sys.stdout is not None:
        sys.stdout = ResultStream(sys.stdout)


def replace_by_ascii(error: UnicodeError) -> tuple[str, int]:
    """Return ASCII for what cannot be encoded, and where to go on: a codec error handler."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    encoded = "".join(c if c.isascii() else ASCII.get(c, c.encode("ascii", "backslashreplace").decode()) for c in text)
    return encoded, error.end


class _Wrapper(io.TextIOBase):
    """Text stream that hands what its target does not take to `failed`."""

    def __init__(self, target: TextIO) -> None:
        self.target = target

    def failed(self, error: OSError) -> None:
        """Take note of text that was not written."""
        raise NotImplementedError

    def write(self, text: str) -> int:
        """Write the text; return its length."""
        try:
            self.target.write(text)
        except OSError as e:
            self.failed(e)
        return len(text)

    def flush(self) -> None:
        """Flush what was written."""
        try:
            if not self.target.closed:
                self.target.flush()
        except OSError as e:
            self.failed(e)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the target."""
        return self.target.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """Error handler of the target."""
        return self.target.errors

    def isatty(self) -> bool:
        """Return True for a terminal."""
        return self.target.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the target."""
        return self.target.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


class LossyStream(_Wrapper):
    """Text stream for messages: what its target does not take is dropped."""

    def failed(self, error: OSError) -> None:
        """Drop the text, and whatever follows where nobody will ever read it."""
        if error.errno in GONE:
            to_devnull(self.target)


class ResultStream(_Wrapper):
    """Text stream for results: what its target does not take is an error of the command."""

    def failed(self, error: OSError) -> None:
        """Raise StorageError; BrokenPipeError where the reader has gone, who had enough."""
        to_devnull(self.target)  # or Python reports it again at exit
        if error.errno == errno.EPIPE:
            raise error
        raise StorageError(f"standard output cannot be written: {error.strerror}") from None


def to_devnull(stream: TextIO) -> None:
    """Let a stream lead nowhere, also for what Python writes at exit and for child processes."""
    handle = os.open(os.devnull, os.O_WRONLY)
    os.dup2(handle, stream.fileno())
    os.close(handle)
