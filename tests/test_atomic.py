import errno
import os
import signal
import stat
from pathlib import Path

import pytest

from translate import atomic
from translate.errors import NonFiniteError, StorageError

from .helpers import python_that_is_ready
from .windows import as_on_windows

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


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "file"
    atomic.write(path, bytes(300_000))
    with python_that_is_ready(WRITE_UNTIL_KILLED, path) as other:
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


@pytest.mark.parametrize(
    "number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES], ids=errno.errorcode.get
)
def test_a_share_that_syncs_no_folders_is_written_all_the_same(number, tmp_path, monkeypatch):
    """SMB, 9p and vboxsf."""
    fsync, synced = os.fsync, []

    def of_files(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        synced.append(fsync(handle))

    monkeypatch.setattr(os, "fsync", of_files)
    atomic.sync_folder(tmp_path)
    atomic.replace_folder(tmp_path / "model", lambda folder: atomic.write(folder / "file", b"data"))
    assert (tmp_path / "model" / "file").read_bytes() == b"data"
    assert len(synced) == 2  # when it is written, and before the folder has its name


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_folder_that_fails_to_reach_the_disk_is_an_error(number, tmp_path, monkeypatch):
    def fails(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match=os.strerror(number)):
        atomic.sync_folder(tmp_path)


def test_a_folder_that_may_not_be_read_is_not_synced(tmp_path, monkeypatch):
    def refused(*args):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refused)
    atomic.sync_folder(tmp_path)


def test_on_windows_files_and_folders_are_replaced(tmp_path, monkeypatch):
    as_on_windows(monkeypatch)
    for data in (b"old", b"new"):
        atomic.write(tmp_path / "file", data)
        with atomic.open_for_writing(tmp_path / "pieces") as file:
            file.write(data)
        atomic.append(tmp_path / "log", data)
        atomic.replace_folder(tmp_path / "model", lambda folder, data=data: atomic.write(folder / "weights", data))
    atomic.recover_folder(tmp_path / "model")
    atomic.check_writable(tmp_path)
    atomic.name_folding(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in ("file", "pieces", "log", "model/weights")} == {
        "file": b"new",
        "pieces": b"new",
        "log": b"oldnew",
        "model/weights": b"new",
    }
    assert names(tmp_path) == ["file", "log", "model", "pieces"]


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


def test_an_error_of_ours_is_no_storage_error(tmp_path):
    with pytest.raises(NonFiniteError, match="mine"), atomic.storage_errors(tmp_path):
        raise NonFiniteError("mine")
