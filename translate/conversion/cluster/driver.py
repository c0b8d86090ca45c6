"""The same job on a Ray cluster: chunks of its items are made by workers, one for each GPU, or for each CPU core.

The workers need the folders of input and output under the paths that the driver knows, so these lie on a shared file system;
and the package, in the driver's version. A worker writes under temporary names only. The driver alone writes the journal and
gives outputs their names, so what a dead worker was at is simply made again by another one.

On the CPU a worker has one core and one torch thread. How many threads share a sum can change its last bit (with two, a few
values of a 16-bit picture differ by 1), and a result must not depend on the worker that it happens to be made by. So results
are those of a run in one process with OMP_NUM_THREADS=1, byte for byte.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from translate import atomic
from translate.conversion.cluster.ray import connect, error_tail
from translate.conversion.cluster.worker import JobSpec, Worker
from translate.conversion.item import ItemConverter, StagedOutput
from translate.conversion.output_paths import Item
from translate.conversion.pipeline import Committer
from translate.errors import TranslateError, UsageError
from translate.images import ImageError
from translate.runtime import signals

CHUNK_ITEMS = 16
"""Items that a worker is given at a time, or two batches where those are more; fewer near the end of a small job."""

CHUNKS_IN_FLIGHT = 2
"""Chunks that a worker has at a time: the one it is at, and the next."""

DEATHS_BEFORE_SPLIT = 2
"""Deaths of workers after which a chunk's items are tried one by one."""

MAX_DEATHS = 3
"""Of workers that were at an item, after which it has failed. Also: of workers that never began, in a row."""

STARTUP_NOTICE_SECONDS = 30
"""Seconds after which it is said that the cluster has no room yet."""


def run_on_cluster(
    address: str, converter: ItemConverter, check: Callable[[Item], None], items: Sequence[Item], commits: Committer,
    stop: signals.StopRequest, say: Callable[[str], None],
) -> None:  # fmt: skip
    """Makes the items on a Ray: "local" starts one, "auto", "host:port" and "ray://host:port" are joined.

    `check` raises ImageError where an output may not be made. Once `stop` is set, only what has been begun is made.
    UsageError where there is no Ray, or its nodes lack the folders; StorageError where outputs cannot be written.
    """
    if not items:
        return
    with connect(address) as ray, _probe(converter) as (probe, token):
        gpus = int(ray.cluster_resources().get("GPU", 0)) if _may_use_gpus(converter) else 0
        cores = int(ray.cluster_resources().get("CPU", 0))
        order = ray.put(JobSpec.from_converter(converter, probe, token, gpu=gpus > 0))
        resources = {"num_cpus": 0, "num_gpus": 1} if gpus else {"num_cpus": 1, "num_gpus": 0}
        # Stopping must not wait behind chunks, so it has a thread of its own.
        kind = ray.remote(**resources, max_restarts=0, concurrency_groups={"control": 1})(Worker)
        crew = WorkerPool(ray, address, kind, order, gpus or max(cores, 1))
        Driver(
            crew, converter, check, _chunks(items, crew.size, converter.options.batch_size), commits, stop, say
        ).run()
        if crew.deaths:
            atomic.remove_temporaries(converter.output, converter.tag)


def _may_use_gpus(converter: ItemConverter) -> bool:
    """Not where the model was put on the CPU of a machine that has a GPU: that was asked for."""
    return converter.translator.device.type != "cpu" or not torch.cuda.is_available()


@contextmanager
def _probe(converter: ItemConverter) -> Iterator[tuple[Path, bytes]]:
    """A file in the output folder by which workers know that they see the same folder, and its content."""
    token = secrets.token_bytes(16)
    with atomic.storage_errors(converter.output):
        path = atomic.stage(converter.output.absolute() / "probe", token, converter.tag)
    try:
        yield path, token
    finally:
        path.unlink(missing_ok=True)


@dataclass
class Chunk:
    """Items that are given to a worker together."""

    items: list[Item]
    deaths: int = 0
    """Of workers that were at it."""

    def parts(self) -> list["Chunk"]:
        """What is tried next after a death; nothing where there are no items."""
        if self.items and self.deaths < DEATHS_BEFORE_SPLIT:
            return [self]
        return [Chunk([item], self.deaths) for item in self.items]


def _chunks(items: Sequence[Item], workers: int, batch: int) -> deque[Chunk]:
    """Small enough that each worker gets a few."""
    size = max(1, min(max(CHUNK_ITEMS, 2 * batch), len(items) // (4 * workers)))
    return deque(Chunk(list(items[start : start + size])) for start in range(0, len(items), size))


@dataclass
class ChunkTask:
    """What a worker was asked for and has not yet answered."""

    answer: Any
    chunk: Chunk
    """No items: to get ready."""
    started: float = field(default_factory=time.monotonic)


@dataclass
class WorkerHandle:
    """A worker, as the driver sees it."""

    actor: Any
    tasks: deque[ChunkTask]
    """In the order in which they are done."""
    ready: bool = False

    def accepts(self, chunk: Chunk) -> bool:
        """A chunk with which a worker has died has its worker for itself: if that dies too, it is clear at what."""
        if not self.ready or not self.tasks:
            return self.ready
        return len(self.tasks) < CHUNKS_IN_FLIGHT and not chunk.deaths and not self.tasks[-1].chunk.deaths


class WorkerPool:
    """The workers: hired up to a number, replaced when they die."""

    def __init__(self, ray: Any, address: str, kind: Any, order: Any, size: int) -> None:
        self.ray, self.address, self.actor_class, self.job_spec, self.size = ray, address, kind, order, size
        self.members: list[WorkerHandle] = []
        self.deaths = 0
        self._stopped = False
        self._stillborn = 0
        """Of the last ones that died, how many had not got ready."""

    def spawn(self, wanted: int) -> None:
        """Until there are as many as wanted, or as the cluster has room for."""
        while len(self.members) < min(wanted, self.size):
            actor = self.actor_class.remote()
            self.members.append(WorkerHandle(actor, deque([ChunkTask(actor.start.remote(self.job_spec), Chunk([]))])))

    def is_busy(self) -> bool:
        return any(member.ready and member.tasks for member in self.members)

    def wait_any(self) -> list[WorkerHandle]:
        """Those whose oldest task has an answer; waits for a moment for one."""
        oldest = {member.tasks[0].answer: member for member in self.members if member.tasks}
        answers, _ = self.ray.wait(list(oldest), timeout=0.5)
        return [oldest[answer] for answer in answers]

    def result(self, member: WorkerHandle) -> tuple[ChunkTask, list[StagedOutput] | None]:
        """A member's oldest task and what it made; None if the member died of it. TranslateError if it failed."""
        task = member.tasks.popleft()
        try:
            made = self.ray.get(task.answer)
        except self.ray.exceptions.RayTaskError as e:
            if isinstance(e.cause, TranslateError):
                raise e.cause from None
            raise
        except self.ray.exceptions.RayError as e:
            self.drop(member, e)
            return task, None
        if not member.ready:
            member.ready, self._stillborn = True, 0
        return task, made

    def drop(self, member: WorkerHandle, error: Exception) -> None:
        self.members.remove(member)
        self.ray.kill(member.actor)  # it may only have been out of reach
        self.deaths += 1
        self._stillborn = 0 if member.ready else self._stillborn + 1
        if self._stillborn == MAX_DEATHS:
            raise UsageError(f"--cluster {self.address}: its workers cannot start: {error_tail(error)}")

    def stop(self) -> None:
        """Asks all to end what they are at and to begin nothing more."""
        if not self._stopped:
            self._stopped = True
            for member in self.members:
                member.actor.stop.options(concurrency_group="control").remote()

    def shutdown(self) -> None:
        """Ends all of them, those at work when they have ended what they are at: nothing is written from now on."""
        self.stop()
        tasks = [task.answer for member in self.members if member.ready for task in member.tasks]
        while tasks:
            _, tasks = self.ray.wait(tasks, num_returns=len(tasks), timeout=0.5)
        for member in self.members:
            self.ray.kill(member.actor)
        self.members = []


@dataclass
class Driver:
    """Hands chunks out to a crew and commits what comes back."""

    pool: WorkerPool
    converter: ItemConverter
    check: Callable[[Item], None]
    todo: deque[Chunk]
    commits: Committer
    stop: signals.StopRequest
    say: Callable[[str], None]

    def run(self) -> None:
        """Until all is made, or all that was begun once `stop` is set."""
        try:
            self._work()
        finally:
            self.pool.shutdown()

    def _work(self) -> None:
        complain_at = time.monotonic() + STARTUP_NOTICE_SECONDS
        while True:
            if self.stop:
                self.todo.clear()
                self.pool.stop()
            if not self.todo and not self.pool.is_busy():
                return
            self.pool.spawn(len(self.todo))
            self._hand_out()
            for member in self.pool.wait_any():
                self._collect(member)
            if time.monotonic() > complain_at and not any(member.ready for member in self.pool.members):
                self.say(f"--cluster {self.pool.address}: waiting for a worker to start; is the cluster full?")
                complain_at = float("inf")

    def _hand_out(self) -> None:
        for member in self.pool.members:
            while self.todo and member.accepts(self.todo[0]):
                chunk = self.todo.popleft()
                chunk.items = self._checked(chunk.items)
                if chunk.items:
                    member.tasks.append(ChunkTask(member.actor.convert.remote(chunk.items), chunk))

    def _checked(self, items: Sequence[Item]) -> list[Item]:
        """Those that may be made; the others have failed."""
        good = []
        for item in items:
            try:
                self.check(item)
                good.append(item)
            except (ImageError, OSError) as e:
                self.commits(self.converter.failed(item, e, time.monotonic()))
        return good

    def _collect(self, member: WorkerHandle) -> None:
        task, made = self.pool.result(member)
        if made:
            self.commits.commit_all(made)
        elif made is None:
            self._give_back(task, [task.chunk for task in member.tasks])

    def _give_back(self, task: ChunkTask, untouched: Sequence[Chunk]) -> None:
        """A member has died at the task; other chunks were waiting for it."""
        self.todo.extendleft(untouched)
        chunk = task.chunk
        chunk.deaths += 1
        if chunk.deaths < MAX_DEATHS:
            self.todo.extendleft(chunk.parts())
            return
        reason = ImageError(f"the worker that converted it died {MAX_DEATHS} times")
        self.commits.commit_all([self.converter.failed(item, reason, task.started) for item in chunk.items])
