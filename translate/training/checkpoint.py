"""Checkpoints: one file with the whole training state and its own SHA-256."""

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from translate import atomic, records
from translate.errors import ModelError
from translate.run_folder import checkpoint_images, checkpoint_path, list_checkpoints
from translate.text import one_line

_HEADER = b"translate state 1 "  # then the SHA-256 of what follows in hexadecimal, and a line feed
_LENGTH = len(_HEADER) + 64 + 1
KEEP_NEWEST = 2
"""Newest checkpoints that are kept: never fewer than two, so that a damaged one does not end the run."""


class _Hashing(io.RawIOBase):
    """Writable stream that passes data on to a file and hashes it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256 = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return self.file.write(data)


def save(folder: Path, state: dict[str, Any], keep_every: int | None = None) -> Path:
    """Write `state-<images>.ckpt`, whole or not at all, and remove old checkpoints.

    The KEEP_NEWEST newest stay, and with `keep_every` the first at or after each multiple of so many images. StorageError where
    the file cannot be written.
    """
    path = checkpoint_path(folder, state["images"])
    temporary = atomic.temporary_path(path)
    with atomic.storage_errors(folder):
        try:
            with open(temporary, "xb") as file:
                file.write(bytes(_LENGTH))
                hashing = _Hashing(file)
                torch.save(state, hashing)  # type: ignore[arg-type]
                file.seek(0)
                file.write(_HEADER + hashing.sha256.hexdigest().encode() + b"\n")
                atomic.sync(file)
            os.replace(temporary, path)
            atomic.sync_folder(folder)
        finally:
            temporary.unlink(missing_ok=True)
    _prune(folder, keep_every)
    return path


def _prune(folder: Path, keep_every: int | None) -> None:
    paths = list_checkpoints(folder)
    stay = {*paths[:KEEP_NEWEST], *kept_for_good(paths, keep_every)}
    for old in paths:
        if old not in stay:
            with suppress(OSError):  # a file that cannot be removed must not stop training
                old.unlink()


def kept_for_good(paths: Sequence[Path], keep_every: int | None) -> set[Path]:
    """Return those of the checkpoints, newest first, that are the first at or after a multiple of `keep_every` images."""
    if keep_every is None:
        return set()
    first = {checkpoint_images(path) // keep_every: path for path in paths}  # later ones replace earlier ones
    return {path for interval, path in first.items() if interval > 0}


def load(path: Path) -> dict[str, Any]:
    """Return the state in a checkpoint file. ModelError if the file is not exactly what was written."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise ModelError(f"{path}: cannot be read: {e.strerror}") from None
    content = memoryview(data)[_LENGTH:]
    if data[:_LENGTH] != _HEADER + hashlib.sha256(content).hexdigest().encode() + b"\n":
        raise ModelError(f"{path}: damaged checkpoint: its content does not match its SHA-256")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as e:  # whole, but not a training state: a pickle with code, or a file of another version
        raise ModelError(f"{path}: not a training state: {one_line(e)}") from None
    if not isinstance(state, dict) or not records.is_count(state.get("images")):
        raise ModelError(f"{path}: not a training state: it does not say after how many images it was saved")
    return state


def load_newest(folder: Path, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Return the state of the newest whole checkpoint; None if there are no checkpoints, ModelError if all are damaged."""
    paths = list_checkpoints(folder)
    for path in paths:
        try:
            return load(path)
        except ModelError as e:
            say(f"{e}; trying the one before it")
    if paths:
        raise ModelError(f"{folder}: none of its {len(paths)} checkpoints is whole; start a new run with another --run")
    return None
