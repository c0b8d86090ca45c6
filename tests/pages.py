"""What tests read of a page."""

import base64
import io
import os
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from translate.conversion.options import ConversionResult

Draw = Callable[..., np.ndarray]
Convert = Callable[..., ConversionResult]
Build = Callable[..., Path]


VOID = {"meta", "link", "img", "input"}


class Page(HTMLParser):
    """What a page says, read by a parser that knows nothing of how it was made. Its tags must be balanced."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_bytes().decode("utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        """(the classes and tags that a text stands in, the text)."""
        self._around: list[str] = []
        self.feed(self.html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert len(values) == len(attrs), "an attribute stands there twice"
        self.tags.append((tag, values))
        if tag not in VOID:
            self.open.append(tag)
            self._around.append(f"{tag}.{values.get('class') or ''}")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self._around.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append((" ".join(self._around), data))

    def named(self, *around: str) -> list[str]:
        """File names that stand within all of these."""
        return [text for place, text in self.texts if place.endswith("bdi.name") and all(a in place for a in around)]

    @property
    def shown(self) -> list[str]:
        return self.named("article")

    def said(self, *around: str) -> list[str]:
        return [text for place, text in self.texts if all(a in place for a in around) and text.strip()]

    def counts(self) -> dict[str, str]:
        return dict(zip(self.said("dl.counts", "dt."), self.said("dl.counts", "dd."), strict=True))

    def values(self, tag: str, attribute: str) -> list[str]:
        return [values[attribute] or "" for name, values in self.tags if name == tag and attribute in values]

    def pictures(self) -> list[Image.Image]:
        """The previews, decoded."""
        uris = [uri.removeprefix("data:image/webp;base64,") for uri in self.values("img", "src")]
        return [Image.open(io.BytesIO(base64.b64decode(uri, validate=True))) for uri in uris]


def save(folder: Path, name: str | bytes, pixels: np.ndarray) -> None:
    """A PNG of any name."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / "x", "PNG")
    os.rename(folder / "x", os.path.join(os.fsencode(folder), os.fsencode(name)))


def assert_of_one_piece(page: Page) -> None:
    assert "http:" not in page.html
    assert "https:" not in page.html
    assert "url(" not in page.html
    assert "@import" not in page.html
    assert all(uri.startswith("data:image/") for uri in page.values("img", "src"))
    assert {tag for tag, values in page.tags if "src" in values} == {"img"}
    assert page.values("link", "href") == ["data:,"]
    assert policy(page)["default-src"] == ["'none'"]
    assert policy(page)["img-src"] == ["data:"]


def policy(page: Page) -> dict[str, list[str]]:
    """What the page forbids the browser."""
    (content,) = [values["content"] for tag, values in page.tags if tag == "meta" and "http-equiv" in values]
    assert content is not None
    return {name: sources for name, *sources in (rule.split() for rule in content.split(";"))}
