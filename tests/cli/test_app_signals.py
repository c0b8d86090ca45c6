"""Signals to a command: before its work, after it, and under the wrappers of schedulers and shells."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX does")

COMMAND = """
import atexit, os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP):  # which are ignored below nohup
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from translate import cli, locks
from translate.cli import status
from translate.runtime import signals

def kill():
    os.kill(os.getpid(), signal.Signals[sys.argv[2]])

def before(folder):
    with locks.lock_folder(folder, "wait"):
        kill()
        time.sleep(600)

def twice(folder):
    try:
        before(folder)
    finally:
        kill()  # a wrapper passes it on, while locks are being removed

def lost(folder):
    class Careless:
        def __del__(self):
            kill()  # what is raised here is dropped by Python
    sys.unraisablehook = lambda error: None
    Careless()
    with locks.lock_folder(folder, "wait"), signals.stop_on_signal() as stop:
        print("stops" if stop else "works on", flush=True)

def at_exit(folder):
    atexit.register(kill)
    return 3

status.status = lambda folder, /: globals()[sys.argv[3]](Path(folder))
cli.main(["status", sys.argv[1]])
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("how", ["before", "twice"])
def test_before_the_work_a_signal_leaves_one_line_and_no_lock(name: str, code: int, how: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, folder, name, how], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == code
    assert done.stderr == f"error: interrupted by {name}; run the same command again\n"
    assert list(folder.iterdir()) == []


def test_a_signal_whose_exception_is_lost_stops_the_work(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, tmp_path, "SIGTERM", "lost"], capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "stops\n", "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_at_the_end_the_code_is_decided(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, tmp_path, name, "at_exit"], capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize(
    ("wrapper", "each"),
    [
        pytest.param("timeout", 2, marks=pytest.mark.slow),
        *(pytest.param(name, 10, marks=pytest.mark.hours) for name in ("timeout", "setsid", "uv", "torchrun")),
    ],
)
def test_a_training_under_a_wrapper_ends_with_a_checkpoint_that_resumes(wrapper: str, each: int) -> None:
    """Half of the stops, or three in ten, fall into the start. See the docstring of the script.

    Below `timeout` a signal comes from `uv`, which passes it on, and once more to the group, as `setsid` sends it.
    """
    if wrapper != "torchrun" and shutil.which(wrapper) is None:
        pytest.skip(f"needs {wrapper}")
    words = [sys.executable, CHECKOUT / "tools" / "stop_trials.py", "--each", str(each), "--wrappers", wrapper]
    done = subprocess.run(words, capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{each} of {each} stops are right" in done.stdout
