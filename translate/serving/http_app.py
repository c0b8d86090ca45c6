"""HTTP interface of a conversion service for programs: one POST of an image gives an image."""

import asyncio
import json
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive

from translate.conversion.item import failure_reason
from translate.errors import NonFiniteError, UsageError
from translate.images import ImageError
from translate.runtime.memory import is_out_of_memory
from translate.serving.conversion_service import (
    INPUT,
    INSTANCES,
    STYLE,
    ConversionService,
    ConvertedImage,
    QueueFullError,
    ServiceRequest,
    UnknownFormatError,
)
from translate.serving.media_types import MEDIA_TYPES, choose_format
from translate.serving.model_facts import describe_translator
from translate.serving.openapi import describe_interface
from translate.serving.request_options import parse_options
from translate.serving.serving_options import ServeOptions
from translate.text import printable_lines
from translate.trained.translator import Translator

MAX_FIELDS = 32
"""Largest number of fields of a form."""

ANSWER_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


class HttpInterface:
    """Functions behind the paths of the server.

    Args:
        service: Queue of the conversions.
        models: Name → model.
        limits: Limits of requests.
    """

    def __init__(self, service: ConversionService, models: Mapping[str, Translator], limits: ServeOptions) -> None:
        self.service, self.models, self.limits = service, models, limits
        self.fixed = {"max_pixels": limits.max_pixels, "batch_size": limits.batch_size}

    async def convert(self, request: Request) -> Response:
        """Answer an image with its translation."""
        deadline = asyncio.get_running_loop().time() + self.limits.timeout
        try:
            with self.service.request() as place:
                try:
                    async with asyncio.timeout_at(deadline):
                        fields = await self._receive(request, place)
                except TimeoutError:
                    return _error(408, f"the request has not arrived within {self.limits.timeout:g} s")
                try:
                    async with asyncio.timeout_at(deadline):
                        return await self._answer(request, place, fields)
                except TimeoutError:
                    return _error(504, f"no answer within {self.limits.timeout:g} s, the limit of this server")
        except QueueFullError as e:
            return _error(503, str(e), {"retry-after": "1"})

    async def _receive(self, request: Request, place: ServiceRequest) -> list[tuple[str, str]]:
        """Write the files of a request to its folder, and return the fields of its form. HTTPException if it has no image."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.limits.max_bytes:
            raise self._too_large()
        limited = Request(request.scope, self._limited(request.receive))
        if kind == "multipart/form-data":
            return await _receive_form(limited, place)
        if kind and not kind.startswith("image/") and kind not in ("application/octet-stream", MEDIA_TYPES["npy"]):
            raise HTTPException(
                415,
                f"content type {kind}: send the bytes of an image (image/*), or multipart/form-data with a file image",
            )
        with open(place.path(INPUT), "wb") as file:
            async for chunk in limited.stream():
                file.write(chunk)
        return []

    def _limited(self, receive: Receive) -> Receive:
        """Return a function that receives a body, and raises HTTPException once it is too large."""
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limits.max_bytes:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the request is more than {self.limits.max_upload} MiB, the limit of this server")

    async def _answer(self, request: Request, place: ServiceRequest, fields: list[tuple[str, str]]) -> Response:
        """Convert what has arrived. HTTPException with the message of the command line if that is not possible."""
        try:
            own, options = parse_options([*request.query_params.multi_items(), *fields], self._given(request, fields))
            future = place.submit(self._model(own.model), options, own.sample)
            return _image(await asyncio.wrap_future(future))
        except UnknownFormatError as e:
            raise HTTPException(415, str(e)) from None
        except (ImageError, UsageError) as e:
            raise HTTPException(422, str(e)) from None
        except (NonFiniteError, OSError, RuntimeError, MemoryError) as e:
            raise HTTPException(507 if is_out_of_memory(e) else 500, failure_reason(e)) from None

    def _given(self, request: Request, fields: list[tuple[str, str]]) -> dict[str, Any]:
        """Return the options that do not come from parameters: limits, and the format by the `Accept` header."""
        if "format" in {name for name, _ in [*request.query_params.multi_items(), *fields]}:
            return self.fixed
        accept = request.headers.get("accept")
        fmt = choose_format(accept)
        if fmt is None:
            raise HTTPException(406, f"accept {accept}: possible: {', '.join(MEDIA_TYPES.values())}")
        return {**self.fixed, "format": fmt}

    def _model(self, name: str | None) -> Translator:
        if name is None and len(self.models) == 1:
            return next(iter(self.models.values()))
        if name is None or name not in self.models:
            raise UsageError(f"model {name or 'is not given'}: possible: {', '.join(self.models)}")
        return self.models[name]

    async def health(self, request: Request) -> Response:
        """Answer that the server is alive, and how busy it is."""
        return JSONResponse({"status": "ok", "taken": self.service.taken, "places": self.service.places})

    async def describe(self, request: Request) -> Response:
        """Answer with what is known of the models."""
        return JSONResponse({"models": [describe_translator(name, model) for name, model in self.models.items()]})

    async def openapi(self, request: Request) -> Response:
        """Answer with the description of the interface."""
        return JSONResponse(describe_interface(list(self.models), self.limits))


async def _receive_form(request: Request, place: ServiceRequest) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    async with request.form(max_files=3, max_fields=MAX_FIELDS) as form:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                fields.append((name, value))
            elif name not in (INPUT, STYLE, INSTANCES):
                raise HTTPException(422, f"file {name!r}: possible: {INPUT}, {STYLE}, {INSTANCES}")
            elif place.path(name).exists():
                raise HTTPException(422, f"file {name!r}: given twice")
            else:
                await asyncio.to_thread(_save, value, place.path(name))
    if not place.path(INPUT).exists():
        raise HTTPException(422, f"the form has no file {INPUT!r}")
    return fields


def _save(upload: UploadFile, path: Path) -> None:
    with open(path, "wb") as file:
        shutil.copyfileobj(upload.file, file)


def _image(answer: ConvertedImage) -> Response:
    headers = {"x-notices": json.dumps(answer.notices)} if answer.notices else {}
    return Response(answer.data, media_type=MEDIA_TYPES[answer.format], headers={**ANSWER_HEADERS, **headers})


def _error(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": printable_lines(text)}, status, {**ANSWER_HEADERS, **(headers or {})})


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for it"
    return _error(error.status_code, error.detail, error.headers)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return _error(400, "the client has gone")  # which nobody reads


async def _on_error(request: Request, error: Exception) -> Response:
    print(f"error: {request.method} {request.url.path}: {failure_reason(error)}", file=sys.stderr, flush=True)  # noqa: T201
    return _error(500, "internal error; the server has printed it")


def make_app(interface: HttpInterface) -> Starlette:
    """Return the application of an interface."""
    paths: dict[str, tuple[str, Callable[[Request], Awaitable[Response]]]] = {
        "/convert": ("POST", interface.convert),
        "/models": ("GET", interface.describe),
        "/health": ("GET", interface.health),
        "/openapi.json": ("GET", interface.openapi),
    }
    return Starlette(
        routes=[Route(path, function, methods=[method]) for path, (method, function) in paths.items()],
        exception_handlers={HTTPException: _on_http_error, ClientDisconnect: _on_disconnect, Exception: _on_error},
    )
