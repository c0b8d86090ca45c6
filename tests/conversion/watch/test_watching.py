"""A folder that fills while it is converted: slow writers, renames, deletions, bursts, restarts."""

import io
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conversion.output_folder import assert_clean, last, lines, save, tree
from translate.conversion.job import ConversionResult
from translate.conversion.watch import watching
from translate.errors import DataError, Interrupted, UsageError
from translate.runtime import signals

pytest.importorskip("watchfiles")

Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]
Watch = Callable[..., list[str]]

DEADLINE = 60.0
"""Seconds without a new line of the manifest after which a test gives up; most take a second or two."""


class StopWhen:
    """Stop request that is true once a condition holds, or where the manifest of a folder has not grown for DEADLINE."""

    signal = signal.SIGTERM

    def __init__(self, condition: Callable[[], bool], output: Path) -> None:
        self.condition, self.manifest = condition, output / "manifest.jsonl"
        self.size, self.changed = 0, time.monotonic()

    def __bool__(self) -> bool:
        size = self.manifest.stat().st_size if self.manifest.exists() else 0
        if size != self.size:
            self.size, self.changed = size, time.monotonic()
        return self.condition() or time.monotonic() > self.changed + DEADLINE


@pytest.fixture
def watch(convert: Convert, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Watch:
    """Watches tmp_path/in until a condition holds, while `write` runs in a thread; returns the lines that were said.

    Files settle for a quarter of a second.
    """
    monkeypatch.setattr(watching, "SETTLE_SECONDS", 0.25)
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.01)

    def run(until: Callable[[], bool], write: Callable[[], None] = lambda: None, **options: Any) -> list[str]:
        said: list[str] = []
        writer = threading.Thread(target=write)
        with monkeypatch.context() as context:
            context.setattr(signals, "stop_on_signal", lambda: nullcontext(StopWhen(until, tmp_path / "out")))
            # the check of unchanged inputs is for folders that nobody fills
            context.setattr("tests.conftest.fingerprint", lambda *paths: {})
            writer.start()
            try:
                with pytest.raises(Interrupted) as stopped:
                    convert(tmp_path / "in", tmp_path / "out", watch=True, said=said, **options)
            finally:
                writer.join()
        assert stopped.value.exit_code == 128 + signal.SIGTERM
        assert_clean(tmp_path / "out")
        return [*said, str(stopped.value)]

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def outputs(count: int, place: Path) -> Callable[[], bool]:
    """Whether so many outputs are there, without the files that are not whole, the lock and the manifest."""
    return lambda: len([path for path in place.rglob("[!.]*.*") if path.suffix in (".png", ".webp", ".jpg")]) >= count


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_what_is_there_and_what_arrives_is_converted_once(
    watch: Watch, convert: Convert, folder: Path, draw: Draw, tmp_path: Path
) -> None:
    save(folder / "there.png", draw(0))

    def write() -> None:
        save(folder / "new.png", draw(1))
        save(tmp_path / "elsewhere" / "deep" / "moved.png", draw(2))
        (tmp_path / "elsewhere").rename(folder / "moved")
        save(folder / "half.part", draw(3), format="PNG")
        (folder / "half.part").rename(folder / "half.png")
        save(folder / ".hidden.png", draw(4))
        (folder / "notes.txt").write_text("no image")

    said = watch(outputs(4, tmp_path / "out"), write)
    assert said[0] == f"watching {folder}; Ctrl-C ends it"
    assert said[-1].startswith("stopped watching: 4 converted, 0 done before, 0 failed")
    watched = tree(tmp_path / "out")
    assert watched.keys() == {"there.png", "new.png", "moved/deep/moved.png", "half.png"}
    assert len(lines(tmp_path / "out")) == 4
    convert(folder, tmp_path / "plain")
    assert tree(tmp_path / "plain") == watched
    assert convert(folder, tmp_path / "out").skipped == 4  # one journal for both


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who is writing")
def test_a_slow_writer_is_waited_for(watch: Watch, folder: Path, draw: Draw, tmp_path: Path) -> None:
    """The writer pauses for longer than files settle; the other file shows that the watcher does not stand still."""
    data = encoded(draw(0, 40, 40))

    def write() -> None:
        with open(folder / "slow.png", "wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            time.sleep(0.8)
            assert not (tmp_path / "out" / "slow.png").exists()
            file.write(data[len(data) // 2 :])

    save(folder / "other.png", draw(1))
    said = watch(outputs(2, tmp_path / "out"), write)
    assert not [line for line in said if line.startswith("failed")]
    assert [line["status"] for line in lines(tmp_path / "out")] == ["done", "done"]


def test_a_file_that_was_taken_too_early_is_converted_when_it_goes_on(
    watch: Watch, folder: Path, draw: Draw, tmp_path: Path
) -> None:
    """As of a writer on another machine, that nothing tells of."""
    data = encoded(draw(0, 40, 40))

    def write() -> None:
        (folder / "a.png").write_bytes(data[:60])
        while not (tmp_path / "out" / "manifest.jsonl").exists():
            time.sleep(0.01)
        (folder / "a.png").write_bytes(data)

    said = watch(outputs(1, tmp_path / "out"), write)
    assert [line["status"] for line in lines(tmp_path / "out")] == ["failed", "done"]
    assert len([line for line in said if line.startswith("failed: 'a.png': ")]) == 1
    assert said[-1].startswith("stopped watching: 1 converted, 0 done before, 0 failed")


def test_a_changed_file_is_converted_again(watch: Watch, folder: Path, draw: Draw, tmp_path: Path) -> None:
    save(folder / "a.png", draw(0))
    first: list[bytes] = []

    def write() -> None:
        while not (tmp_path / "out" / "a.png").exists():
            time.sleep(0.01)
        first.append((tmp_path / "out" / "a.png").read_bytes())
        save(folder / "a.png", draw(1))

    watch(lambda: bool(first) and (tmp_path / "out" / "a.png").read_bytes() != first[0], write)
    assert len(lines(tmp_path / "out")) == 2


def test_a_deleted_file_leaves_no_trace(
    watch: Watch, folder: Path, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is deleted while it waits, and one that is deleted after it was taken."""
    for name in ("waiting.png", "taken.png", "stays.png"):
        save(folder / name, draw(1))
    take_whole = watching.Arrivals.take_whole

    def take(arrivals: watching.Arrivals) -> list[str]:
        (folder / "waiting.png").unlink(missing_ok=True)
        names = take_whole(arrivals)
        if "taken.png" in names:
            (folder / "taken.png").unlink()
        return names

    monkeypatch.setattr(watching.Arrivals, "take_whole", take)
    said = watch(outputs(1, tmp_path / "out"))
    assert last(tmp_path / "out").keys() == {"stays.png"}
    assert said[-1].startswith("stopped watching: 1 converted, 0 done before, 0 failed")


def test_inputs_that_would_share_a_name_keep_their_extension(
    watch: Watch, folder: Path, draw: Draw, tmp_path: Path
) -> None:
    save(folder / "a.jpg", draw(0))

    def write() -> None:
        while not (tmp_path / "out" / "a.png").exists():
            time.sleep(0.01)
        save(folder / "a.webp", draw(1))
        save(folder / "a.bmp", draw(2))

    watch(outputs(3, tmp_path / "out"), write, format="png")
    names = {name: line["output"] for name, line in last(tmp_path / "out").items()}
    assert names == {"a.jpg": "a.png", "a.webp": "a.webp.png", "a.bmp": "a.bmp.png"}


def test_an_output_folder_inside_the_input_is_not_watched(
    convert: Convert, watch: Watch, folder: Path, draw: Draw, tmp_path: Path
) -> None:
    save(folder / "a.png", draw(0))
    (tmp_path / "out").symlink_to(folder / "made", target_is_directory=True)
    (folder / "made").mkdir()
    seen: list[float] = []

    def until() -> bool:
        if (folder / "made" / "a.png").exists():
            seen.append(time.monotonic())
        return bool(seen) and seen[-1] - seen[0] > 0.7  # time enough to take up an output

    watch(until)
    assert [line["input"] for line in lines(tmp_path / "out")] == ["a.png"]


def test_without_reports_of_the_system_the_folder_is_listed(
    watch: Watch, folder: Path, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_watches(*paths: object, **options: object) -> None:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr("watchfiles.watch", no_watches)
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.05)
    said = watch(outputs(1, tmp_path / "out"), lambda: bool(save(folder / "a.png", draw(0))))
    assert (
        said[1]
        == f"{folder}: the system reports no changes (OS file watch limit reached); the folder is listed every 0.05 s instead"
    )


def test_a_folder_that_disappears_ends_the_job(
    convert: Convert, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LISTING_SECONDS", 0.0)

    def until() -> bool:
        if folder.exists():
            folder.rmdir()
        return False

    monkeypatch.setattr(signals, "stop_on_signal", lambda: nullcontext(StopWhen(until, tmp_path / "out")))
    monkeypatch.setattr("tests.conftest.fingerprint", lambda *paths: {})
    with pytest.raises(DataError, match="the folder is gone"):
        convert(folder, tmp_path / "out", watch=True)
    assert_clean(tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"dry_run": True}, "--dry-run"),
        ({"merge": True}, "--merge"),
        ({"limit": 3}, "--limit"),
        ({"cluster": "local"}, "--cluster"),
    ],
)
def test_options_that_make_no_sense_beside_it(
    convert: Convert, folder: Path, tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match=f"--watch {named}: "):
        convert(folder, tmp_path / "out", watch=True, **options)


def test_a_single_image_cannot_be_watched(convert: Convert, folder: Path, draw: Draw, tmp_path: Path) -> None:
    path = save(folder / "a.png", draw(0))
    with pytest.raises(UsageError, match="is no folder"):
        convert(path, tmp_path / "out", watch=True)


def test_without_its_package_the_command_to_install_it_is_told(
    convert: Convert, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(UsageError, match=r"pip install 'image-translate\[watch\]'"):
        convert(folder, tmp_path / "out", watch=True)


@pytest.mark.slow
def test_a_burst_of_a_thousand_files(watch: Watch, folder: Path, draw: Draw, tmp_path: Path) -> None:
    data = [encoded(draw(n, 8, 8)) for n in range(1000)]

    def write() -> None:
        for n, content in enumerate(data):
            path = folder / f"{n % 10}" / f"{n}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)

    watch(outputs(1000, tmp_path / "out"), write)
    assert len({line["input"] for line in lines(tmp_path / "out")}) == len(lines(tmp_path / "out")) == 1000
