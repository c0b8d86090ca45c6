"""Manifest of a conversion: which output was made of which input, by which model and with which settings."""

import json
import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from translate import atomic, records
from translate.conversion.done_outputs import DoneOutputs, LastLine
from translate.conversion.output_paths import Item, ItemKey, plan_outputs
from translate.convolution_choice import ConvolutionRecord
from translate.errors import UsageError
from translate.nn.tuned_conv import ALGORITHMS
from translate.records import is_count, is_list_of, is_text

MANIFEST_NAME = "manifest.jsonl"
ManifestLine = dict[str, Any]
Fingerprint = tuple[int, int, str]
"""Size, modification time (ns) and SHA-256 of a file."""


class Manifest:
    """Manifest file: a line for each output that was done or failed; the last line of an input and a sample counts.

    The lines stay on the disk: only the names and the offsets of their last lines are in memory. Every shard writes a
    manifest of its own and reads all. Lines of others that are added later are not seen, those of this object are.

    The first line that a job writes also has the field "convolutions": how they are computed (`convolution_choice`). It does
    not decide whether an output is done.

    Args:
        folder: Folder of the outputs. UsageError where the manifest in it is a link.
        model, settings: What the outputs of the job are made by and with.
        name: Name of the manifest that lines are added to.
        inputs: Sorted names of inputs: where lines name them, these texts are kept instead of others.
    """

    def __init__(
        self,
        folder: Path,
        model: str,
        settings: Mapping[str, Any],
        name: str = MANIFEST_NAME,
        inputs: Sequence[str] = (),
    ) -> None:
        self.folder, self.path = folder, folder / name
        if self.path.is_symlink():
            raise UsageError(
                f"{self.path}: is a link, which manifests do not follow; remove it, or use another output folder"
            )
        self.model, self.settings = model, dict(settings)
        self.convolutions: ConvolutionRecord | None = {}
        """Convolutions of the job, of which this manifest's own count more than those of other shards. None for a job of
        version 0.1, which recorded none."""
        self.has_record = False
        """True if a line has a record of convolutions, even an empty one."""
        self._paths = list_manifests(folder, last=name)
        if self.path not in self._paths:
            self._paths.append(self.path)
        self.output_names = DoneOutputs(len(self._paths))
        """Names of the outputs that are done, relative to the folder, by the items that they were made from."""
        self._lock = threading.Lock()
        self._own_convolutions: ConvolutionRecord | None = None
        self._unwritten: dict[str, ConvolutionRecord] = {}
        """Fields of the next line."""
        self._read(inputs)

    def _read(self, inputs: Sequence[str]) -> None:
        found: ConvolutionRecord = {}
        has_done = False
        for number, path in enumerate(self._paths):
            for offset, line in _lines(path) if path.is_file() else ():
                self._note(line, LastLine(number, offset), inputs)
                if (record := _convolutions(line)) is not None:
                    self.has_record, found = True, found | record
                    if path == self.path:
                        self._own_convolutions = record
                has_done = has_done or self._is_of_this_job(line)
        self.convolutions = found if self.has_record or not has_done else None

    def _note(self, line: ManifestLine, place: LastLine, inputs: Sequence[str] = ()) -> None:
        """Remember whether an output is done, by its last line."""
        name = line["input"]
        at = bisect_left(inputs, name)
        name = inputs[at] if at < len(inputs) and inputs[at] == name else name
        output = line["output"] if line["status"] == "done" else None
        self.output_names.note(ItemKey(name, line.get("sample")), place, output)

    def _is_of_this_job(self, line: ManifestLine) -> bool:
        """Return True if an output was made by this model with these settings."""
        return line["status"] == "done" and line.get("model") == self.model and line.get("settings") == self.settings

    def record_convolutions(self, record: ConvolutionRecord | None) -> None:
        """Write this record with the next line, unless the manifest has it already; None is not written."""
        if record is not None and record != self._own_convolutions:
            self._own_convolutions, self._unwritten = record, {"convolutions": record}

    def plan(self, inputs: Sequence[str], fmt: str, samples: int | None = None) -> list[Item]:
        """Return the output of every input, or so many of each; what is done keeps its name."""
        return plan_outputs(inputs, fmt, self.output_names, samples)

    def select_undone(
        self, items: Iterable[Item], root: Path, instance_map: Callable[[Item], Path | None] = lambda item: None
    ) -> list[Item]:
        """Return the items whose output does not exist, or was not made from its input by this model with these settings.

        instance_map: function that returns that of the input, from which the output is made too.
        """
        with ExitStack() as stack:
            files = [stack.enter_context(open(path, "rb")) if path.is_file() else None for path in self._paths]
            return [item for item in items if not self._is_done(item, root, instance_map(item), files)]

    def _is_done(self, item: Item, root: Path, instance_map: Path | None, files: Sequence[IO[bytes] | None]) -> bool:
        place = self.output_names.last_line(item.key)
        if place is None or self.output_names.get(item.key) != item.output:
            return False
        file = files[place.manifest]
        line = None if file is None else _line_at(file, place.offset)
        if line is None or not self._is_of_this_job(line):
            return False
        written = os.path.join(self.folder, item.output)  # texts: paths take several times as long
        try:
            output = os.stat(written)
        except OSError:
            return False
        if line.get("bytes") != output.st_size:
            return False
        if not _is_unchanged(os.path.join(root, item.input), line.get("made_from")):
            return False
        if instance_map is not None and not _is_unchanged(instance_map, line.get("instances")):
            return False
        return line.get("written") == output.st_mtime_ns or _has_sha256(written, line.get("sha256"))

    def was_written(self, output: str) -> bool:
        """Return whether this job has written an output of this name, relative to the folder."""
        return self.output_names.was_written(output)

    def last_line(self, key: ItemKey) -> ManifestLine | None:
        """Return the last line of an output; None if it has none."""
        place = self.output_names.last_line(key)
        if place is None:
            return None
        with open(self._paths[place.manifest], "rb") as file:
            return _line_at(file, place.offset)

    def known_items(self) -> Set[ItemKey]:
        """Return the inputs, with the numbers of their samples, that have a line."""
        return set(self.output_names.items_with_lines())

    def add(self, lines: Iterable[ManifestLine]) -> None:
        """Append lines and sync the file. OSError if it cannot be written."""
        with self._lock, open(self.path, "ab") as file:
            if file.tell() and not self._ends_whole():
                file.write(b"\n")
            for line in lines:
                self._note(line, LastLine(self._paths.index(self.path), file.tell()))
                file.write(_encoded({**line, **self._unwritten}))
                self._unwritten = {}
            atomic.sync(file)

    def _ends_whole(self) -> bool:
        with open(self.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def list_manifests(folder: Path, last: str = MANIFEST_NAME) -> list[Path]:
    """Return the manifests of a folder, of the whole job and of shards; last the one named `last`, whose lines count most."""
    found = sorted(path for path in folder.glob("manifest*.jsonl") if path.is_file())
    return sorted(found, key=lambda path: path.name == last)


FoundLine = tuple[Path, ManifestLine]
"""Manifest file, and a line in it."""


def find_outputs(folder: Path, names: Set[str], hashes: Set[str]) -> tuple[dict[str, FoundLine], dict[str, FoundLine]]:
    """Return the last lines of outputs that are done, for those of these names, and for those of these SHA-256.

    Only these lines are in memory. A manifest that cannot be read holds none.
    """
    by_name: dict[str, FoundLine] = {}
    by_hash: dict[str, FoundLine] = {}
    for path in list_manifests(folder):
        with suppress(OSError):
            for _, line in _lines(path):
                if line["status"] != "done":
                    continue
                if line["output"] in names:
                    by_name[line["output"]] = path, line
                if line.get("sha256") in hashes:
                    by_hash[line["sha256"]] = path, line
    return by_name, by_hash


def merge_manifests(folder: Path) -> tuple[int, dict[str, str]]:
    """Join the manifests of all shards into one with a line for each output.

    Return the number of outputs that are done, and for each failed input the reason.
    """
    manifest = Manifest(folder, "", {})
    lines = [line for key in _sorted(manifest.known_items()) if (line := manifest.last_line(key)) is not None]
    lines = [{key: value for key, value in line.items() if key != "convolutions"} for line in lines]
    if lines and manifest.has_record:
        lines[0]["convolutions"] = manifest.convolutions
    others = [path for path in list_manifests(folder) if path != manifest.path]
    atomic.write(manifest.path, b"".join(map(_encoded, lines)))
    for path in others:
        path.unlink()
    failures = {line["input"]: str(line.get("error")) for line in lines if line["status"] == "failed"}
    return len(manifest.output_names), failures


def _sorted(keys: Iterable[ItemKey]) -> list[ItemKey]:
    """Return keys by the name of the input, and by the number of the sample."""
    return sorted(keys, key=lambda key: (key.input, -1 if key.sample is None else key.sample))


def fingerprint(path: Path, stat: os.stat_result) -> Fingerprint:
    """Return the fingerprint of a file that has been read. `stat` is from before that, so that a later change is seen."""
    return stat.st_size, stat.st_mtime_ns, atomic.file_sha256(path)


def _is_unchanged(path: str | Path, recorded: Any) -> bool:
    """Return True if a file has the recorded fingerprint; its time may differ if its content does not."""
    try:
        (size, time, digest), stat = recorded, os.stat(path)
    except (TypeError, ValueError, OSError):  # no list of three, no file
        return False
    return size == stat.st_size and (time == stat.st_mtime_ns or _has_sha256(path, digest))


def _has_sha256(path: str | Path, sha256: str | None) -> bool:
    """Return True if the file can be read and its content has this SHA-256."""
    try:
        return atomic.file_sha256(Path(path)) == sha256
    except OSError:
        return False


def _convolutions(line: ManifestLine) -> ConvolutionRecord | None:
    """Return the record of convolutions in a line; None if it has none that can be read."""
    record = line.get("convolutions")
    is_valid = isinstance(record, dict) and all(value in tuple(ALGORITHMS) for value in record.values())
    return record if is_valid else None


def _encoded(line: ManifestLine) -> bytes:
    return json.dumps(line).encode() + b"\n"


def _lines(path: Path) -> Iterator[tuple[int, ManifestLine]]:
    """Yield the offset and the content of each complete manifest line."""
    offset = 0
    with open(path, "rb") as file:
        for raw in file:
            line = _parsed(raw)
            if line is not None:
                yield offset, line
            offset += len(raw)


def _line_at(file: IO[bytes], offset: int) -> ManifestLine | None:
    """Return the line that begins at an offset; None if there is none."""
    file.seek(offset)
    return _parsed(file.readline())


def _parsed(raw: bytes) -> ManifestLine | None:
    """Parse a line; None for the incomplete last line of a killed run, and for lines of other programs."""
    try:
        line = records.parse_json(raw)
        if not isinstance(line, dict) or not {"input", "output", "status"} <= line.keys():
            return None
        records.check_kinds(line, _KINDS)
    except ValueError:
        return None
    return line


def _is_optional_text(value: Any) -> bool:
    return value is None or is_text(value)


def _is_optional_count(value: Any) -> bool:
    return value is None or is_count(value)


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "input": (is_text, "a text"),
    "output": (is_text, "a text"),
    "status": (is_text, "a text"),
    "error": (_is_optional_text, "a text"),
    "sha256": (_is_optional_text, "a text"),
    "model": (_is_optional_text, "a text"),
    "sample": (_is_optional_count, "a whole number"),
    "notices": (lambda value: is_list_of(value, is_text), "a list of texts"),
}
"""Entries of a line whose kinds are relied on; all others are compared with what they should be."""
