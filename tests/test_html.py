"""Pages of HTML: their frame, tables, and pairs with a slider."""

import re

from PIL import Image

from translate import html

from .pages import Page, assert_of_one_piece, policy

RED, BLUE = (html.data_uri(Image.new("RGB", (8, 8), colour), "WEBP") for colour in ("red", "blue"))


def test_a_page_is_of_one_piece_and_escapes_what_it_says(tmp_path):
    html.write_page(tmp_path / "page.html", "<title>", ["<p>", html.escape_text("<i> & \x1b"), "</p>"])
    page = Page(tmp_path / "page.html")
    assert policy(page)["default-src"] == ["'none'"]
    assert page.said("h1.") == ["<title>"]
    assert page.said("p.") == ["<i> & \\x1b"]
    assert "script" not in [tag for tag, _ in page.tags]
    assert "script-src" not in policy(page)


def test_the_best_row_of_a_table_is_marked_whichever_it_is():
    rows = [("", "L1"), ("model", "3"), ("copying", "2")]
    assert [row.count("best") for row in html.table(rows, best=1).split("<tr")[2:]] == [0, 1]
    assert "best" not in html.table(rows)
    assert html.table([]) == ""


def test_a_pair_has_both_pictures_a_slider_and_a_button(tmp_path):
    pair = html.slider_pair(RED, BLUE, '"x"', ("photo", "map"))
    html.write_page(tmp_path / "page.html", "t", [pair], style=html.PAIR_STYLE, script=html.PAIR_SCRIPT)
    page = Page(tmp_path / "page.html")
    assert_of_one_piece(page)
    assert page.values("img", "src") == [RED, BLUE]
    assert page.values("img", "alt") == ["photo", "map"]
    assert page.said("div.pair", "span.") == ["photo", "map"]
    assert page.values("input", "aria-label") == ['photo and map: "x"']
    assert page.values("button", "aria-label") == ['enlarge: "x"']


def test_tiles_are_square_and_small_pictures_fill_them():
    assert re.search(r"\.pair \{[^}]*aspect-ratio: 1;", html.PAIR_STYLE)
    assert re.search(r"\.pair img \{[^}]*object-fit: contain;", html.PAIR_STYLE)
