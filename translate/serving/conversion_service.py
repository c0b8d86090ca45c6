"""Queue of conversions that come from many threads: one thread translates, others read and write, and memory is bounded."""

import math
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from translate import images
from translate.conversion.item import ItemConverter, LoadedInput, TranslatedItem
from translate.conversion.options import ConversionOptions
from translate.conversion.output_paths import Item
from translate.conversion.pipeline import BYTES_PER_OUTPUT_PIXEL, BYTES_PER_PIXEL, MAX_BYTES_IN_FLIGHT, THREADS
from translate.conversion.tiling import TilePlanner
from translate.errors import TranslateError, UsageError
from translate.images import ImageError
from translate.text import printable
from translate.trained.translator import Translator

HEAD_BYTES = 64
"""First bytes of a file, which tell its format."""

INPUT, STYLE, INSTANCES = "image", "style", "instances"
"""Names of the files of a request."""


class QueueFullError(TranslateError):
    """Queue that takes no further request now."""


class UnknownFormatError(ImageError):
    """File that is of no image format which is read."""


@dataclass(frozen=True)
class ConvertedImage:
    """Answer to a request: the file that `translate convert` writes."""

    data: bytes
    format: str
    """Row of images.WRITERS."""
    notices: tuple[str, ...]


@dataclass(frozen=True)
class ServiceRequest:
    """Place in the queue of a service, with a folder for the files of one request.

    The caller writes the input to `path(INPUT)`, and to `path(STYLE)` and `path(INSTANCES)` where there are such files. Names
    that a client gives its files are used nowhere.
    """

    service: "ConversionService"
    folder: Path

    def path(self, name: str) -> Path:
        """Return the path of a file as it arrives, which has no extension."""
        return self.folder / name

    def submit(
        self, translator: Translator, options: ConversionOptions, sample: int | None = None
    ) -> "Future[ConvertedImage]":
        """Queue the conversion. The future raises ImageError, UsageError, OSError, RuntimeError or MemoryError if it fails.

        Messages do not have the paths of the server. A future that is cancelled before its translation is left out.
        """
        return self.service._submit(_Job(self, translator, options, sample, Future()))


@dataclass(eq=False)
class _Job:
    """One conversion on its way through the threads."""

    request: ServiceRequest
    translator: Translator
    options: ConversionOptions
    sample: int | None
    answer: "Future[ConvertedImage]"
    bytes: int = 0
    converter: ItemConverter | None = None
    loaded: LoadedInput | None = None

    @property
    def batch_key(self) -> tuple[object, ...] | None:
        """Key that the jobs of one batch share; None for a job that is translated by itself."""
        assert self.converter is not None and self.loaded is not None, "read"
        size = self.converter.network_size(self.loaded)
        return None if size is None or self.converter.style else (id(self.translator), self.options, size)


class ConversionService:
    """Conversions of single images by any models, whose outputs are those of `translate convert`, bit for bit.

    Requests are translated in the order in which they were read. On a GPU, those that wait with the same options and padded
    size share a batch; on a CPU a batch is not bit-equal to its images, and gains nothing.

    Args:
        places: Requests that are taken at a time.
        batch_size: Images of one batch on a GPU.
        memory: Limit of the bytes of decoded images at a time; a larger image is alone.
    """

    def __init__(self, places: int, batch_size: int = 8, memory: int = MAX_BYTES_IN_FLIGHT) -> None:
        self.places, self.batch_size = places, batch_size
        self.answered = 0
        """Number of conversions that are done or failed."""
        self._scratch = tempfile.TemporaryDirectory(prefix="translate-")
        self._taken, self._numbers = 0, 0
        self._budget = _ByteBudget(memory)
        self._model_lock, self._planning = threading.Lock(), threading.Lock()
        self._planners: dict[tuple[int, str], TilePlanner] = {}
        self._ready: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._readers, self._writers = ThreadPoolExecutor(THREADS), ThreadPoolExecutor(THREADS)
        self._thread = threading.Thread(target=self._run, name="translate", daemon=True)
        self._thread.start()

    @property
    def taken(self) -> int:
        """Number of places that are taken."""
        return self._taken

    @contextmanager
    def request(self) -> Iterator[ServiceRequest]:
        """Take a place for the block, in which the request is answered. QueueFullError if there is none."""
        with self._changed:
            if self._taken >= self.places:
                raise QueueFullError(f"{self.places} requests are waiting or under way; try again later")
            self._taken += 1
            self._numbers += 1
            folder = Path(self._scratch.name, str(self._numbers))
        try:
            folder.mkdir()
            yield ServiceRequest(self, folder)
        finally:
            with self._changed:
                self._taken -= 1
            shutil.rmtree(folder, ignore_errors=True)

    def prepare(self, translator: Translator) -> None:
        """Choose how the convolutions of a model are computed, and measure its memory, before the first request does."""
        with self._model_lock:
            translator.ensure_convolutions()
        for to in translator.directions:
            self._planner(translator, to)

    def close(self) -> None:
        """Finish what was submitted, and end the threads."""
        self._readers.shutdown()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._writers.shutdown()
        self._scratch.cleanup()

    def _submit(self, job: _Job) -> "Future[ConvertedImage]":
        self._readers.submit(self._read, job)
        return job.answer

    def _read(self, job: _Job) -> None:
        """Read the input of a job and hand it to the thread that translates."""
        if job.answer.cancelled():
            return
        try:
            item = self._prepare(job)
            assert job.converter is not None, "prepared"
            job.converter.check_output_size(job.request.folder / item.input)
            job.bytes = self._budget.take(_needed_bytes(job.converter, item))
            job.loaded = job.converter.read(item)
        except Exception as e:  # whatever is wrong with one request must not stop the others
            self._fail(job, e)
            return
        with self._changed:
            self._ready.append(job)
            self._changed.notify_all()

    def _prepare(self, job: _Job) -> Item:
        """Name the files of a job by their formats and set its converter up; return its item."""
        folder, options, to = job.request.folder, job.options, job.options.to
        job.translator.check_target(to)
        if job.sample is not None:
            job.translator.check_samples(to)
        name = _with_extension(job.request.path(INPUT))
        if job.request.path(STYLE).exists():
            options = replace(options, style=folder / _with_extension(job.request.path(STYLE)))
        if job.request.path(INSTANCES).exists():
            given = _with_extension(job.request.path(INSTANCES))
            place = folder / "maps"
            place.mkdir()
            (folder / given).rename(place / Path(given).with_stem(INPUT))
            options = replace(options, instances=place)
        planner = self._planner(job.translator, to)
        with self._model_lock if options.style is not None else nullcontext():  # it goes through the encoder
            job.converter = ItemConverter(job.translator, folder, folder, options, planner=planner)
        return Item(name, name, job.sample)

    def _planner(self, translator: Translator, to: str) -> TilePlanner:
        """Return the measured planner of a model and a target domain."""
        with self._planning:
            planner = self._planners.get((id(translator), to))
            if planner is None:
                planner = TilePlanner(translator, to)
                with self._model_lock:
                    planner.measure()
                self._planners[id(translator), to] = planner
            return planner

    def _run(self) -> None:
        """Translate what was read, until the service is closed and nothing is left."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or self._closed)
                if not self._ready:
                    return
                batch = self._take_batch()
            started = [job for job in batch if job.answer.set_running_or_notify_cancel()]
            for job in batch:
                if job not in started:
                    self._budget.give_back(job.bytes)
            if started:
                self._translate(started)

    def _take_batch(self) -> list[_Job]:
        """Take the job that waits longest, and those that may share its batch."""
        first = self._ready.popleft()
        limit = self._limit(first)
        if limit == 1 or (key := first.batch_key) is None:
            return [first]
        others = [job for job in self._ready if job.batch_key == key][: limit - 1]
        for job in others:
            self._ready.remove(job)
        return [first, *others]

    def _limit(self, job: _Job) -> int:
        """Return the largest number of images of the batch of a job."""
        return 1 if job.translator.device.type == "cpu" else self.batch_size

    def _translate(self, batch: list[_Job]) -> None:
        converter = batch[0].converter
        assert converter is not None, "read"
        try:
            with self._model_lock:
                results = converter.translate([job.loaded for job in batch if job.loaded is not None])
        except Exception as e:
            if len(batch) > 1:  # one image may be the cause, or their number
                for job in batch:
                    self._translate([job])
                return
            self._fail(batch[0], e)
            return
        for job, translated in zip(batch, results, strict=True):
            assert job.loaded is not None, "read"
            job.loaded.picture = None  # release it: it may be large
            self._writers.submit(self._write, job, translated)

    def _write(self, job: _Job, translated: TranslatedItem) -> None:
        assert job.converter is not None and job.loaded is not None, "read"
        try:
            data = job.converter.encode(job.loaded, translated)
        except Exception as e:
            self._fail(job, e)
            return
        self._end(job)
        job.answer.set_result(ConvertedImage(data, job.converter.format(job.loaded.item), translated.notices))

    def _fail(self, job: _Job, error: Exception) -> None:
        """Answer a job with an error, whose text does not have the paths of the server."""
        self._end(job)
        text = str(error).replace(f"{job.request.folder}/", "").replace(str(job.request.folder), "the request")
        if isinstance(error, (ImageError, UsageError)):
            error = type(error)(text)
        if job.answer.running() or job.answer.set_running_or_notify_cancel():
            job.answer.set_exception(error)

    def _end(self, job: _Job) -> None:
        self._budget.give_back(job.bytes)
        with self._changed:
            self.answered += 1


class _ByteBudget:
    """Number of bytes that may be used at a time."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self._changed = threading.Condition()

    def take(self, size: int) -> int:
        """Wait until so many bytes are free, or all are, and take them; return their number."""
        with self._changed:
            self._changed.wait_for(lambda: self.used == 0 or self.used + size <= self.limit)
            self.used += size
        return size

    def give_back(self, size: int) -> None:
        """Give bytes back."""
        with self._changed:
            self.used -= size
            self._changed.notify_all()


def _needed_bytes(converter: ItemConverter, item: Item) -> int:
    """Return the bytes that an input needs until it is written; 0 where its header cannot be read."""
    bytes_per_pixel = BYTES_PER_PIXEL + BYTES_PER_OUTPUT_PIXEL * converter.scale**2
    pixels = math.prod(images.read_size(converter.root / item.input))
    return bytes_per_pixel * min(pixels, converter.options.max_pixels)  # a larger one is refused


def _with_extension(path: Path) -> str:
    """Give a file the extension of its format, and return its new name. UnknownFormatError if it has none that is read."""
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    extension = images.format_of_content(head)
    if not extension:
        found = "is empty" if not head else "holds no image of a known format"
        raise UnknownFormatError(f"{printable(path.name)} {found}; readable: {images.READABLE_FORMATS}")
    return path.rename(path.with_suffix(f".{extension}")).name
