"""Files of an augmented set that no model makes: originals and their labels. The manifest has a line for each."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from translate import atomic
from translate.conversion.committer import Committer
from translate.conversion.item import StagedOutput
from translate.conversion.manifest import Manifest
from translate.conversion.output_paths import Item
from translate.conversion.overwrite_guard import linked_folder
from translate.conversion.pipeline import THREADS
from translate.errors import DataError, Interrupted, UsageError
from translate.runtime import signals
from translate.text import printable

COPIED = "copy"
"""Name in the place of the model in the manifest's lines of files that no model has made."""
CHUNK = 1 << 20
"""Bytes that are copied at a time."""


def copies_manifest(output: Path) -> Manifest:
    """Return the manifest by which files are known that no model has made."""
    return Manifest(output, COPIED, {})


def copy_files(root: Path, output: Path, paths: Iterable[str], committer: Committer) -> int:
    """Copy files that are not there yet, byte by byte, and return their number.

    DataError where a file cannot be read, UsageError where one of the same name was not written by this job, StorageError,
    and Interrupted after a clean stop.
    """
    manifest = committer.manifest
    todo = manifest.select_undone((Item(path, path) for path in paths), root)
    for item in todo:
        check_free(output, item.output, manifest)
    with signals.stop_on_signal() as stop, ThreadPoolExecutor(THREADS) as pool:

        def copy(item: Item) -> None:
            if not stop:
                committer(_stage_copy(root, output, item))

        list(pool.map(copy, todo))
    if stop:
        raise Interrupted("stopped while files were copied; run the same command again to resume", stop.signal)
    return len(todo)


def write_labels(output: Path, files: Iterable[tuple[Item, Callable[[], bytes]]], committer: Committer) -> int:
    """Write files of labels whose content differs from what is there, and return the number of all.

    files: for each its item and a function that returns the content. Raises as `copy_files`.
    """
    manifest, count = committer.manifest, 0
    with signals.stop_on_signal() as stop:
        for item, content in files:
            if stop:
                raise Interrupted(
                    "stopped while labels were written; run the same command again to resume", stop.signal
                )
            data, target = content(), output / item.output
            count += 1
            if manifest.output_names.get(item.key) == item.output and _holds(target, data):
                continue
            check_free(output, item.output, manifest)
            started = time.monotonic()
            with atomic.storage_errors(output):
                temporary = atomic.stage(target, data)
            line = _line(item, started, hashlib.sha256(data).hexdigest(), temporary)
            committer(StagedOutput(item, line, temporary))
    return count


def check_free(output: Path, path: str, manifest: Manifest) -> None:
    """Raise UsageError where a file is in the place of one that is to be written, and no earlier run has written it."""
    target = output / path
    if (link := linked_folder(output, target)) is not None:
        raise UsageError(f"{link}: is a link, which outputs do not follow; remove it, or use another folder")
    if os.path.lexists(target) and not manifest.was_written(path):
        raise UsageError(f"{printable(target)}: exists, and was not written by this job; use another output folder")


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _stage_copy(root: Path, output: Path, item: Item) -> StagedOutput:
    """Copy a file to a temporary name."""
    started, target = time.monotonic(), output / item.output
    digest = hashlib.sha256()
    try:
        source = open(root / item.input, "rb")  # noqa: SIM115 - its errors are of another kind than those of the copy
    except OSError as e:
        raise DataError(f"{printable(root / item.input)}: cannot be read: {e.strerror}") from None
    with source, atomic.storage_errors(output):
        stat = os.fstat(source.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = atomic.temporary_path(target)
        try:
            with open(temporary, "xb") as copy:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    copy.write(chunk)
                atomic.sync(copy)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    line = _line(item, started, digest.hexdigest(), temporary)
    return StagedOutput(item, {**line, "made_from": (stat.st_size, stat.st_mtime_ns, digest.hexdigest())}, temporary)


def _line(item: Item, started: float, sha256: str, temporary: Path) -> dict[str, object]:
    stat = temporary.stat()
    sample = {} if item.sample is None else {"sample": item.sample}
    return {
        "input": item.input, "output": item.output, **sample, "status": "done", "error": None,
        "seconds": round(time.monotonic() - started, 3), "sha256": sha256, "bytes": stat.st_size, "model": COPIED,
        "settings": {}, "written": stat.st_mtime_ns,
    }  # fmt: skip
