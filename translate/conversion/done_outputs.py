"""Outputs of a job by the items that they were made from, for millions of them."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from translate.conversion.output_paths import ItemKey

_Key = str | ItemKey
"""Key of an item; of the only output of an input its name alone, which takes less memory."""


class LastLine(NamedTuple):
    """Place of the last line of an item in the manifests of a job."""

    manifest: int
    """Number of the manifest."""
    offset: int
    """Start of the line in bytes."""


class DoneOutputs(Mapping[ItemKey, str]):
    """Names of the outputs that are done, by the items that they were made from, and the places of all items' last lines.

    An item takes about 100 bytes beside the text of its input's name: most outputs have that name, too.

    Args:
        manifests: Number of the manifests of the job.
    """

    def __init__(self, manifests: int) -> None:
        self._manifests = manifests
        self._lines: dict[_Key, int] = {}
        """Last line of each item: its place as one number, and in the last bit whether it is done."""
        self._renamed: dict[_Key, str] = {}
        """Outputs that are done and have another name than their input."""
        self._others: set[str] = set()
        """Names that outputs have or had, but for those that are done and have the name of their input."""

    def note(self, key: ItemKey, line: LastLine, output: str | None) -> None:
        """Note a further line of an item. output: name of the output that is done; None where it failed."""
        own = _short(key)
        if self._has_name_of_input(own) and output != own:
            self._others.add(key.input)
        if output is None or output == own:
            self._renamed.pop(own, None)
        else:
            self._renamed[own] = output
            self._others.add(output)
        place = line.offset * self._manifests + line.manifest
        self._lines[own] = place << 1 | (output is not None)

    def last_line(self, key: ItemKey) -> LastLine | None:
        """Return the place of an item's last line; None if it has none."""
        value = self._lines.get(_short(key))
        if value is None:
            return None
        offset, manifest = divmod(value >> 1, self._manifests)
        return LastLine(manifest, offset)

    def items_with_lines(self) -> Iterator[ItemKey]:
        """Iterate over the items that have a line, done or not."""
        return map(_long, self._lines)

    def was_written(self, name: str) -> bool:
        """Return whether an output of this name was ever done."""
        return name in self._others or self._has_name_of_input(name)

    def __getitem__(self, key: ItemKey) -> str:
        own = _short(key)
        if not self._lines[own] & 1:
            raise KeyError(key)
        return self._renamed.get(own, key.input)

    def __iter__(self) -> Iterator[ItemKey]:
        return (_long(own) for own, value in self._lines.items() if value & 1)

    def __len__(self) -> int:
        return sum(value & 1 for value in self._lines.values())

    def _has_name_of_input(self, own: _Key) -> bool:
        return bool(self._lines.get(own, 0) & 1) and own not in self._renamed


def _short(key: ItemKey) -> _Key:
    return key.input if key.sample is None else key


def _long(own: _Key) -> ItemKey:
    return ItemKey(own) if isinstance(own, str) else own
