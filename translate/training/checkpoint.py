"""Checkpoints: one file for the whole training state with its own SHA-256, and the model folder that conversion takes."""

import hashlib
import io
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from translate import files
from translate.errors import ModelError

_HEADER = b"translate state 1 "  # then the SHA-256 of what follows in hexadecimal, and a line feed
_LENGTH = len(_HEADER) + 64 + 1
KEPT = 2
"""Checkpoints that are kept: never fewer than two, so that a bad one does not end the run."""


class _Hashing(io.RawIOBase):
    """Passes what is written on to a file and hashes it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256 = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return self.file.write(data)


def save(folder: Path, state: dict[str, Any], keep_every: int | None = None) -> Path:
    """Writes `state-<images>.ckpt`, whole or not at all, and removes old ones.

    The newest KEPT stay, and with `keep_every` the first at or after each multiple of so many images.
    """
    path = folder / f"state-{state['images']}.ckpt"
    temporary = files.temporary_name(path)
    with files.storage(folder):
        try:
            with open(temporary, "xb") as file:
                file.write(bytes(_LENGTH))
                hashing = _Hashing(file)
                torch.save(state, hashing)  # type: ignore[arg-type]
                file.seek(0)
                file.write(_HEADER + hashing.sha256.hexdigest().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            files.sync_folder(folder)
        finally:
            temporary.unlink(missing_ok=True)
    _prune(folder, keep_every)
    return path


def _prune(folder: Path, keep_every: int | None) -> None:
    paths = saved(folder)
    stay = set(paths[:KEPT])
    if keep_every is not None:
        first = {images_of(path) // keep_every: path for path in paths}  # of each interval; they come newest first
        stay |= {path for interval, path in first.items() if interval > 0}
    for old in paths:
        if old not in stay:
            with suppress(OSError):  # a file that cannot be removed must not stop training
                old.unlink()


def images_of(path: Path) -> int:
    """Training images seen, as the name of a checkpoint says."""
    return int(path.stem.removeprefix("state-"))


def saved(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first by images seen."""
    found = [path for path in folder.glob("state-*.ckpt") if path.stem.removeprefix("state-").isdigit()]
    return sorted(found, key=images_of, reverse=True)


def load(path: Path) -> dict[str, Any]:
    """The state in a checkpoint file; ModelError if it is not exactly what was written."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise ModelError(f"{path}: cannot be read: {e.strerror}") from None
    content = memoryview(data)[_LENGTH:]
    if data[:_LENGTH] != _HEADER + hashlib.sha256(content).hexdigest().encode() + b"\n":
        raise ModelError(f"{path}: damaged checkpoint: its content does not match its SHA-256")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as e:  # whole, but not ours: a pickle with code, or a file of another version
        raise ModelError(f"{path}: not a training state: {' '.join(str(e).split())[:200]}") from None


def newest(folder: Path, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The state of the newest checkpoint that is whole; None if there is none at all, ModelError if all are damaged."""
    paths = saved(folder)
    for path in paths:
        try:
            return load(path)
        except ModelError as e:
            say(f"{e}; trying the one before it")
    if paths:
        raise ModelError(f"{folder}: none of its {len(paths)} checkpoints is whole; start anew with another --run")
    return None


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """The folder's new content is written beside it and renamed into place."""
    new, old = folder.with_name(f".{folder.name}-new"), previous(folder)
    with files.storage(folder.parent):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        fill(new)
        for path in new.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        files.sync_folder(new)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.rename(folder, old)
        os.rename(new, folder)
        files.sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)


def tidy(folder: Path) -> None:
    """After a kill within `replace_folder`: the folder is there, with its old or its new content, and nothing beside it."""
    old = previous(folder)
    if old.is_dir() and not folder.exists():
        os.rename(old, folder)
    for left in (old, folder.with_name(f".{folder.name}-new")):
        shutil.rmtree(left, ignore_errors=True)


def previous(folder: Path) -> Path:
    """Where a folder's old content is for the instant between the two renames of `replace_folder`."""
    return folder.with_name(f".{folder.name}-old")
