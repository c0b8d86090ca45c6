"""Names, durations, rates, sizes and numbers as a person reads them."""

import difflib
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def printable(name: str | Path) -> str:
    """Return a name on one line, safe to print.

    Characters that would steer a terminal, turn the reading direction or cannot be encoded are escaped as in Python's strings.
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(name))


def nfc(name: str) -> str:
    """Return a name with composed letters (Unicode's form NFC), as é in one character: equal names then compare equal."""
    return unicodedata.normalize("NFC", name)


def printable_lines(text: str) -> str:
    """Return a text of one or more lines, each of them safe to print as by `printable`."""
    return "\n".join(map(printable, text.split("\n")))


def one_line(error: object, limit: int = 200) -> str:
    """Return the text of an error, of an OSError its `strerror`, on one line of at most `limit` characters.

    Safe to print, as by `printable`. An error without a text gives the name of its class.
    """
    text = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
    return printable(text)[:limit]


def join_names(names: Iterable[str], count: int = 3) -> str:
    """Return the first `count` names, separated by commas and safe to print; "…" stands for the others."""
    names = list(names)
    return ", ".join(printable(name) for name in names[:count]) + (", …" if len(names) > count else "")


def suggest(name: str, known: Iterable[str], spell: Callable[[str], str] = str) -> str:
    """Return "did you mean NEAREST?" for an unknown name, or "possible: …" with all known names where none is near.

    `spell` turns a known name into the form in which a user writes it.
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {spell(near[0])}?" if near else f"possible: {', '.join(map(spell, known))}"


def align_columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the rows of a table as lines, with their cells aligned in columns two spaces apart."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def flag_name(setting: str) -> str:
    """Return the command-line flag of a setting: "--batch-size" for "batch_size"."""
    return "--" + setting.replace("_", "-")


def format_number(value: float) -> str:
    """Return a number in as few digits as tell: 0.412, 12.35, 123.5, 0.0002, 1.2e+06."""
    size = abs(value)
    if value == 0 or size >= 1e5 or size < 0.001:
        return f"{value:.2g}"
    return f"{value:.3f}" if size < 10 else f"{value:.2f}" if size < 100 else f"{value:.1f}"


def duration(seconds: float) -> str:
    """Return a duration as "4.2 s", "40 min", "5 h 20 min" or "3 days 4 h"; a negative one as "0.0 s"."""
    seconds = max(0.0, seconds)  # clocks of two machines may differ
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} days {hours % 24} h"


def ago(seconds_since_1970: float) -> str:
    """Return a moment of the past as "5 min ago"."""
    return f"{duration(time.time() - seconds_since_1970)} ago"


def rate(count: float, seconds: float) -> str:
    """Return a rate as "41/s", or as "12/min" where it is below 0.5/s; "" if nothing was counted or no time has passed."""
    if count <= 0 or seconds <= 0:
        return ""
    per_second = count / seconds
    if per_second < 0.5:
        return f"{60 * per_second:.2g}/min"
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"


def step_rate(per_second: float) -> str:
    """Return a training speed in images per second as "5.0/s", or "0.085/s" where it is below 1."""
    return f"{per_second:.1f}/s" if per_second >= 1 else f"{per_second:.2g}/s"


def file_size(count: int) -> str:
    """Return the size of a file of `count` bytes in decimal units, as file managers show it: "512 B", "34 kB", "1.2 MB"."""
    if count < 1000:
        return f"{count} B"
    unit, scale = next((unit, scale) for unit, scale in _FILE_UNITS.items() if count < 999.5 * scale or unit == "GB")
    return f"{count / scale:.1f} {unit}" if count < 9.95 * scale else f"{count / scale:.0f} {unit}"


_FILE_UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}


def memory_size(count: float) -> str:
    """Return an amount of memory of `count` bytes in binary units, as `nvidia-smi` and `free` show it: "340 MiB", "5.5 GiB"."""
    if count >= 1023.5 * 2**20:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.0f} MiB"
