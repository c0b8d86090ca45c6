"""The journal of a conversion: what was made of what, by which model and how."""

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from translate.conversion.names import Item, plan

MANIFEST = "manifest.jsonl"


class Journal:
    """The manifest: one line for each input that was done or failed; the last line of an input counts."""

    def __init__(self, folder: Path, model: str, settings: dict[str, Any]) -> None:
        self.folder, self.path = folder, folder / MANIFEST
        self.model, self.settings = model, settings
        self.entries: dict[str, dict[str, Any]] = {}
        """Input → its last line."""
        self.outputs: set[str] = set()
        """What this job has made, by its name below the folder."""
        self._lock = threading.Lock()
        if self.path.exists():
            for line in self.path.read_bytes().split(b"\n"):
                try:
                    entry = json.loads(line)
                    if entry["status"] == "done":
                        self.outputs.add(entry["output"])
                    self.entries[entry["input"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue  # the half-written last line of a killed run, or not ours

    def names(self) -> dict[str, str]:
        """Input → output of what was done before."""
        return {name: entry["output"] for name, entry in self.entries.items() if entry["status"] == "done"}

    def todo(self, inputs: Sequence[str], root: Path, fmt: str, *, overwrite: bool) -> list[Item]:
        """What is still to be made of the inputs, and under which names."""
        items = plan(inputs, fmt, self.names())
        return [item for item in items if overwrite or not self.is_done(item, root)]

    def is_done(self, item: Item, root: Path) -> bool:
        """Whether the output is there, made from this very input by this model with these settings."""
        entry = self.entries.get(item.input)
        if entry is None or entry["status"] != "done" or entry["output"] != item.output:
            return False
        if entry.get("model") != self.model or entry.get("settings") != self.settings:
            return False
        try:
            made, source = os.stat(self.folder / item.output), os.stat(root / item.input)
        except OSError:
            return False
        if entry.get("made_from") != [source.st_size, source.st_mtime_ns] or entry.get("bytes") != made.st_size:
            return False
        if entry.get("written") == made.st_mtime_ns:
            return True
        return hashlib.sha256((self.folder / item.output).read_bytes()).hexdigest() == entry["sha256"]

    def add(self, **entry: Any) -> None:
        """Appends a line and syncs it."""
        with self._lock, open(self.path, "ab") as file:
            if file.tell() and not self._ends_whole():
                file.write(b"\n")
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries[entry["input"]] = entry

    def _ends_whole(self) -> bool:
        with open(self.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
