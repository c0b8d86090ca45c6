"""Options of one request, given as text, checked by the declarations of the options of a conversion."""

import typing
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, fields
from typing import Any

from translate.config import FLAGS, option, resolve
from translate.conversion.options import ConversionOptions
from translate.errors import UsageError
from translate.text import suggest

FROM_CONVERSION = (
    "to", "seed", "pixels", "input_range", "first_frame", "format", "quality", "background", "mark", "source_type",
    "strip_gps",
)  # fmt: skip
"""Options of a conversion that a request may have; the others are for folders or for the whole server."""


@dataclass(frozen=True)
class RequestOptions:
    """Options of a request that a conversion of files says in other ways."""

    model: str | None = option(None, "model of the server to use, by its name [default: its only one]")
    sample: int | None = option(
        None,
        "number of the output, from 0, among the many of a model with noise: K gives that of photo-K.png which convert "
        "--samples writes [default: its only one, or 0]",
        low=0,
    )


FIELDS: dict[str, Field[Any]] = {f.name: f for f in fields(RequestOptions)} | {
    f.name: f for f in fields(ConversionOptions) if f.name in FROM_CONVERSION
}
"""Name of each option of a request → its declaration."""

HINTS: dict[str, Any] = typing.get_type_hints(RequestOptions) | typing.get_type_hints(ConversionOptions)
"""Name of each option → its type."""


def parse_options(
    pairs: Iterable[tuple[str, str]], fixed: Mapping[str, Any]
) -> tuple[RequestOptions, ConversionOptions]:
    """Return the options of a request from names and texts (`seed`, "3"; what is on or off by these words).

    fixed: options of the conversion that the server decides. UsageError, in the words of the command line, for unknown
    names, names given twice and values that are not possible.
    """
    given: dict[str, str] = {}
    for name, text in pairs:
        key = name.replace("-", "_")
        if key not in FIELDS:
            raise UsageError(f"{name}: unknown parameter; {suggest(key, FIELDS)}")
        if key in given:
            raise UsageError(f"{name}: given twice")
        given[key] = text
    values = {key: _value(key, text) for key, text in given.items()}
    own = {key: value for key, value in values.items() if key not in FROM_CONVERSION}
    others = {key: value for key, value in values.items() if key in FROM_CONVERSION}
    return resolve(RequestOptions, (FLAGS, own)), resolve(ConversionOptions, (FLAGS, {**others, **fixed}))


def _value(name: str, text: str) -> Any:
    """Return a text in the type of its option; as it is where it has another, so that the check of the option names it."""
    kinds = typing.get_args(HINTS[name]) or (HINTS[name],)
    if int in kinds:
        try:
            return int(text)
        except ValueError:
            return text
    return text
