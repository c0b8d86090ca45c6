"""Packages of optional extras, imported where they are used."""

from importlib import import_module
from types import ModuleType

from translate.errors import UsageError


def import_extra(extra: str, what: str, *modules: str) -> ModuleType:
    """Import modules of an extra, and return the first one. UsageError, with the command that installs it, if one is missing.

    what: what the user asked for, with which the message begins.
    """
    try:
        first, *_ = [import_module(module) for module in modules]
    except ModuleNotFoundError as e:
        missing = (e.name or modules[0]).split(".")[0]
        raise UsageError(f"{what}: {missing} is not installed; run: uv sync --extra {extra}") from None
    return first
