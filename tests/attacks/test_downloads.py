"""Downloads from servers and over lines that do all that is wrong: what is kept is whole, or it is not kept."""

import hashlib
import io
import json
import os
import resource
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from translate import atomic, cli
from translate.atomic import lock_folder
from translate.catalog import cards, download
from translate.catalog.cards import ArchiveSource, DatasetCard
from translate.catalog.download import DownloadOptions
from translate.catalog.get import get_dataset
from translate.errors import BusyError, DataError, StorageError

DATA = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()

Behaviour = Callable[[Any], None]
"""What the server does with a request."""


def honest(data: bytes, etag: str | None = '"1"', modified: str | None = None) -> Behaviour:
    """The whole file or, where Range and If-Range ask for it, the rest."""

    def behave(request: Any) -> None:
        headers = {"ETag": etag} if etag else {}
        if modified:
            headers["Last_Modified"] = modified
        span, condition = request.headers.get("Range"), request.headers.get("If-Range")
        if span is None or condition not in (None, etag, modified):
            request.answer(200, data, **headers)
            return
        start = int(span.removeprefix("bytes=").removesuffix("-"))
        if start >= len(data):
            request.answer(416, Content_Range=f"bytes */{len(data)}", **headers)
            return
        request.answer(206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}", **headers)

    return behave


def broken(data: bytes, after: int, etag: str | None = '"1"', reset: bool = True) -> Behaviour:
    """The head of the whole file and so many bytes of it; then the connection ends."""

    def behave(request: Any) -> None:
        request.answer(200, data[:after], len(data), **({"ETag": etag} if etag else {}))
        if reset:
            request.server.over.wait(0.05)  # what was sent must arrive before it is taken back
            request.reset()

    return behave


def always(status: int, body: bytes = b"", length: int | None = None, **headers: str) -> Behaviour:
    return lambda request: request.answer(status, body, length, **headers)


@pytest.fixture
def waits() -> list[float]:
    """The pauses that were asked for; none is made."""
    return []


@pytest.fixture
def fetch(server, tmp_path: Path, waits: list[float]) -> Callable[..., bytes]:
    """Downloads /file and gives its bytes; nothing but the file is left."""

    def run(**options) -> bytes:
        line = DownloadOptions(timeout=options.pop("timeout", 60), pause=waits.append)
        target = tmp_path / "file"
        found = download.download_file(server.url("/file"), target, options=line, remedy="ask its publisher", **options)
        assert os.listdir(tmp_path) == ["file"]
        assert found == hashlib.sha256(target.read_bytes()).hexdigest()
        return target.read_bytes()

    return run


def test_a_file_and_what_is_told_meanwhile(server, tmp_path):
    server.routes["/file"] = [honest(DATA)]
    told = []
    line = DownloadOptions(progress=lambda *news: told.append(news))
    assert (
        download.download_file(server.url("/file"), tmp_path / "file", sha256=SHA256, size=len(DATA), options=line)
        == SHA256
    )
    assert (tmp_path / "file").read_bytes() == DATA
    assert told[0] == ("file", 0, len(DATA), "bytes")
    assert told[-1] == ("file", len(DATA), len(DATA), "bytes")
    assert [done for _, done, _, _ in told] == sorted(done for _, done, _, _ in told)
    ((_, headers),) = server.asked
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"].startswith("image-translate/")


# Lines that break.


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("known", [None, SHA256], ids=["first use", "hash known"])
def test_a_broken_connection_is_resumed(server, fetch, waits, reset, known):
    server.routes["/file"] = [broken(DATA, 100_000, reset=reset), honest(DATA)]
    assert fetch(sha256=known) == DATA
    first, second = server.ranges()
    assert first is None
    assert second == "bytes=100000-"
    assert server.asked[1][1]["If-Range"] == '"1"'
    assert waits == [2]


def test_a_date_will_do_where_there_is_no_etag(server, fetch):
    date = "Sun, 02 Sep 2018 08:45:00 GMT"
    cut = always(200, DATA[:70_000], len(DATA), Last_Modified=date, ETag='W/"1"')
    server.routes["/file"] = [cut, honest(DATA, etag='W/"1"', modified=date)]
    assert fetch() == DATA
    assert server.asked[1][1]["If-Range"] == date
    assert server.ranges() == [None, "bytes=70000-"]


def test_without_etag_and_date_only_a_known_hash_lets_resume(server, fetch, tmp_path):
    server.routes["/file"] = [broken(DATA, 100_000, etag=None), honest(DATA, etag=None)]
    assert fetch() == DATA
    assert server.ranges() == [None, None]
    (tmp_path / "file").unlink()
    server.asked.clear()
    server.routes["/file"] = [broken(DATA, 100_000, etag=None), honest(DATA, etag=None)]
    assert fetch(sha256=SHA256) == DATA
    assert server.ranges() == [None, "bytes=100000-"]


def test_a_server_that_ignores_range_starts_anew(server, fetch):
    server.routes["/file"] = [broken(DATA, 100_000), always(200, DATA, ETag='"1"')]
    assert fetch(sha256=SHA256) == DATA
    assert server.ranges() == [None, "bytes=100000-"]


@pytest.mark.parametrize("polite", [True, False], ids=["If-Range heeded", "If-Range ignored"])
def test_a_file_that_changes_between_two_parts_is_never_mixed(server, fetch, polite):
    rest = always(206, OTHER[100_000:], ETag='"2"', Content_Range=f"bytes 100000-{len(OTHER) - 1}/{len(OTHER)}")
    server.routes["/file"] = [broken(DATA, 100_000), *([] if polite else [rest]), honest(OTHER, etag='"2"')]
    assert fetch() == OTHER
    assert server.ranges() == [None, "bytes=100000-"] + ([] if polite else [None])


@pytest.mark.parametrize(
    "span", ["bytes 90000-299999/300000", "bytes 100000-299999/300001", "bytes */300000", "all", None]
)
def test_a_part_that_is_not_the_one_asked_for_is_not_taken(server, fetch, span):
    wrong = always(206, DATA[100_000:], ETag='"1"', **({"Content_Range": span} if span else {}))
    server.routes["/file"] = [broken(DATA, 100_000), wrong, honest(DATA)]
    assert fetch() == DATA
    assert server.ranges() == [None, "bytes=100000-", None]


def test_a_part_nobody_asked_for_is_not_taken(server, fetch):
    server.routes["/file"] = [always(206, DATA[9:], Content_Range=f"bytes 9-{len(DATA) - 1}/{len(DATA)}"), honest(DATA)]
    assert fetch() == DATA


def test_a_file_that_was_whole_when_the_process_was_killed(server, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(DATA)
    note = {"url": server.url("/file"), "etag": '"1"', "modified": None, "total": len(DATA)}
    (tmp_path / "file.part.json").write_text(json.dumps(note))
    server.routes["/file"] = [honest(DATA)]
    assert fetch() == DATA
    assert server.ranges() == [f"bytes={len(DATA)}-"]


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 1}', None])
def test_a_part_without_a_usable_note_is_not_trusted(server, fetch, tmp_path, note):
    (tmp_path / "file.part").write_bytes(OTHER[:1000])
    if note is not None:
        (tmp_path / "file.part.json").write_text(note)
    server.routes["/file"] = [honest(DATA)]
    assert fetch(sha256=SHA256) == DATA
    assert server.ranges() == [None]


def test_a_part_of_another_address_is_not_trusted(server, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(OTHER[:1000])
    note = {"url": server.url("/other"), "etag": '"1"', "modified": None, "total": len(DATA)}
    (tmp_path / "file.part.json").write_text(json.dumps(note))
    server.routes["/file"] = [honest(DATA)]
    assert fetch() == DATA
    assert server.ranges() == [None]


def test_a_part_longer_than_the_file_is_not_kept(server, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(DATA + b"more")
    note = {"url": server.url("/file"), "etag": '"1"', "modified": None, "total": len(DATA) + 4}
    (tmp_path / "file.part.json").write_text(json.dumps(note))
    server.routes["/file"] = [honest(DATA)]
    assert fetch() == DATA
    assert server.ranges() == [f"bytes={len(DATA) + 4}-", None]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_servers_that_are_busy_are_asked_again_and_waited_for(server, fetch, waits, status):
    server.routes["/file"] = [
        always(status),
        always(status, Retry_After="7"),
        always(status, Retry_After="1e9"),
        honest(DATA),
    ]
    assert fetch() == DATA
    assert waits == [2, 7, 8]


def test_a_chunked_body_without_a_length(server, fetch):
    def chunked(request):
        request.answer(200, b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (DATA[:9], DATA[9:])) + b"0\r\n\r\n",
                       -1, Transfer_Encoding="chunked")  # fmt: skip

    def cut(request):
        request.answer(200, b"%x\r\n%s" % (len(DATA), DATA[:5000]), -1, Transfer_Encoding="chunked")

    server.routes["/file"] = [cut, chunked]
    assert fetch() == DATA
    assert len(server.asked) == 2


def test_a_body_that_ends_early_without_having_said_how_long_it_is(server, fetch):
    """Only the card can tell."""
    server.routes["/file"] = [always(200, DATA[:5000], -1), always(200, DATA, -1)]
    assert fetch(size=len(DATA)) == DATA


def gives_up(server, tmp_path: Path, *words: str, timeout: float = 60, attempts: int = 3, **options) -> None:
    with pytest.raises(DataError) as refused:
        line = DownloadOptions(timeout=timeout, attempts=attempts, pause=lambda seconds: None)
        download.download_file(
            server.url("/file"), tmp_path / "file", options=line, remedy="ask its publisher", **options
        )
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(server.url("/file"))
    for word in words:
        assert word in message
    assert not (tmp_path / "file").exists()


def test_a_body_that_is_always_short(server, tmp_path):
    """What came is kept, and the next call goes on from there."""
    server.routes["/file"] = [always(200, DATA[:1000], len(DATA), ETag='"1"')]
    gives_up(server, tmp_path, "1000 of 300000", "3 times", "same command")
    assert len(server.asked) == 3
    assert (tmp_path / "file.part").read_bytes() == DATA[:1000]
    server.routes["/file"] = [honest(DATA)]
    download.download_file(server.url("/file"), tmp_path / "file", sha256=SHA256)
    assert server.ranges()[-1] == "bytes=1000-"


def test_a_file_that_changes_for_ever_is_given_up(server, tmp_path, monkeypatch, waits):
    """It gets as far each time, and never further."""
    monkeypatch.setattr(download, "ENOUGH", 1000)
    rest = always(206, OTHER[5000:], ETag='"2"', Content_Range=f"bytes 5000-{len(OTHER) - 1}/{len(OTHER)}")
    server.routes["/file"] = [lambda request: (rest if "Range" in request.headers else broken(DATA, 5000))(request)]

    def pause(seconds):
        waits.append(seconds)
        assert len(waits) < 20

    with pytest.raises(DataError, match="4 times in a row"):
        download.download_file(server.url("/file"), tmp_path / "file", options=DownloadOptions(attempts=4, pause=pause))
    assert server.ranges() == [None, "bytes=5000-"] * 2


def test_a_body_that_stalls(server, tmp_path):
    def stall(request):
        request.answer(200, DATA[:1000], len(DATA), ETag='"1"')
        request.server.over.wait()

    server.routes["/file"] = [stall]
    gives_up(server, tmp_path, "timed out", timeout=2, attempts=1)
    assert (tmp_path / "file.part").read_bytes() == DATA[:1000]


def test_a_head_that_never_comes(server, tmp_path):
    server.routes["/file"] = [lambda request: request.server.over.wait()]
    gives_up(server, tmp_path, "timed out", timeout=0.3)


def test_a_body_that_drips(server, tmp_path):
    """Never silent for long, and never done."""

    def drip(request):
        request.answer(200, b"", len(DATA))
        for i in range(len(DATA)):
            request.wfile.write(DATA[i : i + 1])
            if request.server.over.wait(0.01):
                return

    server.routes["/file"] = [drip]
    gives_up(server, tmp_path, "slower than 1024 bytes a second", timeout=2, attempts=1)


def test_nobody_there(server, tmp_path):
    server.server_close()
    gives_up(server, tmp_path, "refused", "same command")


def test_an_interrupt_leaves_what_can_be_resumed(server, fetch, tmp_path):
    server.routes["/file"] = [broken(DATA, 100_000), honest(DATA)]

    def interrupt(task, done, total, unit):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.download_file(server.url("/file"), tmp_path / "file", options=DownloadOptions(progress=interrupt))
    kept = (tmp_path / "file.part").read_bytes()
    assert kept
    assert DATA.startswith(kept)
    assert fetch(sha256=SHA256) == DATA
    assert server.ranges() == [None, f"bytes={len(kept)}-"]


# Servers that lie.


def test_a_wrong_hash(server, tmp_path):
    server.routes["/file"] = [honest(OTHER)]
    gives_up(server, tmp_path, SHA256, hashlib.sha256(OTHER).hexdigest(), "removed", "ask its publisher", sha256=SHA256)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 501])
def test_answers_that_do_not_change_are_not_asked_for_twice(server, tmp_path, status):
    server.routes["/file"] = [always(status, b"<html>Sorry\x1b[31m</html>")]
    gives_up(server, tmp_path, f"HTTP {status}", "ask its publisher")
    assert len(server.asked) == 1
    assert os.listdir(tmp_path) == []


def test_another_size_than_the_card_says_is_refused_before_it_is_fetched(server, tmp_path):
    def large(request):
        request.answer(200, b"x", 10**9)
        request.server.over.wait()

    server.routes["/file"] = [large]
    gives_up(server, tmp_path, "1000000000", "300000", size=len(DATA))
    assert os.listdir(tmp_path) == []


def test_more_than_the_disk_holds_is_refused_before_it_is_fetched(server, tmp_path):
    server.routes["/file"] = [always(200, b"x", download.LARGEST)]
    with pytest.raises(StorageError, match="make room"):
        download.download_file(server.url("/file"), tmp_path / "file")
    assert os.listdir(tmp_path) == []


def test_a_body_without_end(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LARGEST", 10_000)

    def endless(request):
        request.answer(200, b"", -1)
        while not request.server.over.is_set():
            request.wfile.write(bytes(4096))

    server.routes["/file"] = [endless]
    gives_up(server, tmp_path, "does not end")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("place", [
    "file:///etc/passwd", "ftp://127.0.0.1/file", "data:text/plain,x", "gopher://127.0.0.1/", "jar:http://x/", "//[", "http://",
])  # fmt: skip
def test_redirects_out_of_the_web(server, tmp_path, place):
    server.routes["/file"] = [always(302, Location=place)]
    gives_up(server, tmp_path, "ask its publisher")
    assert os.listdir(tmp_path) == []


def test_a_redirect_in_a_circle(server, tmp_path):
    server.routes["/file"] = [always(302, Location="/again")]
    server.routes["/again"] = [always(301, Location="/file")]
    gives_up(server, tmp_path, "circle")
    assert len(server.asked) < 30


def test_a_redirect_that_is_good(server, fetch):
    server.routes["/file"] = [always(302, Location="/new")]
    server.routes["/new"] = [broken(DATA, 100_000), honest(DATA)]
    assert fetch(sha256=SHA256) == DATA
    assert server.ranges() == [None, None, "bytes=100000-", "bytes=100000-"]


def test_a_redirect_from_https_to_http_is_not_followed():
    request = download.urllib.request.Request("https://a.example/file")
    with pytest.raises(download.urllib.error.HTTPError) as refused:
        download._Redirects().redirect_request(request, None, 302, "Found", {}, "http://a.example/file")
    refused.value.close()
    assert download._Redirects().redirect_request(request, None, 302, "Found", {}, "https://b.example/file") is not None


def test_a_redirect_to_an_address_that_is_none_closes_the_connection():
    answer = io.BytesIO()
    request = download.urllib.request.Request("http://a.example/file")
    with pytest.raises(ValueError, match="Invalid IPv6"):
        download._Redirects().http_error_301(request, answer, 301, "Moved", {"location": "//["})
    assert answer.closed


def test_a_head_that_is_no_http(server, tmp_path):
    def babble(request):
        request.wfile.write(b"\x00\xff" * 1000 + b"\r\n\r\n")

    server.routes["/file"] = [babble]
    gives_up(server, tmp_path, "3 times")


# A disk that is full.


def test_a_full_disk(server, tmp_path):
    """A limit on the size of files is met in the middle of the download."""
    server.routes["/file"] = [honest(DATA)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            download.download_file(server.url("/file"), tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "file.part").read_bytes() == DATA[:100_000]
    server.asked.clear()
    assert download.download_file(server.url("/file"), tmp_path / "file") == SHA256
    assert server.ranges() == ["bytes=100000-"]


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


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


IMAGES = [f"tiny/train{side}/{i}.png" for side in "AB" for i in range(3)]
WHOLE = sorted(["tiny.sha256", "tiny/README.txt", *IMAGES])


def test_a_data_set_appears_whole_with_the_hash_of_its_archive(server, tmp_path):
    server.routes["/tiny.zip"] = [honest(packed())]
    lines = []
    assert get_dataset(tiny(server), tmp_path, DownloadOptions(say=lines.append)) == tmp_path / "tiny"
    assert tree(tmp_path) == WHOLE
    assert (tmp_path / "tiny/trainB/2.png").read_bytes() == picture(2)
    assert (tmp_path / "tiny.sha256").read_text() == f"{hashlib.sha256(packed()).hexdigest()}  tiny.zip\n"
    assert any("1 files" in line for line in lines)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    get_dataset(tiny(server), tmp_path, DownloadOptions(say=lines.append))
    assert "there already" in lines[-1]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert len(server.asked) == 1


def test_what_was_recorded_at_first_use_is_compared_later(server, tmp_path):
    server.routes["/tiny.zip"] = [honest(packed())]
    get_dataset(tiny(server), tmp_path)
    (tmp_path / "tiny").rename(tmp_path / "elsewhere")
    changed = packed(more=b"")
    server.routes["/tiny.zip"] = [honest(changed, etag='"2"')]
    first, second = (hashlib.sha256(data).hexdigest() for data in (packed(), changed))
    with pytest.raises(DataError, match=f"{second}, but {first} by .*tiny.sha256.*remove .*tiny.sha256"):
        get_dataset(tiny(server), tmp_path)
    assert not (tmp_path / "tiny").exists()
    assert tree(tmp_path) == ["elsewhere/README.txt", *(f"elsewhere{name[4:]}" for name in IMAGES), "tiny.sha256"]
    server.routes["/tiny.zip"] = [honest(packed())]
    get_dataset(tiny(server), tmp_path)
    assert (tmp_path / "tiny.sha256").read_text().startswith(first)


def test_a_hash_of_the_card_counts_and_is_not_recorded(server, tmp_path):
    server.routes["/tiny.zip"] = [honest(packed())]
    wrong, right = (
        ArchiveSource(server.url("/tiny.zip"), None, digest)
        for digest in (SHA256, hashlib.sha256(packed()).hexdigest())
    )
    with pytest.raises(DataError, match=f"{SHA256} by its card.*example.org"):
        get_dataset(tiny(server, files=(wrong,)), tmp_path)
    assert tree(tmp_path) == []
    get_dataset(tiny(server, files=(right,)), tmp_path)
    assert tree(tmp_path) == [name for name in WHOLE if name != "tiny.sha256"]


@pytest.mark.parametrize("data", [packed()[:-100], packed(2), b"<html>not here</html>", b""])
def test_nothing_is_recorded_or_kept_of_a_first_download_that_is_no_data_set(server, tmp_path, data):
    server.routes["/tiny.zip"] = [always(200, data)]
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
    server.routes["/tiny.zip"] = [broken(data, 500)]
    line = DownloadOptions(attempts=1, pause=lambda seconds: None)
    with pytest.raises(DataError, match="go on from there"):
        get_dataset(tiny(server), tmp_path, line)
    assert tree(tmp_path) == [".get-tiny/tiny.zip.part", ".get-tiny/tiny.zip.part.json"]
    server.routes["/tiny.zip"] = [honest(data)]
    get_dataset(tiny(server), tmp_path, line)
    assert server.ranges() == [None, "bytes=500-"]
    assert tree(tmp_path) == WHOLE


def test_an_interrupt_while_unpacking_needs_no_second_download(server, tmp_path):
    server.routes["/tiny.zip"] = [honest(packed())]

    def interrupt(task, done, total, unit):
        if unit == "files" and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_dataset(tiny(server), tmp_path, DownloadOptions(progress=interrupt))
    assert tree(tmp_path) == [".get-tiny/tiny.zip"]
    get_dataset(tiny(server), tmp_path)
    assert tree(tmp_path) == WHOLE
    assert len(server.asked) == 1


def test_what_a_killed_process_left_is_cleared_away(server, tmp_path):
    (tmp_path / ".get-tiny/made/trainA").mkdir(parents=True)
    (tmp_path / ".get-tiny/made/trainA/9.png").write_bytes(b"half")
    server.routes["/tiny.zip"] = [honest(packed())]
    get_dataset(tiny(server), tmp_path)
    assert tree(tmp_path) == WHOLE


def test_an_empty_folder_is_no_data_set(server, tmp_path):
    (tmp_path / "tiny").mkdir()
    server.routes["/tiny.zip"] = [honest(packed())]
    get_dataset(tiny(server), tmp_path)
    assert tree(tmp_path) == WHOLE


def test_a_folder_that_is_not_whole_is_left_alone(server, tmp_path):
    (tmp_path / "tiny/trainA").mkdir(parents=True)
    (tmp_path / "tiny/trainA/mine.png").write_bytes(picture(0))
    with pytest.raises(DataError, match="trainA has 1 images, and 3 by its card; move it away"):
        get_dataset(tiny(server), tmp_path)
    assert tree(tmp_path) == ["tiny/trainA/mine.png"]
    assert server.asked == []


def test_two_at_a_time(server, tmp_path):
    with lock_folder(tmp_path / ".get-tiny", ""), pytest.raises(BusyError, match="wait until"):
        get_dataset(tiny(server), tmp_path)
    assert server.asked == []


def test_another_process_that_was_quicker(server, tmp_path, monkeypatch):
    """It puts the set into its place just before this one holds the lock."""
    server.routes["/tiny.zip"] = [honest(packed())]
    get_dataset(tiny(server), tmp_path / "other")

    @contextmanager
    def late(folder: Path, remedy: str) -> Iterator[None]:
        with lock_folder(folder, remedy):
            shutil.copytree(tmp_path / "other" / "tiny", tmp_path / "tiny")
            yield

    monkeypatch.setattr(atomic, "lock_folder", late)
    assert get_dataset(tiny(server), tmp_path) == tmp_path / "tiny"
    assert len(server.asked) == 1
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
    server.routes["/tiny.zip"] = [honest(packed())]
    code, out, err = run_get()
    assert code == 0
    assert f"folder   {tmp_path}/data/tiny\n" in out
    assert f"next     translate train cyclegan {tmp_path}/data/tiny\n" in out
    assert server.url("/tiny.zip") in err
    code, again, err = run_get("TINY")
    assert (code, again) == (0, out)
    assert "there already" in err


def test_ctrl_c_and_the_same_command_again(server, run_get, tmp_path):
    archive = tmp_path / "data/.run_get-tiny/tiny.zip"

    def press(request):
        request.answer(200, packed()[:500], len(packed()), ETag='"1"')
        while not download.partial_size(archive):
            request.server.over.wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        request.server.over.wait()

    server.routes["/tiny.zip"] = [press, honest(packed())]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code, out, err = run_get()
    finally:
        signal.signal(signal.SIGINT, before)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "error: interrupted"
    code, _, err = run_get()
    assert code == 0
    assert "0.0 MB are here" in err
    assert server.ranges() == [None, "bytes=500-"]
    assert tree(tmp_path / "data") == WHOLE


@pytest.mark.parametrize(("behaviour", "words"), [
    (always(404), ["HTTP 404", "example.org"]),
    (always(302, Location="file:///etc/passwd"), ["file:///etc/passwd", "not followed"]),
    (always(200, b"<html>"), ["tiny.zip", "no zip or tar"]),
    (always(200, packed(2)), ["trainA has 2 images, and 3 by its card"]),
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
    server.routes["/tiny.zip"] = [always(200, b"x", download.LARGEST)]
    code, _, err = run_get()
    assert code == 6
    assert "make room" in err.splitlines()[-1]
    (tmp_path / "file").write_text("")
    assert run_get(root=tmp_path / "file" / "data")[0] == 6
