"""Clean stop on signals."""

import os
import signal
import threading

import pytest

from translate.runtime import signals

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX does")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_first_signal_asks_for_the_end(number):
    before = signal.getsignal(number)
    with signals.stop_on_signal() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal == number
    assert signal.getsignal(number) == before


def test_a_second_signal_ends_the_process_at_once(monkeypatch):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with signals.stop_on_signal():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert codes == [128 + signal.SIGTERM]


def test_a_hangup_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.stop_on_signal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.signal == signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)


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
