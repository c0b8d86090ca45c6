"""The way in which the user started this program, so that printed commands work when they are pasted. Imports nothing of the
package."""

import os
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "translate"


def command_line(*words: object) -> str:
    """Return a `translate` command as the user types it here, its words quoted where they must be.

    It begins with `uv run` where this program was started so, with `python -m translate` or a path where it was not started by
    its name. In any other program, such as a notebook, it is called by its name.
    """
    return " ".join([program(), *(shlex.quote(str(word)) for word in words)])


def portable_line(*words: object) -> str:
    """Return a `translate` command for a file that is read elsewhere, too: with `uv run` where it is used here, but no path."""
    start = f"uv run {PROGRAM}" if is_uv_run() else PROGRAM
    return " ".join([start, *(shlex.quote(str(word)) for word in words)])


def is_uv_run() -> bool:
    """Return whether `uv run` has started this program; it says so to what it starts."""
    return bool(os.environ.get("UV_RUN_RECURSION_DEPTH"))


def program() -> str:
    """Return the words before the command's own: "translate", "uv run translate", "python -m translate" or a path."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py" and started.parent.name == PROGRAM:
        return f"{'uv run ' if is_uv_run() else ''}python -m {PROGRAM}"
    if is_uv_run():
        return f"uv run {PROGRAM}"
    if started.stem != PROGRAM:  # another program that imports the package
        return PROGRAM
    found = shutil.which(PROGRAM)
    if found is not None and started.resolve() == Path(found).resolve():
        return PROGRAM
    return shlex.quote(str(started))


def tool_line(tool: str, *words: object) -> str:
    """Return the command of another program that is installed with this one, such as tensorboard, as the user types it here."""
    start = program()
    if is_uv_run():
        start = f"uv run {tool}"
    else:
        beside = Path(sys.executable).with_name(tool)
        start = tool if shutil.which(tool) or not beside.exists() else shlex.quote(str(beside))
    return " ".join([start, *(shlex.quote(str(word)) for word in words)])
