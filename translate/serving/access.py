"""Access to a server: its address, its token, and the requests that other web pages make a browser send."""

import errno
import hmac
import ipaddress
import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from translate.errors import BusyError, UsageError
from translate.serving.serving_options import AddressOptions

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
"""Names in addresses of pages on this machine."""

COOKIE = "translate_token"
"""Cookie of a browser that has shown its token."""

MIN_TOKEN = 16
"""Smallest number of characters of a token."""


@dataclass(frozen=True)
class Listener:
    """Socket that listens, and who may use it."""

    socket: socket.socket
    host: str
    """Address as the user gave it."""
    is_loopback: bool
    """True where only this machine reaches it."""
    token: str | None
    """Token that requests must show; None: no token."""

    @property
    def url(self) -> str:
        """Address for clients on this machine or, by its name, for others."""
        port = self.socket.getsockname()[1]
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{port}"

    def refusal(self, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return the status and the reason why a request is refused; None where it is allowed. Header names in lower case."""
        host = headers.get("host", "")
        if self.is_loopback and _host_name(host) not in (*LOOPBACK_NAMES, self.host):
            return (
                403,
                f"{host!r} is no address of this machine",
            )  # DNS rebinding: a page elsewhere that calls itself so
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "requests of pages of other addresses are not allowed"
        if self.token is None or self.is_shown(_bearer(headers) or _cookie(headers)):
            return None
        return 401, "the token of this server is missing or wrong; send it as: Authorization: Bearer TOKEN"

    def is_shown(self, token: str) -> bool:
        """Return whether a text is the token, in a time that does not tell how much of it is right."""
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())


def header_values(scope: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of a request, by their names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def send_refusal(send: Any, status: int, reason: str) -> None:
    """Answer a request with an error."""
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def listen(options: AddressOptions) -> Listener:
    """Open the socket of a server.

    UsageError for an address that is not of this machine and for a token that cannot be used, BusyError for a port in use.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise UsageError(f"--host {options.host}: no such address; give one of this machine, such as 0.0.0.0") from None
    is_loopback = ipaddress.ip_address(address[0]).is_loopback
    token = _find_token(options.token_file, is_loopback)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows it would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as e:
        listener.close()
        raise _refused_address(options, e) from None
    return Listener(listener, options.host, is_loopback, token)


def _refused_address(options: AddressOptions, error: OSError) -> BusyError | UsageError:
    if error.errno == errno.EADDRINUSE:
        return BusyError(
            f"port {options.port} of {options.host} is in use; give another by --port, or --port 0 for any"
        )
    if error.errno == errno.EACCES:
        return UsageError(f"--port {options.port}: not allowed for this user; give one from 1024 up")
    return UsageError(f"--host {options.host}: {error.strerror}; give an address of this machine, such as 0.0.0.0")


def _find_token(file: str | Path | None, is_loopback: bool) -> str | None:
    if file is None:
        return None if is_loopback else secrets.token_urlsafe(24)
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "is no text"
        raise UsageError(f"--token-file {file}: {reason}") from None
    if len(token) < MIN_TOKEN or not token.isascii() or not all("!" <= char <= "~" for char in token):
        raise UsageError(
            f"--token-file {file}: a token has at least {MIN_TOKEN} characters of ASCII and no spaces; "
            f"python -c 'import secrets; print(secrets.token_urlsafe(24))' makes one"
        )
    return token


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port and the brackets of IPv6."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _cookie(headers: Mapping[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""
