"""Atomic writes of files and folders, storage errors, and hashes of files."""

import errno
import hashlib
import os
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from translate.errors import StorageError, TranslateError

TEMPORARY_PREFIX = ".translate-"
"""Prefix of the names of half-written files."""

POSIX = os.name == "posix"
"""False on Windows: other locks, no folder is opened, and no open file is removed or replaced."""

UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK, errno.ENOTTY}
"""Errors of a file system that cannot lock, or cannot sync."""


def write(path: Path, data: bytes) -> None:
    """Write a file, so that it appears whole or not at all; its folder is made if needed. OSError if that fails."""
    temporary = stage(path, data)
    try:
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def stage(path: Path, data: bytes, tag: str = "") -> Path:
    """Write and sync the data under a temporary name beside `path`; returns that name, to be renamed to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path, tag)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            sync(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


@contextmanager
def open_for_writing(path: Path, tag: str = "") -> Iterator[BinaryIO]:
    """Open a file to write it piece by piece; it gets its name when the block ends without an error, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path, tag)
    try:
        with open(temporary, "xb") as file:
            yield file
            sync(file)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_path(path: Path, tag: str = "") -> Path:
    """Return a unique name in the folder of `path`; it is short, even where the name of `path` has the maximal length."""
    return path.parent / f"{TEMPORARY_PREFIX}{tag}{os.getpid()}-{secrets.token_hex(4)}"


def remove_temporaries(folder: Path, tag: str = "") -> None:
    """Remove half-written files that a killed process left anywhere below the folder: all, or those with this tag."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.startswith(TEMPORARY_PREFIX + tag):
                with suppress(OSError):
                    os.unlink(os.path.join(parent, name))


def sync(file: IO[Any]) -> None:
    """Sync a file that is open for writing to disk, where its file system can. OSError if it could not be written."""
    file.flush()
    _sync_handle(file.fileno(), UNSUPPORTED)


def sync_folder(folder: Path) -> None:
    """Sync a folder to disk, so that a rename in it survives a power cut.

    Does nothing where that is impossible: on Windows, which opens no folders, on shares (SMB, 9p, vboxsf) that sync no folders,
    and in folders that may be written but not read.
    """
    if not POSIX:
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        _sync_handle(handle, UNSUPPORTED | {errno.EBADF, errno.EISDIR, errno.EACCES, errno.EPERM})
    finally:
        os.close(handle)


def _sync_handle(handle: int, tolerated: Set[int]) -> None:
    try:
        os.fsync(handle)
    except OSError as e:
        if e.errno not in tolerated:
            raise


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn a failure to write within the block into a StorageError that names the folder."""
    try:
        yield
    except TranslateError:  # some are RuntimeErrors, but none of these is of the disk
        raise
    except (OSError, RuntimeError) as e:  # torch.save raises RuntimeError on a full disk
        cause = e if isinstance(e, OSError) else e.__cause__ or e.__context__ or e
        raise StorageError(f"{folder}: cannot be written: {getattr(cause, 'strerror', None) or cause}") from e


def is_storage_failure(error: OSError) -> bool:
    """Return True if the disk or folder is at fault (full, read-only, no permission), and not the name of the one file."""
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
    """Remove the folder, and the parents that the block has made, if the block fails and leaves them empty."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
        raise


def check_writable(folder: Path) -> None:
    """Make a folder, and raise StorageError if it cannot be made or written to."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = temporary_path(folder / "probe")
        probe.write_bytes(b"")
        probe.unlink()


def name_folding(folder: Path) -> Callable[[str], str]:
    """Return a function that maps names which the folder's file system takes for the same to one key.

    Some file systems ignore case or Unicode form. A probe file, which is removed again, finds out.
    """
    probe = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-a\u00e9"
    probe.write_bytes(b"")
    try:
        ignores_case = probe.with_name(probe.name[:-2] + "A\u00e9").exists()
        ignores_form = probe.with_name(probe.name[:-1] + "e\u0301").exists()
    finally:
        probe.unlink()

    def fold(name: str) -> str:
        name = unicodedata.normalize("NFC", name) if ignores_form else name
        return name.casefold() if ignores_case else name

    return fold


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Replace a folder: `fill` writes the new content into a folder beside it, which is renamed into place.

    StorageError where that fails; the old content is kept then.
    """
    new, old = folder.with_name(f".{folder.name}-new"), previous_folder(folder)
    with storage_errors(folder.parent):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        fill(new)
        for path in new.iterdir():
            with open(path, "rb+") as file:  # Windows syncs no file that is open for reading alone
                sync(file)
        sync_folder(new)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.rename(folder, old)
        os.rename(new, folder)
        sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Recover from a kill within `replace_folder`: restore the old content if the folder is missing, and remove leftovers."""
    old = previous_folder(folder)
    if old.is_dir() and not folder.exists():
        os.rename(old, folder)
    for leftover in (old, folder.with_name(f".{folder.name}-new")):
        shutil.rmtree(leftover, ignore_errors=True)


def previous_folder(folder: Path) -> Path:
    """Return the path of a folder's old content between the two renames of `replace_folder`."""
    return folder.with_name(f".{folder.name}-old")


def append(path: Path, data: bytes) -> None:
    """Append data to a file, all of it or nothing: half a record would spoil those after it. OSError if that fails."""
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
