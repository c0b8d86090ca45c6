"""Worker processes that answer questions, in the order in which they were asked.

torch's DataLoader is not used: where one of its workers dies, a signal handler raises RuntimeError wherever the main process
happens to be, in the middle of a step or of a checkpoint. Here it is noticed when the worker is next asked.
"""

import itertools
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import torch
from torch import multiprocessing  # whose pipes hand tensors over in shared memory

from translate.errors import DataError, TranslateError

PREFETCH_FACTOR = 2
"""Questions that each worker is given before its first answer is taken."""

Answer = Callable[[Any], Any]


class _Worker:
    """One process."""

    def __init__(self, answer: Answer) -> None:
        context = multiprocessing.get_context("spawn")  # forking a process with threads may hang
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(answer, theirs), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends with the worker

    def ask(self, question: Any) -> None:
        try:
            self.pipe.send(question)
        except OSError:
            raise self._death() from None

    def answer(self) -> Any:
        """To the oldest question; a TranslateError that it raised is raised here."""
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            raise self._death() from None
        if isinstance(answer, TranslateError):
            raise answer
        return answer

    def stop(self) -> None:
        self.process.kill()  # it holds nothing that would have to be put away
        self.process.join()
        self.pipe.close()

    def _death(self) -> DataError:
        return DataError(
            f"data worker (process {self.process.pid}) died; if memory ran out use fewer --workers. The same command goes on "
            f"from the last checkpoint"
        )


def map_in_order(answer: Answer, questions: Iterable[Any], count: int) -> Iterator[Any]:
    """Answers from `count` worker processes to endless questions, in their order. DataError where a worker dies.

    `answer` travels to the workers by pickle.
    """
    workers: list[_Worker] = []
    try:
        workers.extend(_Worker(answer) for _ in range(count))
        asked: deque[_Worker] = deque()
        for question, worker in zip(questions, itertools.cycle(workers), strict=False):
            worker.ask(question)
            asked.append(worker)
            if len(asked) == PREFETCH_FACTOR * count:
                yield asked.popleft().answer()
    finally:
        for worker in workers:
            worker.stop()


def _serve(answer: Answer, pipe: Connection) -> None:
    """The work of one process, until the pipe ends."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # they may reach all processes; the main one decides what follows
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(1)
    sys.excepthook = _silent_when_alone(sys.excepthook)
    try:
        while True:
            question = pipe.recv()
            try:
                found = answer(question)
            except TranslateError as e:
                found = e
            pipe.send(found)
    except (EOFError, OSError):
        return


Hook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]


def _silent_when_alone(hook: Hook) -> Hook:
    """`hook`, but for errors of a connection that ended.

    The thread that hands tensors over reports to sys.excepthook, and where the main process is killed in the middle of taking
    one, there is nobody left to be told.
    """

    def silent(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, (ConnectionError, EOFError)):
            hook(kind, error, trace)

    return silent
