"""Lines for a person, on stderr; none where `--quiet` is given, but for errors."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

QUIET_FLAGS = ("--quiet", "-q")

_quiet = False


def take_quiet(arguments: list[str]) -> list[str]:
    """Return the arguments without `--quiet`, which any command takes, and remember whether it was among them."""
    global _quiet
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags, rest = arguments[:end], arguments[end:]
    _quiet = any(word in QUIET_FLAGS for word in flags)
    return [word for word in flags if word not in QUIET_FLAGS] + rest


def open_console() -> "Console":
    """Return the console on stderr; it prints nothing with `--quiet`."""
    from rich.console import Console

    return Console(stderr=True, quiet=_quiet)


def say(line: str) -> None:
    """Print a line of progress or advice on stderr, unless `--quiet` is given."""
    from translate.api import say_to_stderr

    if not _quiet:
        say_to_stderr(line)
