"""Plug-ins: generators, discriminators and methods of other packages and of files, found by their names.

A package offers them by entry points of the groups `image_translate.generators`, `.discriminators` and `.methods`; a file that
the user names, by the dictionaries GENERATORS, DISCRIMINATORS and METHODS. Nothing is imported because a record names it, but
for an entry point of an installed package, and no plug-in takes a name that is built in.
"""

import functools
import os
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from importlib.metadata import EntryPoint, EntryPoints
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from translate.errors import UsageError
from translate.text import one_line

HELP = "give the plug-in that has it: --plugin FILE.py, in Python translate.load_plugin(FILE)"
"""Remedy for a name that neither this package nor an installed one has."""


def entry_points(group: str) -> EntryPoints:
    """Return the entry points of a group. The files of all packages are read once, as that takes 20 ms.

    They are read again when a folder of `sys.path` has changed, since a package may have been installed there.
    """
    folders = tuple((folder, _time_of_change(folder)) for folder in sys.path)
    found: EntryPoints = _read_entry_points(folders).select(group=group)
    return found


@functools.lru_cache(maxsize=1)
def _read_entry_points(folders: tuple[tuple[str, int], ...]) -> Any:  # Python 3.11 has a type of its own for all groups
    return metadata.entry_points()


def _time_of_change(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


class PluginGroup:
    """Plug-ins of one kind, beside the registry of those that are built in."""

    def __init__(
        self,
        kind: str,
        registry: Mapping[str, Any],
        is_built_in: Callable[[str], bool],
        find_problem: Callable[[str, Any], str],
    ) -> None:
        """Name the kind ("generators"), its registry, and how a plug-in of a name is checked: why it cannot be used, or ""."""
        self.kind, self.registry, self.is_built_in, self.find_problem = kind, registry, is_built_in, find_problem
        self.group, self.table, self.word = f"image_translate.{kind}", kind.upper(), kind.removesuffix("s")
        self.loaded: dict[str, Any] = {}
        """Plug-ins of the files that the user has named."""
        GROUPS.append(self)

    def installed(self) -> dict[str, EntryPoint]:
        """Return the entry points of installed packages by name. UsageError if a name is built in, or there twice."""
        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            self._check_name(entry.name, _package(entry))
            other = found.setdefault(entry.name, entry)
            if other.value != entry.value:
                raise UsageError(
                    f"{_package(other)} and {_package(entry)}: both have a {self.word} {entry.name}; uninstall one"
                )
        return found

    def find(self, name: str) -> Any | None:
        """Return the plug-in of a name; None if there is none. UsageError if it cannot be used, or is not the only one."""
        entry = self.installed().get(name)
        if entry is None:
            return self.loaded.get(name)
        if name in self.loaded:
            raise UsageError(f"--plugin: its {self.word} {name} is also one of {_package(entry)}; rename it")
        try:
            value = entry.load()
        except Exception as e:
            raise UsageError(f"{_package(entry)}: cannot be imported: {_describe(e)}") from e
        self._check_value(name, value, _package(entry))
        return value

    def names(self) -> tuple[str, ...]:
        """Return the names of all plug-ins, without importing a package."""
        return tuple(dict.fromkeys((*self.loaded, *self.installed())))

    def read(self, module: ModuleType, file: Path) -> dict[str, Any]:
        """Return the plug-ins of this kind in a file. UsageError if one cannot be used."""
        table = getattr(module, self.table, None)
        if table is None or table is self.registry:  # imported there, to look something up
            return {}
        if not isinstance(table, dict):
            raise UsageError(f"{file}: its {self.table} is no dictionary of names")
        for name, value in table.items():
            self._check_name(name, str(file))
            self._check_value(name, value, str(file))
            if name in self.loaded:
                raise UsageError(f"{file}: its {self.word} {name} is also one of another --plugin; rename it")
        return table

    def _check_name(self, name: Any, source: str) -> None:
        if not isinstance(name, str) or not name.isprintable() or not name or name.startswith("-"):
            raise UsageError(f"{source}: {name!r} cannot be the name of a {self.word}")
        if self.is_built_in(name):
            raise UsageError(f"{source}: its {self.word} {name} has the name of one that is built in; rename it")

    def _check_value(self, name: str, value: Any, source: str) -> None:
        if problem := self.find_problem(name, value):
            raise UsageError(f"{source}: its {self.word} {name} {problem}")


GROUPS: list[PluginGroup] = []
"""Kinds of plug-ins: those of the registries that have been imported."""

_files: dict[Path, ModuleType] = {}


def load_file(path: str | Path) -> None:
    """Run a plug-in file, and add what is in its dictionaries; a file that has been loaded is not run again.

    UsageError, in one line, if it cannot be run, or has nothing that can be used. The registries must have been imported.
    """
    file = Path(path)
    if file.resolve() in _files:
        return
    if not file.is_file():
        raise UsageError(f"--plugin {file}: no such file; give a Python file")
    module = _run_file(file)
    found = [(group, group.read(module, file)) for group in GROUPS]
    if not any(table for _, table in found):
        raise UsageError(f"--plugin {file}: has none of {', '.join(group.table for group in GROUPS)} with an entry")
    for group, table in found:
        group.loaded.update(table)
    _files[file.resolve()] = module


def _run_file(file: Path) -> ModuleType:
    """Import a file under a name of its own. UsageError if it fails."""
    name = f"translate_plugin_{len(_files)}_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"--plugin {file}: is no Python file (its name must end in .py)")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module there
    try:
        spec.loader.exec_module(module)
    except Exception as e:
        del sys.modules[name]
        raise UsageError(f"--plugin {file}: cannot be run: {_describe(e)}") from e
    return module


def _describe(error: Exception) -> str:
    line = getattr(error, "lineno", None)
    return f"{type(error).__name__}: {one_line(error)}" + (
        f" (line {line})" if line and str(line) not in str(error) else ""
    )


def _package(entry: EntryPoint) -> str:
    return f"package {entry.dist.name}" if entry.dist is not None else f"entry point {entry.value}"
