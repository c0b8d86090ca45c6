"""Parsing of a command, which names all flags at once that the command does not have, with what they are called here."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from inspect import BoundArguments
from itertools import zip_longest
from typing import Any

from cyclopts import App, CycloptsError

from translate.cli.reference_flags import LEAVE_OUT, NO_FLAG, REFERENCE_FLAGS, SAME_FLAGS
from translate.errors import UsageError
from translate.invocation import command_line


def parse(app: App, arguments: Sequence[str]) -> tuple[Callable[..., Any], BoundArguments]:
    """Return the command in `arguments` and its arguments.

    UsageError with a line for each flag that the command does not have, CycloptsError for other faults.
    """
    chain, apps, rest = app.parse_commands(list(arguments))
    if is_group := apps[-1].default_command is None:
        words = [name for name in apps[-1] if not name.startswith("-")]
        before = [f"{' '.join(['translate', *chain])} needs one of {', '.join(words)} before the flags"]
        _check_flags(chain, rest, [], before)
    try:
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    except CycloptsError:
        if not is_group:  # here, as it takes a while; it says more than the parser
            _check_flags(chain, rest, _flag_names(apps[-1]))
        raise
    return command, bound


def _check_flags(chain: Sequence[str], rest: Sequence[str], known: Sequence[str], before: Sequence[str] = ()) -> None:
    """Raise UsageError with `before` and a line for each flag in `rest` that is not known, if there is one."""
    lines = dict.fromkeys(line for flag, value in _flags(rest) if (line := _line(flag, value, known)))
    if not lines:
        return
    more = f"(see {command_line(*chain, '--help')})"
    if len(lines) + len(before) == 1:
        raise UsageError(f"{next(iter(lines))} {more}")
    raise UsageError(f"flags that are different here {more}:\n  " + "\n  ".join([*before, *lines]))


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
