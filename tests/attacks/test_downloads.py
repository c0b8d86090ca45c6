"""Downloads from servers that break, stall or lie."""

import hashlib
import io
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from translate.catalog import download
from translate.catalog.download import DownloadOptions, ExpectedFile
from translate.errors import DataError, StorageError

from .behaviours import always_answer, break_off, serve_file

DATA = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def waits() -> list[float]:
    """The pauses that were asked for; none is made."""
    return []


@pytest.fixture
def fetch(server, tmp_path: Path, waits: list[float]) -> Callable[..., bytes]:
    """Downloads /file and gives its bytes; nothing but the file is left."""

    def run(**expected) -> bytes:
        options = DownloadOptions(timeout=60, pause=waits.append)
        target = tmp_path / "file"
        expected = ExpectedFile(remedy="ask its publisher", **expected)
        found = download.download_file(server.url("/file"), target, expected, options)
        assert os.listdir(tmp_path) == ["file"]
        assert found == hashlib.sha256(target.read_bytes()).hexdigest()
        return target.read_bytes()

    return run


def test_a_file_and_what_is_told_meanwhile(server, tmp_path):
    server.routes["/file"] = [serve_file(DATA)]
    told = []
    options = DownloadOptions(progress=lambda *news: told.append(news))
    expected = ExpectedFile(SHA256, len(DATA))
    assert download.download_file(server.url("/file"), tmp_path / "file", expected, options) == SHA256
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
    server.routes["/file"] = [break_off(DATA, 100_000, reset=reset), serve_file(DATA)]
    assert fetch(sha256=known) == DATA
    first, second = server.ranges()
    assert first is None
    assert second == "bytes=100000-"
    assert server.asked[1][1]["If-Range"] == '"1"'
    assert waits == [2]


def test_a_date_will_do_where_there_is_no_etag(server, fetch):
    date = "Sun, 02 Sep 2018 08:45:00 GMT"
    cut = always_answer(200, DATA[:70_000], len(DATA), Last_Modified=date, ETag='W/"1"')
    server.routes["/file"] = [cut, serve_file(DATA, etag='W/"1"', modified=date)]
    assert fetch() == DATA
    assert server.asked[1][1]["If-Range"] == date
    assert server.ranges() == [None, "bytes=70000-"]


def test_without_etag_and_date_only_a_known_hash_lets_resume(server, fetch, tmp_path):
    server.routes["/file"] = [break_off(DATA, 100_000, etag=None), serve_file(DATA, etag=None)]
    assert fetch() == DATA
    assert server.ranges() == [None, None]
    (tmp_path / "file").unlink()
    server.asked.clear()
    server.routes["/file"] = [break_off(DATA, 100_000, etag=None), serve_file(DATA, etag=None)]
    assert fetch(sha256=SHA256) == DATA
    assert server.ranges() == [None, "bytes=100000-"]


def test_a_server_that_ignores_range_starts_anew(server, fetch):
    server.routes["/file"] = [break_off(DATA, 100_000), always_answer(200, DATA, ETag='"1"')]
    assert fetch(sha256=SHA256) == DATA
    assert server.ranges() == [None, "bytes=100000-"]


@pytest.mark.parametrize("polite", [True, False], ids=["If-Range heeded", "If-Range ignored"])
def test_a_file_that_changes_between_two_parts_is_never_mixed(server, fetch, polite):
    rest = always_answer(206, OTHER[100_000:], ETag='"2"', Content_Range=f"bytes 100000-{len(OTHER) - 1}/{len(OTHER)}")
    server.routes["/file"] = [break_off(DATA, 100_000), *([] if polite else [rest]), serve_file(OTHER, etag='"2"')]
    assert fetch() == OTHER
    assert server.ranges() == [None, "bytes=100000-"] + ([] if polite else [None])


@pytest.mark.parametrize(
    "span", ["bytes 90000-299999/300000", "bytes 100000-299999/300001", "bytes */300000", "all", None]
)
def test_a_part_that_is_not_the_one_asked_for_is_not_taken(server, fetch, span):
    wrong = always_answer(206, DATA[100_000:], ETag='"1"', **({"Content_Range": span} if span else {}))
    server.routes["/file"] = [break_off(DATA, 100_000), wrong, serve_file(DATA)]
    assert fetch() == DATA
    assert server.ranges() == [None, "bytes=100000-", None]


def test_a_part_nobody_asked_for_is_not_taken(server, fetch):
    server.routes["/file"] = [
        always_answer(206, DATA[9:], Content_Range=f"bytes 9-{len(DATA) - 1}/{len(DATA)}"),
        serve_file(DATA),
    ]
    assert fetch() == DATA


def test_a_file_that_was_whole_when_the_process_was_killed(server, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(DATA)
    note = {"url": server.url("/file"), "etag": '"1"', "modified": None, "total": len(DATA)}
    (tmp_path / "file.part.json").write_text(json.dumps(note))
    server.routes["/file"] = [serve_file(DATA)]
    assert fetch() == DATA
    assert server.ranges() == [f"bytes={len(DATA)}-"]


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 1}', None])
def test_a_part_without_a_usable_note_is_not_trusted(server, fetch, tmp_path, note):
    (tmp_path / "file.part").write_bytes(OTHER[:1000])
    if note is not None:
        (tmp_path / "file.part.json").write_text(note)
    server.routes["/file"] = [serve_file(DATA)]
    assert fetch(sha256=SHA256) == DATA
    assert server.ranges() == [None]


def test_a_part_of_another_address_is_not_trusted(server, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(OTHER[:1000])
    note = {"url": server.url("/other"), "etag": '"1"', "modified": None, "total": len(DATA)}
    (tmp_path / "file.part.json").write_text(json.dumps(note))
    server.routes["/file"] = [serve_file(DATA)]
    assert fetch() == DATA
    assert server.ranges() == [None]


def test_a_part_longer_than_the_file_is_not_kept(server, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(DATA + b"more")
    note = {"url": server.url("/file"), "etag": '"1"', "modified": None, "total": len(DATA) + 4}
    (tmp_path / "file.part.json").write_text(json.dumps(note))
    server.routes["/file"] = [serve_file(DATA)]
    assert fetch() == DATA
    assert server.ranges() == [f"bytes={len(DATA) + 4}-", None]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_servers_that_are_busy_are_asked_again_and_waited_for(server, fetch, waits, status):
    server.routes["/file"] = [
        always_answer(status),
        always_answer(status, Retry_After="7"),
        always_answer(status, Retry_After="1e9"),
        serve_file(DATA),
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
    server.routes["/file"] = [always_answer(200, DATA[:5000], -1), always_answer(200, DATA, -1)]
    assert fetch(size=len(DATA)) == DATA


def gives_up(server, tmp_path: Path, *words: str, timeout: float = 60, attempts: int = 3, **expected) -> None:
    with pytest.raises(DataError) as refused:
        options = DownloadOptions(timeout=timeout, attempts=attempts, pause=lambda seconds: None)
        expected = ExpectedFile(remedy="ask its publisher", **expected)
        download.download_file(server.url("/file"), tmp_path / "file", expected, options)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(server.url("/file"))
    for word in words:
        assert word in message
    assert not (tmp_path / "file").exists()


def test_a_body_that_is_always_short(server, tmp_path):
    """What came is kept, and the next call goes on from there."""
    server.routes["/file"] = [always_answer(200, DATA[:1000], len(DATA), ETag='"1"')]
    gives_up(server, tmp_path, "1000 of 300000", "3 times", "same command")
    assert len(server.asked) == 3
    assert (tmp_path / "file.part").read_bytes() == DATA[:1000]
    server.routes["/file"] = [serve_file(DATA)]
    download.download_file(server.url("/file"), tmp_path / "file", ExpectedFile(SHA256))
    assert server.ranges()[-1] == "bytes=1000-"


def test_a_file_that_changes_for_ever_is_given_up(server, tmp_path, monkeypatch, waits):
    """It gets as far each time, and never further."""
    monkeypatch.setattr(download, "ENOUGH", 1000)
    rest = always_answer(206, OTHER[5000:], ETag='"2"', Content_Range=f"bytes 5000-{len(OTHER) - 1}/{len(OTHER)}")
    server.routes["/file"] = [lambda request: (rest if "Range" in request.headers else break_off(DATA, 5000))(request)]

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
    server.routes["/file"] = [break_off(DATA, 100_000), serve_file(DATA)]

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
    server.routes["/file"] = [serve_file(OTHER)]
    gives_up(server, tmp_path, SHA256, hashlib.sha256(OTHER).hexdigest(), "removed", "ask its publisher", sha256=SHA256)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 501])
def test_answers_that_do_not_change_are_not_asked_for_twice(server, tmp_path, status):
    server.routes["/file"] = [always_answer(status, b"<html>Sorry\x1b[31m</html>")]
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
    server.routes["/file"] = [always_answer(200, b"x", download.LARGEST)]
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
    server.routes["/file"] = [always_answer(302, Location=place)]
    gives_up(server, tmp_path, "ask its publisher")
    assert os.listdir(tmp_path) == []


def test_a_redirect_in_a_circle(server, tmp_path):
    server.routes["/file"] = [always_answer(302, Location="/again")]
    server.routes["/again"] = [always_answer(301, Location="/file")]
    gives_up(server, tmp_path, "not followed")
    assert len(server.asked) < 30


def test_a_redirect_that_is_good(server, fetch):
    server.routes["/file"] = [always_answer(302, Location="/new")]
    server.routes["/new"] = [break_off(DATA, 100_000), serve_file(DATA)]
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
    server.routes["/file"] = [serve_file(DATA)]
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
