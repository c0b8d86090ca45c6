"""The controls of the page in a real browser: what they do is what the flags of `convert` do, and keys alone reach them."""

import gc
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from translate.trained import translator

from .browser import DOWN, ENTER, TAB, Browser
from .running_page import RunningPage, offered_files, wait_for_upload

pytest.importorskip("gradio")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # gradio leaves event loops open


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, cyclegan_folder: Path, build: Any) -> list[Path]:
    """A model with two directions and a card, and one with noise and styles."""
    place = tmp_path_factory.mktemp("models")
    shutil.copytree(cyclegan_folder, place / "two-ways")
    (place / "two-ways" / "README.md").write_text("# two-ways\n\nTurns noise to noise.\n\n## Limits\n\nIt is a toy.\n")
    (place / "styles").mkdir()
    return [place / "two-ways", build("bicyclegan", folder=place / "styles")]


@pytest.fixture(scope="module")
def page(models: list[Path]) -> Iterator[RunningPage]:
    running = RunningPage([str(model) for model in models])
    yield running
    running.end()
    gc.collect()


@pytest.fixture
def browser(tmp_path: Path, page: RunningPage) -> Iterator[Browser]:
    browser = Browser(tmp_path)
    browser.open(page.url)
    browser.wait(lambda: "Turns noise to noise." in browser.text("#about"), "the description")
    yield browser
    browser.close()


@pytest.fixture
def photo(tmp_path: Path, draw: Callable[..., Any]) -> Path:
    Image.fromarray(draw(0, 64, 64)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def results(browser: Browser, count: int) -> dict[str, bytes]:
    """Name → content of the files that the page offers once it is done."""
    browser.wait(lambda: f"{count} of {count} translated" in browser.text("#status"), "the results")
    browser.wait(lambda: browser.run("return document.querySelectorAll('#outputs a').length") == count, "the files")
    return offered_files(browser)


def converted(model: Path, photo: Path, out: Path, convert: Any, **options: Any) -> dict[str, bytes]:
    convert(photo.parent / photo.name, out, translator.load(model, device="cpu"), **options)
    return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".jsonl"}


def open_part(browser: Browser, name: str) -> None:
    browser.run("[...document.querySelectorAll('button')].find(b => b.innerText.includes(arguments[0])).click()", name)


def test_the_direction_is_that_of_convert_and_the_card_is_shown(
    browser: Browser, photo: Path, models: list[Path], tmp_path: Path, convert: Any
) -> None:
    open_part(browser, "About this model")
    browser.wait(lambda: "It is a toy." in browser.text("#card"), "the card")
    browser.type("#files input[type=file]", str(photo))
    wait_for_upload(browser, "photo")
    browser.click("#direction label:nth-of-type(2)")
    browser.click("#run")
    made = results(browser, 1)
    assert made == converted(models[0], photo, tmp_path / "out", convert, to="a")
    assert made != converted(models[0], photo, tmp_path / "other", convert, to="b")


def test_seed_samples_and_style_are_those_of_convert(
    browser: Browser, photo: Path, models: list[Path], tmp_path: Path, convert: Any, draw: Callable[..., Any]
) -> None:
    assert not browser.run("return document.querySelector('#seed input, #samples input, #style') !== null")
    choose_second_model(browser)
    browser.find("#style input[type=file]")
    browser.type("#files input[type=file]", str(photo))
    wait_for_upload(browser, "photo")
    open_part(browser, "More options")
    browser.fill("#seed input", "3")
    browser.fill("#samples input[type=number]", "2")
    browser.press(TAB)
    browser.click("#run")
    made = results(browser, 2)
    assert made == converted(models[1], photo, tmp_path / "out", convert, seed=3, samples=2)
    assert len(set(made.values())) == 2

    Image.fromarray(draw(5, 64, 64)).save(tmp_path / "example.png")
    browser.type("#style input[type=file]", str(tmp_path / "example.png"))
    browser.wait(lambda: "example" in browser.text("#style"), "the style")
    browser.fill("#samples input[type=number]", "1")
    browser.press(TAB)
    browser.click("#run")
    style = tmp_path / "example.png"
    assert results(browser, 1) == converted(models[1], photo, tmp_path / "styled", convert, seed=3, style=style)


def choose_second_model(browser: Browser) -> None:
    """By the keys of a list, as those do who cannot point: one key opens it in some versions of gradio, and moves in others."""
    value = "return document.querySelector('#model input').value"
    for presses in (1, 2):
        browser.run("document.activeElement.blur(); document.querySelector('#model input').focus()")
        for _ in range(presses):
            browser.press(DOWN)
        browser.press(ENTER)
        if "styles" in browser.run(value):
            break
    browser.wait(lambda: "bicyclegan" in browser.text("#about"), f"the other model, not {browser.run(value)}")


ACTIVE = """
const element = document.activeElement;
return [element.closest("[id]:not([id^=component])")?.id, element.getAttribute("aria-label") ?? element.innerText];
"""


def test_keys_alone_reach_all_controls_in_the_order_of_the_page(browser: Browser, photo: Path) -> None:
    browser.type("#files input[type=file]", str(photo))  # the system's dialog is not of the page
    wait_for_upload(browser, "photo")
    browser.run("document.body.tabIndex = -1; document.body.focus()")
    names: list[str] = []
    while not names or names[-1] != "Translate":
        browser.press(TAB)
        place, name = browser.run(ACTIVE)
        names.append(" ".join(name.split()))
        assert len(names) < 20, names
    order = ["1. Model", "About this model", "add files", "Clear", "download photo.png", "More options", "Translate"]
    places = [next(n for n, name in enumerate(names) if name.startswith(word)) for word in order]
    assert places == sorted(places), names
    assert place == "run"
    browser.press(ENTER)
    results(browser, 1)


CONTRASTS = """
function parse(text) { return text.match(/[\\d.]+/g).map(Number); }
function ground(element) {
  for (let at = element; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return parse(getComputedStyle(document.documentElement).backgroundColor);
}
function luminance(colour) {
  const [r, g, b] = colour.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const found = {};
for (const selector of arguments) for (const element of document.querySelectorAll(selector)) {
  const [low, high] = [luminance(parse(getComputedStyle(element).color)), luminance(ground(element))].sort((a, b) => a - b);
  found[selector] = Math.min(found[selector] ?? 99, (high + 0.05) / (low + 0.05));
}
return found;
"""
"""Smallest contrast of the elements of each selector, by the formula of WCAG 2.2 (relative luminance)."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_have_the_contrast_that_wcag_asks_for(
    theme: str, browser: Browser, page: RunningPage, photo: Path
) -> None:
    browser.open(f"{page.url}/?__theme={theme}")
    browser.find("#run")
    browser.drop("#files button", [photo.with_suffix(".txt"), photo])
    wait_for_upload(browser, "photo")
    selectors = ["#run", "#model label span, #model span", "#files label", "#files a", "#about p", "#files td"]
    contrasts = browser.run(CONTRASTS, *selectors)
    assert set(contrasts) == set(selectors)
    assert min(contrasts.values()) >= 4.5, json.dumps(contrasts)
