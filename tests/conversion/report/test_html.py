"""The frame of all pages."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from translate.conversion.options import ConversionResult
from translate.conversion.report.html import PageSection, write_comparison_page

from .pages import Page, assert_of_one_piece, policy

Draw = Callable[..., np.ndarray]
Convert = Callable[..., ConversionResult]
Build = Callable[..., Path]


def test_the_demos_page_has_the_same_frame(tmp_path: Path, draw: Draw) -> None:
    pictures = {"before": [draw(0), draw(1)], "<after>": [draw(2), draw(3)]}
    section = PageSection("a & b", "<i>", [("metric", "value"), ("L1", "3")], pictures)
    write_comparison_page(tmp_path / "page.html", "<title>", "in'tro", [section], ["translate <x>", "second"])
    page = Page(tmp_path / "page.html")
    assert_of_one_piece(page)
    assert "script" not in [tag for tag, _ in page.tags]
    assert "script-src" not in policy(page)
    assert page.said("h1.") == ["<title>"]
    assert page.said("h2.") == ["a & b", "What to type next"]
    assert page.said("figcaption.") == ["before", "<after>"] * 2
    assert page.said("pre.") == ["translate <x>\nsecond"]
    first = Image.open(io.BytesIO(base64.b64decode(page.values("img", "src")[1].split(",")[1])))
    assert np.array_equal(first, draw(2))
