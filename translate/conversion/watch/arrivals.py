"""Files that arrive in a folder, and when each of them is whole: nobody writes it any more."""

import os
import stat
import time
from collections.abc import Callable, Iterable, Set
from pathlib import Path
from typing import NamedTuple

SETTLE_SECONDS = 1.0
"""Seconds for which a file must not change before it is whole."""


class FileState(NamedTuple):
    """State of a file: it changes when the file is written to or replaced."""

    size: int
    mtime_ns: int
    device: int
    inode: int


class _Waiting(NamedTuple):
    """A file that may not be whole yet."""

    state: FileState
    since: float
    """Time at which it was first seen in this state."""


class Arrivals:
    """Files of a folder that have arrived, each given out once it is whole, and again after it has changed.

    A file is whole when its size, time and inode have stayed the same for `settle` seconds and no process has it open for
    writing, as far as the system tells. A writer that pauses for longer where the system does not tell (another machine) is
    taken for done: its file is given out again when it goes on.

    Args:
        root: Folder that names are relative to.
        settle: Seconds for which a file must not change.
        clock: Time in seconds.
        written: Return (device, inode) of the files that are open for writing.
    """

    def __init__(
        self,
        root: Path,
        settle: float = SETTLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        written: Callable[[], Set[tuple[int, int]]] | None = None,
    ) -> None:
        self.root, self.settle, self.clock = root, settle, clock
        self.written = files_open_for_writing if written is None else written
        self._waiting: dict[str, _Waiting] = {}
        self._given: dict[str, FileState] = {}
        """Files that were given out, in the state that they had."""

    def add(self, names: Iterable[str]) -> None:
        """Take note of files that are new or may have changed; those that were given out in their present state are not."""
        for name in names:
            state = file_state(self.root / name)
            if state is None:
                self._given.pop(name, None)
            if state is None or self._given.get(name) == state:
                self._waiting.pop(name, None)
            elif name not in self._waiting or self._waiting[name].state != state:
                self._waiting[name] = _Waiting(state, self.clock())

    def take_whole(self) -> list[str]:
        """Return the sorted names of the files that have become whole since the last call; deleted ones are forgotten."""
        now = self.clock()
        due = [name for name, waiting in self._waiting.items() if now - waiting.since >= self.settle]
        self.add(due)
        due = [name for name in due if name in self._waiting and self._waiting[name].since < now]
        if not due:
            return []
        written, whole = self.written(), []
        for name in due:
            state = self._waiting[name].state
            if (state.device, state.inode) in written:
                self._waiting[name] = _Waiting(state, now)  # looked at again after another `settle` seconds
            else:
                self._given[name] = state
                del self._waiting[name]
                whole.append(name)
        return sorted(whole)


def file_state(path: Path) -> FileState | None:
    """Return the state of a regular file, or of the file that a link leads to; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return FileState(found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino)


def files_open_for_writing(processes: Path = Path("/proc")) -> set[tuple[int, int]]:
    """Return (device, inode) of the files that are open for writing on this machine, in processes that we may look at.

    Linux alone tells; elsewhere none. The permissions of a link in `/proc/PID/fd` are those that the file was opened with.
    """
    found: set[tuple[int, int]] = set()
    for process in _entries(processes):
        if not process.name.isdecimal():
            continue
        for handle in _entries(Path(process.path) / "fd"):
            try:
                if handle.stat(follow_symlinks=False).st_mode & stat.S_IWUSR:
                    target = handle.stat()
                    if stat.S_ISREG(target.st_mode):
                        found.add((target.st_dev, target.st_ino))
            except OSError:  # it was closed meanwhile
                continue
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder; none if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
