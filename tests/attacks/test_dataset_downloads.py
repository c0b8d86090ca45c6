"""Data sets from unreliable servers: whole or not there, the same command resumes, and hashes are compared."""

import hashlib
import io
import os
import shutil
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate import cli, locks
from translate.catalog import cards, download
from translate.catalog.cards import ArchiveSource, DatasetCard
from translate.catalog.download import DownloadOptions
from translate.catalog.get import get_dataset
from translate.errors import BusyError, DataError
from translate.locks import lock_folder

from ..helpers import list_files
from ..windows import as_on_windows
from .behaviours import always_answer, break_off, serve_file

DATA = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


# Data sets.


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def packed(count: int = 3, **more: bytes) -> bytes:
    """A data set as it is published: a folder around it, and what a Mac leaves behind."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for side in "AB":
            for i in range(count):
                archive.writestr(zipfile.ZipInfo(f"tiny/train{side}/{i}.png"), picture(i))
        archive.writestr(zipfile.ZipInfo("tiny/README.txt"), "what it is")
        archive.writestr(zipfile.ZipInfo("__MACOSX/tiny/trainA/._0.png"), "no picture")
        for name, data in more.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def tiny(server, **changes) -> DatasetCard:
    values = {
        "name": "tiny", "title": "Tiny", "licence": "none", "homepage": "https://example.org", "layout": "unpaired",
        "description": "three each", "command": "translate train cyclegan datasets/tiny", "folder": "tiny",
        "counts": {"trainA": 3, "trainB": 3}, "files": (ArchiveSource(server.url("/tiny.zip")),),
    }  # fmt: skip
    return DatasetCard(**{**values, **changes})


IMAGES = [f"tiny/train{side}/{i}.png" for side in "AB" for i in range(3)]
WHOLE = sorted(["tiny.sha256", "tiny/README.txt", *IMAGES])


def test_a_data_set_appears_whole_with_the_hash_of_its_archive(server, tmp_path):
    server.routes["/tiny.zip"] = [serve_file(packed())]
    lines = []
    assert get_dataset(tiny(server), tmp_path, DownloadOptions(say=lines.append)) == tmp_path / "tiny"
    assert list_files(tmp_path) == WHOLE
    assert (tmp_path / "tiny/trainB/2.png").read_bytes() == picture(2)
    assert (tmp_path / "tiny.sha256").read_text() == f"{hashlib.sha256(packed()).hexdigest()}  tiny.zip\n"
    assert any("1 files" in line for line in lines)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    get_dataset(tiny(server), tmp_path, DownloadOptions(say=lines.append))
    assert "there already" in lines[-1]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert len(server.asked) == 1


def test_what_was_recorded_at_first_use_is_compared_later(server, tmp_path):
    server.routes["/tiny.zip"] = [serve_file(packed())]
    get_dataset(tiny(server), tmp_path)
    (tmp_path / "tiny").rename(tmp_path / "elsewhere")
    changed = packed(more=b"")
    server.routes["/tiny.zip"] = [serve_file(changed, etag='"2"')]
    first, second = (hashlib.sha256(data).hexdigest() for data in (packed(), changed))
    with pytest.raises(DataError, match=f"{second}, but {first} by .*tiny.sha256.*remove .*tiny.sha256"):
        get_dataset(tiny(server), tmp_path)
    assert not (tmp_path / "tiny").exists()
    assert list_files(tmp_path) == ["elsewhere/README.txt", *(f"elsewhere{name[4:]}" for name in IMAGES), "tiny.sha256"]
    server.routes["/tiny.zip"] = [serve_file(packed())]
    get_dataset(tiny(server), tmp_path)
    assert (tmp_path / "tiny.sha256").read_text().startswith(first)


def test_a_hash_of_the_card_counts_and_is_not_recorded(server, tmp_path):
    server.routes["/tiny.zip"] = [serve_file(packed())]
    wrong, right = (
        ArchiveSource(server.url("/tiny.zip"), None, digest)
        for digest in (SHA256, hashlib.sha256(packed()).hexdigest())
    )
    with pytest.raises(DataError, match=f"{SHA256} by its card.*example.org"):
        get_dataset(tiny(server, files=(wrong,)), tmp_path)
    assert list_files(tmp_path) == []
    get_dataset(tiny(server, files=(right,)), tmp_path)
    assert list_files(tmp_path) == [name for name in WHOLE if name != "tiny.sha256"]


@pytest.mark.parametrize("data", [packed()[:-100], packed(2), b"<html>not here</html>", b""])
def test_nothing_is_recorded_or_kept_of_a_first_download_that_is_no_data_set(server, tmp_path, data):
    server.routes["/tiny.zip"] = [always_answer(200, data)]
    with pytest.raises(DataError) as refused:
        get_dataset(tiny(server), tmp_path)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_is_none(server, tmp_path):
    (tmp_path / "tiny.sha256").write_text("nonsense\n")
    with pytest.raises(DataError, match=r"tiny\.sha256.*remove it"):
        get_dataset(tiny(server), tmp_path)
    assert server.asked == []


def test_a_download_that_is_given_up_is_resumed_by_the_same_call(server, tmp_path):
    data = packed()
    server.routes["/tiny.zip"] = [break_off(data, 500)]
    line = DownloadOptions(attempts=1, pause=lambda seconds: None)
    with pytest.raises(DataError, match="same command again"):
        get_dataset(tiny(server), tmp_path, line)
    assert list_files(tmp_path) == [".get-tiny/tiny.zip.part", ".get-tiny/tiny.zip.part.json"]
    server.routes["/tiny.zip"] = [serve_file(data)]
    get_dataset(tiny(server), tmp_path, line)
    assert server.ranges() == [None, "bytes=500-"]
    assert list_files(tmp_path) == WHOLE


def test_an_interrupt_while_unpacking_needs_no_second_download(server, tmp_path):
    server.routes["/tiny.zip"] = [serve_file(packed())]

    def interrupt(task, done, total, unit):
        if unit == "files" and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_dataset(tiny(server), tmp_path, DownloadOptions(progress=interrupt))
    assert list_files(tmp_path) == [".get-tiny/tiny.zip"]
    get_dataset(tiny(server), tmp_path)
    assert list_files(tmp_path) == WHOLE
    assert len(server.asked) == 1


def test_what_a_killed_process_left_is_cleared_away(server, tmp_path):
    (tmp_path / ".get-tiny/made/trainA").mkdir(parents=True)
    (tmp_path / ".get-tiny/made/trainA/9.png").write_bytes(b"half")
    server.routes["/tiny.zip"] = [serve_file(packed())]
    get_dataset(tiny(server), tmp_path)
    assert list_files(tmp_path) == WHOLE


def test_an_empty_folder_is_no_data_set(server, tmp_path):
    (tmp_path / "tiny").mkdir()
    server.routes["/tiny.zip"] = [serve_file(packed())]
    get_dataset(tiny(server), tmp_path)
    assert list_files(tmp_path) == WHOLE


def test_a_folder_that_is_not_whole_is_left_alone(server, tmp_path):
    (tmp_path / "tiny/trainA").mkdir(parents=True)
    (tmp_path / "tiny/trainA/mine.png").write_bytes(picture(0))
    with pytest.raises(DataError, match=r"trainA has 1 images, .*3; move it away"):
        get_dataset(tiny(server), tmp_path)
    assert list_files(tmp_path) == ["tiny/trainA/mine.png"]
    assert server.asked == []


def test_two_at_a_time(server, tmp_path):
    with lock_folder(tmp_path / ".get-tiny", ""), pytest.raises(BusyError, match="wait until"):
        get_dataset(tiny(server), tmp_path)
    assert server.asked == []


def test_another_process_that_was_quicker(server, tmp_path, monkeypatch):
    """It puts the set into its place just before this one holds the lock."""
    server.routes["/tiny.zip"] = [serve_file(packed())]
    get_dataset(tiny(server), tmp_path / "other")

    @contextmanager
    def late(folder: Path, remedy: str) -> Iterator[None]:
        with lock_folder(folder, remedy):
            shutil.copytree(tmp_path / "other" / "tiny", tmp_path / "tiny")
            yield

    monkeypatch.setattr(locks, "lock_folder", late)
    assert get_dataset(tiny(server), tmp_path) == tmp_path / "tiny"
    assert len(server.asked) == 1
    assert not (tmp_path / ".get-tiny").exists()


def test_a_set_is_downloaded_by_the_rules_of_windows(server, tmp_path, monkeypatch):
    server.routes["/tiny.zip"] = [serve_file(packed())]
    with monkeypatch.context() as patch:
        as_on_windows(patch)
        assert get_dataset(tiny(server), tmp_path) == tmp_path / "tiny"
    assert not (tmp_path / ".get-tiny").exists()


# The command.


@pytest.fixture
def run_get(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Runs `translate data get tiny`; its exit code, stdout and stderr."""
    home = tmp_path / "cards"
    home.mkdir()
    (home / "tiny.toml").write_text(
        'title = "Tiny"\nlicence = "none"\nhomepage = "https://example.org"\nlayout = "unpaired"\ndescription = "3"\n'
        f'counts = {{ trainA = 3, trainB = 3 }}\nfiles = [{{ url = "{server.url("/tiny.zip")}" }}]\n'
        'command = "translate train cyclegan datasets/tiny"\n'
    )
    monkeypatch.setattr(cards, "cards_folder", lambda: home)

    def run(name: str = "tiny", root: Path = tmp_path / "data") -> tuple[int, str, str]:
        code = cli.run(["data", "get", name, "--root", str(root)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_the_command_says_where_it_is_and_what_comes_next(server, run_get, tmp_path):
    server.routes["/tiny.zip"] = [serve_file(packed())]
    code, out, err = run_get()
    assert code == 0
    assert f"folder   {tmp_path}/data/tiny\n" in out
    assert f"next     translate train cyclegan {tmp_path}/data/tiny\n" in out
    assert server.url("/tiny.zip") in err
    code, again, err = run_get("TINY")
    assert (code, again) == (0, out)
    assert "there already" in err


def test_ctrl_c_and_the_same_command_again(server, run_get, tmp_path):
    archive = tmp_path / "data/.get-tiny/tiny.zip"

    def press(request):
        request.answer(200, packed()[:500], len(packed()), ETag='"1"')
        while not download.partial_size(archive):
            request.server.over.wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        request.server.over.wait()

    server.routes["/tiny.zip"] = [press, serve_file(packed())]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code, out, err = run_get()
    finally:
        signal.signal(signal.SIGINT, before)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "error: interrupted by SIGINT; run the same command again"
    code, _, err = run_get()
    assert code == 0
    assert "0.0 MB are here" in err
    assert server.ranges() == [None, "bytes=500-"]
    assert list_files(tmp_path / "data") == WHOLE


@pytest.mark.parametrize(("behaviour", "words"), [
    (always_answer(404), ["HTTP 404", "example.org"]),
    (always_answer(302, Location="file:///etc/passwd"), ["file:///etc/passwd", "not followed"]),
    (always_answer(200, b"<html>"), ["tiny.zip", "zip or tar"]),
    (always_answer(200, packed(2)), ["trainA has 2 images", "3"]),
])  # fmt: skip
def test_what_the_command_cannot_use_is_one_line_and_exit_3(server, run_get, tmp_path, behaviour, words):
    server.routes["/tiny.zip"] = [behaviour]
    code, out, err = run_get()
    assert (code, out) == (3, "")
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert line == err.splitlines()[-1]
    assert all(word in line for word in words)
    assert not (tmp_path / "data").exists()


def test_the_command_on_a_full_disk(server, run_get, tmp_path):
    server.routes["/tiny.zip"] = [always_answer(200, b"x", download.LARGEST)]
    code, _, err = run_get()
    assert code == 6
    assert "make room" in err.splitlines()[-1]
    (tmp_path / "file").write_text("")
    assert run_get(root=tmp_path / "file" / "data")[0] == 6
