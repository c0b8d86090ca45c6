"""Clean stop on SIGINT, SIGTERM and SIGHUP."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any


class StopRequest:
    """Set by a first SIGINT, SIGTERM or SIGHUP, for the work to end cleanly; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            os._exit(128 + number)  # every file is written under another name first, so what is there is whole
        self.signal = number


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Signals set the yielded Stop instead of raising, inside the block. Only a main thread can catch signals.

    A SIGHUP that is ignored already stays so: that is what nohup asks for.
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
