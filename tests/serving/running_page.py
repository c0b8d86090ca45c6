"""The page in a thread of the tests."""

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

SIGTERM = 15


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
