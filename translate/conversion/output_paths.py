"""Paths of outputs, and what happens where two inputs would have the same."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from translate import images, videos
from translate.errors import UsageError


class ItemKey(NamedTuple):
    """Origin of an output: an input, and the number of the sample; None for the only output of an input."""

    input: str
    sample: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """Paths of an input and its output, relative to their folders, with `/`."""

    input: str
    output: str
    sample: int | None = None
    """Number of the output among several of its input; None for the only one."""

    @property
    def key(self) -> ItemKey:
        """Origin of the output."""
        return ItemKey(self.input, self.sample)


def plan_outputs(
    inputs: Sequence[str], fmt: str, kept: Mapping[ItemKey, str], samples: int | None = None
) -> list[Item]:
    """Return the output of every input, or several of each, in the same order. `kept`: names of earlier runs, which stay.

    `photo.jpg` → `photo.png`, or with samples `photo-0.png`, `photo-1.png` …; inputs that would share a name keep their old
    extension: `photo.jpg.png`, `photo.jpg-0.png`. This is decided over the whole listing, so it does not depend on the order of
    the conversion.
    """
    numbers = [None] if samples is None else range(samples)
    plain = [Item(name, _plain(ItemKey(name, number), fmt), number) for name in inputs for number in numbers]
    if _may_all_stay(plain, kept, samples):
        return plain
    keys = [item.key for item in plain]
    names = {item.key: item.output for item in plain}
    _separate(names, fmt, {})
    fixed = _fixed_names(keys, fmt, kept)
    names.update(fixed)
    _separate(names, fmt, fixed)
    return [Item(key.input, names[key], key.sample) for key in keys]


def _may_all_stay(plain: Sequence[Item], kept: Mapping[ItemKey, str], samples: int | None) -> bool:
    """Return True if items have the names of earlier runs, and no two share one: the usual case, found in little memory."""
    if any(kept.get(item.key, item.output) != item.output for item in plain):
        return False
    if kept and (samples is not None or any(key.sample is not None for key in kept)):
        return False  # outputs that are not asked for may have these names
    outputs = {item.output for item in plain}
    return len(outputs) == len(plain) and not any(folder in outputs for folder in _folders(outputs))


def _fixed_names(keys: Sequence[ItemKey], fmt: str, kept: Mapping[ItemKey, str]) -> dict[ItemKey, str]:
    """Return the names of earlier runs that stay, also of samples of these inputs that are not asked for."""
    if not kept:
        return {}
    asked, inputs = set(keys), {key.input for key in keys}
    fixed = {key: output for key, output in kept.items() if key.input in inputs and key not in asked}
    taken = set(fixed.values())
    for key in keys:
        if key in kept and _may_have(key, kept[key], fmt) and kept[key] not in taken:
            fixed[key] = kept[key]
            taken.add(kept[key])
    return fixed


def check_distinct(items: Sequence[Item], fold: Callable[[str], str]) -> None:
    """Raise UsageError if two outputs have one name on the file system of the outputs, so that one would replace the other."""
    if len({fold(item.output) for item in items}) == len(items):
        return
    holders: dict[str, Item] = {}
    for item in items:
        other = holders.setdefault(fold(item.output), item)
        if other is not item:
            raise UsageError(
                f"{other.input!r} and {item.input!r}: their outputs would replace each other, because the file "
                f"system of the output folder does not distinguish these names; rename one, or use another disk"
            )


def check_writable(fmt: str) -> None:
    """Raise UsageError for a format whose package is not installed; `fmt` is a value of `--format`."""
    if fmt == "heic" and fmt not in images.WRITERS:
        raise UsageError(f"--format {fmt}: pillow-heif is not installed; run: uv sync --extra heic")


def output_format(name: str, fmt: str) -> str:
    """Return the row of images.WRITERS for an input: with "keep" its own format, or PNG if that cannot be written.

    For a video the extension of its output, whatever the format of images.
    """
    ext = images.extension(name)
    return videos.VIDEO_FORMATS.get(ext) or images.writer_for(ext if fmt == "keep" else fmt) or "png"


def _plain(key: ItemKey, fmt: str) -> str:
    """Return the output name of an input that shares it with no other."""
    ext = images.extension(key.input)
    own_format = _keeps_extension(ext, fmt)
    if own_format and key.sample is None:
        return key.input  # also in its own letter case
    suffix = key.input[-len(ext) :] if own_format else output_format(key.input, fmt)
    return f"{_numbered(key.input[: -len(ext) - 1], key)}.{suffix}"


def _keeps_extension(ext: str, fmt: str) -> bool:
    """Return True if the output of an input with this extension has it, too."""
    if ext in videos.VIDEO_FORMATS:
        return videos.VIDEO_FORMATS[ext] == ext
    return fmt == "keep" and images.writer_for(ext) is not None


def _numbered(name: str, key: ItemKey) -> str:
    """Return a name with the number of the sample."""
    return name if key.sample is None else f"{name}-{key.sample}"


def _may_have(key: ItemKey, output: str, fmt: str) -> bool:
    """Return True if an output name is one that an input can get in this format."""
    ext = re.escape(f".{output_format(key.input, fmt)}")
    longer = re.escape(_numbered(key.input, key))
    return output == _plain(key, fmt) or re.fullmatch(f"{longer}({ext})+", output) is not None


def _separate(names: dict[ItemKey, str], fmt: str, fixed: Mapping[ItemKey, str]) -> None:
    """Lengthen names until no two outputs share one and none is a folder of others; the `fixed` ones stay."""
    changed = True
    while changed:
        changed = False
        counts = Counter(names.values())
        clashing = {output for output, count in counts.items() if count > 1} | (_folders(counts) & counts.keys())
        holders: dict[str, list[ItemKey]] = defaultdict(list)
        for key, output in names.items() if clashing else ():
            if output in clashing:
                holders[output].append(key)
        for output, sharing in holders.items():
            owner = _owner_of_name(output, sharing, names, fmt, fixed)
            for key in sharing:
                if key != owner:
                    first = names[key] == _plain(key, fmt)
                    names[key] = f"{_numbered(key.input, key) if first else names[key]}.{output_format(key.input, fmt)}"
                    changed = True


def _folders(names: Iterable[str]) -> set[str]:
    """Return all folders on the way to files, without the topmost."""
    found: set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _owner_of_name(
    output: str, sharing: Sequence[ItemKey], names: Mapping[ItemKey, str], fmt: str, fixed: Mapping[ItemKey, str]
) -> ItemKey | None:
    """Return the item that keeps a shared name: it is fixed, or its own name, or it was lengthened to it; None: no item."""
    own = [key for key in sharing if (fmt == "keep" or videos.is_video(output)) and key == ItemKey(output)]
    moved = [key for key in sharing if names[key] != _plain(key, fmt)]
    return next(iter([key for key in sharing if key in fixed] + own + moved), None)
