"""The page in a thread of the tests, and the files that it offers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from translate.runtime import signals
from translate.serving import page_server
from translate.serving.model_list import list_models
from translate.serving.page_server import serve_page
from translate.serving.serving_options import AppOptions

from .browser import Browser

SIGTERM = 15

FETCH = """
const request = new XMLHttpRequest();
request.open("GET", arguments[0], false);
request.overrideMimeType("text/plain; charset=x-user-defined");
request.send();
return [...request.responseText].map(char => char.charCodeAt(0) & 255);
"""


class RunningPage:
    """The page in a thread; `stop` is what a signal sets."""

    def __init__(self, models: list[str], **options: Any) -> None:
        self.stop, self.error = signals.StopRequest(), None
        ready = threading.Event()

        @contextmanager
        def asked() -> Iterator[signals.StopRequest]:
            yield self.stop

        def announce(url: str) -> None:
            self.url = url
            ready.set()

        def run() -> None:
            try:
                serve_page(list_models(models), AppOptions(port=0, **options), {"device": "cpu"}, announce)
            except Exception as e:
                self.error = e
                ready.set()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(page_server.signals, "stop_on_signal", asked)
            self.thread = threading.Thread(target=run)
            self.thread.start()
            assert ready.wait(300)
        assert self.error is None

    def end(self) -> Exception | None:
        self.stop.accept(SIGTERM)
        self.thread.join(120)
        return self.error


def wait_for_upload(browser: Browser, name: str) -> None:
    """Wait until the list of uploaded files links to the last of them: names of files on their way have no link yet."""
    link = (
        "return [...document.querySelectorAll('#files a')].some(a => a.closest('tr').innerText.includes(arguments[0]))"
    )
    browser.wait(lambda: bool(browser.run(link, name)), "the upload")


def offered_files(browser: Browser) -> dict[str, bytes]:
    """Name → content of the files whose links the page shows."""
    links = browser.run("return [...document.querySelectorAll('#outputs a')].map(a => [a.download, a.href])")
    return {name: bytes(browser.run(FETCH, address)) for name, address in links}
