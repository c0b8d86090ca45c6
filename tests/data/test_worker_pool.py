"""What worker processes do when the main process is gone."""

import signal
import socket
import sys
from multiprocessing import Pipe, resource_sharer

import pytest

from translate.data import worker_pool


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
