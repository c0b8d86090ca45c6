"""Which files of a folder are whole, by a clock that the tests set."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from translate.conversion.watch.arrivals import Arrivals, files_open_for_writing


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def arrivals(tmp_path: Path, clock: Clock) -> Arrivals:
    """Of a folder whose files settle for 2 seconds; no file is open for writing."""
    return Arrivals(tmp_path, 2.0, clock, written=set)


def later(arrivals: Arrivals, clock: Clock, seconds: float) -> list[str]:
    clock.seconds += seconds
    return arrivals.take_whole()


def test_a_file_is_whole_once_it_has_not_changed_for_so_long(arrivals: Arrivals, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    arrivals.add(["a.png"])
    assert later(arrivals, clock, 1.9) == []
    assert later(arrivals, clock, 0.1) == ["a.png"]
    assert later(arrivals, clock, 9) == []  # it is given out once


def test_every_change_starts_the_wait_anew(arrivals: Arrivals, clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for size in range(1, 5):
        path.write_bytes(b"1" * size)
        arrivals.add(["a.png"])
        assert later(arrivals, clock, 1.5) == []
    assert later(arrivals, clock, 0.5) == ["a.png"]


def test_a_change_that_was_not_reported_is_seen(arrivals: Arrivals, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    arrivals.add(["a.png"])
    (tmp_path / "a.png").write_bytes(b"12")
    assert later(arrivals, clock, 2) == []
    assert later(arrivals, clock, 2) == ["a.png"]


def test_what_is_reported_again_without_a_change_does_not_wait_longer(
    arrivals: Arrivals, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    for _ in range(2):
        arrivals.add(["a.png"])
        clock.seconds += 1
    assert arrivals.take_whole() == ["a.png"]
    arrivals.add(["a.png"])
    assert later(arrivals, clock, 3) == []


def test_a_file_that_is_written_again_or_replaced_is_given_out_again(
    arrivals: Arrivals, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    arrivals.add(["a.png"])
    assert later(arrivals, clock, 2) == ["a.png"]
    stat = path.stat()
    (tmp_path / "b").write_bytes(b"2")
    os.utime(tmp_path / "b", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.replace(tmp_path / "b", path)  # of the same size and time
    arrivals.add(["a.png"])
    assert later(arrivals, clock, 2) == ["a.png"]


def test_a_deleted_file_is_forgotten(arrivals: Arrivals, clock: Clock, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"1")
    arrivals.add(["a.png", "b.png", "never-there.png"])
    (tmp_path / "a.png").unlink()
    assert later(arrivals, clock, 2) == ["b.png"]
    (tmp_path / "b.png").unlink()
    arrivals.add(["b.png"])
    assert later(arrivals, clock, 2) == []


def test_folders_and_pipes_are_no_files(arrivals: Arrivals, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    arrivals.add(["folder.png"])
    assert later(arrivals, clock, 2) == []


def test_a_file_that_is_open_for_writing_is_not_whole(clock: Clock, tmp_path: Path) -> None:
    open_files: set[tuple[int, int]] = set()
    arrivals = Arrivals(tmp_path, 2.0, clock, written=lambda: open_files)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"1")
    stat = (tmp_path / "a.png").stat()
    open_files.add((stat.st_dev, stat.st_ino))
    arrivals.add(["a.png", "b.png"])
    assert later(arrivals, clock, 2) == ["b.png"]
    assert later(arrivals, clock, 100) == []
    open_files.clear()
    assert later(arrivals, clock, 2) == ["a.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_system_tells_which_files_are_open_for_writing(tmp_path: Path) -> None:
    names = {"read": "rb", "written": "wb", "both": "r+b"}
    for name in names:
        (tmp_path / name).write_bytes(b"1")
    with ExitStack() as handles:
        for name, mode in names.items():
            handles.enter_context(open(tmp_path / name, mode))
        found = files_open_for_writing()
    stats = {name: (tmp_path / name).stat() for name in names}
    assert {name for name, stat in stats.items() if (stat.st_dev, stat.st_ino) in found} == {"written", "both"}
    assert not {(stat.st_dev, stat.st_ino) for stat in stats.values()} & files_open_for_writing()


def test_a_system_that_does_not_tell_has_none(tmp_path: Path) -> None:
    assert files_open_for_writing(tmp_path / "no-proc") == set()
