"""Reading, translating and writing at the same time: stops, full disks, memory and progress."""

import errno
import os
import signal
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from translate import atomic, images
from translate.conversion import job
from translate.conversion.job import ConversionResult
from translate.errors import Interrupted, StorageError
from translate.trained.translator import Translator

from .output_folder import assert_clean, lines, save, tree

Draw = Callable[..., np.ndarray]
Convert = Callable[..., ConversionResult]


class Killed(BaseException):
    """Stands for the end of the process at that point."""


@pytest.mark.parametrize("place", ["before the rename", "after the rename", "before the line"])
def test_a_run_killed_while_writing_is_made_whole(
    convert: Convert, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    convert(source, tmp_path / "whole")
    replace, calls = os.replace, []

    def killing(a: Path, b: Path) -> None:
        calls.append(b)
        if place == "after the rename":
            replace(a, b)
        if len(calls) == 3:
            raise Killed
        replace(a, b) if place != "after the rename" else None

    def killing_journal(self: job.Manifest, new: Iterable[dict[str, Any]]) -> None:
        for line in new:
            calls.append(line["input"])
            if len(calls) == 3:
                raise Killed
            add(self, [line])

    add = job.Manifest.add
    with monkeypatch.context() as patch:
        if place == "before the line":
            patch.setattr(job.Manifest, "add", killing_journal)
        else:
            patch.setattr(atomic.os, "replace", killing)
        with pytest.raises(Killed):
            convert(source, tmp_path / "out")
    (tmp_path / "out" / "deep").mkdir(exist_ok=True)
    for left in (".translate-1-abcd", "deep/.translate-1-abcd"):  # a killed process cannot clean up
        (tmp_path / "out" / left).write_bytes(b"half")
    assert tree(tmp_path / "out") != tree(tmp_path / "whole")
    result = convert(source, tmp_path / "out")
    assert result.failures == {}
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert_clean(tmp_path / "out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_the_next_run_goes_on(
    convert: Convert, cyclegan: Translator, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for seed in range(60):
        save(tmp_path / "in" / f"{seed}.png", draw(seed))

    def stop(finished: int, failed: int, total: int) -> None:
        if finished == 5:
            signal.raise_signal(number)

    handler = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught:
        convert(tmp_path / "in", tmp_path / "out", progress=stop)
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(number) == handler
    made = tree(tmp_path / "out")
    assert 5 <= len(made) < 60
    assert len(lines(tmp_path / "out")) == len(made)
    assert f" {60 - len(made)} images left" in str(caught.value)
    assert_clean(tmp_path / "out")
    calls, translate_pixels = [], cyclegan.translate_pixels
    monkeypatch.setattr(cyclegan, "translate_pixels", lambda *a, **k: calls.append(1) or translate_pixels(*a, **k))
    assert convert(tmp_path / "in", tmp_path / "out").skipped == len(made)
    assert len(calls) == 60 - len(made)
    convert(tmp_path / "in", tmp_path / "whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_full_disk_ends_the_run_and_the_next_one_completes_it(
    convert: Convert, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    stage, calls = atomic.stage, []

    def failing(path: Path, *args: Any) -> Path:
        calls.append(path)
        if len(calls) > 2:
            raise OSError(error, os.strerror(error))
        return stage(path, *args)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "stage", failing)
        with pytest.raises(StorageError, match=str(tmp_path / "out")) as caught:
            convert(source, tmp_path / "out")
    assert caught.value.exit_code == 6
    assert os.strerror(error) in str(caught.value)
    assert_clean(tmp_path / "out")
    assert convert(source, tmp_path / "out").done == 3
    convert(source, tmp_path / "whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_disk_that_cannot_take_the_journal_ends_the_run(
    convert: Convert, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (source / "1.png").write_bytes(b"")  # to fail in the journal is another path than to succeed in it
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError):
            convert(source, tmp_path / "out")
    assert tree(tmp_path / "out") == {}
    assert convert(source, tmp_path / "out").done == 4


@pytest.mark.parametrize("below", [".", "deeper/still"])
def test_an_output_that_cannot_be_made(convert: Convert, source: Path, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    for path in (source, source / "1.png"):
        with pytest.raises(StorageError, match="file") as caught:
            convert(path, tmp_path / "file" / "out" / below)
        assert caught.value.exit_code == 6
    with pytest.raises(StorageError):
        convert(source / "1.png", tmp_path / "file" / "out.png")
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.slow
def test_a_reader_never_sees_a_broken_output(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    for seed in range(100):
        save(tmp_path / "in" / f"{seed}.png", draw(seed, 30, 30))
    broken: list[str] = []
    seen: set[str] = set()
    ended = threading.Event()

    def poll() -> None:
        while not ended.is_set():
            for path in (tmp_path / "out").glob("*.png"):
                try:
                    Image.open(path).load()
                    seen.add(path.name)
                except OSError as e:
                    broken.append(f"{path.name}: {e}")

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        convert(tmp_path / "in", tmp_path / "out")
        convert(tmp_path / "in", tmp_path / "out", overwrite=True, to="a")
    finally:
        ended.set()
        reader.join()
    assert broken == []
    assert seen


def test_memory_does_not_grow_with_the_folder(
    convert: Convert, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the writing, only a few pictures exist at a time: read ahead, waiting, being written."""
    for seed in range(150):
        save(tmp_path / "in" / f"{seed}.png", draw(seed, 8 + 4 * (seed % 9), 8))
    read, stage = images.read, atomic.stage
    alive: weakref.WeakSet[images.Picture] = weakref.WeakSet()
    most = 0

    class Counted(images.Picture):
        __hash__ = object.__hash__

    def counting(*args: Any, **how: Any) -> images.Picture:
        nonlocal most
        picture = read(*args, **how)
        counted = Counted(picture.pixels, picture.alpha, picture.notices)
        alive.add(counted)
        most = max(most, len(alive))
        return counted

    def slow(*args: Any) -> Path:
        time.sleep(0.003)
        return stage(*args)

    monkeypatch.setattr(images, "read", counting)
    monkeypatch.setattr(atomic, "stage", slow)
    assert convert(tmp_path / "in", tmp_path / "out").done == 150
    assert most <= 60


def test_the_process_keeps_its_warnings(
    convert: Convert, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow's are silenced while a file is read. Here one thread begins before another ends, and ends after it."""
    for seed in range(2):
        save(tmp_path / "in" / f"{seed}.png", draw(seed))
    read, decode = images.read, images.from_pil_image
    both, ended = threading.Event(), threading.Event()
    begun: list[int] = []

    def waiting(*args: Any) -> images.Picture:
        begun.append(1)
        if len(begun) == 1:
            both.wait(600)
        else:
            both.set()
            ended.wait(600)
        return decode(*args)

    def noting(*args: Any, **how: Any) -> images.Picture:
        try:
            return read(*args, **how)
        finally:
            ended.set()

    monkeypatch.setattr(images, "from_pil_image", waiting)
    monkeypatch.setattr(images, "read", noting)
    before = list(warnings.filters)
    assert convert(tmp_path / "in", tmp_path / "out").done == 2
    assert warnings.filters == before


def test_progress_counts_up_to_all(convert: Convert, source: Path, tmp_path: Path) -> None:
    (source / "bad.png").write_bytes(b"")
    seen: list[tuple[int, int, int]] = []
    convert(source, tmp_path / "out", progress=lambda *counts: seen.append(counts))
    assert seen[0] == (0, 0, 6)
    assert seen[-1] == (6, 1, 6)
    assert seen == sorted(seen)
