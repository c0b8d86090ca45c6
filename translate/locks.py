"""Locks of folders: a lock file that the system frees when its process dies, or that is the lock where there are no others."""

import atexit
import errno
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from translate import atomic
from translate.errors import BusyError, StorageError


@contextmanager
def lock_folder(folder: Path, remedy: str, part: str = "") -> Iterator[None]:
    """Lock the folder, or a named part of it, for this process within the block; the system frees it when the process dies.

    Parts may be locked side by side, but not beside the whole. BusyError names who else holds the lock, and `remedy`. On a file
    system without locks the file itself is the lock: then nobody takes over that of a process that died on another machine.
    """
    with ExitStack() as held:
        with ExitStack() as gate:
            gate.enter_context(_lock_file(folder / LOCK_FILE, remedy, wait_seconds=LOCK_WAIT_SECONDS if part else 0))
            if part:
                held.enter_context(_lock_file(folder / f"run-{part}.lock", remedy))
            else:
                for other in folder.glob("run-*.lock"):
                    with _lock_file(other, remedy):
                        pass  # left over: whoever held it is dead
                held.enter_context(gate.pop_all())
        yield


LOCK_FILE = "run.lock"
"""Lock file of a whole folder; it names the process that holds it."""
LOCK_WAIT_SECONDS = 10
"""Seconds that the lock of a part waits for other parts, which hold the whole for an instant."""
LOCK_BYTE = 1 << 30
"""Offset of the byte that is locked on Windows: far behind the text, since others cannot read what is locked there."""
NO_LOCKS = ", without file locks"
"""End of the text in a lock file that is the lock itself, on a file system without locks."""

_FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)  # a link would lead to somebody's file; Windows has no such flag
_HELD_ELSEWHERE = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


@contextmanager
def _lock_file(path: Path, remedy: str, wait_seconds: float = 0) -> Iterator[None]:
    """Hold one lock file within the block; it is removed at the end."""
    lock, deadline = _LockFile(path), time.monotonic() + wait_seconds
    _locks.add(lock)  # before the file exists: whatever interrupts this process from here on, it does not stay
    try:
        while not lock.acquire():
            if time.monotonic() >= deadline:
                holder, lock.is_wanted = lock.text(), False
                hint = f"; if that process is gone, delete {path}" if lock.has_system_locks is False else ""
                raise BusyError(f"{path.parent}: in use by {holder or 'another run'}; {remedy}{hint}")
            time.sleep(0.05)
        yield
    finally:
        lock.release()
        _locks.discard(lock)


class _LockFile:
    """Lock file that this process holds, or tries to hold."""

    def __init__(self, path: Path) -> None:
        self.path, self.process = path, os.getpid()
        self.handle: int | None = None
        self.is_new = self.is_held = False
        self.is_wanted = True
        """False once the file is known to be another's."""
        self.has_system_locks: bool | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free. StorageError if the file cannot be written."""
        while True:
            self.close()
            with atomic.storage_errors(self.path.parent):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._open()
                self.is_held = self._take()
                if self.is_held and not self._is_current():
                    self.is_held = False
                    continue  # whoever held it has just ended and removed it
                if self.is_held:
                    self._write_text()
                    return True
                if self.has_system_locks or not _is_dead(self.text(), self.path):
                    return False
                self._discard()

    def _open(self) -> None:
        try:
            self.handle, self.is_new = os.open(self.path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            if self.path.is_symlink():
                raise StorageError(f"{self.path}: is a link; remove it") from None
            self.handle, self.is_new = os.open(self.path, _FLAGS | os.O_CREAT, 0o666), False

    def _take(self) -> bool:
        """Lock the open file; True if this process holds the lock now."""
        assert self.handle is not None
        locked, text = try_lock(self.handle), self.text()
        self.has_system_locks = locked is not None and not (text.endswith(NO_LOCKS) and not _is_dead(text, self.path))
        return bool(locked) if self.has_system_locks else self.is_new

    def _is_current(self) -> bool:
        assert self.handle is not None
        try:
            return os.path.samestat(os.fstat(self.handle), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _write_text(self) -> None:
        assert self.handle is not None
        text = f"process {self.process} on {platform.node()}{'' if self.has_system_locks else NO_LOCKS}"
        os.ftruncate(self.handle, 0)
        os.lseek(self.handle, 0, os.SEEK_SET)
        os.write(self.handle, text.encode())  # unbuffered: a full disk is met here, not again when the file is closed

    def text(self) -> str:
        """Return who the file says holds the lock, as "process 42 on host"."""
        assert self.handle is not None
        os.lseek(self.handle, 0, os.SEEK_SET)
        return os.read(self.handle, 1000).decode(errors="replace").strip()

    def _discard(self) -> None:
        """Remove the file of a dead process, where it is the lock itself; of several that try one gets it."""
        before, aside = (
            self.text(),
            self.path.with_name(f"{atomic.TEMPORARY_PREFIX}{self.path.name}-{secrets.token_hex(4)}"),
        )
        self.close()
        with suppress(FileNotFoundError):
            os.rename(self.path, aside)
            if aside.read_text(encoding="utf-8", errors="replace").strip() != before:  # another has taken it meanwhile
                os.rename(aside, self.path)
            else:
                aside.unlink()

    def close(self) -> None:
        """Close the file, which frees the lock of the system."""
        handle, self.handle, self.is_new = self.handle, None, False
        if handle is not None:
            os.close(handle)

    def release(self) -> None:
        """Free the lock and remove the file; also of a lock that a signal has interrupted on the way."""
        if self.process != os.getpid():  # a child that was forked has a copy, and holds nothing
            return
        with suppress(OSError):
            if self.is_wanted and not self.is_held:
                if self.handle is None:
                    self.handle = os.open(self.path, _FLAGS)
                self.is_held = self._take() and self._is_current()
            if self.is_held and atomic.POSIX:
                os.unlink(self.path)  # while it is locked, so that it is not another's by now
        self.close()
        if (
            self.is_held and not atomic.POSIX
        ):  # there no open file is removed: neither by this process, nor if it is another's by now
            with suppress(OSError):
                os.unlink(self.path)
        self.is_held = self.is_wanted = False


_locks: set[_LockFile] = set()
"""Locks that this process holds, or is about to hold."""


@atexit.register
def _release_locks() -> None:
    """Remove the lock files of a process that a signal has interrupted where no block could."""
    for lock in list(_locks):
        lock.release()


def try_lock(handle: int) -> bool | None:
    """Lock an open file for this process, without waiting: False if another holds it, None if the file system has no locks."""
    try:
        if atomic.POSIX:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            os.lseek(handle, LOCK_BYTE, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError as e:
        if e.errno in _HELD_ELSEWHERE:
            return False
        if e.errno in atomic.UNSUPPORTED:
            return None
        raise
    return True


def _is_dead(holder: str, path: Path) -> bool:
    """Return True if the holder that the text of a lock file names was a process of this machine that has ended."""
    found = re.match(r"process (\d+) on (.*)", holder.removesuffix(NO_LOCKS))
    if found is None or found[2] != platform.node():
        return False
    process = int(found[1])
    if process == os.getpid():  # of a process of this number before this one, as in a container
        return not any(lock.is_held and lock.path == path for lock in _locks)
    return not _exists(process)


def _exists(process: int) -> bool:
    """Return True if there is a process of this number; always on Windows, where asking would end it."""
    if not atomic.POSIX:
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def lock_holder(folder: Path) -> str | None:
    """Return who holds the lock of a folder, as "process 42 on host"; None if nobody does.

    The lock is tried for an instant, and shared with others who try; an unlocked file was left by a run that was killed.
    """
    try:
        with open(folder / LOCK_FILE, "rb") as file:
            text = file.read(1000).decode(errors="replace").strip()
            free = _is_free(file.fileno())
    except FileNotFoundError:
        return None
    if free is None or (free and text.endswith(NO_LOCKS)):
        free = _is_dead(text, folder / LOCK_FILE)
    return None if free else text.removesuffix(NO_LOCKS) or "another process"


def _is_free(handle: int) -> bool | None:
    """Return whether nobody holds the lock of an open file; None if the file system has no locks."""
    if not atomic.POSIX:
        return try_lock(handle)  # closing the file frees it
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as e:
        return None if e.errno in atomic.UNSUPPORTED else False
    return True
