import errno
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path

import pytest

from translate import atomic
from translate.errors import BusyError, NonFiniteError, StorageError

# Writing.


def names(folder):
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("data", [b"", b"new", bytes(range(256)) * 1000])
def test_write_makes_folders_and_the_whole_file_and_nothing_else(data, tmp_path):
    path = tmp_path / "a" / "b" / "file"
    atomic.write(path, data)
    assert path.read_bytes() == data
    assert names(path.parent) == ["file"]


def test_write_replaces_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old and long")
    atomic.write(path, b"new")
    assert path.read_bytes() == b"new"


def test_what_is_staged_lies_beside_and_changes_nothing(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    staged = atomic.stage(path, b"newer", "tag-")
    assert (path.read_bytes(), staged.read_bytes(), staged.parent) == (b"old", b"newer", tmp_path)
    atomic.remove_temporaries(tmp_path, "other-")
    assert staged.exists()
    atomic.remove_temporaries(tmp_path, "tag-")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("before", [b"old", None])
def test_an_interrupted_write_leaves_everything_as_it_was(before, tmp_path, monkeypatch):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic.write(path, b"new")
    assert names(tmp_path) == (["file"] if before is not None else [])
    if before is not None:
        assert path.read_bytes() == before


def test_parts_of_a_folder_are_held_side_by_side_but_not_beside_the_whole(tmp_path, monkeypatch):
    with atomic.lock_folder(tmp_path, "wait", "0-of-2"), atomic.lock_folder(tmp_path, "wait", "1-of-2"):
        for part in ("", "0-of-2"):
            with (
                pytest.raises(BusyError, match=f"in use by process {os.getpid()}"),
                atomic.lock_folder(tmp_path, "wait", part),
            ):
                pass
    with atomic.lock_folder(tmp_path, "wait"):
        monkeypatch.setattr(atomic, "LOCK_WAIT_SECONDS", 0)
        with pytest.raises(BusyError), atomic.lock_folder(tmp_path, "wait", "0-of-2"):
            pass
    assert names(tmp_path) == []


def test_a_lock_left_over_by_a_dead_part_is_in_nobodys_way(tmp_path):
    (tmp_path / "run-3-of-8.lock").write_text("process 1 on mars")
    with atomic.lock_folder(tmp_path, "wait"):
        assert names(tmp_path) == ["run.lock"]
    assert names(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_old_file_and_no_temporary(call, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        atomic.write(path, b"new")
    assert names(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, order = tmp_path / "file", []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("sync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), replace(a, b)))
    atomic.write(path, b"data")
    assert order == ["sync", "rename"]


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "new\nline", os.fsdecode(b"caf\xe9")])
def test_names_as_long_and_odd_as_the_system_takes(name, tmp_path):
    atomic.write(tmp_path / name, b"data")
    assert names(tmp_path) == [name]


def test_temporary_names_are_in_the_same_folder_and_never_the_same(tmp_path):
    made = {atomic.temporary_path(tmp_path / "file") for _ in range(100)}
    assert len(made) == 100
    assert {path.parent for path in made} == {tmp_path}


def test_remove_temporaries_takes_only_those_of_killed_writers(tmp_path):
    keep = [tmp_path / "a.png", tmp_path / ".hidden", tmp_path / "sub" / "translate-1"]
    gone = [atomic.temporary_path(tmp_path / "x"), atomic.temporary_path(tmp_path / "sub" / "x")]
    for path in (*keep, *gone):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    atomic.remove_temporaries(tmp_path)
    assert all(path.exists() for path in keep)
    assert not any(path.exists() for path in gone)


WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from translate import atomic
print("ready", flush=True)
n = 0
while True:
    n = 1 - n
    atomic.write(Path(sys.argv[1]), bytes([n]) * 300_000)
"""


@contextmanager
def process(script, *args):
    """Another Python that has just printed a line; it is killed at the end."""
    root = str(Path(atomic.__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen([sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE, env=env) as other:
        try:
            assert other.stdout.readline() == b"ready\n"
            yield other
        finally:
            other.kill()


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "file"
    atomic.write(path, bytes(300_000))
    with process(WRITE_UNTIL_KILLED, path) as other:
        inode = path.stat().st_ino
        while path.stat().st_ino == inode and other.poll() is None:
            pass
        assert other.poll() is None  # it is at work
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert path.read_bytes() in (bytes(300_000), b"\1" * 300_000)
    atomic.remove_temporaries(tmp_path)
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("folder", ["", "sub"])
def test_sync_folder_takes_any_folder(folder, tmp_path):
    (tmp_path / "sub").mkdir()
    handles = len(os.listdir("/proc/self/fd"))
    atomic.sync_folder(tmp_path / folder)
    assert len(os.listdir("/proc/self/fd")) == handles


# Disks that fail.


def test_a_full_disk_is_a_storage_error(tmp_path):
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 (each write to it fails)
    with full, pytest.raises(StorageError, match="No space left") as caught, atomic.storage_errors(tmp_path):
        full.write(b"data")
    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_code == 6


def test_what_torch_says_of_a_full_disk_is_a_storage_error(tmp_path):
    """torch.save raises a RuntimeError, with the cause behind it or not."""
    with pytest.raises(StorageError, match="No space left"), atomic.storage_errors(tmp_path):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as e:
            raise RuntimeError("unexpected pos 64 vs 0") from e
    with pytest.raises(StorageError, match="unexpected pos"), atomic.storage_errors(tmp_path):
        raise RuntimeError("unexpected pos 64 vs 0")


def test_other_errors_are_no_storage_errors(tmp_path):
    with pytest.raises(ValueError, match="mine"), atomic.storage_errors(tmp_path):
        raise ValueError("mine")


def below_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    return tmp_path / "file" / "folder"


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    folder = below_a_file(tmp_path)
    with pytest.raises(StorageError) as caught:
        atomic.check_writable(folder)
    assert str(folder) in str(caught.value)
    with pytest.raises(StorageError), atomic.lock_folder(folder, "wait"):
        pass


LOCK_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from translate import atomic, errors
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # files can be made, but nothing written into them
try:
    with atomic.lock_folder(Path(sys.argv[1]), "wait"):
        pass
except errors.StorageError as e:
    print("ready", flush=True)
"""


def test_a_lock_that_cannot_be_written_is_a_storage_error(tmp_path):
    with process(LOCK_ON_A_FULL_DISK, tmp_path):
        pass


def test_check_writable_makes_the_folder_and_leaves_it_empty(tmp_path):
    atomic.check_writable(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


def test_a_folder_that_takes_no_files_is_a_storage_error():
    """Not even root makes files in /proc."""
    with pytest.raises(StorageError, match="/proc/self"):
        atomic.check_writable(Path("/proc/self"))


@pytest.mark.parametrize(
    ("number", "disk"),
    [
        (errno.ENOSPC, True),
        (errno.EDQUOT, True),
        (errno.EROFS, True),
        (errno.EACCES, True),
        (errno.EIO, True),
        (errno.ENAMETOOLONG, False),
        (errno.EILSEQ, False),
        (errno.EISDIR, False),
    ],
)
def test_one_bad_name_is_no_failure_of_the_disk(number, disk):
    assert atomic.is_storage_failure(OSError(number, os.strerror(number))) == disk


# Locks.

HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from translate import atomic
with atomic.lock_folder(Path(sys.argv[1]), "wait"):
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_locked_folder_is_refused_and_its_holder_named(tmp_path):
    with process(HOLD_THE_LOCK, tmp_path) as other:
        with pytest.raises(BusyError) as caught, atomic.lock_folder(tmp_path, "wait for it"):
            pass
        assert str(tmp_path) in str(caught.value)
        assert f"process {other.pid} " in str(caught.value)
        assert "wait for it" in str(caught.value)
        assert caught.value.exit_code == 5


def test_a_refusal_takes_nothing_from_the_holder(tmp_path):
    with atomic.lock_folder(tmp_path, "wait"):
        for _ in range(2):
            with pytest.raises(BusyError, match=f"process {os.getpid()} "), atomic.lock_folder(tmp_path, "wait"):
                pass
        assert names(tmp_path) == ["run.lock"]


RACES = 200


def race(folder, together, told):
    """Tries to lock each of RACES folders at the same moment as others; says who got it."""
    for n in range(RACES):
        together.wait()
        try:
            with atomic.lock_folder(folder / str(n), "wait"):
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
    with process(HOLD_THE_LOCK, tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert names(tmp_path) == ["run.lock"]  # its file stays, but holds nobody up
    with atomic.lock_folder(tmp_path, "wait"):
        assert f"process {os.getpid()} " in (tmp_path / "run.lock").read_text()


@pytest.mark.parametrize("error", [None, ValueError])
def test_the_lock_ends_with_the_block(error, tmp_path):
    folder = tmp_path / "new"
    with pytest.raises(error) if error else nullcontext(), atomic.lock_folder(folder, "wait"):
        assert names(folder) == ["run.lock"]
        if error:
            raise error
    assert names(folder) == []
    with atomic.lock_folder(folder, "wait"):
        pass


def test_a_lock_file_that_its_holder_removes_meanwhile_is_not_mistaken_for_the_lock(tmp_path, monkeypatch):
    """Opened while another run held it, taken after that run had removed it: then nobody else would see the lock."""
    take, lost = atomic._try_lock, []

    def remove_first(handle):
        if not lost:
            lost.append(True)
            (tmp_path / "run.lock").unlink()
        return take(handle)

    monkeypatch.setattr(atomic, "_try_lock", remove_first)
    with atomic.lock_folder(tmp_path, "wait"):
        assert names(tmp_path) == ["run.lock"]
        with pytest.raises(BusyError), atomic.lock_folder(tmp_path, "wait"):
            pass


def test_an_error_of_ours_is_no_storage_error(tmp_path):
    with pytest.raises(NonFiniteError, match="mine"), atomic.storage_errors(tmp_path):
        raise NonFiniteError("mine")
