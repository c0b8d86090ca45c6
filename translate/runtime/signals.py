"""Clean stop on SIGINT, SIGTERM and SIGHUP, and on Ctrl-Break in Windows.

Wrappers send a signal twice: `timeout`, systemd and srun signal the whole process group, and `uv run` and torchrun in it pass
the signal on. So a repeat of the same signal within REPEAT_SECONDS is the same request.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

REPEAT_SECONDS = 2.0
"""Time after a first signal in which the same signal again is the same request."""

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Signals that ask for a clean stop; Windows has no SIGHUP, and SIGBREAK is only there."""


class SignalReceived(KeyboardInterrupt):
    """Signal that arrived outside `stop_on_signal`; `signal` is its number. `except Exception` lets it through."""

    def __init__(self, number: int) -> None:
        super().__init__(signal_name(number))
        self.signal = number


class StopRequest:
    """Request to stop: true after a first signal; a later one, or another one, ends the process at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.signal = 0
        """Number of the signal; 0: none yet."""
        self.raises = False
        """True where the first signal raises SignalReceived: nobody looks at the request there."""
        self._clock, self._received_at = clock, 0.0

    def __bool__(self) -> bool:
        return self.signal != 0

    def accept(self, number: int) -> None:
        """Take over the request of another process of the same job: the same signal here is then a repeat of it."""
        if not self.signal:
            self.signal, self._received_at = number, self._clock()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self.signal:
            self.accept(number)
            if self.raises:
                raise SignalReceived(number)
        elif not self._is_repeat(number):
            os._exit(128 + number)  # files are written under a temporary name first, so those that exist are whole

    def _is_repeat(self, number: int) -> bool:
        """Return True for what a wrapper sends after the first signal; torchrun, signalled twice, sends SIGTERM after any."""
        same = number == self.signal or (number == signal.SIGTERM and "TORCHELASTIC_RUN_ID" in os.environ)
        return same and self._clock() - self._received_at <= REPEAT_SECONDS


_of_process: StopRequest | None = None
"""Request of the whole process, where `raise_on_signal` was called."""


def raise_on_signal() -> StopRequest:
    """Let the first signal raise SignalReceived from here on, so that locks and temporary files are removed.

    Blocks of `stop_on_signal` finish what they are doing instead. For the main thread of a command: no handler is restored.
    """
    global _of_process
    _of_process = stop = StopRequest()
    stop.raises = True
    for number in _handled():
        signal.signal(number, stop._receive)
    return stop


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Let signals set the yielded request within the block, instead of raising. Only the main thread catches signals.

    The request is set already where a signal came before the block, and code that must not raise has swallowed its exception.
    """
    if threading.current_thread() is not threading.main_thread():
        yield StopRequest()
    elif _of_process is not None:
        _of_process.raises = False
        try:
            yield _of_process
        finally:
            _of_process.raises = True
    else:
        stop = StopRequest()
        before: Mapping[int, Any] = {number: signal.signal(number, stop._receive) for number in _handled()}
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _handled() -> list[signal.Signals]:
    """Return the signals to handle: a SIGHUP that is ignored already, as under nohup, stays ignored."""
    return [
        number for number in stop_signals() if number.name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN
    ]


def stop_signals() -> list[signal.Signals]:
    """Return the signals of NAMES that this system has."""
    return [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


def signal_name(number: int) -> str:
    """Return the name of a signal, as "SIGTERM"."""
    return signal.Signals(number).name


def ignore() -> None:
    """Ignore the signals from here on: for the end of a process, whose exit code is decided, and for workers."""
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def blocked() -> Iterator[None]:
    """Hold signals back from processes that are started within the block; does nothing on Windows.

    A new process keeps them blocked until it calls `unblock`. This process still receives them, by whichever thread the system
    chooses.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock() -> None:
    """Let signals through that `blocked` holds back in the process that started this one."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stop_signals())
