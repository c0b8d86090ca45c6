"""What the web server of the attack tests does with a request."""

from collections.abc import Callable
from typing import Any

Behaviour = Callable[[Any], None]
"""What the server does with a request."""


def serve_file(data: bytes, etag: str | None = '"1"', modified: str | None = None) -> Behaviour:
    """Serve the whole file or, where Range and If-Range ask for it, the rest."""

    def behave(request: Any) -> None:
        headers = {"ETag": etag} if etag else {}
        if modified:
            headers["Last_Modified"] = modified
        span, condition = request.headers.get("Range"), request.headers.get("If-Range")
        if span is None or condition not in (None, etag, modified):
            request.answer(200, data, **headers)
            return
        start = int(span.removeprefix("bytes=").removesuffix("-"))
        if start >= len(data):
            request.answer(416, Content_Range=f"bytes */{len(data)}", **headers)
            return
        request.answer(206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}", **headers)

    return behave


def break_off(data: bytes, after: int, etag: str | None = '"1"', reset: bool = True) -> Behaviour:
    """Send the headers of the whole file and so many bytes of it, then end the connection."""

    def behave(request: Any) -> None:
        request.answer(200, data[:after], len(data), **({"ETag": etag} if etag else {}))
        if reset:
            request.server.over.wait(0.05)  # what was sent must arrive before it is taken back
            request.reset()

    return behave


def always_answer(status: int, body: bytes = b"", length: int | None = None, **headers: str) -> Behaviour:
    """Answer every request alike."""
    return lambda request: request.answer(status, body, length, **headers)
