"""The journal of a conversion: what was made of what, by which model and how."""

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from translate import atomic
from translate.conversion.output_paths import Item, plan_outputs

MANIFEST_NAME = "manifest.jsonl"
ManifestLine = dict[str, Any]


class Manifest:
    """The manifest: one line for each input that was done or failed; the last line of an input counts.

    The lines stay on the disk: only the names, and where their last line stands, are held in memory. Every shard writes a
    journal of its own and reads all.
    """

    def __init__(self, folder: Path, model: str, settings: Mapping[str, Any], name: str = MANIFEST_NAME) -> None:
        self.folder, self.path = folder, folder / name
        self.model, self.settings = model, dict(settings)
        self.output_names: dict[str, str] = {}
        """Input → output of what was done before."""
        self.outputs: set[str] = set()
        """What this job has made, by its name below the folder."""
        self._places: dict[str, tuple[Path, int]] = {}
        """Input → where its last line begins."""
        self._lock = threading.Lock()
        for path in list_manifests(folder, last=name):
            for place, line in _lines(path):
                self._places[line["input"]] = path, place
                if line["status"] == "done":
                    self.outputs.add(line["output"])
                    self.output_names[line["input"]] = line["output"]
                else:
                    self.output_names.pop(line["input"], None)

    def plan(self, inputs: Sequence[str], fmt: str) -> list[Item]:
        """The output of every input; what was done before keeps its name."""
        return plan_outputs(inputs, fmt, self.output_names)

    def is_done(self, item: Item, root: Path) -> bool:
        """Whether the output is there, made from this very input by this model with these settings."""
        if self.output_names.get(item.input) != item.output:
            return False
        line = self.last_line(item.input)
        if line is None or line.get("model") != self.model or line.get("settings") != self.settings:
            return False
        try:
            made, source = os.stat(self.folder / item.output), os.stat(root / item.input)
        except OSError:
            return False
        if line.get("bytes") != made.st_size:
            return False
        try:
            size, time, digest = line["made_from"]
        except (KeyError, TypeError, ValueError):
            return False
        if size != source.st_size or (time != source.st_mtime_ns and not _has_sha256(root / item.input, digest)):
            return False
        return line.get("written") == made.st_mtime_ns or _has_sha256(self.folder / item.output, line["sha256"])

    def last_line(self, name: str) -> ManifestLine | None:
        """The last line of an input."""
        if name not in self._places:
            return None
        path, place = self._places[name]
        with open(path, "rb") as file:
            file.seek(place)
            return _parsed(file.readline())

    def known_inputs(self) -> Set[str]:
        """The inputs that have a line."""
        return self._places.keys()

    def add(self, lines: Iterable[ManifestLine]) -> None:
        """Appends lines and syncs them."""
        with self._lock, open(self.path, "ab") as file:
            if file.tell() and not self._ends_whole():
                file.write(b"\n")
            file.writelines(map(_encoded, lines))
            file.flush()
            os.fsync(file.fileno())

    def _ends_whole(self) -> bool:
        with open(self.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def list_manifests(folder: Path, last: str = MANIFEST_NAME) -> list[Path]:
    """The journals of the folder, that of the whole and those of shards; `last` names the one whose lines count most."""
    found = sorted(path for path in folder.glob("manifest*.jsonl") if path.is_file())
    return sorted(found, key=lambda path: path.name == last)


def merge_manifests(folder: Path) -> tuple[int, dict[str, str]]:
    """Joins the journals of all shards into one with a line for each input; how many are done, and which failed and why."""
    journal = Manifest(folder, "", {})
    lines = [line for name in sorted(journal.known_inputs()) if (line := journal.last_line(name)) is not None]
    others = [path for path in list_manifests(folder) if path != journal.path]
    atomic.write(journal.path, b"".join(map(_encoded, lines)))
    for path in others:
        path.unlink()
    failures = {line["input"]: str(line.get("error")) for line in lines if line["status"] == "failed"}
    return len(journal.output_names), failures


def _has_sha256(path: Path, sha256: str) -> bool:
    """Return True if the file can be read and its content has this SHA-256."""
    try:
        return atomic.file_sha256(path) == sha256
    except OSError:
        return False


def _encoded(line: ManifestLine) -> bytes:
    return json.dumps(line).encode() + b"\n"


def _lines(path: Path) -> Iterator[tuple[int, ManifestLine]]:
    """Where each whole line of ours begins, and what it says."""
    place = 0
    with open(path, "rb") as file:
        for raw in file:
            line = _parsed(raw)
            if line is not None:
                yield place, line
            place += len(raw)


def _parsed(raw: bytes) -> ManifestLine | None:
    """None for the half-written last line of a killed run, and for what is not ours."""
    try:
        line = json.loads(raw)
        known = all(isinstance(line[key], str) for key in ("input", "output", "status"))
    except (ValueError, KeyError, TypeError):
        return None
    return line if known else None
