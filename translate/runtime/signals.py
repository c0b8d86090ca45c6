"""Clean stop on SIGINT, SIGTERM and SIGHUP."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any


class StopRequest:
    """Request to stop: true after a first SIGINT, SIGTERM or SIGHUP; a second signal ends the process at once."""

    def __init__(self) -> None:
        self.signal = 0
        """Number of the signal; 0: none yet."""

    def __bool__(self) -> bool:
        return self.signal != 0

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            os._exit(128 + number)  # files are written under a temporary name first, so those that exist are whole
        self.signal = number


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Let signals set the yielded request within the block, instead of raising. Only the main thread catches signals.

    A SIGHUP that is ignored already, as under nohup, stays ignored.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    caught = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # Windows has none
        caught.append(signal.SIGHUP)
    before: Mapping[int, Any] = {number: signal.signal(number, stop._receive) for number in caught}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
