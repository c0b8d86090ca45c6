"""The report of a conversion: complete, of one piece, harmless whatever files are called, and usable in a real browser."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import tracemalloc
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest

from translate import atomic
from translate.conversion.inputs import WHOLE, Listing
from translate.conversion.item import ItemConverter
from translate.conversion.manifest import MANIFEST_NAME, Manifest
from translate.conversion.options import ConversionOptions, ConversionResult
from translate.conversion.report import conversion_page
from translate.errors import StorageError, UsageError
from translate.text import printable
from translate.trained.translator import Translator

from ...pages import Page, assert_of_one_piece, policy, save

Build = Callable[..., Path]
Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]


HOSTILE = [
    b"<script>alert(1)<|script>.png", b"\"><img src=x onerror=alert(1)>.png", b"' onmouseover='alert(1).png", b"&amp;.png",
    b"<%2Fbdi>.png", b"\x1b[31mred.png", b"two\nlines.png", b"tab\there.png", b"abc\xe2\x80\xaegnp.exe.png",
    b"\xff\xfe.png", "猫 ö.png".encode(), b"#a?b=c%20d;e:f.png", b"plain.png",
]  # fmt: skip
"""Names of files that would end a tag or an attribute, steer a terminal, turn the reading direction, or are no text."""


@pytest.fixture
def hostile(tmp_path: Path, draw: Draw) -> Path:
    for seed, name in enumerate(HOSTILE):
        save(tmp_path / "in", name, draw(seed))
    return tmp_path / "in"


@pytest.fixture
def made(cyclegan: Translator, tmp_path: Path, draw: Draw) -> Callable[..., Path]:
    """A page of so many images that are done by the journal's word; the pictures are all the same."""

    def make(count: int) -> Path:
        converter = ItemConverter(cyclegan, tmp_path / "in", tmp_path / "out", ConversionOptions())
        line = {"status": "done", "model": cyclegan.sha256, "settings": converter.settings}
        names = tuple(f"{n:03}.png" for n in range(count))
        for folder in (converter.root, converter.output):
            for name in names:
                save(folder, name, draw(0, 4, 4))
        Manifest(converter.output, "", {}).add({**line, "input": name, "output": name} for name in names)
        return conversion_page.write_conversion_page(
            converter, Listing(converter.root, names), WHOLE, ConversionResult(converter.output, done=count, seconds=8)
        )

    return make


# What it shows.


def test_it_shows_what_was_done(
    convert: Convert, cyclegan: Translator, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cyclegan, "name", "my <model>")
    (source / "note.txt").write_text("no image")
    (source / "bad.png").write_text("no image")
    result = convert(source, tmp_path / "out", report=True, format="jpg")
    assert result.report == tmp_path / "out" / "report.html"
    page = Page(result.report)
    assert page.shown == ["1.png", "2.jpg", "5.JPG", "deep/4.tif", "deep/er/3.webp"]
    assert page.values("a", "href") == ["1.jpg", "2.jpg", "5.jpg", "deep/4.jpg", "deep/er/3.jpg"]
    assert page.named("section.failures") == ["bad.png"]
    assert page.said("span.reason") == ["not an image"]
    counts = page.counts()
    assert (counts["converted"], counts["done before"], counts["failed"], counts["other files"]) == ("5", "0", "1", "1")
    assert {"time", "speed"} < counts.keys()
    assert page.said("h1.") == ["Converted by my <model>"]
    assert page.said("p.intro")[0].startswith(f"{source}: a → b by cyclegan on nothing, 2")
    sizes = [conversion_page._bytes(path) for path in (source / "1.png", tmp_path / "out" / "1.jpg")]
    assert page.said("small.")[0] == "11 × 9 · {} → {}".format(*sizes)
    assert [picture.size for picture in page.pictures()[::2]] == [(11, 9), (14, 10), (23, 13), (20, 12), (17, 11)]


def test_before_and_after_are_the_files(convert: Convert, cyclegan: Translator, tmp_path: Path) -> None:
    """Plain colours outlive the preview's compression."""
    colours = {"in": (200, 30, 90), "out": (10, 160, 220)}
    save(tmp_path / "in", "x.png", np.full((40, 60, 3), colours["in"], np.uint8))
    convert(tmp_path / "in", tmp_path / "out")
    save(tmp_path / "out", "x.png", np.full((40, 60, 3), colours["out"], np.uint8))
    converter = ItemConverter(cyclegan, tmp_path / "in", tmp_path / "out", ConversionOptions())
    page = Page(
        conversion_page.write_conversion_page(
            converter, Listing(converter.root, ("x.png",)), WHOLE, ConversionResult(converter.output)
        )
    )
    assert page.values("img", "class") == ["before", "after"]
    for picture, colour in zip(page.pictures(), colours.values(), strict=True):
        assert np.abs(np.asarray(picture.convert("RGB"), int) - colour).max() <= 4


def test_failures_stand_first_and_all_of_them(convert: Convert, source: Path, tmp_path: Path) -> None:
    for n in range(25):
        (source / f"bad{n:02}.png").write_text("no image")
    path = convert(source, tmp_path / "out", report=True).report
    assert path is not None
    page = Page(path)
    bad = [f"bad{n:02}.png" for n in range(25)]
    assert page.named("section.failures") == bad
    assert page.named("section.failures", "details.") == bad[20:]
    assert page.said("summary.")[-1] == "5 more"
    assert page.named()[:25] == bad


def test_notices_are_counted_by_kind(convert: Convert, tmp_path: Path, draw: Draw) -> None:
    for n in range(3):
        save(tmp_path / "in", f"{n}.png", draw(n, channels=4 if n else 3))
    path = convert(tmp_path / "in", tmp_path / "out", report=True, format="jpg").report
    assert path is not None
    assert Page(path).said("section.notices", "td.") == ["jpg holds no transparency, so it is on white", "2"]


def test_two_hundred_of_three_hundred_evenly(made: Callable[..., Path]) -> None:
    page = Page(made(300))
    assert page.shown == [f"{3 * n // 2:03}.png" for n in range(200)]
    assert "200 of 300 shown, evenly spaced." in page.said("p.intro")
    assert page.counts()["speed"] == "38/s"  # 300 in 8 seconds


def test_few_are_all_shown(made: Callable[..., Path]) -> None:
    page = Page(made(2))
    assert page.shown == ["000.png", "001.png"]
    assert "All 2 shown." in page.said("p.intro")


def test_it_shows_what_earlier_runs_did(convert: Convert, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, second, third = (convert(source, out, report=True, limit=limit) for limit in (2, None, None))
    assert [result.done for result in (first, second, third)] == [2, 3, 0]
    assert first.report == second.report == third.report == out / "report.html"
    page = Page(out / "report.html")
    assert len(page.shown) == 5
    assert (page.counts()["converted"], page.counts()["done before"]) == ("0", "5")
    assert not {"time", "speed"} & page.counts().keys()


def test_it_is_made_afterwards_without_making_anything_anew(convert: Convert, source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "out").report is None
    assert not (tmp_path / "out" / "report.html").exists()
    result = convert(source, tmp_path / "out", report=True)
    assert (result.done, result.skipped) == (0, 5)
    assert len(Page(tmp_path / "out" / "report.html").shown) == 5


def test_what_another_model_or_other_settings_made_is_not_shown(convert: Convert, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", to="a")
    convert(source, tmp_path / "out", report=True, limit=2)
    page = Page(tmp_path / "out" / "report.html")
    assert page.shown == ["1.png", "2.jpg"]
    assert page.counts()["done before"] == "0"


def test_parts_report_what_all_of_them_did(convert: Convert, source: Path, tmp_path: Path) -> None:
    done = [convert(source, tmp_path / "out", shard=f"{n}/2", report=True).done for n in range(2)]
    page = Page(tmp_path / "out" / "report.html")
    assert len(page.shown) == sum(done) == 5
    assert (page.counts()["converted"], page.counts()["done before"]) == (str(done[1]), str(done[0]))
    assert "Part 1 of 2" in page.said("p.intro")[0]


def test_a_folder_that_cannot_be_listed_is_a_failure(cyclegan: Translator, tmp_path: Path) -> None:
    converter = ItemConverter(cyclegan, tmp_path, tmp_path / "out", ConversionOptions())
    result = ConversionResult(converter.output, failures={"locked": "Permission denied"})
    page = Page(conversion_page.write_conversion_page(converter, Listing(tmp_path, ()), WHOLE, result))
    assert page.named("section.failures") == ["locked"]
    assert page.said("h2.") == ["1 failed"]  # and no gallery of nothing


# Names.


def test_names_do_no_harm(convert: Convert, hostile: Path, tmp_path: Path) -> None:
    path = convert(hostile, tmp_path / "out", report=True).report
    assert path is not None
    page = Page(path)
    assert len(set(page.shown)) == len(HOSTILE)
    assert set(page.shown) == {printable(os.fsdecode(name)) for name in HOSTILE}
    assert all(name.isprintable() for name in page.shown)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [name for _, values in page.tags for name in values if name.startswith("on")]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", page.html)


def test_failed_names_and_reasons_do_no_harm(cyclegan: Translator, tmp_path: Path) -> None:
    failures = {os.fsdecode(name): os.fsdecode(name) for name in HOSTILE}
    converter = ItemConverter(cyclegan, tmp_path, tmp_path / "out", ConversionOptions())
    page = Page(
        conversion_page.write_conversion_page(
            converter, Listing(tmp_path, ()), WHOLE, ConversionResult(converter.output, failures=failures)
        )
    )
    told = {printable(name) for name in failures}
    assert set(page.named("section.failures")) == set(page.said("span.reason")) == told
    assert [tag for tag, _ in page.tags].count("script") == 1


def test_links_lead_to_the_outputs(convert: Convert, hostile: Path, tmp_path: Path) -> None:
    path = convert(hostile, tmp_path / "out", report=True).report
    assert path is not None
    links = Page(path).values("a", "href")
    assert all(re.fullmatch(r"[\w.~%/-]+", link, flags=re.ASCII) for link in links)
    assert {unquote_to_bytes(link) for link in links} == set(os.listdir(os.fsencode(tmp_path / "out"))) - {
        b"report.html",
        MANIFEST_NAME.encode(),
    }


# One piece.


def test_nothing_is_asked_from_elsewhere(convert: Convert, source: Path, tmp_path: Path) -> None:
    path = convert(source, tmp_path / "out", report=True).report
    assert path is not None
    page = Page(path)
    assert_of_one_piece(page)
    assert len(page.values("img", "src")) == 10
    for tag, values in page.tags:
        if tag == "img":
            assert (values["loading"], values["decoding"]) == ("lazy", "async")
    (script,) = page.said("script.")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy(page)["script-src"] == [f"'sha256-{digest}'"]


# How it is written.


def test_memory_does_not_grow_with_the_page(made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """200 images of two previews of 100 kB each, where no more than one is held at a time."""
    monkeypatch.setattr(
        conversion_page, "_preview", lambda *_: conversion_page._Preview("data:," + "x" * 100_000, 4, 4)
    )
    made(1)  # whatever is loaded by the first page
    tracemalloc.start()
    try:
        path = made(200)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 40_000_000
    assert peak < 10_000_000


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_page_that_is_not_finished_leaves_the_one_that_was(
    made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    path = made(2)
    before = path.read_bytes()

    def fail(*_: Any) -> str:
        raise error

    monkeypatch.setattr(conversion_page, "_row", fail)
    with pytest.raises(StorageError if error is OSError else error):
        made(3)
    assert path.read_bytes() == before
    assert not [name for name in os.listdir(path.parent) if name.startswith(atomic.TEMPORARY_PREFIX)]


def test_a_page_that_cannot_have_its_name(convert: Convert, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "report.html").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be written"):
        convert(source, tmp_path / "out", report=True)


def test_where_no_page_can_be(convert: Convert, source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--report"):
        convert(source / "1.png", tmp_path / "x.png", report=True)
    with pytest.raises(UsageError, match="merge first"):
        ConversionOptions(merge=True, report=True)
    assert convert(source, tmp_path / "out", report=True, dry_run=True).report is None
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "x.png").exists()


# In a browser.

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

PROBE = """
addEventListener("load", () => {
  const found = {widths: [...document.images].map(picture => picture.naturalWidth)};
  found.scroll = document.documentElement.scrollWidth;
  found.window = innerWidth;
  const range = document.querySelector("input[type=range]"), pair = range.parentElement;
  const cut = () => getComputedStyle(pair.querySelector(".after")).clipPath;
  found.cuts = [cut()];
  for (const value of [0, 20, 100]) {
    range.value = value;
    range.dispatchEvent(new Event("input", {bubbles: true}));
    found.cuts.push(cut());
  }
  range.focus();
  found.focused = document.activeElement === range;
  range.scrollIntoView();
  const box = pair.getBoundingClientRect();
  found.atTheEdges = [1, box.width / 2, box.width - 1].map(
    x => document.elementFromPoint(box.left + x, box.top + box.height / 2) === range);
  found.names = [...document.querySelectorAll("article .name")].map(name => name.textContent);
  found.links = [...document.querySelectorAll("article a")].map(link => link.href);
  parent.postMessage(JSON.stringify(found), "*");
});
"""

FRAME = """<!doctype html>
<script>addEventListener("message", event => { document.documentElement.dataset.found = event.data; });</script>
<iframe src="probed.html" width="WIDTH" height="800" style="border: 0"></iframe>
"""


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Opens a copy of a page in a browser, with a script that looks at it; what that found. There must be no complaint.

    The page is in a frame, since a browser's own window cannot be as narrow as a phone.
    """
    if CHROMIUM is None:
        pytest.skip("needs Chromium")

    def run(path: Path, width: int) -> dict[str, Any]:
        digest = base64.b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
        html = path.read_text(encoding="utf-8").replace("script-src ", f"script-src 'sha256-{digest}' ")
        html = html.replace("</main>", f"</main><script>{PROBE}</script>").replace('loading="lazy"', 'loading="eager"')
        path.with_name("probed.html").write_text(html, encoding="utf-8")
        outer = path.with_name("outer.html")
        outer.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
        done = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--hide-scrollbars",
             f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,900", "--virtual-time-budget=5000",
             "--dump-dom", outer.as_uri()],
            capture_output=True, text=True, timeout=600, check=True,
        )  # fmt: skip
        assert ":CONSOLE" not in done.stderr
        found = re.search('data-found="([^"]*)"', done.stdout)
        assert found is not None
        return json.loads(unescape(found[1]))

    return run


@pytest.mark.parametrize("width", [1200, 390])
def test_in_a_browser(
    browse: Callable[..., dict[str, Any]], convert: Convert, hostile: Path, tmp_path: Path, draw: Draw, width: int
) -> None:
    save(hostile, "long" * 60 + ".png", draw(1, 200, 20))
    (hostile / ("bad" * 80 + ".png")).write_text("no image")
    path = convert(hostile, tmp_path / "out", report=True).report
    assert path is not None
    found = browse(path, width)
    assert found["window"] == width
    assert found["scroll"] <= width
    assert len(found["widths"]) == 2 * (len(HOSTILE) + 1)
    assert min(found["widths"]) >= 12
    assert found["cuts"] == [f"inset(0px 0px 0px {cut})" for cut in ("50%", "0%", "20%", "100%")]
    assert found["focused"]
    assert found["atTheEdges"] == [True, True, True]
    assert set(found["names"]) == set(Page(path).shown)
    opened = {unquote_to_bytes(link.removeprefix("file://")) for link in found["links"]}
    assert all(Path(os.fsdecode(link)).is_file() for link in opened)
    assert len(opened) == len(HOSTILE) + 1
