"""Report of the demo: for each model metrics and held-out images, before and after, beside the true image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from translate import html
from translate.html import escape_text

TILE = 256
"""Side in pixels that images are shown at."""


@dataclass(frozen=True)
class PageSection:
    """Heading, text, links, table of metrics, and rows of images under common column names."""

    title: str
    text: str
    links: Mapping[str, str]
    """Words → address."""
    figures: Sequence[tuple[str, ...]]
    """Rows of the table; the first is its head."""
    best: int
    """Row of the table that is in bold, counted below its head."""
    source: tuple[str, Sequence[np.ndarray]]
    """Column of the inputs: name, and (H, W, C) uint8 images."""
    outputs: Mapping[str, Sequence[np.ndarray]]
    """Column name → images made of the inputs, which are shown as pairs with them."""
    truth: tuple[str, Sequence[np.ndarray]]
    """Column of the true images."""


def write_demo_page(
    path: Path, title: str, intro: str, sections: Sequence[PageSection], commands: Sequence[str]
) -> None:
    """Write a page of sections and the commands to run next; all texts are escaped."""
    typed = "\n".join(map(escape_text, commands))
    body = (
        f'<p class="intro">{escape_text(intro)}</p>\n',
        *map(_section, sections),
        f"<section>\n<h2>What to type next</h2>\n<pre>{typed}</pre>\n</section>\n",
    )
    html.write_page(path, title, body, style=html.PAIR_STYLE + _STYLE, script=html.PAIR_SCRIPT)


def _section(section: PageSection) -> str:
    links = " · ".join(
        f'<a href="{escape_text(address)}">{escape_text(words)}</a>' for words, address in section.links.items()
    )
    rows = "".join(_row(section, number) for number in range(len(section.source[1])))
    return f"""<section>
<h2>{escape_text(section.title)}</h2>
<p>{escape_text(section.text)}</p>
{html.table(section.figures, section.best)}
<p class="links">{links}</p>
<div class="rows">{rows}</div>
</section>
"""


def _row(section: PageSection, number: int) -> str:
    """Return one input, what each model makes of it, and the true image."""
    word, inputs = section.source
    before = _uri(inputs[number])
    cells = [(word, html.image(before, word))]
    for name, images in section.outputs.items():
        cells.append((name, html.slider_pair(before, _uri(images[number]), f"image {number + 1}", (word, name))))
    cells.append((section.truth[0], html.image(_uri(section.truth[1][number]), section.truth[0])))
    figures = "".join(
        f"<figure>{picture}<figcaption>{escape_text(name)}</figcaption></figure>" for name, picture in cells
    )
    return f'<div class="row">{figures}</div>'


def _uri(pixels: np.ndarray) -> str:
    """Return an image as a data URI, enlarged smoothly to at least TILE pixels."""
    image = Image.fromarray(pixels)
    if image.width < TILE:
        image = image.resize((TILE, round(image.height * TILE / image.width)), Image.Resampling.BICUBIC)
    return html.data_uri(image, "WEBP", quality=92, method=4)


_STYLE = """
.rows { display: grid; gap: 1.5rem; margin-top: 1.5rem; }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(46%, 240px), 1fr)); gap: .75rem .5rem; }
figure { margin: 0; }
figcaption { color: var(--soft); font-size: .85rem; text-align: center; padding-top: .25rem; }
.row .pair span { display: none; }
.row .pair img { object-fit: contain; }
"""
