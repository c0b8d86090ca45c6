"""A folder of images to a folder of images, as a job that can be stopped at any moment and started again.

The journal `manifest.jsonl` in the output folder is the truth: an image is done when the journal says from which input, by
which model and with which settings it was made, and the output is there as the journal describes it. The line is written
before the finished output is renamed into place, so there is no moment at which an output is not accounted for.
"""

import glob
import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from translate import files, images, runtime
from translate.conversion.journal import Journal
from translate.conversion.names import Item, output_format
from translate.conversion.translator import PIXELS, Translator
from translate.errors import DataError, Interrupted, StorageError, UsageError
from translate.images import Picture


@dataclass(frozen=True)
class Options:
    """How to convert; the names are the flags'."""

    to: str = "b"
    format: str = "keep"
    quality: int | None = None
    batch_size: int = 8
    overwrite: bool = False
    dry_run: bool = False
    limit: int | None = None
    max_pixels: int = images.MAX_PIXELS
    seed: int = 0
    pixels: str = "rounded"
    background: str = "white"

    def __post_init__(self) -> None:
        if self.format != "keep" and images.writer_for(self.format) is None:
            raise UsageError(f"--format {self.format}: unknown; possible: keep, {', '.join(images.WRITERS)}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"--quality {self.quality}: must be from 1 to 100")
        if self.pixels not in PIXELS:
            raise UsageError(f"--pixels {self.pixels}: unknown; possible: {', '.join(PIXELS)}")
        try:
            images.colour(self.background)
        except ValueError:
            raise UsageError(f"--background {self.background}: no such colour; use a name or #rrggbb") from None
        for name in ("batch_size", "limit", "max_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} {value}: must be at least 1")

    def decisive(self, translator: Translator) -> dict[str, Any]:
        """What decides the bytes of an output, beside the weights and the input."""
        behaviour = {name: translator.info[name] for name in ("dropout", "norm_statistics")}
        return {
            "to": self.to, "quality": self.quality, "seed": self.seed, "pixels": self.pixels,
            "background": self.background,
            "precision": translator.precision.name, **behaviour,
        }  # fmt: skip


@dataclass
class Result:
    """What a conversion did."""

    output: Path
    done: int = 0
    skipped: int = 0
    """Already done by an earlier run."""
    others: int = 0
    """Files that are no images by their extension."""
    failures: dict[str, str] = field(default_factory=dict)
    """Input → why it failed."""
    notices: list[str] = field(default_factory=list)
    seconds: float = 0.0
    planned: list[Item] = field(default_factory=list)
    """With `dry_run`: what would be made."""


Progress = Callable[[int, int, int], None]
"""Called with images finished, failed, and in all."""


def convert(
    translator: Translator,
    source: str | Path,
    output: str | Path,
    options: Options = Options(),
    progress: Progress = lambda finished, failed, total: None,
) -> Result:
    """Converts an image, a folder (recursively) or a glob. Inputs are never changed.

    Raises UsageError, DataError (nothing to convert), StorageError, BusyError, and Interrupted after a clean stop; images
    that cannot be converted are in the result's `failures`.
    """
    translator.check_target(options.to)
    root, found = list_inputs(source)
    target = Path(output)
    if Path(source).is_file() and images.extension(target) in images.KNOWN and not target.is_dir():
        return _convert_one(translator, Path(source), target, options)
    _check_folders(root, target)
    if _inside(target, root):
        found = [name for name in found if not _inside(root / name, target)]
    inputs, others = _sort_out(found)
    if not inputs:
        raise DataError(f"{source}: no images to convert; readable: {', '.join(sorted(images.READABLE))}")
    result = Result(target, others=others)
    if options.dry_run:
        journal = Journal(target, translator.sha256, options.decisive(translator))
        todo = journal.todo(inputs, root, options.format, overwrite=options.overwrite)
        result.planned, result.skipped = todo[: options.limit], len(inputs) - len(todo)
        return result
    files.check_writable(target)
    with files.locked(target, "wait for it or use another output folder"):
        files.remove_temporaries(target)
        journal = Journal(target, translator.sha256, options.decisive(translator))
        todo = journal.todo(inputs, root, options.format, overwrite=options.overwrite)
        result.skipped = len(inputs) - len(todo)
        all_inputs = {os.path.realpath(root / name) for name in inputs}
        _Run(translator, root, todo[: options.limit], all_inputs, journal, options, result, progress).go()
    return result


def list_inputs(source: str | Path) -> tuple[Path, list[str]]:
    """The folder that relative paths start from, and all files by relative path, sorted. DataError if there are none."""
    path = Path(source)
    if path.is_dir():
        return path, [p.relative_to(path).as_posix() for p in images.walk(path, irregular=True)]
    if path.exists():
        return path.parent, [path.name]
    pattern = str(source)
    if glob.has_magic(pattern):
        root = Path(*_until_magic(Path(pattern).parts))
        matches = sorted({Path(p) for p in glob.glob(pattern, recursive=True) if Path(p).is_file()})
        if matches:
            return root, [p.relative_to(root).as_posix() for p in matches]
        raise DataError(f"{source}: no file matches")
    raise DataError(f"{source}: no such file or folder")


def _until_magic(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _check_folders(root: Path, target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target}: is a file; give a folder for the output")
    if target.is_dir() and target.resolve() == root.resolve():
        raise UsageError(f"{target}: the output folder is the input folder; give another one")


def _inside(path: Path, folder: Path) -> bool:
    return folder.resolve() in path.resolve().parents


def _sort_out(found: Iterable[str]) -> tuple[list[str], int]:
    """Images by their extension (those of formats that are not allowed too), and how many other files there are."""
    names = list(found)
    inputs = [name for name in names if images.extension(name) in images.KNOWN]
    return inputs, len(names) - len(inputs)


@dataclass
class _Work:
    item: Item
    picture: Picture
    made_from: list[int]
    started: float


class _Run:
    """Reading, translating and writing side by side, with bounded queues: memory does not grow with the folder."""

    def __init__(
        self, translator: Translator, root: Path, items: Sequence[Item], inputs: Set[str], journal: Journal,
        options: Options, result: Result, progress: Progress,
    ) -> None:  # fmt: skip
        self.translator, self.root, self.items, self.journal = translator, root, items, journal
        self.inputs = inputs
        self.options, self.result, self.progress = options, result, progress
        # On the CPU a batch is not bit-equal to its images one by one, and gains nothing.
        self.batch_size = options.batch_size if translator.device.type != "cpu" else 1
        self.reading = _reading(translator, options)
        self._started = time.monotonic()

    def go(self) -> None:
        writing: deque[Future[bool]] = deque()
        threads = max(2, min(8, os.cpu_count() or 1))
        with runtime.stop_on_signal() as stop, ThreadPoolExecutor(threads) as pool:
            self._show()
            waiting: dict[tuple[int, int], list[_Work]] = {}
            for work in self._read_ahead(pool, stop, 2 * self.batch_size + threads):
                if work is None:
                    self._show()
                    continue
                size = self.translator.padded_size(work.picture.height, work.picture.width)
                waiting.setdefault(size, []).append(work)
                if len(waiting[size]) == self.batch_size:
                    self._translate(waiting.pop(size), pool, writing)
                elif sum(map(len, waiting.values())) >= 4 * self.batch_size:
                    self._translate(waiting.pop(next(iter(waiting))), pool, writing)
                while len(writing) > 2 * self.batch_size + threads:
                    self._finish(writing.popleft())
            for batch in waiting.values():
                self._translate(batch, pool, writing)
            while writing:
                self._finish(writing.popleft())
            self.result.seconds = time.monotonic() - self._started
            if stop:
                left = len(self.items) - self.result.done - len(self.result.failures)
                raise Interrupted(f"stopped with {left} images to go; the same command goes on from there", stop.signal)

    def _read_ahead(self, pool: ThreadPoolExecutor, stop: runtime.Stop, depth: int) -> Iterator[_Work | None]:
        """Decoded inputs in their order, `depth` of them on the way; None for one that failed. Ends when stopped."""
        ahead: deque[Future[_Work | None]] = deque()
        for item in self.items:
            if stop:
                break
            ahead.append(pool.submit(self._read, item))
            if len(ahead) > depth:
                yield ahead.popleft().result()
        while ahead:
            future = ahead.popleft()
            if not (stop and future.cancel()):
                yield future.result()

    def _read(self, item: Item) -> _Work | None:
        started = time.monotonic()
        path = self.root / item.input
        try:
            if images.extension(path) in images.NOT_ALLOWED:
                raise images.ImageError("format not allowed")
            target = self.result.output / item.output
            if os.path.realpath(target) in self.inputs:
                raise images.ImageError(f"the output {item.output} would replace an input")
            if os.path.lexists(target) and not self.options.overwrite and item.output not in self.journal.outputs:
                raise images.ImageError(f"exists: {item.output} was not made by this job; --overwrite replaces it")
            stat = os.stat(path)
            picture = images.read(path, how=self.reading)
            return _Work(item, picture, [stat.st_size, stat.st_mtime_ns], started)
        except (images.ImageError, OSError) as e:
            self._fail(item, str(e) if isinstance(e, images.ImageError) else e.strerror or str(e), started)
            return None

    def _translate(self, batch: list[_Work], pool: ThreadPoolExecutor, writing: deque[Future[bool]]) -> None:
        try:
            pictures = [work.picture.pixels for work in batch]
            options = self.options
            results = self.translator.translate_pixels(
                pictures, options.to, seed=options.seed, pixels=options.pixels,
                holds=[_holds(work.item, options) for work in batch],
            )  # fmt: skip
        except (RuntimeError, MemoryError) as e:
            for work in batch:
                self._fail(work.item, " ".join(str(e).split())[:200] or "out of memory", work.started)
            return
        for work, pixels in zip(batch, results, strict=True):
            writing.append(pool.submit(self._write, work, pixels))

    def _write(self, work: _Work, pixels: np.ndarray) -> bool:
        """Encodes and writes one output; False if that failed for this image alone."""
        item, fmt = work.item, output_format(work.item.input, self.options.format)
        notices = _notices(work.picture, item, fmt, self.options, self.translator)
        try:
            data = images.encode(Picture(pixels, work.picture.alpha), fmt, self.options.quality)
            line = {
                "input": item.input,
                "output": item.output,
                "status": "done",
                "error": None,
                "seconds": round(time.monotonic() - work.started, 3),
                "sha256": hashlib.sha256(data).hexdigest(),
                "bytes": len(data),
                "made_from": work.made_from,
                "model": self.journal.model,
                "settings": self.journal.settings,
                **({"notices": notices} if notices else {}),
            }
            target = self.result.output / item.output
            files.write(target, data, lambda stat: self.journal.add(**line, written=stat.st_mtime_ns))
        except images.ImageError as e:
            self._fail(item, str(e), work.started)
        except OSError as e:
            if files.is_storage_failure(e):
                raise StorageError(f"{self.result.output}: cannot be written: {e.strerror}; run again to go on") from e
            self._fail(item, e.strerror or str(e), work.started)
        else:
            self.result.notices.extend(f"{item.input}: {notice}" for notice in notices)
            return True
        return False

    def _fail(self, item: Item, reason: str, started: float) -> None:
        self.result.failures[item.input] = reason
        seconds = round(time.monotonic() - started, 3)
        try:
            self.journal.add(
                input=item.input, output=item.output, status="failed", error=reason, seconds=seconds, sha256=None
            )
        except OSError as e:
            raise StorageError(f"{self.result.output}: cannot be written: {e.strerror}; run again to go on") from e

    def _finish(self, future: "Future[bool]") -> None:
        self.result.done += future.result()
        self._show()

    def _show(self) -> None:
        failed = len(self.result.failures)
        self.progress(self.result.done + failed, failed, len(self.items))


def _convert_one(translator: Translator, source: Path, target: Path, options: Options) -> Result:
    """One image into a file of the given name; no journal."""
    fmt = images.writer_for(images.extension(target))
    if fmt is None:
        raise UsageError(f"{target}: cannot write this format; possible: {', '.join(images.WRITERS)}, or a folder")
    if os.path.realpath(target) == os.path.realpath(source):
        raise UsageError(f"{target}: the output is the input; give another name")
    item = Item(source.name, target.name)
    result = Result(target, planned=[item] if options.dry_run else [])
    if options.dry_run:
        return result
    started = time.monotonic()
    try:
        if images.extension(source) in images.NOT_ALLOWED:
            raise images.ImageError("format not allowed")
        if target.exists() and not options.overwrite:
            raise images.ImageError(f"exists: {target.name}; --overwrite replaces it")
        picture = images.read(source, how=_reading(translator, options))
        (pixels,) = translator.translate_pixels(
            [picture.pixels], options.to, seed=options.seed, pixels=options.pixels, holds=[images.WRITERS[fmt].depths]
        )
        data = images.encode(Picture(pixels, picture.alpha), fmt, options.quality)
    except (images.ImageError, RuntimeError, MemoryError) as e:
        result.failures[source.name] = " ".join(str(e).split())[:200] or "out of memory"
    else:
        with files.storage(target.parent):
            files.write(target, data)
        result.done = 1
        result.notices = [f"{source.name}: {notice}" for notice in _notices(picture, item, fmt, options, translator)]
    result.seconds = time.monotonic() - started
    return result


def _reading(translator: Translator, options: Options) -> images.Reading:
    return translator.reading(options.to, options.max_pixels, images.colour(options.background))


def _holds(item: Item, options: Options) -> tuple[str, ...]:
    """The depths that an output's format holds."""
    return images.WRITERS[output_format(item.input, options.format)].depths


def _notices(picture: Picture, item: Item, fmt: str, options: Options, translator: Translator) -> list[str]:
    """What the output does not hold of the input."""
    notices = list(picture.notices)
    ext = images.extension(item.input)
    if options.format == "keep" and images.writer_for(ext) is None:
        notices.append(f"{ext} is written as {fmt}")
    writer, depth = images.WRITERS[fmt], translator.depth(picture.pixels.dtype, options.to).name
    if depth not in writer.depths:
        notices.append(f"{fmt} does not hold {depth} values; they are scaled to {writer.depths[-1]}")
    if picture.alpha is not None and not writer.alpha:
        notices.append(f"{fmt} holds no transparency, so it is on {options.background}")
    return notices
