"""Locks of folders: on systems with locks, without them, and on Windows."""

import errno
import fcntl
import os
import platform
import signal
import subprocess
import sys
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path

import pytest

from translate import locks
from translate.errors import BusyError, StorageError

from .helpers import python_that_is_ready
from .windows import as_on_windows

HERE = platform.node()


def names(folder):
    return sorted(os.listdir(folder))


def test_parts_of_a_folder_are_held_side_by_side_but_not_beside_the_whole(tmp_path, monkeypatch):
    with locks.lock_folder(tmp_path, "wait", "0-of-2"), locks.lock_folder(tmp_path, "wait", "1-of-2"):
        for part in ("", "0-of-2"):
            with (
                pytest.raises(BusyError, match=f"in use by process {os.getpid()}"),
                locks.lock_folder(tmp_path, "wait", part),
            ):
                pass
    with locks.lock_folder(tmp_path, "wait"):
        monkeypatch.setattr(locks, "LOCK_WAIT_SECONDS", 0)
        with pytest.raises(BusyError), locks.lock_folder(tmp_path, "wait", "0-of-2"):
            pass
    assert names(tmp_path) == []


def test_a_lock_left_over_by_a_dead_part_is_in_nobodys_way(tmp_path):
    (tmp_path / "run-3-of-8.lock").write_text("process 1 on mars")
    with locks.lock_folder(tmp_path, "wait"):
        assert names(tmp_path) == ["run.lock"]
    assert names(tmp_path) == []


HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from translate import locks
with locks.lock_folder(Path(sys.argv[1]), "wait"):
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_locked_folder_is_refused_and_its_holder_named(tmp_path):
    with python_that_is_ready(HOLD_THE_LOCK, tmp_path) as other:
        with pytest.raises(BusyError) as caught, locks.lock_folder(tmp_path, "wait for it"):
            pass
        assert str(tmp_path) in str(caught.value)
        assert f"process {other.pid} " in str(caught.value)
        assert "wait for it" in str(caught.value)
        assert caught.value.exit_code == 5


def test_a_refusal_takes_nothing_from_the_holder(tmp_path):
    with locks.lock_folder(tmp_path, "wait"):
        for _ in range(2):
            with pytest.raises(BusyError, match=f"process {os.getpid()} "), locks.lock_folder(tmp_path, "wait"):
                pass
        assert names(tmp_path) == ["run.lock"]


RACES = 200


def race(folder, together, told):
    """Tries to lock each of RACES folders at the same moment as others; says who got it."""
    for n in range(RACES):
        together.wait()
        try:
            with locks.lock_folder(folder / str(n), "wait"):
                told.put((n, True))
                together.wait()
        except BusyError:
            told.put((n, False))
            together.wait()


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_of_two_that_come_at_once_one_gets_the_lock(tmp_path):
    fork = get_context("fork")
    together, told = fork.Barrier(2), fork.Queue()
    racers = [fork.Process(target=race, args=(tmp_path, together, told)) for _ in range(2)]
    for racer in racers:
        racer.start()
    answers = [told.get(timeout=600) for _ in range(2 * RACES)]
    for racer in racers:
        racer.join()
    assert sorted(answers) == [(n, got) for n in range(RACES) for got in (False, True)]


def test_a_killed_holder_frees_the_lock(tmp_path):
    with python_that_is_ready(HOLD_THE_LOCK, tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert names(tmp_path) == ["run.lock"]  # its file stays, but holds nobody up
    with locks.lock_folder(tmp_path, "wait"):
        assert f"process {os.getpid()} " in (tmp_path / "run.lock").read_text()


@pytest.mark.parametrize("error", [None, ValueError])
def test_the_lock_ends_with_the_block(error, tmp_path):
    folder = tmp_path / "new"
    with pytest.raises(error) if error else nullcontext(), locks.lock_folder(folder, "wait"):
        assert names(folder) == ["run.lock"]
        if error:
            raise error
    assert names(folder) == []
    with locks.lock_folder(folder, "wait"):
        pass


def test_a_lock_file_that_its_holder_removes_meanwhile_is_not_mistaken_for_the_lock(tmp_path, monkeypatch):
    """Opened while another run held it, taken after that run had removed it: then nobody else would see the lock."""
    take, lost = locks.try_lock, []

    def remove_first(handle):
        if not lost:
            lost.append(True)
            (tmp_path / "run.lock").unlink()
        return take(handle)

    monkeypatch.setattr(locks, "try_lock", remove_first)
    with locks.lock_folder(tmp_path, "wait"):
        assert names(tmp_path) == ["run.lock"]
        with pytest.raises(BusyError), locks.lock_folder(tmp_path, "wait"):
            pass


LOCK_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from translate import errors, locks
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # files can be made, but nothing written into them
try:
    with locks.lock_folder(Path(sys.argv[1]), "wait"):
        pass
except errors.StorageError as e:
    print("ready", flush=True)
"""


def test_a_lock_that_cannot_be_written_is_a_storage_error(tmp_path):
    with python_that_is_ready(LOCK_ON_A_FULL_DISK, tmp_path):
        pass


@pytest.mark.parametrize("target", ["victim", "missing"])
def test_a_lock_file_that_is_a_link_is_refused_and_not_followed(target, tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("precious")
    folder.mkdir()
    (folder / "run.lock").symlink_to(tmp_path / target)
    with pytest.raises(StorageError, match=r"run\.lock: is a link"), locks.lock_folder(folder, "wait"):
        pass
    assert victim.read_text() == "precious"
    assert (folder / "run.lock").is_symlink()
    assert names(tmp_path) == ["folder", "victim"]


# Interruptions.

PLACES = [("mkdir", Path), ("open", os), ("fstat", os), ("ftruncate", os), ("write", os), ("lseek", os)]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("name", "owner"), PLACES, ids=lambda part: part if isinstance(part, str) else "")
def test_an_interruption_anywhere_leaves_no_lock(name, owner, after, tmp_path, monkeypatch):
    """Before or after each call to the system on the way to the lock: what `open` has returned is then lost."""
    call = getattr(owner, name)

    def interrupted(*args, **kwargs):
        monkeypatch.setattr(owner, name, call)
        if after:
            call(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(KeyboardInterrupt), locks.lock_folder(tmp_path, "wait"):
        pytest.fail("was not interrupted")
    assert names(tmp_path) == []
    with locks.lock_folder(tmp_path, "wait"):
        assert names(tmp_path) == ["run.lock"]


LOSE_THE_BLOCK = """
import os, sys
from pathlib import Path
from translate import locks
manager = locks.lock_folder(Path(sys.argv[1]), "wait")
manager.__enter__()
knot = [manager]
knot.append(knot)  # nothing closes the block
if sys.argv[2] == "fork" and os.fork() == 0:
    sys.exit()  # a child holds nothing
if sys.argv[2] == "fork":
    os.wait()
    assert os.listdir(sys.argv[1]) == ["run.lock"]
print("ready", flush=True)
"""


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_the_end_of_the_process_removes_locks_whose_block_was_lost(how, tmp_path):
    with python_that_is_ready(LOSE_THE_BLOCK, tmp_path, how) as other:
        assert other.wait() == 0
    assert names(tmp_path) == []


# File systems without locks.


@pytest.fixture(params=[errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL], ids=errno.errorcode.get)
def no_locks(request, monkeypatch):
    """Lustre, and some NFS, FUSE and SMB."""

    def flock(*args):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_without_locks_the_file_is_the_lock(no_locks, tmp_path):
    for _ in range(2):
        with locks.lock_folder(tmp_path, "wait"):
            assert locks.lock_holder(tmp_path) == f"process {os.getpid()} on {HERE}"
            with pytest.raises(BusyError) as caught, locks.lock_folder(tmp_path, "wait"):
                pass
            assert f"in use by process {os.getpid()} on {HERE}" in str(caught.value)
            assert str(caught.value).endswith(f"if that process is gone, delete {tmp_path / 'run.lock'}")
            assert names(tmp_path) == ["run.lock"]
        assert names(tmp_path) == []
        assert locks.lock_holder(tmp_path) is None


def test_without_locks_parts_are_held_side_by_side(no_locks, tmp_path, monkeypatch):
    with locks.lock_folder(tmp_path, "wait", "0-of-2"), locks.lock_folder(tmp_path, "wait", "1-of-2"):
        with pytest.raises(BusyError), locks.lock_folder(tmp_path, "wait"):
            pass
        assert names(tmp_path) == ["run-0-of-2.lock", "run-1-of-2.lock"]
    assert names(tmp_path) == []


@pytest.mark.parametrize("end", [locks.NO_LOCKS, ""])
def test_without_locks_the_file_of_a_dead_process_of_this_machine_is_taken_over(end, no_locks, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getpid()):  # a container gives the same number again and again
        (tmp_path / "run.lock").write_text(f"process {process} on {HERE}{end}")
        assert locks.lock_holder(tmp_path) is None
        with locks.lock_folder(tmp_path, "wait"):
            assert names(tmp_path) == ["run.lock"]
            assert locks.lock_holder(tmp_path) == f"process {os.getpid()} on {HERE}"
        assert names(tmp_path) == []


@pytest.mark.parametrize("text", ["process 1 on {here}", "process 1 on mars", ""])
def test_without_locks_a_file_of_a_living_or_unknown_process_is_respected(text, no_locks, tmp_path):
    text = text.format(here=HERE) + (locks.NO_LOCKS if text else "")
    (tmp_path / "run.lock").write_text(text)
    with pytest.raises(BusyError, match="delete"), locks.lock_folder(tmp_path, "wait"):
        pass
    assert (tmp_path / "run.lock").read_text() == text
    assert locks.lock_holder(tmp_path)


def test_a_machine_with_locks_respects_the_file_of_one_without(tmp_path):
    """Lustre is mounted with flock on some nodes of a cluster and without on others."""
    (tmp_path / "run.lock").write_text(f"process 1 on mars{locks.NO_LOCKS}")
    with pytest.raises(BusyError, match=r"process 1 on mars.*delete"), locks.lock_folder(tmp_path, "wait"):
        pass
    assert locks.lock_holder(tmp_path) == "process 1 on mars"


def test_another_error_of_the_lock_is_a_storage_error(tmp_path, monkeypatch):
    def flock(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StorageError, match="Input/output error"), locks.lock_folder(tmp_path, "wait"):
        pass


# Windows.


def test_on_windows_one_byte_far_behind_the_text_is_locked(tmp_path, monkeypatch):
    places = as_on_windows(monkeypatch)
    for _ in range(2):
        with locks.lock_folder(tmp_path, "wait"):
            holder = f"process {os.getpid()} on {HERE}"
            assert (tmp_path / "run.lock").read_text() == holder
            assert locks.lock_holder(tmp_path) == holder
            with pytest.raises(BusyError, match=holder), locks.lock_folder(tmp_path, "wait"):
                pass
        assert names(tmp_path) == []
    assert {offset for _, offset in places} == {locks.LOCK_BYTE}
    assert locks.lock_holder(tmp_path) is None


def test_on_windows_a_file_left_over_by_a_dead_process_is_taken_over(tmp_path, monkeypatch):
    as_on_windows(monkeypatch)
    (tmp_path / "run.lock").write_text("process 1 on mars")
    (tmp_path / "run-0-of-2.lock").write_text("process 1 on mars")
    assert locks.lock_holder(tmp_path) is None
    with locks.lock_folder(tmp_path, "wait"):
        assert names(tmp_path) == ["run.lock"]
    assert names(tmp_path) == []


def test_on_windows_parts_are_held_side_by_side(tmp_path, monkeypatch):
    as_on_windows(monkeypatch)
    with locks.lock_folder(tmp_path, "wait", "0-of-2"), locks.lock_folder(tmp_path, "wait", "1-of-2"):
        assert names(tmp_path) == ["run-0-of-2.lock", "run-1-of-2.lock"]
        with pytest.raises(BusyError), locks.lock_folder(tmp_path, "wait"):
            pass
    assert names(tmp_path) == []
