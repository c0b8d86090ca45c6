"""Plug-in files: methods and networks of a file that the user names."""

from collections.abc import Iterable
from pathlib import Path

from translate import methods, plugins


def load_plugin(file: str | Path) -> None:
    """Add the methods and networks of a Python file to those that can be used in this process, as `--plugin FILE.py` does.

    The file is run; it has them in dictionaries by name: GENERATORS, DISCRIMINATORS and METHODS. No function of this package
    does that because a model or a run names a plug-in. Raises UsageError if the file cannot be run, or has a name that is built
    in.
    """
    assert methods.PLUGIN_METHODS in plugins.GROUPS, "the registries are imported"
    plugins.load_file(file)


def load_plugins(files: str | Path | Iterable[str | Path]) -> None:
    """Load one plug-in file, or several."""
    for file in [files] if isinstance(files, str | Path) else files:
        load_plugin(file)
