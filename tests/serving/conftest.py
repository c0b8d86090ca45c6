"""Fixtures that the tests of servers share."""

import io
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from translate.conversion.options import ConversionOptions
from translate.serving.conversion_service import INPUT, STYLE, ConversionService, ConvertedImage
from translate.trained.translator import Translator

Ask = Callable[..., ConvertedImage]
Encode = Callable[..., bytes]


@pytest.fixture
def service() -> Iterator[ConversionService]:
    service = ConversionService(places=8)
    yield service
    service.close()


@pytest.fixture
def encode(draw: Callable[..., np.ndarray]) -> Encode:
    """Bytes of an image file of random pixels."""

    def make(fmt: str = "png", seed: int = 0, width: int = 12, height: int = 10, **options: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(draw(seed, width, height)).save(buffer, fmt, **options)
        return buffer.getvalue()

    return make


@pytest.fixture
def ask(service: ConversionService) -> Ask:
    """Answer of the service to one request."""

    def send(
        model: Translator, data: bytes, *, sample: int | None = None, style: bytes | None = None, **options: Any
    ) -> ConvertedImage:
        with service.request() as place:
            place.path(INPUT).write_bytes(data)
            if style is not None:
                place.path(STYLE).write_bytes(style)
            future: Future[ConvertedImage] = place.submit(model, ConversionOptions(**options), sample)
            return future.result(120)

    return send


@pytest.fixture
def converted(tmp_path: Path, convert: Callable[..., Any]) -> Callable[..., bytes]:
    """Bytes that the conversion of a folder writes for one file."""

    def make(model: Translator, name: str, data: bytes, **options: Any) -> bytes:
        folder, out = tmp_path / "files", tmp_path / "converted"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        assert not convert(folder / name, out, model, overwrite=True, **options).failures
        (written,) = [path for path in out.iterdir() if path.stem.startswith(Path(name).stem)]
        data = written.read_bytes()
        written.unlink()
        return data

    return make
