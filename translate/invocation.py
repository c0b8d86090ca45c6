"""The way in which the user started this program, so that printed commands work when they are pasted. Imports nothing of the
package."""

import os
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "translate"


def command_line(*words: object, comment: str = "") -> str:
    """Return a `translate` command as the user types it here, its words quoted where they must be; `comment` stands behind it.

    It begins with `uv run` where this program was started so, with `python -m translate` or a path where it was not started by
    its name. In any other program, such as a notebook, it is called by its name.
    """
    text = " ".join([program(), *(quote(str(word)) for word in words)])
    return f"{text}    # {comment}" if comment else text


def program() -> str:
    """Return the words before the command's own: "translate", "uv run translate", "python -m translate" or a path."""
    started = Path(sys.argv[0])
    by_uv = bool(os.environ.get("UV_RUN_RECURSION_DEPTH"))  # uv sets it for what `uv run` starts
    if started.name == "__main__.py" and started.parent.name == PROGRAM:
        return f"{'uv run ' if by_uv else ''}python -m {PROGRAM}"
    if by_uv:
        return f"uv run {PROGRAM}"
    if started.stem != PROGRAM:  # another program that imports the package
        return PROGRAM
    found = shutil.which(PROGRAM)
    if found is not None and started.resolve() == Path(found).resolve():
        return PROGRAM
    return quote(str(started))


def quote(word: str) -> str:
    """Return a word as a shell takes it: in quotes where it holds spaces or signs; placeholders in capitals stay."""
    return shlex.quote(word)
