"""`translate resume RUN [flags]`: go on with a run, with other settings where flags are given."""

from dataclasses import fields
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api
from translate.errors import UsageError
from translate.methods import METHODS


def resume(
    run: Annotated[str, Parameter(help="run folder, or a name in checkpoints/")],
    /,
    **flags: Annotated[str, Parameter(help="any flag of translate train METHOD")],
) -> None:
    """Go on with a run; flags change its settings on purpose."""
    api.resume(run, **{name.replace("-", "_"): _value(name.replace("-", "_"), text) for name, text in flags.items()})


def _value(name: str, text: str) -> Any:
    """The text of a flag as the type of the setting of that name."""
    for method in METHODS.values():
        for f in fields(method.Config):
            if f.name == name:
                return _parse(name, text, str(f.type))
    return text


def _parse(name: str, text: str, kind: str) -> Any:
    try:
        if "int" in kind:
            return int(text)
        return float(text) if "float" in kind else text
    except ValueError:
        raise UsageError(f"--{name.replace('_', '-')} {text}: must be a number") from None
