"""Flags that a command does not have: all of them at once, with what they are called here."""

import difflib
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from cyclopts import App

from translate.cli.reference_flags import LEAVE_OUT, NO_FLAG, REFERENCE_FLAGS, SAME_FLAGS
from translate.errors import UsageError
from translate.invocation import command_line


def check_flags(app: App, arguments: Sequence[str]) -> None:
    """Raise UsageError with a line for each flag that the command in `arguments` does not have."""
    chain, apps, rest = app.parse_commands(list(arguments))
    if apps[-1].default_command is not None and chain[-1] in (*app.help_flags, *app.version_flags):
        return
    command = " ".join(["translate", *chain])
    is_group = apps[-1].default_command is None
    known = [] if is_group else _flag_names(apps[-1])
    lines = dict.fromkeys(line for flag, value in _flags(rest) if (line := _line(flag, value, known)))
    if not lines:
        return
    if is_group:
        words = [name for name in apps[-1] if not name.startswith("-")]
        lines = {f"{command} needs one of {', '.join(words)} before the flags": None, **lines}
    more = f"(see {command_line(*chain, '--help')})"
    if len(lines) == 1:
        raise UsageError(f"{next(iter(lines))} {more}")
    raise UsageError(f"flags that are different here {more}:\n  " + "\n  ".join(lines))


def _flags(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each flag among the words with its value, which is empty where no word that may be one follows."""
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if word == "--":
            return
        flag, _, value = word.partition("=")
        if flag.startswith("--"):
            yield flag, value or following


def _line(flag: str, value: str, known: Sequence[str]) -> str:
    """Return the line on a flag; empty if it is known. Of a group of commands, none is."""
    with_value = f"{flag} {value}"
    if with_value in REFERENCE_FLAGS:
        return f"{with_value}: {_here(REFERENCE_FLAGS[with_value])}"
    if flag.replace("_", "-") in known or (flag in SAME_FLAGS and not known):
        return ""
    if flag in REFERENCE_FLAGS:
        return f"{flag}: {_here(REFERENCE_FLAGS[flag])}"
    near = difflib.get_close_matches(flag, known, n=1, cutoff=0.75)
    return f"{flag}: unknown" + (f"; did you mean {near[0]}?" if near else "") if known else ""


def _here(text: str) -> str:
    return text if text.startswith((LEAVE_OUT, NO_FLAG)) else f"here {text}"


def _flag_names(command: App) -> list[str]:
    """Return all flags of a command, those of its help included."""
    own = [name for argument in command.assemble_argument_collection() for name in argument.names]
    return [name for name in [*own, *command.help_flags, *command.version_flags] if name.startswith("--")]
