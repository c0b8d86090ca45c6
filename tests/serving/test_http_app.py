"""The HTTP interface: statuses, messages and headers. Bytes of answers are those of `convert`."""

import json
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from translate.serving.conversion_service import ConversionService
from translate.serving.openapi import ERRORS
from translate.serving.serving_options import MIB, ServeOptions
from translate.trained.translator import Translator

from .conftest import Encode

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from starlette.testclient import TestClient

from translate.serving.http_app import HttpInterface, make_app

Client = Callable[..., TestClient]


@pytest.fixture
def client(service: ConversionService, cyclegan: Translator, pix2pix: Translator) -> Client:
    """Client of the service, with one model or two and limits by keyword."""

    def make(*, two: bool = False, own: ConversionService | None = None, **limits: Any) -> TestClient:
        models = {"cyclegan": cyclegan, **({"pix2pix": pix2pix} if two else {})}
        app = make_app(HttpInterface(own or service, models, ServeOptions(**limits)))
        return TestClient(app, raise_server_exceptions=False)

    return make


def post(client: TestClient, data: bytes, path: str = "/convert", kind: str = "image/png", **headers: str) -> Any:
    return client.post(path, content=data, headers={"content-type": kind, **headers})


def test_an_image_gives_the_file_of_convert(
    client: Client, encode: Encode, converted: Callable[..., bytes], cyclegan: Translator
) -> None:
    data = encode("JPEG")
    answer = post(client(), data, kind="image/jpeg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.content == converted(cyclegan, "photo.jpg", data)
    form = client().post("/convert", files={"image": ("../../x.exe", data)}, data={"to": "a", "seed": "1"})
    assert form.content == converted(cyclegan, "photo.jpg", data, to="a", seed=1)


def test_the_format_is_that_of_the_parameter_the_header_or_the_input(client: Client, encode: Encode) -> None:
    data, to = encode("WEBP"), client()
    assert post(to, data).headers["content-type"] == "image/webp"
    assert post(to, data, accept="image/png;q=0.2, image/jpeg").headers["content-type"] == "image/jpeg"
    assert post(to, data, "/convert?format=tiff", accept="image/png").headers["content-type"] == "image/tiff"
    assert post(to, data, accept="text/html").status_code == 406
    assert post(to, encode("BMP")).headers["content-type"] == "image/png"
    assert json.loads(post(to, encode("BMP")).headers["x-notices"]) == ["bmp is written as png"]


@pytest.mark.parametrize(
    ("path", "kind", "data", "status", "text"),
    [
        ("/convert", "image/png", b"", 415, "image is empty"),
        ("/convert", "image/png", b"<svg/>", 415, "no image of a known format"),
        ("/convert", "text/html", None, 415, "content type text/html"),
        ("/convert?to=winter", "image/png", None, 422, "winter"),
        ("/convert?quality=0", "image/png", None, 422, "--quality 0"),
        ("/convert?sample=1", "image/png", None, 422, "--samples"),
        ("/convert?tile=1", "image/png", None, 422, "tile: unknown parameter"),
        ("/convert?model=other", "image/png", None, 422, "model other: possible: cyclegan"),
        ("/convert", "multipart/form-data", None, 400, "boundary"),
    ],
)
def test_what_cannot_be_converted_is_said(
    path: str, kind: str, data: bytes | None, status: int, text: str, client: Client, encode: Encode
) -> None:
    answer = post(client(), encode() if data is None else data, path, kind)
    assert answer.status_code == status
    assert text in answer.json()["error"]


@pytest.mark.parametrize("name", ["", "x", "image/../style"])
def test_forms_have_files_of_known_names(name: str, client: Client, encode: Encode) -> None:
    answer = client().post("/convert", files=[("image", ("a.png", encode())), (name, ("b.png", encode()))])
    assert answer.status_code == 422
    assert client().post("/convert", data={"to": "b"}, files={"style": encode()}).status_code == 422
    assert client().post("/convert", files=[("image", encode()), ("image", encode())]).status_code == 422


def test_truncated_files_are_refused_as_by_the_command_line(client: Client, encode: Encode) -> None:
    for kind, start in (("PNG", 60), ("WEBP", 40), ("TIFF", 200)):
        answer = post(client(), encode(kind)[:start])
        assert answer.status_code == 422, kind
        assert "/" not in answer.json()["error"].replace("×", ""), kind


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes whose header says that it is huge."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1 << 20))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_decompression_bombs_are_refused_by_their_header(client: Client) -> None:
    answer = post(client(), bomb(60_000, 60_000))
    assert answer.status_code == 422
    assert "60000×60000 is more than" in answer.json()["error"] or "raise --max-pixels" in answer.json()["error"]
    assert post(client(max_pixels=99), bomb(10, 10)).json()["error"].startswith("10×10 is more than 99 pixels")


def test_a_request_over_the_limit_is_refused_whether_or_not_it_says_its_length(client: Client, encode: Encode) -> None:
    to, data = client(max_upload=1), bytes(MIB + 1)
    assert post(to, data).status_code == 413
    assert post(to, data).json()["error"] == "the request is more than 1 MiB, the limit of this server"
    assert to.post("/convert", files={"image": data}).status_code == 413
    chunked: Iterator[bytes] = iter([data[: MIB // 2]] * 3)
    assert to.post("/convert", content=chunked, headers={"content-type": "image/png"}).status_code == 413
    assert post(to, encode()).status_code == 200


def test_a_full_queue_is_said_before_the_body_is_read(client: Client, encode: Encode) -> None:
    own = ConversionService(places=1)
    with own.request():
        answer = post(client(own=own), encode())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert post(client(own=own), encode()).status_code == 200
    own.close()


def test_no_answer_in_time_is_said_and_the_server_goes_on(
    client: Client, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(
            ConversionService,
            "_translate",
            lambda service, batch: release.wait(120) and service._fail(batch[0], OSError()),
        )
        answer = post(client(timeout=0.3), encode())
        assert (answer.status_code, answer.json()["error"]) == (504, "no answer within 0.3 s, the limit of this server")
        release.set()
    assert post(client(), encode()).status_code == 200


def test_a_model_is_chosen_by_its_name(client: Client, encode: Encode) -> None:
    to = client(two=True)
    data = encode(width=64, height=64)
    assert "possible: cyclegan, pix2pix" in post(to, data).json()["error"]
    answers = [post(to, data, f"/convert?model={name}").content for name in ("cyclegan", "pix2pix")]
    assert answers[0] != answers[1]
    listed = {row["name"]: row for row in to.get("/models").json()["models"]}
    assert list(listed["cyclegan"]["targets"]) == ["b", "a"]
    assert listed["pix2pix"]["targets"]["b"]["samples"]  # dropout
    assert not listed["cyclegan"]["targets"]["b"]["samples"]


def test_health_and_unknown_paths(client: Client) -> None:
    to = client()
    assert to.get("/health").json() == {"status": "ok", "taken": 0, "places": 8}
    assert to.get("/convert").status_code == 405
    assert to.get("/../etc/passwd").json() == {"error": "Not Found"}


def test_the_description_is_valid_and_names_all_that_can_be_asked(client: Client) -> None:
    models = pytest.importorskip("fastapi.openapi.models")
    document = client(two=True).get("/openapi.json").json()
    models.OpenAPI.model_validate(document)
    operation = document["paths"]["/convert"]["post"]
    parameters = {parameter["name"]: parameter["schema"] for parameter in operation["parameters"]}
    assert parameters["model"]["enum"] == ["cyclegan", "pix2pix"]
    assert parameters["seed"] == {"type": "integer", "default": 0}
    assert parameters["mark"] == {"type": "string", "enum": ["on", "off"], "default": "on"}
    assert parameters["quality"]["type"] == "integer"
    assert set(operation["responses"]) == {"200", *map(str, ERRORS)}
