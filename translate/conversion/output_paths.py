"""Paths of outputs, and what happens where two inputs would have the same."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from translate import images
from translate.errors import UsageError


@dataclass(frozen=True)
class Item:
    """Paths of an input and its output, relative to their folders, with `/`."""

    input: str
    output: str


def plan_outputs(inputs: Sequence[str], fmt: str, kept: Mapping[str, str]) -> list[Item]:
    """Return the output of every input, in the same order. `kept`: input → output of earlier runs; these names stay.

    `photo.jpg` → `photo.png`; inputs that would share a name keep their old extension: `photo.jpg.png`. This is decided over
    the whole listing, so it does not depend on the order of the conversion.
    """
    names = {name: _plain(name, fmt) for name in inputs}
    _separate(names, fmt, {})
    fixed: dict[str, str] = {}
    taken: set[str] = set()
    for name in inputs:
        if name in kept and _may_have(name, kept[name], fmt) and kept[name] not in taken:
            fixed[name] = kept[name]
            taken.add(kept[name])
    names.update(fixed)
    _separate(names, fmt, fixed)
    return [Item(name, names[name]) for name in inputs]


def check_distinct(items: Sequence[Item], fold: Callable[[str], str]) -> None:
    """Raise UsageError if two outputs have one name on the file system of the outputs, so that one would replace the other."""
    holders: dict[str, Item] = {}
    for item in items:
        other = holders.setdefault(fold(item.output), item)
        if other is not item:
            raise UsageError(
                f"{other.input!r} and {item.input!r}: their outputs would replace each other, because the file "
                f"system of the output folder does not distinguish these names; rename one, or use another disk"
            )


def output_format(name: str, fmt: str) -> str:
    """Return the row of images.WRITERS for an input: with "keep" its own format, or PNG if that cannot be written."""
    wanted = images.extension(name) if fmt == "keep" else fmt
    return images.writer_for(wanted) or "png"


def _plain(name: str, fmt: str) -> str:
    """Return the output name of an input that shares it with no other."""
    ext = images.extension(name)
    if fmt == "keep" and images.writer_for(ext):
        return name  # also in its own letter case
    return f"{name[: -len(ext) - 1]}.{output_format(name, fmt)}"


def _may_have(name: str, output: str, fmt: str) -> bool:
    """Return True if an output name is one that an input can get in this format."""
    ext = re.escape(f".{output_format(name, fmt)}")
    return output == _plain(name, fmt) or re.fullmatch(f"{re.escape(name)}({ext})+", output) is not None


def _separate(names: dict[str, str], fmt: str, fixed: Mapping[str, str]) -> None:
    """Lengthen names until no two inputs share one and none is a folder of others; the `fixed` ones stay."""
    changed = True
    while changed:
        changed = False
        holders: dict[str, list[str]] = defaultdict(list)
        for name, output in names.items():
            holders[output].append(name)
        folders = {str(folder) for output in names.values() for folder in PurePosixPath(output).parents}
        for output, sharing in holders.items():
            if len(sharing) == 1 and output not in folders:
                continue
            owner = _owner_of_name(output, sharing, names, fmt, fixed)
            for name in sharing:
                if name != owner:
                    first = names[name] == _plain(name, fmt)
                    names[name] = f"{name if first else names[name]}.{output_format(name, fmt)}"
                    changed = True


def _owner_of_name(
    output: str, sharing: Sequence[str], names: Mapping[str, str], fmt: str, fixed: Mapping[str, str]
) -> str | None:
    """Return the input that keeps a shared name: it is fixed, or its own name, or it was lengthened to it; None: no input."""
    own = [name for name in sharing if fmt == "keep" and name == output]
    moved = [name for name in sharing if names[name] != _plain(name, fmt)]
    return next(iter([name for name in sharing if name in fixed] + own + moved), None)
