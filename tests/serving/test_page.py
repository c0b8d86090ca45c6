"""The page in a real browser."""

import gc
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from translate import images
from translate.errors import Interrupted
from translate.trained import translator

from .browser import RIGHT, Browser
from .running_page import RunningPage, offered_files, wait_for_upload

pytest.importorskip("gradio")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # gradio leaves event loops open


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cyclegan_folder: Path) -> Path:
    """A model folder with a card."""
    place = tmp_path_factory.mktemp("models") / "toy"
    shutil.copytree(cyclegan_folder, place)
    (place / "README.md").write_text("# toy\n\nTurns noise to noise. It is a toy.\n\n| intended input | any image |\n")
    return place


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[RunningPage]:
    running = RunningPage([str(folder)], max_upload=1)
    yield running
    assert isinstance(running.end(), Interrupted)
    gc.collect()  # event loops that gradio left open, while warnings of them are ignored


@pytest.fixture
def photos(tmp_path: Path, draw: Callable[..., Any]) -> list[Path]:
    paths = [tmp_path / "photos" / name for name in ("first.png", "second.jpg")]
    paths[0].parent.mkdir()
    for seed, path in enumerate(paths):
        Image.fromarray(draw(seed, 64, 48)).save(path)
    return paths


@pytest.fixture
def converted(photos: list[Path], tmp_path: Path, convert: Any, folder: Path) -> dict[str, bytes]:
    """What `convert` writes for the photos, by name."""
    convert(photos[0].parent, tmp_path / "converted", translator.load(folder, device="cpu"))
    return {path.name: path.read_bytes() for path in (tmp_path / "converted").iterdir() if path.suffix != ".jsonl"}


@pytest.fixture(params=[1280, 390], ids=["wide", "narrow"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Browser]:
    (tmp_path / "downloads").mkdir()
    browser = Browser(tmp_path / "downloads", request.param)
    yield browser
    browser.close()


def test_a_person_drops_images_compares_and_downloads_the_files_of_convert(
    page: RunningPage, browser: Browser, photos: list[Path], converted: dict[str, bytes], tmp_path: Path
) -> None:
    browser.open(page.url)
    browser.wait(lambda: "Turns noise to noise." in browser.text("#about"), "the description")
    assert "any image" in browser.text("#about")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "large.png").write_bytes(bytes(3 << 19))
    browser.drop("#files button", [photos[0], tmp_path / "notes.txt", tmp_path / "large.png", photos[1]])
    wait_for_upload(browser, "second")
    assert browser.text("#refused").splitlines()[::2] == [
        f"notes.txt: no image of a known format; readable: {images.READABLE_FORMATS}",
        "large.png: 1.5 MiB is more than 1 MiB; raise --max-upload to allow it",
    ]
    browser.click("#run")
    browser.wait(lambda: "2 of 2 translated" in browser.text("#status"), "the result")
    assert browser.run("return document.querySelector('#status').getAttribute('role')") == "status"
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")

    browser.find("#pair input[type=range]")
    browser.run("document.querySelector('#pair input[type=range]').focus()")
    before = browser.run("return document.querySelector('#pair input[type=range]').value")
    browser.press(RIGHT)
    assert int(browser.run("return document.querySelector('#pair input[type=range]').value")) == int(before) + 1
    cut = browser.run("return document.querySelector('#pair .pair').style.getPropertyValue('--cut')")
    assert cut == f"{int(before) + 1}%"
    assert browser.run("return [...document.querySelectorAll('#pair img')].every(i => i.alt && i.naturalWidth === 64)")

    assert offered_files(browser) == converted
    browser.click("#archive")
    archive = tmp_path / "downloads" / "translated.zip"
    browser.wait(archive.exists, "the download")
    with zipfile.ZipFile(archive) as opened:
        assert {name: opened.read(name) for name in opened.namelist()} == converted

    foreign = {url for url in browser.requested() if not url.startswith((page.url, "data:", "blob:", "about:"))}
    assert not {url for url in foreign if url.startswith("http")}, "something leaves the machine"


def test_every_control_has_a_name_for_screen_readers(page: RunningPage, browser: Browser) -> None:
    browser.open(page.url)
    browser.find("#run")
    browser.wait(lambda: browser.run("return document.querySelector('svg:not([aria-hidden])') === null"), "the icons")
    tree = browser.command("Accessibility.getFullAXTree", {})["nodes"]
    controls = {"button", "combobox", "textbox", "slider", "radio", "spinbutton", "link", "checkbox", "image"}
    nameless = [
        node for node in tree
        if not node.get("ignored") and node["role"]["value"] in controls and not node.get("name", {}).get("value")
    ]  # fmt: skip
    assert not [(node["role"], node.get("name")) for node in nameless]
    assert browser.run("return document.documentElement.lang") == "en"
