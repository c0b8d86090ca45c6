"""Driver of a conversion on a Ray cluster: workers convert chunks of its items, one for each GPU, or for each CPU core.

The workers need the folders of inputs and outputs under the same paths as the driver, on a shared file system, and the same
version of the package. A worker writes under temporary names only. The driver alone writes the manifest and gives outputs
their final names, so another worker simply converts again what a dead worker was converting.

On the CPU a worker has one core and one torch thread. How many threads share a sum can change its last bit (with two, a few
values of a 16-bit image differ by 1), and an output must not depend on the worker that converts it. So outputs are those of a
run in one process with OMP_NUM_THREADS=1, byte for byte.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from translate import atomic
from translate.conversion.cluster.ray import connect, error_tail
from translate.conversion.cluster.worker import JobSpec, Worker
from translate.conversion.committer import Committer
from translate.conversion.item import ItemConverter, StagedOutput
from translate.conversion.output_paths import Item
from translate.errors import TranslateError, UsageError
from translate.images import ImageError
from translate.runtime import devices, signals

CHUNK_ITEMS = 16
"""Items in a chunk, or two batches if those are more; fewer in a small job."""

CHUNKS_IN_FLIGHT = 2
"""Chunks that a worker has at a time: the one that it converts, and the next."""

DEATHS_BEFORE_SPLIT = 2
"""Deaths of workers after which the items of a chunk are tried one by one."""

MAX_DEATHS = 3
"""Deaths of workers after which an item has failed; and deaths in a row of workers that never became ready."""

STARTUP_NOTICE_SECONDS = 30
"""Seconds without a worker after which a notice says so."""


def run_on_cluster(
    converter: ItemConverter, check: Callable[[Item], None], items: Sequence[Item], committer: Committer,
    stop: signals.StopRequest, say: Callable[[str], None],
) -> None:  # fmt: skip
    """Convert the items on the Ray cluster of `--cluster`: "local" starts one, other addresses join one.

    `check` raises ImageError if an output must not be written. Once `stop` is set, only items that were started are
    converted. UsageError if there is no Ray, or its nodes lack the folders; StorageError if outputs cannot be written.
    """
    if not items:
        return
    address = converter.options.cluster
    assert address is not None
    with connect(address) as ray, _probe(converter) as (probe, token):
        gpus = int(ray.cluster_resources().get("GPU", 0)) if _may_use_gpus(converter) else 0
        cores = int(ray.cluster_resources().get("CPU", 0))
        job_spec = ray.put(JobSpec.from_converter(converter, probe, token, gpu=gpus > 0))
        resources = {"num_cpus": 0, "num_gpus": 1} if gpus else {"num_cpus": 1, "num_gpus": 0}
        # Stopping must not wait behind chunks, so it has a thread of its own.
        actor_class = ray.remote(**resources, max_restarts=0, concurrency_groups={"control": 1})(Worker)
        pool = WorkerPool(ray, address, actor_class, job_spec, gpus or max(cores, 1))
        Driver(
            pool, converter, check, _chunks(items, pool.size, converter.options.batch_size), committer, stop, say
        ).run()
        if pool.deaths:
            atomic.remove_temporaries(converter.output, converter.tag)


def _may_use_gpus(converter: ItemConverter) -> bool:
    """Return False if the user has chosen the CPU on a machine with a GPU."""
    return converter.translator.device.type != "cpu" or not devices.has_cuda()


@contextmanager
def _probe(converter: ItemConverter) -> Iterator[tuple[Path, bytes]]:
    """Write a file with random content in the output folder, by which workers check that they see the same folder."""
    token = secrets.token_bytes(16)
    with atomic.storage_errors(converter.output):
        path = atomic.stage(converter.output.absolute() / "probe", token, converter.tag)
    try:
        yield path, token
    finally:
        path.unlink(missing_ok=True)


@dataclass
class Chunk:
    """Items that a worker gets together."""

    items: list[Item]
    deaths: int = 0
    """Deaths of workers that were converting it."""

    def parts(self) -> list["Chunk"]:
        """Return the chunks that are tried next after a death; none if there are no items."""
        if self.items and self.deaths < DEATHS_BEFORE_SPLIT:
            return [self]
        return [Chunk([item], self.deaths) for item in self.items]


def _chunks(items: Sequence[Item], workers: int, batch: int) -> deque[Chunk]:
    """Divide the items into chunks, small enough that each worker gets a few."""
    size = max(1, min(max(CHUNK_ITEMS, 2 * batch), len(items) // (4 * workers)))
    return deque(Chunk(list(items[start : start + size])) for start in range(0, len(items), size))


@dataclass
class ChunkTask:
    """Request to a worker that it has not answered yet."""

    answer: Any
    chunk: Chunk
    """Chunk to convert; without items: the request to start."""
    started: float = field(default_factory=time.monotonic)


@dataclass
class WorkerHandle:
    """Worker, as the driver sees it."""

    actor: Any
    tasks: deque[ChunkTask]
    """Requests in the order in which the worker answers them."""
    ready: bool = False

    def accepts(self, chunk: Chunk) -> bool:
        """Return True if the worker takes a chunk now.

        A chunk with which a worker has died gets a worker for itself: if that dies too, the chunk is the cause.
        """
        if not self.ready or not self.tasks:
            return self.ready
        return len(self.tasks) < CHUNKS_IN_FLIGHT and not chunk.deaths and not self.tasks[-1].chunk.deaths


class WorkerPool:
    """Pool of up to `size` workers, replaced when they die."""

    def __init__(self, ray: Any, address: str, actor_class: Any, job_spec: Any, size: int) -> None:
        self.ray, self.address, self.actor_class, self.job_spec, self.size = ray, address, actor_class, job_spec, size
        self.workers: list[WorkerHandle] = []
        self.deaths = 0
        self._stopped = False
        self._stillborn = 0
        """Number of the last deaths in a row before the worker was ready."""

    def spawn(self, wanted: int) -> None:
        """Start workers until there are `wanted`, or as many as the pool may have."""
        while len(self.workers) < min(wanted, self.size):
            actor = self.actor_class.remote()
            self.workers.append(WorkerHandle(actor, deque([ChunkTask(actor.start.remote(self.job_spec), Chunk([]))])))

    def is_busy(self) -> bool:
        """Return True if a worker that is ready has a request."""
        return any(worker.ready and worker.tasks for worker in self.workers)

    def wait_any(self) -> list[WorkerHandle]:
        """Return the workers whose oldest request is answered; wait up to half a second for one."""
        oldest = {worker.tasks[0].answer: worker for worker in self.workers if worker.tasks}
        answers, _ = self.ray.wait(list(oldest), timeout=0.5)
        return [oldest[answer] for answer in answers]

    def result(self, worker: WorkerHandle) -> tuple[ChunkTask, list[StagedOutput] | None]:
        """Return the oldest request of a worker and its outputs; None if the worker died. TranslateError if it failed."""
        task = worker.tasks.popleft()
        try:
            outputs = self.ray.get(task.answer)
        except self.ray.exceptions.RayTaskError as e:
            if isinstance(e.cause, TranslateError):
                raise e.cause from None
            raise
        except self.ray.exceptions.RayError as e:
            self.drop(worker, e)
            return task, None
        if not worker.ready:
            worker.ready, self._stillborn = True, 0
        return task, outputs

    def drop(self, worker: WorkerHandle, error: Exception) -> None:
        """Remove a dead worker. UsageError if too many died in a row before they were ready."""
        self.workers.remove(worker)
        self.ray.kill(worker.actor)  # it may only be out of reach
        self.deaths += 1
        self._stillborn = 0 if worker.ready else self._stillborn + 1
        if self._stillborn == MAX_DEATHS:
            raise UsageError(f"--cluster {self.address}: its workers cannot start: {error_tail(error)}")

    def stop(self) -> None:
        """Ask all workers to finish the items that they are converting and to start no other."""
        if not self._stopped:
            self._stopped = True
            for worker in self.workers:
                worker.actor.stop.options(concurrency_group="control").remote()

    def shutdown(self) -> None:
        """Stop all workers, after the items that they are converting; nothing is written after that."""
        self.stop()
        tasks = [task.answer for worker in self.workers if worker.ready for task in worker.tasks]
        while tasks:
            _, tasks = self.ray.wait(tasks, num_returns=len(tasks), timeout=0.5)
        for worker in self.workers:
            self.ray.kill(worker.actor)
        self.workers = []


@dataclass
class Driver:
    """Driver: gives chunks to the workers of a pool and commits what comes back."""

    pool: WorkerPool
    converter: ItemConverter
    check: Callable[[Item], None]
    todo: deque[Chunk]
    committer: Committer
    stop: signals.StopRequest
    say: Callable[[str], None]

    def run(self) -> None:
        """Convert all items; once `stop` is set, only those that were started."""
        try:
            self._work()
        finally:
            self.pool.shutdown()

    def _work(self) -> None:
        notice_at = time.monotonic() + STARTUP_NOTICE_SECONDS
        while True:
            if self.stop:
                self.todo.clear()
                self.pool.stop()
            if not self.todo and not self.pool.is_busy():
                return
            self.pool.spawn(len(self.todo))
            self._hand_out()
            for worker in self.pool.wait_any():
                self._collect(worker)
            if time.monotonic() > notice_at and not any(worker.ready for worker in self.pool.workers):
                self.say(f"--cluster {self.pool.address}: no worker has started yet; is the cluster full?")
                notice_at = float("inf")

    def _hand_out(self) -> None:
        for worker in self.pool.workers:
            while self.todo and worker.accepts(self.todo[0]):
                chunk = self.todo.popleft()
                chunk.items = self._checked(chunk.items)
                if chunk.items:
                    worker.tasks.append(ChunkTask(worker.actor.convert.remote(chunk.items), chunk))

    def _checked(self, items: Sequence[Item]) -> list[Item]:
        """Return the items whose outputs may be written; commit the others as failed."""
        allowed = []
        for item in items:
            try:
                self.check(item)
                allowed.append(item)
            except (ImageError, OSError) as e:
                self.committer(self.converter.failed(item, e, time.monotonic()))
        return allowed

    def _collect(self, worker: WorkerHandle) -> None:
        task, outputs = self.pool.result(worker)
        if outputs:
            self.committer.commit_all(outputs)
        elif outputs is None:
            self._give_back(task, [task.chunk for task in worker.tasks])

    def _give_back(self, task: ChunkTask, untouched: Sequence[Chunk]) -> None:
        """Put back the chunk of a dead worker, and the untouched chunks that waited for it."""
        self.todo.extendleft(untouched)
        chunk = task.chunk
        chunk.deaths += 1
        if chunk.deaths < MAX_DEATHS:
            self.todo.extendleft(chunk.parts())
            return
        reason = ImageError(f"the worker that converted it died {MAX_DEATHS} times")
        self.committer.commit_all([self.converter.failed(item, reason, task.started) for item in chunk.items])
