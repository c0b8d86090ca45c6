"""Hostile clients of the page: they reach no file, model or option beyond those that the page offers."""

import json
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Encode
from .server_process import ServerProcess, ask

pytest.importorskip("gradio")
pytestmark = pytest.mark.slow

API = "/gradio_api"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, cyclegan_folder: Path) -> Iterator[ServerProcess]:
    running = ServerProcess("app", cyclegan_folder, "--max-upload", "1", folder=tmp_path_factory.mktemp("app"))
    yield running
    assert running.end() == 128 + signal.SIGTERM


@pytest.fixture
def uploaded(page: ServerProcess, encode: Encode) -> str:
    """Path, on the server, of an image that a client has sent by a hostile name."""
    status, body = upload(page, "../../../evil.png", encode())
    assert status == 200
    (path,) = json.loads(body)
    assert Path(path).name == "evil.png"
    assert Path(path).parent.parent.name.startswith("translate-app-")
    return path


def upload(page: ServerProcess, name: str, data: bytes) -> tuple[int, bytes]:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n' % name.encode()
    body += b"Content-Type: image/png\r\n\r\n" + data + b"\r\n--x--\r\n"
    status, _, answer = ask(page, "POST", f"{API}/upload", body, **{"Content-Type": "multipart/form-data; boundary=x"})
    return status, answer


def call(page: ServerProcess, name: str, *data: Any) -> tuple[str, str]:
    """Last event of a call of a function of the page, and its data."""
    status, _, body = ask(
        page, "POST", f"{API}/call/{name}", json.dumps({"data": data, "session_hash": uuid.uuid4().hex}).encode(),
        **{"Content-Type": "application/json"},
    )  # fmt: skip
    if status != 200:
        return "error", body.decode()
    _, _, events = ask(page, "GET", f"{API}/call/{name}/{json.loads(body)['event_id']}")
    *_, last = events.decode().strip().split("\n\n")
    kind, _, content = last.partition("\n")
    return kind.removeprefix("event: "), content


def translate(page: ServerProcess, cyclegan_folder: Path, path: str, **other: Any) -> tuple[str, str]:
    given = {"name": str(cyclegan_folder), "to": "b", "fmt": "png", "seed": 0, "samples": 1, "style": None, **other}
    files = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
    order = ("to", "fmt", "seed", "samples", "style")
    return call(page, "translate", given["name"], files, *(given[name] for name in order))


def test_a_proper_call_is_answered(page: ServerProcess, cyclegan_folder: Path, uploaded: str) -> None:
    """Or the refusals below would say nothing."""
    kind, content = translate(page, cyclegan_folder, uploaded)
    assert kind == "complete", content
    assert "1 of 1 translated" in content


@pytest.mark.parametrize(
    "other",
    [
        {"name": "/etc"},
        {"name": "../other"},
        {"to": "winter"},
        {"fmt": "exe"},
        {"fmt": "../x"},
        {"samples": 10**9},
        {"samples": "many"},
        {"seed": 10**400},
        {"style": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}},
    ],
    ids=str,
)
def test_what_the_page_does_not_offer_is_refused(
    other: dict[str, Any], page: ServerProcess, cyclegan_folder: Path, uploaded: str
) -> None:
    kind, content = translate(page, cyclegan_folder, uploaded, **other)
    assert kind == "error" or "0 of 1 translated" in content or 'class=\\"failed\\"' in content, content
    assert "root:" not in content


@pytest.mark.parametrize("place", ["/etc/passwd", "/proc/self/environ", "../../etc/passwd", "stderr.txt"])
def test_files_of_the_machine_are_no_inputs_and_are_not_served(
    place: str, page: ServerProcess, cyclegan_folder: Path
) -> None:
    kind, content = translate(page, cyclegan_folder, place)
    assert kind == "error" or "0 of 1 translated" in content, content
    for path in (f"{API}/file={place}", f"{API}/file%3D{place}", f"/static/{place}", f"/assets/../../{place}"):
        status, _, body = ask(page, "GET", path)
        assert status in (400, 403, 404, 405), (path, status)
        assert b"root:" not in body
    assert ask(page, "GET", f"{API}/file={cyclegan_folder / 'config.json'}")[0] in (403, 404)


def test_the_page_fetches_nothing_for_a_client(page: ServerProcess, cyclegan_folder: Path) -> None:
    target = f"http://127.0.0.1:{page.port}/config"
    assert ask(page, "GET", f"{API}/proxy={target}")[0] in (400, 403, 404)
    files = [{"path": target, "url": target, "meta": {"_type": "gradio.FileData"}}]
    kind, content = call(page, "translate", str(cyclegan_folder), files, "b", "png", 0, 1, None)
    assert kind == "error" or "0 of 1 translated" in content, content


def test_a_file_over_the_limit_is_refused_also_without_the_page(page: ServerProcess, encode: Encode) -> None:
    assert upload(page, "large.png", bytes(3 << 19))[0] == 413
    assert upload(page, "small.png", encode())[0] == 200


@pytest.mark.parametrize("number", [-1, 10**9, "x", None])
def test_a_result_that_is_not_there_is_no_reason_to_end(number: Any, page: ServerProcess) -> None:
    call(page, "show", number)
    assert ask(page, "GET", "/config")[0] == 200
