"""Decoding of records on disk, JSON and TOML, and checks of what they hold: anyone may have written or changed them."""

import json
import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from translate.text import one_line

LARGEST_COUNT = 2**63 - 1
"""Largest whole number that TOML and most programs know; a larger one in a record is a mistake or an attack."""


def parse_json(text: str | bytes) -> Any:
    """Decode JSON. ValueError, with a reason in one line, whatever is wrong with it."""
    return _parse(json.loads, text)


def read_json(path: Path) -> Any:
    """Decode a JSON file. OSError where it cannot be opened, ValueError with a reason in one line where it is no JSON."""
    return parse_json(path.read_bytes())


def read_toml(path: Path) -> dict[str, Any]:
    """Decode a TOML file. OSError where it cannot be opened, ValueError with a reason in one line where it is no TOML."""
    return _parse(tomllib.loads, path.read_text(encoding="utf-8"))


def _parse(decode: Callable[[Any], Any], text: str | bytes) -> Any:
    try:
        return decode(text)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None
    except ValueError as e:
        # Both decoders have classes of their own for what they find; the bare one is Python's limit on digits.
        raise ValueError("a number in it has too many digits" if type(e) is ValueError else one_line(e)) from None


def is_count(value: Any) -> bool:
    """Return whether a value is a whole number from 0 to LARGEST_COUNT; True and False are none."""
    return type(value) is int and 0 <= value <= LARGEST_COUNT


def is_number(value: Any) -> bool:
    """Return whether a value is a number, NaN and infinity included, that a float can hold; True and False are none."""
    return type(value) is float or (type(value) is int and abs(value) <= LARGEST_COUNT)


def is_finite_number(value: Any) -> bool:
    """Return whether a value is a number that is neither NaN nor infinite."""
    return is_number(value) and math.isfinite(value)


def is_text(value: Any) -> bool:
    """Return whether a value is a text."""
    return isinstance(value, str)


def is_list_of(value: Any, is_valid: Callable[[Any], bool]) -> bool:
    """Return whether a value is a list, and each of its values valid."""
    return isinstance(value, list) and all(map(is_valid, value))


def is_table_of(value: Any, is_valid: Callable[[Any], bool]) -> bool:
    """Return whether a value is a table (an object in JSON), and each of its values valid."""
    return isinstance(value, dict) and all(map(is_valid, value.values()))


def check_kinds(values: Mapping[str, Any], kinds: Mapping[str, tuple[Callable[[Any], bool], str]]) -> None:
    """Check the values of a record that are there. ValueError names the key whose value is not of its kind.

    `kinds`: key → test of the value, and the kind in words ("a text").
    """
    for key, (is_valid, kind) in kinds.items():
        if key in values and not is_valid(values[key]):
            raise ValueError(f"{key} is {shown(values[key])}, but must be {kind}")


def shown(value: Any) -> str:
    """Return a value of a record for a message: on one line, safe to print, and not longer than a line."""
    try:
        return one_line(repr(value), 60)
    except (RecursionError, ValueError):  # nested too deeply, or with more digits than Python prints
        return f"too long to show ({type(value).__name__})"
