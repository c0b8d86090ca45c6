"""`translate resume RUN [flags]`: resume a run, with other settings where flags are given."""

from dataclasses import fields
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api
from translate.errors import UsageError
from translate.methods import METHODS
from translate.text import flag_name


def resume(
    run: Annotated[str, Parameter(help="run folder, or a name below checkpoints/")],
    /,
    **flags: Annotated[str, Parameter(help="any flag of translate train METHOD; it changes the setting of the run")],
) -> None:
    """Resume a run; flags change its settings."""
    api.resume(run, **{name.replace("-", "_"): _value(name.replace("-", "_"), text) for name, text in flags.items()})


def _value(name: str, text: str) -> Any:
    """Return the text of a flag in the type of the setting of that name."""
    for method in METHODS.values():
        for f in fields(method.Config):
            if f.name == name:
                return _parse(name, text, str(f.type))
    return text


def _parse(name: str, text: str, kind: str) -> Any:
    """Return the text as an int or float where the annotation names one. UsageError where it is no number."""
    try:
        if "int" in kind:
            return int(text)
        return float(text) if "float" in kind else text
    except ValueError:
        raise UsageError(f"{flag_name(name)} {text}: must be a number") from None
