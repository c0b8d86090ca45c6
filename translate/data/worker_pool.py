"""Pool of worker processes that answer questions, in the order in which they were asked.

torch's DataLoader is not used: where one of its workers dies, a signal handler raises RuntimeError wherever the main process
happens to be, in the middle of a step or of a checkpoint. Here a death is noticed at the next question to the worker.
"""

import itertools
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import util
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

import torch
from torch import multiprocessing  # its pipes pass tensors in shared memory

from translate.errors import DataError, TranslateError
from translate.runtime import signals
from translate.text import one_line

PREFETCH_FACTOR = 2
"""Questions that each worker is sent before its first answer is received."""

DEATH_SECONDS = 5
"""Seconds to wait for the exit code of a worker whose pipe has ended."""

BUS_ERROR = getattr(signal, "SIGBUS", 0)
"""Signal that a process gets that writes into shared memory beyond its end; Windows has none."""

Answer = Callable[[Any], Any]
"""Function of a question that a worker runs."""


class _Worker:
    """Worker process and the pipe to it."""

    def __init__(self, answer: Answer) -> None:
        context = multiprocessing.get_context("spawn")  # forking a process with threads may hang
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(answer, theirs), daemon=True)
        with signals.blocked():  # they may reach all processes; the main process handles them
            self.process.start()
        theirs.close()  # so that the pipe ends with the worker
        # Python joins its children when it exits; by then nobody may have closed the iterator of their answers.
        self.stop = util.Finalize(self, _kill, (self.process, self.pipe), exitpriority=0)
        """Kill the process."""

    def ask(self, question: Any) -> None:
        """Send a question; DataError where the worker has died."""
        try:
            self.pipe.send(question)
        except OSError:
            raise self._death() from None

    def answer(self, warn: Callable[[str], None]) -> Any:
        """Receive the answer to the oldest question; a TranslateError of the worker is raised here."""
        try:
            answer = self.pipe.recv()
            if isinstance(answer, _NoSharedMemory):
                warn(str(answer))
                answer = self.pipe.recv()
        except (EOFError, OSError):
            raise self._death() from None
        if isinstance(answer, TranslateError):
            raise answer
        return answer

    def _death(self) -> DataError:
        self.process.join(DEATH_SECONDS)
        cause = "if memory ran out, use fewer --workers"
        if self.process.exitcode == -BUS_ERROR:
            cause = "shared memory ran out: give the container a larger /dev/shm (docker run --shm-size=1g), or use --workers 0"
        return DataError(
            f"data worker (process {self.process.pid}) died; {cause}. The same command resumes from the last checkpoint"
        )


def _kill(process: BaseProcess, pipe: Connection) -> None:
    process.kill()  # it holds nothing that would have to be saved, and ignores signals that ask for the end
    process.join()
    pipe.close()


def map_in_order(
    answer: Answer, questions: Iterable[Any], count: int, say: Callable[[str], None] = lambda line: None
) -> Iterator[Any]:
    """Yield the answers of `count` worker processes to endless questions, in order; DataError where a worker dies.

    `answer` is sent to the workers by pickle. `say` gets a line if shared memory is too small for tensors, which
    then go through the pipes.
    """
    workers: list[_Worker] = []
    warned: list[str] = []

    def warn(reason: str) -> None:
        if not warned:
            warned.append(reason)
            say(
                f"data workers: no shared memory for images ({reason}), they are copied through pipes, which is slower; in a "
                f"container give it a larger /dev/shm (docker run --shm-size=1g)"
            )

    try:
        workers.extend(_Worker(answer) for _ in range(count))
        waiting: deque[_Worker] = deque()
        for question, worker in zip(questions, itertools.cycle(workers), strict=False):
            worker.ask(question)
            waiting.append(worker)
            if len(waiting) == PREFETCH_FACTOR * count:
                yield waiting.popleft().answer(warn)
    finally:
        for worker in workers:
            worker.stop()


def _serve(answer: Answer, pipe: Connection) -> None:
    """Answer questions in a worker process, until the pipe ends."""
    signals.ignore()
    signals.unblock()
    torch.set_num_threads(1)
    sys.excepthook = _silent_when_alone(sys.excepthook)
    try:
        while True:
            question = pipe.recv()
            try:
                result = answer(question)
            except TranslateError as e:
                result = e
            _send(pipe, result)
    except (EOFError, OSError):
        return


class _NoSharedMemory(str):
    """Reason why a worker sends tensors through its pipe."""


def _send(pipe: Connection, result: Any) -> None:
    """Send an answer: its tensors in shared memory, or through the pipe where that is too small."""
    try:
        pipe.send(result)
    except RuntimeError as e:  # of torch, before anything was sent
        pipe.send(_NoSharedMemory(one_line(e)))
        pipe.send_bytes(pickle.dumps(result))


Hook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]


def _silent_when_alone(hook: Hook) -> Hook:
    """Return `hook` without errors of a closed connection.

    The thread that passes tensors reports to sys.excepthook; where the main process was killed while it received one, there is
    nobody to report to.
    """

    def silent(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, (ConnectionError, EOFError)):
            hook(kind, error, trace)

    return silent
