"""Rendering of SVG drawings by resvg, from the wheel that a card names."""

import importlib
import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from translate import atomic
from translate.errors import DataError

RESVG = "resvg-py"
"""Package that renders; its wheels differ by platform."""

SvgRenderer = Callable[[str, int], Image.Image]
"""Function of an SVG text and the side in pixels of the image that it returns, RGBA."""


def load_renderer(wheel: Path) -> SvgRenderer:
    """Load the resvg of a wheel, whatever version is installed; DataError where this machine cannot run it."""
    folder = wheel.parent / "unpacked"
    with atomic.storage_errors(folder), zipfile.ZipFile(wheel) as opened:
        opened.extractall(folder)
    sys.path.insert(0, str(folder))
    try:
        resvg = importlib.import_module("resvg_py")
    except ImportError as e:
        raise DataError(f"{wheel.name}: cannot be used on this machine: {e}") from None
    finally:
        sys.path.remove(str(folder))

    def render(svg: str, size: int) -> Image.Image:
        png = bytes(resvg.svg_to_bytes(svg_string=svg, width=size, height=size))
        return Image.open(io.BytesIO(png), formats=["PNG"])

    return render


def on_white(image: Image.Image) -> Image.Image:
    """Convert to RGB, with transparency composited on white."""
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")
