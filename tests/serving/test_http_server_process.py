"""The servers as processes: addresses, tokens, exit codes, the description of the interface, and the end by a signal."""

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .conftest import Encode
from .server_process import PATIENCE, ServerProcess, ask

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
pytestmark = pytest.mark.slow

Start = Callable[..., ServerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[ServerProcess] = []

    def make(*command: str | Path) -> ServerProcess:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(ServerProcess(*command, folder=folder))
        return servers[-1]

    yield make
    for server in servers:
        if server.process.poll() is None:
            server.end()
        else:
            server.close()


def test_a_signal_ends_the_server_once_what_it_has_accepted_is_answered(
    start: Start, cyclegan_folder: Path, encode: Encode
) -> None:
    server = start("serve", cyclegan_folder)
    files = [encode(seed=seed, width=400, height=400) for seed in range(6)]
    expected = [ask(server, "POST", "/convert", data)[2] for data in files]
    assert len(set(expected)) == 6
    slow = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    slow.putrequest("POST", "/convert")
    slow.putheader("Content-Length", str(len(files[0])))
    slow.endheaders(files[0][:100])  # the rest comes after the signal
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(ask, server, "POST", "/convert", data) for data in files]
        while json.loads(ask(server, "GET", "/health")[2])["taken"] < 1:
            time.sleep(0.01)
        server.signal(signal.SIGTERM)
        slow.send(files[0][100:])
        late = slow.getresponse()
        assert (late.status, late.read()) == (200, expected[0])
        slow.close()
        accepted = [data for answer in answers if (data := _answer(answer)) is not None]
    assert set(accepted) <= set(expected)
    assert server.wait() == 128 + signal.SIGTERM
    assert f"{7 + len(accepted)} requests" in server.log.read_text()
    with pytest.raises(ConnectionRefusedError):
        ask(server, "GET", "/health")


def _answer(future: object) -> bytes | None:
    """Answer to a request; None if it came when no connections were accepted any more."""
    try:
        status, _, data = future.result()  # type: ignore[attr-defined]
    except ConnectionError:
        return None
    assert status == 200
    return data


@pytest.mark.parametrize("command", ["serve", "app"])
def test_a_server_for_others_has_a_token_and_a_second_one_on_its_port_is_told(
    command: str, start: Start, cyclegan_folder: Path, encode: Encode
) -> None:
    if command == "app":
        pytest.importorskip("gradio")
    server = start(command, cyclegan_folder, "--host", "0.0.0.0")
    token = (server.line().split()[1] if command == "serve" else urlsplit(server.url).query.partition("=")[2]).strip()
    assert len(token) >= 32
    path, wrong = ("/models", "x" * 32) if command == "serve" else ("/config", "x" * 32)
    assert ask(server, "GET", path)[0] == 401
    assert ask(server, "GET", path, Authorization=f"Bearer {wrong}")[0] == 401
    assert ask(server, "GET", path, Authorization=f"Bearer {token}")[0] == 200
    if command == "app":
        status, headers, _ = ask(server, "GET", f"/?token={token}")
        assert status == 303
        cookie = headers["set-cookie"].partition(";")[0]
        assert b"Translate images" in ask(server, "GET", "/", Cookie=cookie)[2]
    second = subprocess.run(
        [sys.executable, "-m", "translate", command, str(cyclegan_folder), "--host", "0.0.0.0", "--port", str(server.port)],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert second.returncode == 5
    assert f"port {server.port} of 0.0.0.0 is in use" in second.stderr


def test_without_a_host_other_machines_do_not_reach_it_and_its_description_is_valid(
    start: Start, cyclegan_folder: Path
) -> None:
    server = start("serve", cyclegan_folder)
    if sys.platform == "linux":
        listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
        assert f"0100007F:{server.port:04X}" in listening  # 127.0.0.1
        assert f"00000000:{server.port:04X}" not in listening
    document = json.loads(ask(server, "GET", "/openapi.json")[2])
    assert document["openapi"] == "3.1.0"
    pytest.importorskip("openapi_spec_validator").validate(document)
