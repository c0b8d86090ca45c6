"""Where each input's output goes."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from translate import images
from translate.errors import UsageError


@dataclass(frozen=True)
class Item:
    """One input and where its output goes; both relative to their folders, with /."""

    input: str
    output: str


def plan_outputs(inputs: Sequence[str], fmt: str, kept: Mapping[str, str]) -> list[Item]:
    """The output of every input. `kept` are the names that earlier runs gave: they stay.

    `photo.jpg` → `photo.png`; all inputs that would share a name keep their old extension: `photo.jpg.png`. That is decided
    over the whole listing, so it does not depend on what is converted when.
    """
    names = {name: _plain(name, fmt) for name in inputs}
    _part(names, fmt, {})
    fixed: dict[str, str] = {}
    taken: set[str] = set()
    for name in inputs:
        if name in kept and _may_have(name, kept[name], fmt) and kept[name] not in taken:
            fixed[name] = kept[name]
            taken.add(kept[name])
    names.update(fixed)
    _part(names, fmt, fixed)
    return [Item(name, names[name]) for name in inputs]


def check_distinct(items: Sequence[Item], fold: Callable[[str], str]) -> None:
    """UsageError where the output's file system takes two outputs for the same name, so that one would replace the other."""
    holders: dict[str, Item] = {}
    for item in items:
        other = holders.setdefault(fold(item.output), item)
        if other is not item:
            raise UsageError(
                f"{other.input!r} and {item.input!r}: their outputs would replace each other on the output's disk, which does "
                f"not tell such names apart; rename one, or use another disk"
            )


def output_format(name: str, fmt: str) -> str:
    """The row of images.WRITERS for an input: its own format with "keep", PNG where that cannot be written."""
    wanted = images.extension(name) if fmt == "keep" else fmt
    return images.writer_for(wanted) or "png"


def _plain(name: str, fmt: str) -> str:
    ext = images.extension(name)
    if fmt == "keep" and images.writer_for(ext):
        return name  # the name as it is, in its own letter case
    return f"{name[: -len(ext) - 1]}.{output_format(name, fmt)}"


def _may_have(name: str, output: str, fmt: str) -> bool:
    ext = re.escape(f".{output_format(name, fmt)}")
    return output == _plain(name, fmt) or re.fullmatch(f"{re.escape(name)}({ext})+", output) is not None


def _part(names: dict[str, str], fmt: str, fixed: Mapping[str, str]) -> None:
    """Lengthens names until no two inputs share one and none is a folder of others; the `fixed` ones stay."""
    moved = True
    while moved:
        moved = False
        holders: dict[str, list[str]] = defaultdict(list)
        for name, output in names.items():
            holders[output].append(name)
        folders = {str(folder) for output in names.values() for folder in PurePosixPath(output).parents}
        for output, sharing in holders.items():
            if len(sharing) == 1 and output not in folders:
                continue
            stays = _who_stays(output, sharing, names, fmt, fixed)
            for name in sharing:
                if name != stays:
                    first = names[name] == _plain(name, fmt)
                    names[name] = f"{name if first else names[name]}.{output_format(name, fmt)}"
                    moved = True


def _who_stays(
    output: str, sharing: Sequence[str], names: Mapping[str, str], fmt: str, fixed: Mapping[str, str]
) -> str | None:
    """Who keeps a name that several would have: who has it from before, whose own it is, who has moved already."""
    own = [name for name in sharing if fmt == "keep" and name == output]
    moved = [name for name in sharing if names[name] != _plain(name, fmt)]
    return next(iter([name for name in sharing if name in fixed] + own + moved), None)
