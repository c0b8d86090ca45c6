"""A web server that ends cleanly on a signal: what was accepted is answered first. Idle connections are closed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Literal

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from translate.runtime import signals
from translate.serving.access import Listener, header_values, send_refusal

App = Callable[..., Awaitable[None]]

HEAD_SECONDS = 20.0
"""Time within which the head of a request must arrive, from the first byte, or from the start of the connection."""


class GuardedApp:
    """Application that refuses requests which the listener does not allow. `/health` needs no token."""

    def __init__(self, app: App, listener: Listener) -> None:
        self.app, self.listener = app, listener

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Answer a request, by the protocol ASGI."""
        refusal = self.listener.refusal(header_values(scope)) if scope["type"] == "http" else None
        if refusal is None or (refusal[0] == HTTPStatus.UNAUTHORIZED and scope["path"] == "/health"):
            await self.app(scope, receive, send)
        else:
            await send_refusal(send, *refusal)


class _Protocol(H11Protocol):
    """Connection that is closed where the head of a request does not arrive in time: uvicorn would wait for ever."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        is_waiting = self.cycle is None or self.cycle.response_complete
        if not is_waiting:
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Server(uvicorn.Server):
    """Server that asks a stop request whether to end, instead of handling signals itself."""

    def __init__(self, config: uvicorn.Config, stop: signals.StopRequest) -> None:
        super().__init__(config)
        self.stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the stop request: uvicorn would drop requests at a second SIGINT, which wrappers send."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end; called ten times a second."""
        if self.stop:
            self.should_exit = True
        return await super().on_tick(counter)


def run_server(
    app: App,
    listener: Listener,
    stop: signals.StopRequest,
    lifespan: Literal["on", "off"] = "off",
    drain_seconds: int | None = None,
) -> None:
    """Serve an application until the stop request is set and all requests are answered, or `drain_seconds` after it.

    lifespan: "on" for an application that has things to do at its start.
    """
    config = uvicorn.Config(
        app, http=_Protocol, loop="asyncio", ws="none", lifespan=lifespan, log_config=None, access_log=False,
        proxy_headers=False, server_header=False, timeout_graceful_shutdown=drain_seconds,
    )  # fmt: skip
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # the applications tell their errors themselves
    _Server(config, stop).run(sockets=[listener.socket])
