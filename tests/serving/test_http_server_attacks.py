"""Hostile clients of both servers: each gets a refusal, and the server answers the next request."""

import contextlib
import io
import json
import signal
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from .conftest import Encode
from .server_process import PATIENCE, ServerProcess, ask

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, cyclegan_folder: Path) -> Iterator[ServerProcess]:
    running = ServerProcess(
        "serve", cyclegan_folder, "--max-upload", "1", "--timeout", "2", "--queue", "4",
        folder=tmp_path_factory.mktemp("serve"),
    )  # fmt: skip
    yield running
    assert running.end() == 128 + signal.SIGTERM
    assert "Traceback" not in running.log.read_text()


def raw(server: ServerProcess, data: bytes) -> bytes:
    """What the server sends for bytes that need not be HTTP, until it closes the connection."""
    received = b""
    with (
        contextlib.suppress(ConnectionError),  # it closes where more has been sent than it reads
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection,
    ):
        connection.sendall(data)
        while part := connection.recv(65536):
            received += part
    return received


def form(name: bytes, filename: bytes, content: bytes) -> bytes:
    body = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n' % (name, filename)
    body += content + b"\r\n--x--\r\n"
    head = b"POST /convert HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    head += b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head + body


@pytest.mark.parametrize(
    "name",
    [b"../../../../tmp/x.png", b"C:\\windows\\x", b"x\x00.png", "ünï 日本.png".encode(), b"\xff\xfe", b"a" * 5000, b""],
)
def test_names_of_files_are_used_nowhere(name: bytes, server: ServerProcess, encode: Encode) -> None:
    answer = raw(server, form(b"image", name, encode()))
    status = int(answer.split()[1])
    assert status in (200, 400, 422)  # a name that no form can have is refused
    assert not Path("/tmp/x.png").exists()
    assert ask(server, "POST", "/convert", encode())[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        b"POST /convert HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /convert HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /convert HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF\r\n",
        b"POST /convert HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET //etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    ],
    ids=["tls", "long-head", "negative", "huge", "chunk", "two-lengths", "dots", "slashes"],
)
def test_what_is_no_request_is_refused(data: bytes, server: ServerProcess, encode: Encode) -> None:
    answer = raw(server, data)
    assert answer == b"" or answer.split()[1] in (b"400", b"403", b"404", b"408", b"413"), answer[:200]
    assert b"root:" not in answer
    assert ask(server, "POST", "/convert", encode())[0] == 200


def test_connections_that_send_their_requests_byte_by_byte_do_not_keep_others_out(
    server: ServerProcess, encode: Encode
) -> None:
    heads = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    bodies = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
    try:
        for connection in heads:
            connection.sendall(b"POST /convert HTTP/1.1\r\nHo")
        assert ask(server, "POST", "/convert", encode())[0] == 200
        for connection in bodies:  # more than there are places
            connection.sendall(b"POST /convert HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999\r\n\r\n\x89PNG")
        while (status := ask(server, "POST", "/convert", encode())[0]) == 503:
            time.sleep(0.2)  # until the time of the slow ones is over
        assert status == 200
        answers = [connection.recv(12) for connection in bodies]
        assert {answer.split()[1] for answer in answers} == {b"408", b"503"}
        heads[0].settimeout(120)  # six times what the server waits for a head
        assert heads[0].recv(1) == b"", "closed by the server, since its request did not arrive"
    finally:
        for connection in heads + bodies:
            connection.close()


def test_bombs_of_many_kinds_are_refused(server: ServerProcess, encode: Encode) -> None:
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(9 << 20), 9)), (b"IEND", b"")):
        body += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    text = io.BytesIO()
    Image.new("RGB", (8, 8)).save(text, "PNG")
    packed = zlib.compress(bytes(900 << 20), 9)  # a text of 900 MB
    chunk = b"zTXtComment\x00\x00" + packed
    text_bomb = text.getvalue()[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    text_bomb += text.getvalue()[33:]
    bomb_gif = b"GIF89a\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\xff\xff\xff"
    bomb_gif += b",\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02D\x01\x00;"
    before = server.peak_memory()
    for data in (body, bomb_gif):
        assert ask(server, "POST", "/convert", data)[0] == 422
    assert ask(server, "POST", "/convert", text_bomb)[0] in (200, 413, 422)
    assert server.peak_memory() - before < 400 << 20
    assert ask(server, "POST", "/convert", encode())[0] == 200


def test_forms_of_many_parts_and_other_contents_are_refused(server: ServerProcess, encode: Encode) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="to"\r\n\r\nb\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert ask(server, "POST", "/convert", part * 1000 + b"--x--\r\n", **kind)[0] == 400
    assert ask(server, "POST", "/convert", b"", **kind)[0] in (400, 422)
    for wrong in ("application/json", "text/html; charset=utf-8", "application/x-www-form-urlencoded"):
        assert ask(server, "POST", "/convert", encode(), **{"Content-Type": wrong})[0] == 415
    status, _, body = ask(server, "POST", "/convert?to=%00%1b[31m", encode())
    assert status == 422
    assert "\x1b" not in json.loads(body)["error"]
    assert ask(server, "POST", "/convert", b"")[0] == 415
