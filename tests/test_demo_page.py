"""The page of the demo."""

import numpy as np
import pytest

from translate.demo_page import TILE, PageSection, write_demo_page

from .pages import Page, assert_of_one_piece


@pytest.fixture
def page(tmp_path):
    flat = lambda value: [np.full((64, 64, 3), value + n, np.uint8) for n in (0, 9)]  # noqa: E731
    table = [("images", "L1"), ("<ours>", "3.0"), ("shipped", "2.0"), ("copying", "4.0")]
    section = PageSection(
        "a & b", "<i>", {"card": "x%20y.md"}, table, 1, ("photo", flat(0)), {"<ours>": flat(50), "shipped": flat(100)},
        ("truth", flat(150)),
    )  # fmt: skip
    write_demo_page(tmp_path / "page.html", "<title>", "in'tro", [section], ["translate <x>", "second"])
    return Page(tmp_path / "page.html")


def test_it_says_what_it_was_given(page):
    assert_of_one_piece(page)
    assert page.said("h1.") == ["<title>"]
    assert page.said("h2.") == ["a & b", "What to type next"]
    assert page.said("pre.") == ["translate <x>\nsecond"]
    assert page.values("a", "href") == ["x%20y.md"]
    assert page.said("tr.best") == ["shipped", "2.0"]


def test_each_row_has_input_outputs_and_truth_at_256_pixels(page):
    assert page.said("figcaption.") == ["photo", "<ours>", "shipped", "truth"] * 2
    pictures = page.pictures()
    assert {picture.size for picture in pictures} == {(TILE, TILE)}
    values = [picture.convert("RGB").getpixel((128, 128))[0] for picture in pictures[:6]]
    assert np.allclose(values, [0, 0, 50, 0, 100, 150], atol=3)  # the input again below each output
