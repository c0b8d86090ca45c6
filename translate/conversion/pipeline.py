"""Reading, translating and writing at the same time, with bounded queues: memory does not grow with the folder."""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from translate import images
from translate.conversion.item import ItemConverter, LoadedInput, StagedOutput, TranslatedItem
from translate.conversion.output_paths import Item
from translate.images import ImageError
from translate.runtime import signals

MAX_BYTES_IN_FLIGHT = 1 << 28
"""Limit of the bytes of images that wait at a time; a larger image waits alone."""

THREADS = max(2, min(8, os.cpu_count() or 1))
"""Number of threads that read, and of threads that write."""

BYTES_PER_PIXEL = 7
"""Bytes of an 8-bit colour image per pixel: in the decoder, and as an array."""
BYTES_PER_OUTPUT_PIXEL = 3
"""Bytes of an output per pixel."""


@dataclass
class _Reading:
    """An input that a thread is reading."""

    bytes: int
    loaded: "Future[LoadedInput | None]"


@dataclass
class _Writing:
    """An output that a thread is writing."""

    bytes: int
    done: "Future[None]"


@dataclass
class Pipeline:
    """One run over the items of a job."""

    converter: ItemConverter
    check: Callable[[Item], None]
    """Raises ImageError for an item whose output must not be written."""
    items: Sequence[Item]
    commit: Callable[[StagedOutput], None]
    """Takes outputs and failures; called from many threads."""
    threads: int = THREADS

    def __post_init__(self) -> None:
        # On the CPU a batch is not bit-equal to its images one by one, and gains nothing.
        self.batch_size = self.converter.options.batch_size if self.converter.translator.device.type != "cpu" else 1
        self.depth = 2 * self.batch_size + self.threads
        self.reading: deque[_Reading] = deque()
        self.batches: dict[tuple[int, ...], list[tuple[int, LoadedInput]]] = {}
        self.writing: deque[_Writing] = deque()
        self.bytes = 0

    def run(self, stop: signals.StopRequest) -> None:
        """Convert all items; once `stop` is set, only those that were started."""
        readers, self.writers = ThreadPoolExecutor(self.threads), ThreadPoolExecutor(self.threads)
        with readers, self.writers:
            for item in self.items:
                size = self._size(item)
                while not stop and self._is_full(size):
                    self._advance()
                if stop:
                    break
                self.bytes += size
                self.reading.append(_Reading(size, readers.submit(self._read, item)))
            if stop:
                self.reading = deque(reading for reading in self.reading if not reading.loaded.cancel())
            while self.reading or self.batches or self.writing:
                self._advance()

    def _size(self, item: Item) -> int:
        """Return the bytes that an input needs until it is written; 0 where its header cannot be read."""
        bytes_per_pixel = BYTES_PER_PIXEL + BYTES_PER_OUTPUT_PIXEL * self.converter.scale**2
        return bytes_per_pixel * math.prod(images.read_size(self.converter.root / item.input))

    def _is_full(self, size: int) -> bool:
        waiting = sum(map(len, self.batches.values()))
        return len(self.reading) + waiting >= self.depth or (self.bytes > 0 and self.bytes + size > MAX_BYTES_IN_FLIGHT)

    def _advance(self) -> None:
        """Wait for the oldest output if many wait, else for the oldest input, else translate an incomplete batch."""
        if len(self.writing) > self.depth or not (self.reading or self.batches):
            writing = self.writing.popleft()
            writing.done.result()
            self.bytes -= writing.bytes
        elif self.reading:
            self._batch(self.reading.popleft())
        else:
            self._translate(self.batches.pop(max(self.batches, key=lambda size: len(self.batches[size]))))

    def _batch(self, reading: _Reading) -> None:
        loaded = reading.loaded.result()
        if loaded is None:
            self.bytes -= reading.bytes
            return
        size = self.converter.network_size(loaded)
        if size is None:
            self._translate([(reading.bytes, loaded)])
            return
        batch = self.batches.setdefault(size, [])
        batch.append((reading.bytes, loaded))
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
            results = self.converter.translate([loaded for _, loaded in batch])
        except (ImageError, RuntimeError, MemoryError) as e:
            if len(batch) > 1:  # one image may be the cause, or their number
                for one in batch:
                    self._translate([one])
                return
            ((size, loaded),) = batch
            self.bytes -= size
            self.commit(self.converter.failed(loaded.item, e, loaded.started))
            return
        for (size, loaded), translated in zip(batch, results, strict=True):
            loaded.picture = None  # release it: it may be large
            self.writing.append(_Writing(size, self.writers.submit(self._write, loaded, translated)))

    def _write(self, loaded: LoadedInput, translated: TranslatedItem) -> None:
        self.commit(self.converter.encode_and_stage(loaded, translated))
