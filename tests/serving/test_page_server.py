"""Access to the page: the token in its address becomes a cookie, and the browser may load nothing of other addresses."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from translate.serving.access import COOKIE, Listener
from translate.serving.page_server import GuardedPage

TOKEN = "a-token-of-twenty-one"


async def inner(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-inner", b"1")]})
    await send({"type": "http.response.body", "body": b"page"})


@pytest.fixture
def listener() -> Iterator[Listener]:
    place = Listener(socket.socket(), "0.0.0.0", False, TOKEN)
    yield place
    place.socket.close()


def get(listener: Listener, query: str = "", **headers: str) -> tuple[int, dict[str, str], bytes]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    given = [(name.encode(), value.encode()) for name, value in {"host": "server:7860", **headers}.items()]
    scope = {"type": "http", "path": "/", "query_string": query.encode(), "headers": given}
    asyncio.run(GuardedPage(inner, listener)(scope, None, send))
    start, body = sent
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"]


def test_the_token_in_the_address_becomes_a_cookie_that_scripts_do_not_see(listener: Listener) -> None:
    status, headers, _ = get(listener, f"token={TOKEN}")
    assert (status, headers["location"]) == (303, "/")
    assert headers["set-cookie"] == f"{COOKIE}={TOKEN}; HttpOnly; SameSite=Strict; Path=/"
    assert get(listener, cookie=f"{COOKIE}={TOKEN}")[::2] == (200, b"page")


@pytest.mark.parametrize("query", ["", "token=", "token=wrong-wrong-wrong-wrong", "token=%C3%BC"])
def test_no_or_another_token_is_refused(query: str, listener: Listener) -> None:
    status, _, body = get(listener, query)
    assert status == 401
    assert b"page" not in body


def test_the_token_does_not_open_for_pages_of_other_addresses(listener: Listener) -> None:
    assert get(listener, f"token={TOKEN}", origin="http://evil.example")[0] == 403


def test_the_browser_may_load_nothing_of_other_addresses(listener: Listener) -> None:
    _, headers, _ = get(listener, cookie=f"{COOKIE}={TOKEN}")
    policy = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-inner"] == "1"
