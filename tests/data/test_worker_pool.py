"""Worker processes: when the main process is gone, when signals reach them as they start, and without shared memory."""

import itertools
import os
import signal
import socket
import subprocess
import sys
from multiprocessing import Pipe, resource_sharer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from translate.data import worker_pool
from translate.errors import DataError


def reset_while_handing_over(question: str) -> str:
    """What a worker goes through whose main process is killed while it takes a tensor; then another error."""
    sharer = resource_sharer._ResourceSharer()
    address, _ = sharer.register(lambda connection, pid: connection.send("given"), lambda: None)
    with socket.socket(socket.AF_UNIX) as main_process:
        main_process.connect(address)  # gone before it says who it is
    key = sharer.register(lambda connection, pid: connection.send("given"), lambda: None)
    with sharer.get_connection(key) as connection:
        given: str = connection.recv()  # what is asked later is answered later
    with sharer.get_connection((address, "no such resource")):
        pass
    sharer.stop()
    return given


def test_worker_says_nothing_when_the_main_process_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: reported.append(kind))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    ours, theirs = Pipe()
    ours.send("question")
    ours.send(None)
    answers = iter([reset_while_handing_over, lambda question: ours.close() or "last"])
    worker_pool._serve(lambda question: next(answers)(question), theirs)
    assert reported == [KeyError]


# Shared memory.


def refuse(*args: Any) -> None:
    """What torch raises where /dev/shm is full."""
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")


def test_tensors_go_through_the_pipe_where_shared_memory_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [{"a": torch.arange(6.0).reshape(2, 3)}], {"path": "reason"}
    ours, theirs = Pipe()
    send = Connection.send
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "send", lambda pipe, x: refuse() if isinstance(x, tuple) else send(pipe, x))
        worker_pool._send(theirs, answer)
    reasons: list[str] = []
    worker = worker_pool._Worker.__new__(worker_pool._Worker)
    worker.pipe = ours
    (samples, skipped) = worker.answer(reasons.append)
    assert torch.equal(samples[0]["a"], answer[0][0]["a"])
    assert skipped == answer[1]
    assert len(reasons) == 1
    assert "No space left on device" in reasons[0]


def double_without_shared_memory(number: int) -> torch.Tensor:
    torch.UntypedStorage._share_fd_cpu_ = refuse  # type: ignore[assignment, method-assign]
    return torch.full((3,), 2.0 * number)


@pytest.mark.slow
def test_workers_without_shared_memory_say_so_once(quick_workers: None) -> None:
    told: list[str] = []
    answers = worker_pool.map_in_order(double_without_shared_memory, itertools.count(), 2, told.append)
    assert [int(next(answers)[0]) for _ in range(6)] == [0, 2, 4, 6, 8, 10]
    answers.close()  # type: ignore[attr-defined]
    (line,) = told
    assert "no shared memory" in line
    assert "--shm-size" in line


def end_by_bus_error(number: int) -> None:
    os.kill(os.getpid(), signal.SIGBUS)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGBUS"), reason="Windows has no such signal")
def test_a_worker_that_dies_of_shared_memory_is_told_from_one_that_dies_of_memory(quick_workers: None) -> None:
    with pytest.raises(DataError, match=r"shared memory ran out.*--shm-size"):
        next(worker_pool.map_in_order(end_by_bus_error, itertools.count(), 1))


# Signals.


def double(number: int) -> int:
    return 2 * number


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals are sent as POSIX does")
def test_workers_survive_signals_to_the_whole_group_also_while_they_start(monkeypatch: pytest.MonkeyPatch) -> None:
    start, workers = worker_pool._Worker.__init__, []

    def signalled(worker: worker_pool._Worker, answer: worker_pool.Answer) -> None:
        start(worker, answer)
        workers.append(worker.process.pid)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker.process.pid or 0, number)

    monkeypatch.setattr(worker_pool._Worker, "__init__", signalled)
    answers = worker_pool.map_in_order(double, itertools.count(), 1)
    assert next(answers) == 0
    os.kill(workers[0] or 0, signal.SIGTERM)
    assert [next(answers) for _ in range(4)] == [2, 4, 6, 8]
    answers.close()  # type: ignore[attr-defined]


EXITS = """
import itertools, sys
from translate.data.worker_pool import map_in_order

if __name__ == "__main__":
    answers = map_in_order(str, itertools.count(), 1)
    print(next(answers))
    held = [answers]
    held.append(held)  # a cycle, which Python does not collect before it exits
    sys.modules["held"] = held
"""


@pytest.mark.slow
def test_a_program_that_still_holds_its_workers_ends(tmp_path: Path) -> None:
    """Python joins all children when it exits, and these ignore signals that ask for the end."""
    (tmp_path / "program.py").write_text(EXITS)
    done = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
