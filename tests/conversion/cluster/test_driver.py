"""The job on Ray gives what it gives here, whoever dies. What needs Ray skips without it."""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from translate import atomic
from translate.conversion import job
from translate.conversion.cluster.driver import Chunk, ChunkTask, WorkerHandle, _chunks
from translate.conversion.cluster.ray import check_reachable, connect
from translate.conversion.cluster.worker import JobSpec
from translate.conversion.item import ItemConverter, LoadedInput, StagedOutput, TranslatedItem
from translate.conversion.job import ConversionOptions, ConversionResult
from translate.conversion.output_paths import Item
from translate.errors import StorageError, UsageError
from translate.trained.translator import Translator

from ..output_folder import lines, tree

Draw = Callable[..., np.ndarray]
Convert = Callable[..., ConversionResult]
COUNT = 60
ray_warnings = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """One Ray for all tests here: to start it takes ten seconds."""
    pytest.importorskip("ray", reason="needs ray: install image-translate[cluster]")
    with connect("local") as ray:
        yield ray


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Path:
    """Small images of three sizes, some of them in a subfolder."""
    folder = tmp_path_factory.mktemp("in")
    (folder / "deeper").mkdir()
    for n in range(COUNT):
        place = folder / "deeper" if n % 5 == 0 else folder
        Image.fromarray(draw(n, 30 + 10 * (n % 3), 40)).save(place / f"{n:03}.png")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cyclegan: Translator, folder: Path) -> dict[str, bytes]:
    """What a run in this process gives."""
    output = tmp_path_factory.mktemp("whole")
    assert job.convert(cyclegan, folder, output).done == COUNT
    return tree(output)


# Without Ray.


def items(count: int) -> list[Item]:
    return [Item(f"{n}.png", f"{n}.png") for n in range(count)]


@pytest.mark.parametrize(
    ("count", "workers", "batch", "size"),
    [(1000, 4, 8, 16), (1000, 4, 64, 62), (9000, 4, 64, 128), (20, 2, 8, 2), (3, 8, 8, 1)],
)
def test_chunks_hold_every_item_once_and_give_each_worker_a_few(
    count: int, workers: int, batch: int, size: int
) -> None:
    chunks = _chunks(items(count), workers, batch)
    assert [item for chunk in chunks for item in chunk.items] == items(count)
    assert {len(chunk.items) for chunk in list(chunks)[:-1]} <= {size}
    assert len(chunks) >= min(count, 4 * workers)


def test_a_chunk_that_has_lost_two_workers_is_tried_item_by_item() -> None:
    assert Chunk(items(3), deaths=1).parts() == [Chunk(items(3), deaths=1)]
    assert Chunk(items(3), deaths=2).parts() == [Chunk([item], deaths=2) for item in items(3)]
    assert Chunk([], deaths=1).parts() == []


def test_who_may_be_given_a_chunk() -> None:
    """Two at a time; one that has lost a worker alone, so that the next death is surely its own."""
    fresh, suspect = Chunk(items(2)), Chunk(items(2), deaths=1)

    def takes(*holds: Chunk, ready: bool = True) -> tuple[bool, bool]:
        member = WorkerHandle(None, deque(ChunkTask(None, chunk) for chunk in holds), ready)
        return member.accepts(fresh), member.accepts(suspect)

    assert takes() == (True, True)
    assert takes(fresh) == (True, False)
    assert takes(fresh, fresh) == (False, False)
    assert takes(suspect) == (False, False)
    assert takes(Chunk([]), ready=False) == (False, False)


@pytest.mark.parametrize("name", ["cyclegan", "pix2pix"])
def test_an_order_says_all_that_decides_the_bytes(
    request: pytest.FixtureRequest, name: str, source: Path, tmp_path: Path
) -> None:
    """Dropout and batch norm too: pix2pix has both."""
    here = ItemConverter(
        request.getfixturevalue(name), source, tmp_path, ConversionOptions(seed=3, format="png"), tag="1-of-2-"
    )
    there = pickle.loads(pickle.dumps(JobSpec.from_converter(here, tmp_path, b"", gpu=False))).build_converter()
    assert (there.root, there.output, there.options, there.tag) == (source, tmp_path, here.options, here.tag)
    assert (there.settings, there.translator.sha256) == (here.settings, here.translator.sha256)
    item = Item("1.png", "1.png")

    def made(converter: ItemConverter) -> bytes:
        work = converter.read(item)
        return converter.encode(work, converter.translate([work])[0])

    assert made(there) == made(here)


def test_a_worker_on_another_disk_or_of_another_version_refuses(cyclegan: Translator, tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    order = JobSpec.from_converter(
        ItemConverter(cyclegan, tmp_path, tmp_path, ConversionOptions()), probe, b"token", gpu=False
    )
    with pytest.raises(UsageError, match="does not see"):
        order.check()
    probe.write_bytes(b"other")
    with pytest.raises(UsageError, match="does not see"):
        order.check()
    probe.write_bytes(b"token")
    order.check()
    with pytest.raises(UsageError, match="the same version on all nodes"):
        replace(order, version="0").check()


@pytest.mark.parametrize("address", ["nonsense", "host:", ":6379", "ray://host", ""])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UsageError, match="must be local, auto, HOST:PORT or ray://HOST:PORT"):
        check_reachable(address)


def test_nobody_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_reachable(address)
    with pytest.raises(UsageError, match=f"--cluster {address}: no Ray answers there: Connection refused"):
        check_reachable(address)


def test_without_ray(convert: Convert, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'image-translate\[cluster\]'"):
        convert(source, tmp_path / "out", cluster="local")
    assert tree(tmp_path / "out") == {}
    with pytest.raises(UsageError, match="leave it out for one image"):
        convert(source / "1.png", tmp_path / "one.png", cluster="local")


# On Ray.


@ray_warnings
def test_the_same_bytes_and_failures_as_here_and_nothing_the_second_time(
    ray: Any, pix2pix: Translator, convert: Convert, source: Path, tmp_path: Path
) -> None:
    (source / "bad.png").write_bytes(b"no image")
    (source / "deep" / "ours.jpg").write_bytes((source / "2.jpg").read_bytes())
    outputs = tmp_path / "here", tmp_path / "there"
    for output in outputs:
        (output / "deep").mkdir(parents=True)
        (output / "deep" / "ours.jpg").write_bytes(b"somebody's")
    here, there = (
        convert(source, output, pix2pix, cluster=where) for output, where in zip(outputs, (None, "auto"), strict=True)
    )
    assert (there.done, there.failures, there.notices) == (here.done, here.failures, here.notices)
    assert there.done == 5
    assert set(there.failures) == {"bad.png", "deep/ours.jpg"}
    assert tree(outputs[1]) == tree(outputs[0])

    def said(output: Path) -> list[dict[str, Any]]:
        changing = ("seconds", "written", "convolutions")  # the last is on whichever line was first
        found = [{key: value for key, value in line.items() if key not in changing} for line in lines(output)]
        return sorted(found, key=lambda line: line["input"])

    assert said(outputs[1]) == said(outputs[0])
    before = lines(outputs[1])
    again = convert(source, outputs[1], pix2pix, cluster="auto", limit=1)
    assert (again.done, again.skipped, len(again.failures)) == (0, 5, 1)
    (source / "bad.png").unlink()
    (source / "deep" / "ours.jpg").unlink()
    assert convert(source, outputs[1], pix2pix, cluster="auto").skipped == 5
    assert [line for line in lines(outputs[1]) if line["status"] == "done"] == [
        line for line in before if line["status"] == "done"
    ]


def slowed(pids: Path) -> type[ItemConverter]:
    """A maker that takes its time, and leaves a note of who it is."""

    class Slow(ItemConverter):
        def read(self, item: Item) -> LoadedInput:
            (pids / str(os.getpid())).touch()
            time.sleep(0.05)
            return super().read(item)

    return Slow


@ray_warnings
@pytest.mark.slow
def test_what_a_killed_worker_was_at_is_made_by_another(
    ray: Any, convert: Convert, folder: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pids, output = tmp_path / "pids", tmp_path / "out"
    pids.mkdir()
    monkeypatch.setattr(job, "ItemConverter", slowed(pids))
    killed: list[int] = []

    def kill(finished: int, failed: int, total: int) -> None:
        if finished >= 10 and not killed:
            killed.append(int(next(pids.iterdir()).name))
            os.kill(killed[0], signal.SIGKILL)

    result = convert(folder, output, progress=kill, cluster="auto")
    assert (result.done, result.failures) == (COUNT, {})
    assert killed
    assert tree(output) == whole
    assert Counter(line["input"] for line in lines(output)).most_common(1)[0][1] == 1
    time.sleep(1)
    assert capfd.readouterr() == ("", "")  # Ray would tell of the death, on stdout of all places


@ray_warnings
@pytest.mark.slow
def test_an_input_that_kills_its_workers_fails_alone(
    ray: Any, convert: Convert, folder: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = tmp_path / "deaths"

    class Deadly(ItemConverter):
        def encode_and_stage(self, work: LoadedInput, translated: TranslatedItem) -> StagedOutput:
            made = super().encode_and_stage(work, translated)  # its temporary file stays
            if work.item.input == "017.png":
                with open(deaths, "a", encoding="utf-8") as file:
                    file.write("x")
                os.kill(os.getpid(), signal.SIGKILL)
            return made

    monkeypatch.setattr(job, "ItemConverter", Deadly)
    output = tmp_path / "out"
    result = convert(folder, output, cluster="auto")
    assert result.failures == {"017.png": "the worker that converted it died 3 times"}
    assert result.done == COUNT - 1
    assert deaths.read_text(encoding="utf-8") == "xxx"
    assert tree(output) == {name: data for name, data in whole.items() if name != "017.png"}
    assert Counter(line["input"] for line in lines(output)).most_common(1)[0][1] == 1
    monkeypatch.undo()
    healed = convert(folder, output, cluster="auto")
    assert (healed.done, healed.skipped) == (1, COUNT - 1)
    assert tree(output) == whole


@ray_warnings
@pytest.mark.slow
def test_a_full_disk_ends_the_job(
    ray: Any, convert: Convert, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(ItemConverter):
        def encode_and_stage(self, work: LoadedInput, translated: TranslatedItem) -> StagedOutput:
            made = super().encode_and_stage(work, translated)
            if work.item.input == "017.png":
                raise StorageError(f"{self.output}: cannot be written: No space left on device")
            return made

    monkeypatch.setattr(job, "ItemConverter", Full)
    output = tmp_path / "out"
    with pytest.raises(StorageError, match=f"^{output}: cannot be written: No space left on device$"):
        convert(folder, output, cluster="auto")
    time.sleep(0.5)  # a worker that was still at work would leave something now
    assert not list(output.rglob(atomic.TEMPORARY_PREFIX + "*"))
    monkeypatch.undo()
    assert convert(folder, output, cluster="auto").failures == {}


@ray_warnings
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_driver_is_stopped_and_run_again(
    ray: Any, cyclegan_folder: Path, convert: Convert, folder: Path, whole: dict[str, bytes], tmp_path: Path,
    number: signal.Signals,
) -> None:  # fmt: skip
    output, address = tmp_path / "out", ray.get_runtime_context().gcs_address
    command = ["convert", str(cyclegan_folder), str(folder), str(output), "--device", "cpu", "--cluster", address]
    process = subprocess.Popen([sys.executable, "-m", "translate", *command], stderr=subprocess.PIPE, text=True)
    try:
        while process.poll() is None and len(list(output.glob("*.png"))) < 5:
            time.sleep(0.002)
        process.send_signal(number)
        _, errors = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 128 + number, errors
    made = tree(output)
    assert 5 <= len(made) < COUNT
    assert made.items() <= whole.items()  # whole ones, and nothing else
    assert f"error: stopped with {COUNT - len(made)} images left" in errors
    result = convert(folder, output, cluster="auto")
    assert (result.skipped, result.done, result.failures) == (len(made), COUNT - len(made), {})
    assert tree(output) == whole


@ray_warnings
@pytest.mark.slow
def test_the_command_with_a_ray_of_its_own(
    ray: Any, cyclegan_folder: Path, folder: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    command = ["convert", str(cyclegan_folder), str(folder), "out", "--device", "cpu", "--cluster", "local", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "translate", *command], capture_output=True, text=True, cwd=tmp_path, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == COUNT
    assert "ray" not in done.stderr.lower()
    assert tree(tmp_path / "out") == whole


@ray_warnings
def test_shards_from_threads_share_one_ray(
    ray: Any, cyclegan: Translator, folder: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Each journal is its own, and neither removes what the other has under way."""
    output = tmp_path / "out"
    results: list[ConversionResult] = []

    def part(shard: str) -> None:
        results.append(job.convert(cyclegan, folder, output, ConversionOptions(cluster="auto", shard=shard)))

    threads = [threading.Thread(target=part, args=(f"{n}/2",)) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.done for result in results) == COUNT
    found = tree(output)
    assert {name: data for name, data in found.items() if name.endswith(".png")} == whole
    assert {name for name in found if not name.endswith(".png")} == {"manifest-0-of-2.jsonl", "manifest-1-of-2.jsonl"}
