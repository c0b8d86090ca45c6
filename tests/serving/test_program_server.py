"""The server as clients meet it: over sockets, with many requests at a time, and at its end."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from translate.errors import BusyError, Interrupted, UsageError
from translate.runtime import signals
from translate.serving import program_server
from translate.serving.conversion_service import ConversionService
from translate.serving.program_server import name_models, serve
from translate.serving.serving_options import ServeOptions
from translate.trained.translator import Translator

from .conftest import Ask, Encode

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

SIGTERM = 15


class Running:
    """A server in a thread; `stop` is what a signal sets."""

    def __init__(self, models: list[Translator], monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.stop, self.error = signals.StopRequest(), None
        self.url, self.token = "", None
        self.connections: list[http.client.HTTPConnection] = []
        ready = threading.Event()

        @contextmanager
        def asked() -> Iterator[signals.StopRequest]:
            yield self.stop

        def announce(url: str, token: str | None) -> None:
            self.url, self.token = url, token
            ready.set()

        def run() -> None:
            try:
                serve(models, ServeOptions(port=0, **options), announce)
            except Exception as e:
                self.error = e
                ready.set()

        monkeypatch.setattr(program_server.signals, "stop_on_signal", asked)
        self.thread = threading.Thread(target=run)
        self.thread.start()
        assert ready.wait(120)

    def connect(self) -> http.client.HTTPConnection:
        self.connections.append(http.client.HTTPConnection("127.0.0.1", int(self.url.rpartition(":")[2]), timeout=300))
        return self.connections[-1]

    def end(self) -> Exception | None:
        self.stop.accept(SIGTERM)
        self.thread.join(120)
        for connection in self.connections:
            connection.close()
        return self.error


@pytest.fixture
def running(cyclegan: Translator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Running]]:
    servers: list[Running] = []

    def start(**options: Any) -> Running:
        servers.append(Running([cyclegan], monkeypatch, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


def post(connection: http.client.HTTPConnection, data: bytes, **headers: str) -> tuple[int, bytes]:
    connection.request("POST", "/convert", data, {"Content-Type": "image/png", **headers})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_accepted_requests_are_answered_after_a_signal(
    running: Callable[..., Running], encode: Encode, ask: Ask, cyclegan: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [ask(cyclegan, encode(seed=seed)).data for seed in range(6)]
    release, translate = threading.Event(), ConversionService._translate

    def held(service: ConversionService, batch: Any) -> None:
        assert release.wait(120)
        translate(service, batch)

    monkeypatch.setattr(ConversionService, "_translate", held)
    server = running()
    with ThreadPoolExecutor(6) as clients:
        answers = [clients.submit(post, server.connect(), encode(seed=seed)) for seed in range(6)]
        watch = server.connect()
        for _ in range(600):
            watch.request("GET", "/health")
            if json.loads(watch.getresponse().read())["taken"] == 6:
                break
            time.sleep(0.05)
        server.stop.accept(SIGTERM)
        release.set()
        assert [answer.result(120) for answer in answers] == [(200, data) for data in expected]
    error = server.end()
    assert isinstance(error, Interrupted)
    assert error.exit_code == 128 + SIGTERM
    assert "6 requests" in str(error)
    with pytest.raises(ConnectionRefusedError):
        post(server.connect(), encode())


def test_a_server_that_others_reach_wants_its_token(running: Callable[..., Running], encode: Encode) -> None:
    server = running(host="0.0.0.0")
    assert server.token is not None
    assert post(server.connect(), encode())[0] == 401
    assert post(server.connect(), encode(), Authorization="Bearer wrong-wrong-wrong")[0] == 401
    assert post(server.connect(), encode(), Authorization=f"Bearer {server.token}")[0] == 200
    connection = server.connect()
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200


def test_a_body_over_the_limit_has_an_answer_before_it_has_arrived(running: Callable[..., Running]) -> None:
    status, body = post(running(max_upload=1).connect(), bytes(3 << 20))
    assert status == 413
    assert b"1 MiB" in body


def test_a_body_that_does_not_arrive_gives_its_place_back(running: Callable[..., Running]) -> None:
    server = running(timeout=0.5)
    connection = server.connect()
    connection.putrequest("POST", "/convert")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"\x89PNG")
    assert connection.getresponse().status == 408
    watch = server.connect()
    watch.request("GET", "/health")
    assert json.loads(watch.getresponse().read())["taken"] == 0


def test_a_head_that_does_not_arrive_closes_its_connection_and_a_slow_body_does_not(
    running: Callable[..., Running], encode: Encode, ask: Ask, cyclegan: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("translate.serving.http_server.HEAD_SECONDS", 0.3)
    server, data = running(), encode()
    body = server.connect()
    body.putrequest("POST", "/convert")
    body.putheader("Content-Length", str(len(data)))
    body.endheaders(data[:9])
    for start in (b"", b"POST /convert HTTP/1.1\r\nHo", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he"):
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=120) as connection:
            connection.sendall(start)
            received = b""
            while part := connection.recv(4096):  # until the server closes it
                received += part
        assert received.count(b"HTTP/1.1 200") == start.count(b"\r\n\r\n")
    body.send(data[9:])
    assert body.getresponse().read() == ask(cyclegan, data).data


def test_a_port_in_use_is_busy(running: Callable[..., Running], cyclegan: Translator) -> None:
    port = int(running().url.rpartition(":")[2])
    with pytest.raises(BusyError, match=str(port)):
        serve([cyclegan], ServeOptions(port=port), lambda url, token: None)


def test_two_models_of_one_name_are_refused(cyclegan: Translator) -> None:
    with pytest.raises(UsageError, match="two models named"):
        name_models([cyclegan, cyclegan])


def soak(server: Running, encode: Encode, ask: Ask, model: Translator, count: int, clients: int) -> None:
    """Send many requests by several clients at a time; each answer must be that of its own image."""
    files = [encode(seed=seed, width=8 + seed % 5, height=8) for seed in range(40)]
    expected = [ask(model, data).data for data in files]
    assert len(set(expected)) == len(files)
    done = []

    def send(first: int) -> None:
        connection = server.connect()
        for number in range(first, count, clients):
            status, data = post(connection, files[number % len(files)])
            assert (status, data) == (200, expected[number % len(files)]), number
            done.append(number)

    with ThreadPoolExecutor(clients) as pool:
        for future in [pool.submit(send, first) for first in range(clients)]:
            future.result()
    assert sorted(done) == list(range(count))
    assert f"{count} requests" in str(server.end())


@pytest.mark.slow
def test_two_hundred_requests_of_eight_clients_each_get_their_own_answer(
    running: Callable[..., Running], encode: Encode, ask: Ask, cyclegan: Translator
) -> None:
    soak(running(), encode, ask, cyclegan, 200, 8)


@pytest.mark.hours
def test_ten_thousand_requests_of_sixteen_clients_each_get_their_own_answer(
    running: Callable[..., Running], encode: Encode, ask: Ask, cyclegan: Translator
) -> None:
    soak(running(), encode, ask, cyclegan, 10_000, 16)
