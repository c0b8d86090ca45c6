"""Files that are whole or not there: atomic writes, locks, and disks that fail."""

import errno
import hashlib
import os
import platform
import secrets
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from translate.errors import BusyError, StorageError

TEMPORARY_PREFIX = ".translate-"
"""How the names of half-written files begin."""


def write(path: Path, data: bytes) -> None:
    """The file appears whole or not at all."""
    temporary = stage(path, data)
    try:
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def stage(path: Path, data: bytes, tag: str = "") -> Path:
    """Writes and syncs the data under a temporary name beside `path`, to be renamed to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path, tag)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


@contextmanager
def open_for_writing(path: Path, tag: str = "") -> Iterator[BinaryIO]:
    """A file to write to piece by piece; under its own name only once the block has ended well, as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path, tag)
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_path(path: Path, tag: str = "") -> Path:
    """A name that nobody else uses, in the same folder; short even where that of `path` is as long as can be."""
    return path.parent / f"{TEMPORARY_PREFIX}{tag}{os.getpid()}-{secrets.token_hex(4)}"


def remove_temporaries(folder: Path, tag: str = "") -> None:
    """Removes what a killed process left half-written anywhere below the folder: all, or what has this tag."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.startswith(TEMPORARY_PREFIX + tag):
                with suppress(OSError):
                    os.unlink(os.path.join(place, name))


def sync_folder(folder: Path) -> None:
    """Makes a rename in the folder last (where the system can: Windows cannot open folders)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """A failure to write within the block becomes a StorageError that names the folder."""
    try:
        yield
    except (OSError, RuntimeError) as e:  # torch.save tells of a full disk by a RuntimeError
        cause = e if isinstance(e, OSError) else e.__cause__ or e.__context__ or e
        raise StorageError(f"{folder}: cannot be written: {getattr(cause, 'strerror', None) or cause}") from e


def is_storage_failure(error: OSError) -> bool:
    """Whether the disk or folder is at fault (full, read-only, not ours), and not the one file's name."""
    return error.errno not in (
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.EILSEQ,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.EEXIST,
    )


@contextmanager
def remove_empty_folders_on_error(folder: Path) -> Iterator[None]:
    """Folders that the block makes on the way to this one are removed if it fails and has put nothing there."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        for place in missing:
            with suppress(OSError):
                place.rmdir()
        raise


def check_writable(folder: Path) -> None:
    """StorageError at once where a folder cannot be made or written to."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = temporary_path(folder / "probe")
        probe.write_bytes(b"")
        probe.unlink()


def name_folding(folder: Path) -> Callable[[str], str]:
    """What the folder's file system makes of a name when it compares it with others: some heed neither case nor Unicode form.

    Found by trying, with a file that is removed again.
    """
    probe = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-a\u00e9"
    probe.write_bytes(b"")
    try:
        case = probe.with_name(probe.name[:-2] + "A\u00e9").exists()
        form = probe.with_name(probe.name[:-1] + "e\u0301").exists()
    finally:
        probe.unlink()

    def fold(name: str) -> str:
        name = unicodedata.normalize("NFC", name) if form else name
        return name.casefold() if case else name

    return fold


@contextmanager
def lock_folder(folder: Path, remedy: str, part: str = "") -> Iterator[None]:
    """Holds the folder, or a named part of it, for this process; the system frees it when the process dies.

    Parts may be held side by side, but not beside the whole. BusyError names who else holds it.
    """
    with ExitStack() as held:
        with ExitStack() as gate:
            gate.enter_context(_held(folder / LOCK_FILE, remedy, patience=LOCK_WAIT_SECONDS if part else 0))
            if part:
                held.enter_context(_held(folder / f"run-{part}.lock", remedy))
            else:
                for other in folder.glob("run-*.lock"):
                    with _held(other, remedy):
                        pass  # left over: whoever held it is dead
                held.enter_context(gate.pop_all())
        yield


LOCK_FILE = "run.lock"
LOCK_WAIT_SECONDS = 10
"""Seconds that parts wait for each other to begin."""


@contextmanager
def _held(path: Path, remedy: str, patience: float = 0) -> Iterator[None]:
    """Holds one lock file, which is removed at the end."""
    folder, until = path.parent, time.monotonic() + patience
    while True:
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (open as long as the lock is held)
        with file:
            if not _take(file.fileno()):
                if time.monotonic() < until:
                    time.sleep(0.05)
                    continue
                file.seek(0)
                raise BusyError(f"{folder}: in use by {file.read().strip() or 'another run'}; {remedy}")
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                continue  # the run that held it has just ended and removed it
            with storage_errors(folder):  # unbuffered: a full disk is met here, not again when the file is closed
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), f"process {os.getpid()} on {platform.node()}".encode())
            try:
                yield
            finally:
                with suppress(OSError):
                    path.unlink()
            return


def _take(handle: int) -> bool:
    """Locks an open file for this process, without waiting."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    return True


def lock_holder(folder: Path) -> str | None:
    """Who is at work in a folder, as "process 42 on host"; None if nobody is.

    The lock is tried for an instant, shared with whoever else looks; a file without a lock was left by a run that was killed.
    """
    try:
        with open(folder / LOCK_FILE, "rb") as file:
            if os.name == "posix":
                import fcntl

                try:
                    fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    return file.read().decode(errors="replace").strip() or "another process"
            else:
                file.read(1)  # refused while it is locked
    except FileNotFoundError:
        return None
    except PermissionError:
        return "another process"
    return None


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """The folder's new content is written beside it and renamed into place."""
    new, old = folder.with_name(f".{folder.name}-new"), previous_folder(folder)
    with storage_errors(folder.parent):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        fill(new)
        for path in new.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        sync_folder(new)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.rename(folder, old)
        os.rename(new, folder)
        sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """After a kill within `replace_folder`: the folder is there, with its old or its new content, and nothing beside it."""
    old = previous_folder(folder)
    if old.is_dir() and not folder.exists():
        os.rename(old, folder)
    for left in (old, folder.with_name(f".{folder.name}-new")):
        shutil.rmtree(left, ignore_errors=True)


def previous_folder(folder: Path) -> Path:
    """Where a folder's old content is for the instant between the two renames of `replace_folder`."""
    return folder.with_name(f".{folder.name}-old")


def append(path: Path, data: bytes) -> None:
    """The data at the end of a file, all of it or nothing: half a record would spoil those that come after it."""
    before = path.stat().st_size if path.exists() else 0
    try:
        with open(path, "ab") as file:
            file.write(data)
    except OSError:
        with suppress(OSError):
            os.truncate(path, before)
        raise


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal. OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
