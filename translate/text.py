"""translate.text"""

from collections.abc import Iterable
from pathlib import Path


def one_line(error: object) -> str:
    """What an error says, on one line and without what would steer a terminal."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def join_names(names: Iterable[str], count: int = 3) -> str:
    """The first few names, safe to print."""
    names = list(names)
    return ", ".join(printable_name(name) for name in names[:count]) + (", …" if len(names) > count else "")


def printable_name(name: str | Path) -> str:
    """A name on one line; quoted with escapes where it has characters that cannot be shown."""
    return str(name) if str(name).isprintable() else repr(str(name))


def format_number(value: float) -> str:
    """A number in as few digits as tell: 0.412, 12.35, 123.5, 0.0002, 1.2e+06."""
    size = abs(value)
    if value == 0 or size >= 1e5 or size < 0.001:
        return f"{value:.2g}"
    return f"{value:.3f}" if size < 10 else f"{value:.2f}" if size < 100 else f"{value:.1f}"


# Words.


def printable(name: str) -> str:
    """A name on one line, without what would steer a terminal, turn the reading direction, or cannot be encoded."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in name)


def duration(seconds: float) -> str:
    """As "4.2 s", "40 min", "5 h 20 min" or "3 days 4 h"."""
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


def rate(count: float, seconds: float) -> str:
    """As "41/s", or "12/min" where it is slower than one in two seconds; empty where there is none."""
    if count <= 0 or seconds <= 0:
        return ""
    each = count / seconds
    if each < 0.5:
        return f"{60 * each:.2g}/min"
    return f"{each:,.0f}/s" if each >= 10 else f"{each:.1f}/s"


def flag_name(setting: str) -> str:
    """Return a setting's name as its flag is typed: `--batch-size` for `batch_size`."""
    return "--" + setting.replace("_", "-")
