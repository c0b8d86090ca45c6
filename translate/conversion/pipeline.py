"""Reading, translating and writing side by side, with bounded queues: memory does not grow with the folder."""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from translate import atomic, images
from translate.callbacks import ProgressCallback
from translate.conversion.item import ItemConverter, LoadedInput, StagedOutput, TranslatedItem
from translate.conversion.manifest import Manifest
from translate.conversion.options import ConversionResult
from translate.conversion.output_paths import Item
from translate.errors import StorageError
from translate.images import ImageError
from translate.runtime import signals

MAX_BYTES_IN_FLIGHT = 1 << 28
"""Bytes of pictures that may wait at a time; a larger one waits alone."""

THREADS = max(2, min(8, os.cpu_count() or 1))
"""That read, and as many that write."""

BYTES_PER_PIXEL = 10
"""Of a picture and its result, in 8 bits and colour: what the decoder holds, the pixels, and the result's."""


class Committer:
    """Makes outputs final: first the journal's line, then the name, so no output is ever unaccounted for.

    May be called from many threads: what waits while one syncs the journal shares the next sync.
    """

    def __init__(
        self,
        converter: ItemConverter,
        journal: Manifest,
        result: ConversionResult,
        progress: ProgressCallback,
        total: int,
    ) -> None:
        self.converter, self.journal, self.result = converter, journal, result
        self.progress, self.total = progress, total
        self.failed = 0
        """Of the items of this run."""
        self._waiting: list[StagedOutput] = []
        self._adding, self._committing = threading.Lock(), threading.Lock()

    def __call__(self, made: StagedOutput) -> None:
        """Returns when the output has its name or the failure stands in the journal. StorageError if they cannot."""
        with self._adding:
            self._waiting.append(made)
        with self._committing:
            with self._adding:
                group, self._waiting = self._waiting, []
            if group:  # else another thread has taken it along
                self._commit(group)

    def commit_all(self, group: Sequence[StagedOutput]) -> None:
        """The same for several at once."""
        with self._committing:
            self._commit(group)

    def report_progress(self) -> None:
        self.progress(self.result.done + self.failed, self.failed, self.total)

    def _commit(self, group: Sequence[StagedOutput]) -> None:
        try:
            self.journal.add(made.line for made in group)
            for made in group:
                self._count(self._named(made))
        except OSError as e:
            raise StorageError(f"{self.converter.output}: cannot be written: {e.strerror}; run again to go on") from e
        self.report_progress()

    def _named(self, made: StagedOutput) -> StagedOutput:
        """Under its final name; a failure where that name cannot be had."""
        if made.temporary is None:
            return made
        try:
            os.replace(made.temporary, self.converter.output / made.item.output)
        except OSError as e:
            made.temporary.unlink(missing_ok=True)
            if atomic.is_storage_failure(e):
                raise
            made = self.converter.failed(made.item, e, time.monotonic())
            self.journal.add([made.line])
        return made

    def _count(self, made: StagedOutput) -> None:
        if made.temporary is None:
            self.failed += 1
            self.result.failures[made.item.input] = made.line["error"]
        else:
            self.result.done += 1
            self.result.notices.update(made.line.get("notices", ()))


@dataclass
class _Ahead:
    """An input that is being read."""

    bytes: int
    work: "Future[LoadedInput | None]"


@dataclass
class _Written:
    """An output that is being written."""

    bytes: int
    done: "Future[None]"


@dataclass
class Pipeline:
    """One run over the items of a job."""

    converter: ItemConverter
    check: Callable[[Item], None]
    """ImageError where an output may not be made."""
    items: Sequence[Item]
    commit: Callable[[StagedOutput], None]
    """Takes what was made, or why it was not; called from many threads."""
    threads: int = THREADS

    def __post_init__(self) -> None:
        # On the CPU a batch is not bit-equal to its images one by one, and gains nothing.
        self.batch_size = self.converter.options.batch_size if self.converter.translator.device.type != "cpu" else 1
        self.depth = 2 * self.batch_size + self.threads
        self.reading: deque[_Ahead] = deque()
        self.batches: dict[tuple[int, ...], list[tuple[int, LoadedInput]]] = {}
        self.writing: deque[_Written] = deque()
        self.bytes = 0

    def run(self, stop: signals.StopRequest) -> None:
        """Makes all items; once `stop` is set, only those that have been begun."""
        readers, self.writers = ThreadPoolExecutor(self.threads), ThreadPoolExecutor(self.threads)
        with readers, self.writers:
            for item in self.items:
                size = self._size(item)
                while not stop and self._is_full(size):
                    self._advance()
                if stop:
                    break
                self.bytes += size
                self.reading.append(_Ahead(size, readers.submit(self._read, item)))
            if stop:
                self.reading = deque(ahead for ahead in self.reading if not ahead.work.cancel())
            while self.reading or self.batches or self.writing:
                self._advance()

    def _size(self, item: Item) -> int:
        """Bytes that an input will need while it is on its way; 0 where its header cannot be read."""
        return BYTES_PER_PIXEL * math.prod(images.read_size(self.converter.root / item.input))

    def _is_full(self, size: int) -> bool:
        waiting = sum(map(len, self.batches.values()))
        return len(self.reading) + waiting >= self.depth or (self.bytes > 0 and self.bytes + size > MAX_BYTES_IN_FLIGHT)

    def _advance(self) -> None:
        """Waits for the next thing: the oldest output where many wait, the oldest input, then what is left."""
        if len(self.writing) > self.depth or not (self.reading or self.batches):
            written = self.writing.popleft()
            written.done.result()
            self.bytes -= written.bytes
        elif self.reading:
            self._batch(self.reading.popleft())
        else:
            self._translate(self.batches.pop(max(self.batches, key=lambda size: len(self.batches[size]))))

    def _batch(self, ahead: _Ahead) -> None:
        work = ahead.work.result()
        if work is None:
            self.bytes -= ahead.bytes
            return
        size = self.converter.network_size(work)
        if size is None:
            self._translate([(ahead.bytes, work)])
            return
        batch = self.batches.setdefault(size, [])
        batch.append((ahead.bytes, work))
        if len(batch) == self.batch_size:
            self._translate(self.batches.pop(size))

    def _read(self, item: Item) -> LoadedInput | None:
        started = time.monotonic()
        try:
            self.check(item)
            return self.converter.read(item)
        except (ImageError, OSError) as e:
            self.commit(self.converter.failed(item, e, started))
            return None

    def _translate(self, batch: list[tuple[int, LoadedInput]]) -> None:
        try:
            results = self.converter.translate([work for _, work in batch])
        except (ImageError, RuntimeError, MemoryError) as e:
            if len(batch) > 1:  # one of them may be at fault, or their number
                for one in batch:
                    self._translate([one])
                return
            ((size, work),) = batch
            self.bytes -= size
            self.commit(self.converter.failed(work.item, e, work.started))
            return
        for (size, work), translated in zip(batch, results, strict=True):
            work.picture = None  # it may be large, and is needed no more
            self.writing.append(_Written(size, self.writers.submit(self._write, work, translated)))

    def _write(self, work: LoadedInput, translated: TranslatedItem) -> None:
        self.commit(self.converter.encode_and_stage(work, translated))
