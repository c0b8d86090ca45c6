"""A web server that ends cleanly on a signal: what was accepted is answered first."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Literal

import uvicorn

from translate.runtime import signals
from translate.serving.access import Listener, header_values, send_refusal

App = Callable[..., Awaitable[None]]


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
        self.should_exit = self.should_exit or bool(self.stop)
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
        app, http="h11", loop="asyncio", ws="none", lifespan=lifespan, log_config=None, access_log=False,
        proxy_headers=False, server_header=False, timeout_graceful_shutdown=drain_seconds,
    )  # fmt: skip
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # the applications tell their errors themselves
    _Server(config, stop).run(sockets=[listener.socket])
