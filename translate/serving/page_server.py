"""The server of the page for people, put together: `translate app`."""

import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from translate.errors import Interrupted
from translate.runtime import signals
from translate.serving.access import COOKIE, Listener, header_values, listen, send_refusal
from translate.serving.conversion_service import ConversionService
from translate.serving.model_list import ListedModel
from translate.serving.page_job import AT_A_TIME
from translate.serving.serving_options import MIB, AppOptions
from translate.trained.extras import import_extra

POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Policy of the page: the browser loads nothing of other addresses. Gradio's page has scripts and styles in the page itself."""

DRAIN_SECONDS = 10
"""Time for the jobs that are under way at a signal; a browser keeps a connection open for ever."""

READABLE_COLOURS = {
    "background_fill_primary": "*neutral_50",  # that of the theme, which `set` would change
    **{f"block_{part}_text_color": "*primary_800" for part in ("label", "title")},
    **{f"block_{part}_text_color_dark": "white" for part in ("label", "title")},
    "link_text_color_dark": "*secondary_300",
    **{f"button_primary_background_fill{mode}": "*primary_700" for mode in ("", "_dark")},
    **{f"button_primary_background_fill_hover{mode}": "*primary_800" for mode in ("", "_dark")},
}
"""Colours of labels, links and of the button that have a contrast of 4.5 to their grounds, as WCAG 2.2 asks for (1.4.3)."""

ASGIApp = Callable[[Mapping[str, Any], Any, Any], Awaitable[None]]


class GuardedPage:
    """Application for browsers that refuses requests which the listener does not allow, and sets the page's policy.

    A browser shows its token once, in the address (`/?token=…`), and then by a cookie that scripts cannot read.
    """

    def __init__(self, app: ASGIApp, listener: Listener) -> None:
        self.app, self.listener = app, listener

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Answer a request, by the protocol ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = header_values(scope)
        (token,) = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[-1:]
        refusal = self.listener.refusal(headers)
        if refusal is not None and refusal[0] == HTTPStatus.UNAUTHORIZED and self.listener.is_shown(token):
            await _send_cookie(send, token)
        elif refusal is not None:
            await send_refusal(send, *refusal)
        else:
            await self.app(scope, receive, _with_policy(send))


def _with_policy(send: Any) -> Any:
    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = [
                (b"content-security-policy", POLICY.encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"no-referrer"),
            ]
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        await send(message)

    return sending


async def _send_cookie(send: Any, token: str) -> None:
    """Answer with a cookie, and lead to the page without the token in its address."""
    cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/"
    headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": HTTPStatus.SEE_OTHER.value, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def check_page_installed() -> None:
    """Raise UsageError, with the command that installs it, unless gradio is there. Sets it up to tell nobody of its use."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read at its import, and at each start
    import_extra("app", "app", "gradio")


def serve_page(
    models: Sequence[ListedModel],
    options: AppOptions,
    behaviour: dict[str, Any],
    announce: Callable[[str], None],
) -> None:
    """Serve the page until a signal. Ends with Interrupted.

    behaviour: arguments of `translator.load`. announce: gets the address, with the token if one was made, once requests are
    accepted. UsageError for an address that cannot be used, BusyError for a port in use.
    """
    listener = listen(options)
    with tempfile.TemporaryDirectory(prefix="translate-app-", ignore_cleanup_errors=True) as scratch:
        os.environ["GRADIO_TEMP_DIR"] = scratch  # what the page may serve: uploads and results
        check_page_installed()
        from translate.serving.http_server import run_server
        from translate.serving.page import JOBS_AT_A_TIME, Page, build_page

        results = Path(scratch, "results")
        results.mkdir()
        service = ConversionService(JOBS_AT_A_TIME * AT_A_TIME, options.batch_size)
        try:
            page = build_page(Page(service, models, options, behaviour, results))
            app = GuardedPage(mount(page, options), listener)
            with signals.stop_on_signal() as stop:
                token = listener.token if options.token_file is None else None
                announce(listener.url + (f"/?token={token}" if token else ""))
                run_server(app, listener, stop, lifespan="on", drain_seconds=DRAIN_SECONDS)
        finally:
            listener.socket.close()
            service.close()
    raise Interrupted("stopped the page", stop.signal)


def mount(page: Any, options: AppOptions) -> ASGIApp:
    """Return the application of a page."""
    import fastapi
    import gradio as gr

    from translate.serving.page import EXTENSIONS
    from translate.serving.page_head import make_head

    theme = gr.themes.Soft(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    ).set(**READABLE_COLOURS)
    return gr.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None), page, path="/", theme=theme, head=make_head(options.max_upload, EXTENSIONS),
        footer_links=[], ssr_mode=False, run_history=False, max_file_size=options.max_upload * MIB, show_error=True, pwa=False,
        mcp_server=False,
    )  # fmt: skip
