"""Who may use a server: tokens, addresses that are not this machine's, and pages of other addresses."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from translate.errors import BusyError, UsageError
from translate.serving.access import Listener, listen
from translate.serving.serving_options import AddressOptions


@pytest.fixture
def opened() -> Iterator[list[Listener]]:
    listeners: list[Listener] = []
    yield listeners
    for listener in listeners:
        listener.socket.close()


def test_a_loopback_address_needs_no_token_and_another_one_makes_its_own(opened: list[Listener]) -> None:
    opened += [listen(AddressOptions(host, 0)) for host in ("127.0.0.1", "localhost", "0.0.0.0", "0.0.0.0")]
    assert [listener.is_loopback for listener in opened] == [True, True, False, False]
    assert [listener.token is None for listener in opened] == [True, True, False, False]
    assert opened[2].token != opened[3].token
    assert len(opened[2].token or "") >= 32


def test_a_port_in_use_is_busy(opened: list[Listener]) -> None:
    opened.append(listen(AddressOptions(port=0)))
    port = opened[0].socket.getsockname()[1]
    with pytest.raises(BusyError, match=f"^port {port} of 127.0.0.1 is in use"):
        listen(AddressOptions(port=port))


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match=f"--host {host}"):
        listen(AddressOptions(host, 0))


@pytest.mark.parametrize(
    "content", [b"", b"short", b"has spaces in it, and letters", "ümlaute-und-so-weiter".encode(), b"\xff" * 40]
)
def test_a_token_that_cannot_be_sent_or_is_easily_guessed_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(UsageError, match="--token-file"):
        listen(AddressOptions(port=0, token_file=tmp_path / "token"))


def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--token-file .*absent"):
        listen(AddressOptions(port=0, token_file=tmp_path / "absent"))


def listener(token: str | None = None, is_loopback: bool = True) -> Listener:
    return Listener(socket.socket(), "127.0.0.1", is_loopback, token)


def status(place: Listener, **headers: str) -> int | None:
    refusal = place.refusal({"host": "127.0.0.1:8000", **headers})
    place.socket.close()
    return None if refusal is None else refusal[0]


def test_only_the_token_opens() -> None:
    token = "a-token-of-twenty-one"
    assert status(listener(token)) == 401
    assert status(listener(token), authorization=f"Bearer {token}x") == 401
    assert status(listener(token), authorization=f"Basic {token}") == 401
    assert status(listener(token), authorization="Bearer ümlaut") == 401
    assert status(listener(token), cookie='translate_token="; a=b\x00') == 401
    assert status(listener(token), authorization=f"Bearer {token}") is None
    assert status(listener(token), cookie=f"x=1; translate_token={token}") is None


def test_other_names_of_a_loopback_address_are_refused() -> None:
    """A page on the internet can let its own name lead to 127.0.0.1."""
    assert status(listener(), host="evil.example:8000") == 403
    assert status(listener(), host="") == 403
    assert status(listener(), host="[::1") == 403
    assert status(listener(), host="localhost:8000") is None
    assert status(listener(), host="[::1]:8000") is None
    assert status(listener("a-token-of-twenty-one", False), host="evil.example") == 401


def test_pages_of_other_addresses_are_refused() -> None:
    assert status(listener(), origin="http://evil.example") == 403
    assert status(listener(), origin="http://127.0.0.1:9000") == 403
    assert status(listener(), origin="null") == 403
    assert status(listener(), origin="http://127.0.0.1:8000") is None
