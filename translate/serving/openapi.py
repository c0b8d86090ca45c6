"""Description of the HTTP interface by OpenAPI 3.1, from the declarations of the options."""

from collections.abc import Sequence
from dataclasses import Field
from typing import Any

from translate.serving.conversion_service import INPUT, INSTANCES, STYLE
from translate.serving.media_types import MEDIA_TYPES
from translate.serving.request_options import FIELDS, HINTS
from translate.serving.serving_options import LimitOptions
from translate.version import __version__

BINARY = {"type": "string", "contentMediaType": "application/octet-stream"}

ERRORS = {
    400: "The form is broken.",
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another address.",
    406: "No format that can be written is accepted.",
    408: "The request has not arrived in time.",
    413: "The request is too large.",
    415: "The content is no image of a known format.",
    422: "A parameter is not possible, or the image cannot be converted.",
    500: "The model's output holds no numbers, or the server has a fault.",
    503: "The queue is full; Retry-After says when to try again.",
    504: "There is no answer within the time limit.",
    507: "The image does not fit into memory.",
}
"""Status → reason of a refusal."""


def describe_interface(models: Sequence[str], limits: LimitOptions) -> dict[str, Any]:
    """Return the OpenAPI document of a server with these models."""
    images = {media: {"schema": BINARY} for media in MEDIA_TYPES.values()}
    form = {
        "type": "object",
        "required": [INPUT],
        "properties": dict.fromkeys((INPUT, STYLE, INSTANCES), BINARY),
        "additionalProperties": {"type": "string"},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "image-translate", "version": __version__, "description": "Images through trained models."},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
            },
        },
        "security": [{}, {"token": []}],
        "paths": {
            "/convert": {
                "post": {
                    "operationId": "convert",
                    "summary": "Convert an image",
                    "description": f"The answer has the bytes that `translate convert` writes. At most {limits.max_upload} MiB "
                    f"and {limits.max_pixels} pixels.",
                    "parameters": [_parameter(name, f, models) for name, f in FIELDS.items()],
                    "requestBody": {
                        "required": True,
                        "description": "An image, or a form with the file image; style is an example image, instances the "
                        "instance map of a label map. Parameters may be fields of the form.",
                        "content": {
                            "image/*": {"schema": BINARY},
                            "application/octet-stream": {"schema": BINARY},
                            "multipart/form-data": {"schema": form},
                        },
                    },
                    "responses": {
                        "200": {
                            "description": "The converted image; X-Notices is a JSON list of what it lost.",
                            "content": images,
                        },
                        **{str(status): _error(reason) for status, reason in ERRORS.items()},
                    },
                }
            },
            "/models": {"get": _reading("models", "Models with their target domains and abilities")},
            "/health": {"get": _reading("health", "Whether the server is alive, and the places of its queue")},
        },
    }


def _parameter(name: str, f: Field[Any], models: Sequence[str]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if HINTS[name] is bool:
        schema["enum"] = ["on", "off"]
    elif int in getattr(HINTS[name], "__args__", (HINTS[name],)):
        schema["type"] = "integer"
    choices = models if name == "model" else f.metadata["choices"]
    if choices:
        schema["enum"] = list(choices)
    if f.metadata["low"] is not None:
        schema["minimum"] = f.metadata["low"]
    if f.default is not None:
        schema["default"] = {True: "on", False: "off"}[f.default] if isinstance(f.default, bool) else f.default
    return {"name": name, "in": "query", "description": f.metadata["help"], "schema": schema}


def _reading(name: str, summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {"operationId": name, "summary": summary, "responses": {"200": {"description": summary, "content": content}}}


def _error(reason: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": reason, "content": content}
