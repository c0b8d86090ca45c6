"""Clean stop on signals."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from translate.runtime import signals

from ..windows import as_on_windows

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX does")

CAUGHT = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def not_ignored():
    """The handlers of a process in the foreground: under nohup or in a background job, tests start with signals ignored."""
    ignored = [number for number in CAUGHT if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def codes(monkeypatch):
    """The codes with which the process would have ended at once."""
    found = []
    monkeypatch.setattr(os, "_exit", found.append)
    return found


@pytest.fixture
def command(monkeypatch):
    """Signals raise, as in a command; afterwards they do what they did before."""
    before = {number: signal.getsignal(number) for number in CAUGHT}
    monkeypatch.setattr(signals, "_of_process", None)
    yield signals.raise_on_signal()
    for number, handler in before.items():
        signal.signal(number, handler)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def kill(number):
    os.kill(os.getpid(), number)


# Requests.


@pytest.mark.parametrize("number", CAUGHT)
def test_a_first_signal_asks_for_the_end(number):
    before = signal.getsignal(number)
    with signals.stop_on_signal() as stop:
        assert not stop
        kill(number)
        assert stop
        assert stop.signal == number
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", CAUGHT)
@pytest.mark.parametrize(("seconds", "ends"), [(0.0, False), (1.99, False), (2.0, False), (2.01, True), (60.0, True)])
def test_a_repeat_within_two_seconds_of_the_first_is_the_same_request(number, seconds, ends, codes):
    clock = Clock()
    stop = signals.StopRequest(clock)
    stop._receive(number, None)
    clock.now += seconds
    stop._receive(number, None)
    assert codes == ([128 + number] if ends else [])
    assert stop.signal == number


def test_repeats_do_not_prolong_the_two_seconds(codes):
    clock = Clock()
    stop = signals.StopRequest(clock)
    for _ in range(4):  # at 0, 0.9, 1.8 and 2.7 s
        stop._receive(signal.SIGTERM, None)
        clock.now += 0.9
    assert codes == [128 + signal.SIGTERM]


@pytest.mark.parametrize(("first", "second"), [(a, b) for a in CAUGHT for b in CAUGHT if a != b])
def test_another_signal_ends_the_process_at_once(first, second, codes):
    with signals.stop_on_signal():
        kill(first)
        kill(second)
    assert codes == [128 + second]


@pytest.mark.parametrize(
    ("second", "seconds", "ends"),
    [(signal.SIGTERM, 1, False), (signal.SIGTERM, 3, True), (signal.SIGHUP, 1, True)],
)
def test_torchrun_sends_sigterm_after_another_signal_that_it_gets_twice(second, seconds, ends, codes, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    clock = Clock()
    stop = signals.StopRequest(clock)
    stop._receive(signal.SIGINT, None)
    clock.now += seconds
    stop._receive(second, None)
    assert codes == ([128 + second] if ends else [])


def test_the_signal_of_another_process_is_the_same_request(codes):
    """torchrun signals one process after the other; by the second signal all may be stopping already."""
    clock = Clock()
    stop = signals.StopRequest(clock)
    stop.accept(signal.SIGTERM)
    clock.now += 1
    stop._receive(signal.SIGTERM, None)
    assert (stop.signal, codes) == (signal.SIGTERM, [])


def test_a_hangup_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.stop_on_signal() as stop:
            kill(signal.SIGHUP)
            assert not stop
            kill(signal.SIGTERM)
            assert stop.signal == signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_interrupt_that_a_shell_ignores_for_a_background_job_is_caught():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals.stop_on_signal() as stop:
            kill(signal.SIGINT)
            assert stop.signal == signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_catch_no_signals():
    requests = []

    def work():
        with signals.stop_on_signal() as stop:
            requests.append(bool(stop))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert requests == [False]
    assert signal.getsignal(signal.SIGINT) == before


# Commands.


@pytest.mark.parametrize("number", CAUGHT)
def test_before_and_after_the_work_a_signal_raises_once(number, command, codes):
    with pytest.raises(signals.SignalReceived) as caught:
        kill(number)
    assert caught.value.signal == number
    assert not isinstance(caught.value, Exception)  # no handler of errors takes it
    kill(number)  # a repeat while locks are being removed
    assert codes == []


def test_work_finishes_what_it_is_doing(command):
    with signals.stop_on_signal() as stop:
        kill(signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
    kill(signal.SIGTERM)  # a repeat after the last save raises nothing


def test_after_the_work_a_first_signal_raises_again(command):
    with signals.stop_on_signal():
        pass
    with pytest.raises(signals.SignalReceived):
        kill(signal.SIGINT)


def test_work_stops_at_once_if_the_exception_was_lost_before_it(command):
    """Python drops what is raised in a destructor."""
    with pytest.raises(signals.SignalReceived):
        kill(signal.SIGTERM)
    with signals.stop_on_signal() as stop:
        assert stop.signal == signal.SIGTERM


# Other processes, other systems.

CHILD = """
import os, sys
from translate.runtime import signals
print("ready", flush=True)
sys.stdin.readline()
signals.ignore()
signals.unblock()
print("alive", flush=True)
"""


def test_a_new_process_survives_signals_until_it_ignores_them():
    with signals.blocked():
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    with child:
        for number in CAUGHT:  # while it starts
            child.send_signal(number)
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("\n")
        child.stdin.close()
        assert child.stdout.readline() == "alive\n"
    assert child.returncode == 0


def test_windows_has_fewer_signals_and_no_mask(monkeypatch):
    as_on_windows(monkeypatch)
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    assert signals.stop_signals() == [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
    with signals.blocked(), signals.stop_on_signal() as stop:
        kill(signal.SIGUSR1)
        assert stop.signal == signal.SIGUSR1
    signals.unblock()
