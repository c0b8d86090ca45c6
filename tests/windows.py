"""Rules of Windows that this system can keep: other locks, no sync or removal of a file that is open for reading or at all."""

import errno
import fcntl
import os
import shutil
import signal
import struct
import sys
import types
from pathlib import Path

from translate import atomic

ACCESS_MODE = os.O_RDONLY | os.O_WRONLY | os.O_RDWR


def as_on_windows(monkeypatch):
    """Let the package run by the rules of Windows; returns the list of the places that it locks: (descriptor, offset)."""
    monkeypatch.setattr(atomic, "POSIX", False)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    msvcrt = fake_msvcrt()
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    for name in ("SIGHUP", "pthread_sigmask"):
        monkeypatch.delattr(signal, name)
    monkeypatch.setattr(shutil, "_use_fd_functions", False)
    monkeypatch.setattr(os, "fsync", only_where_writable(os.fsync))
    monkeypatch.setattr(os, "open", no_folders(os.open))
    monkeypatch.setattr(os, "rename", of_closed_files(os.rename, may_replace=False))
    for name in ("unlink", "remove", "replace"):
        monkeypatch.setattr(os, name, of_closed_files(getattr(os, name)))
    return msvcrt.places


def fake_msvcrt():
    """msvcrt with the locks of an open file, at its position: those of another handle exclude it, also in one process."""
    module = types.ModuleType("msvcrt")
    module.LK_NBLCK, module.places = 2, []

    def locking(handle, mode, count):
        assert mode == module.LK_NBLCK
        offset = os.lseek(handle, 0, os.SEEK_CUR)
        module.places.append((handle, offset))
        writable = fcntl.fcntl(handle, fcntl.F_GETFL) & ACCESS_MODE != os.O_RDONLY
        kind = fcntl.F_WRLCK if writable else fcntl.F_RDLCK
        try:
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, offset, count, 0))
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    module.locking = locking
    return module


def only_where_writable(fsync):
    def strict(handle):
        if fcntl.fcntl(handle, fcntl.F_GETFL) & ACCESS_MODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        fsync(handle)

    return strict


def no_folders(open_):
    def strict(path, flags, mode=0o777, *, dir_fd=None):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_(path, flags, mode)

    return strict


def of_closed_files(action, may_replace=True):
    """`action` on paths, refused where one of them, or a file below it, is open in this process."""

    def strict(*paths):
        for path in paths:
            if any(is_at_or_below(target, path) for target in open_files()):
                raise PermissionError(errno.EACCES, "used by another process", str(path))
        if not may_replace and len(paths) == 2 and os.path.lexists(paths[1]):
            raise FileExistsError(errno.EEXIST, "exists", str(paths[1]))
        return action(*paths)

    return strict


def open_files():
    """Paths of the files that this process has open."""
    for handle in Path("/proc/self/fd").iterdir():
        try:
            yield str(handle.readlink())
        except FileNotFoundError:  # of the listing itself
            continue


def is_at_or_below(target, path):
    real = os.path.realpath(path)
    return target == real or target.startswith(real + os.sep)
