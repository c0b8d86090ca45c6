"""HTML pages that need no other file and no network: their frame, tables and images; and the comparison page of the demo."""

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from translate import atomic, images
from translate.text import printable


def escape_text(value: object) -> str:
    """Escape a text for HTML, also inside attributes."""
    return escape(printable(str(value)))


# The frame of all pages.


def write_page(
    path: Path, title: str, body: Iterable[str], *, style: str = "", script: str = "", tag: str = ""
) -> None:
    """Write a page, whose body arrives as pieces of HTML: memory does not grow with it.

    `style` is added to the style of all pages. `script` is the only one that the browser runs. `tag`: see `atomic.stage`.
    """
    with atomic.open_for_writing(path, tag) as file:
        for piece in _framed(title, body, style, script):
            file.write(piece.encode())


def _framed(title: str, body: Iterable[str], style: str, script: str) -> Iterator[str]:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        allowed += f"; script-src 'sha256-{digest}'"
    yield f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{allowed}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape_text(title)}</title>
<link rel="icon" href="data:,">
<style>{_STYLE}{style}</style>
</head>
<body>
<main>
<h1>{escape_text(title)}</h1>
"""
    yield from body
    yield f"</main>\n{f'<script>{script}</script>' if script else ''}\n</body>\n</html>\n"


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return an HTML table whose first row is the head; an empty text for no rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape_text(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape_text(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def data_uri(image: Image.Image, fmt: str, **options: object) -> str:
    """Encode a Pillow image as a data URI; `fmt` and `options` are those of `Image.save`."""
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return f"data:image/{fmt.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


# The page of the demo: columns of images side by side.


@dataclass(frozen=True)
class PageSection:
    """Heading, text, table of metrics, and rows of images under common column names."""

    title: str
    text: str
    figures: Sequence[tuple[str, ...]]
    """Rows of the table; the first is its head. Empty: no table."""
    columns: Mapping[str, Sequence[np.ndarray]]
    """Column name → (H, W, C) uint8 images, one for each row."""


def write_comparison_page(
    path: Path, title: str, intro: str, sections: Sequence[PageSection], commands: Sequence[str]
) -> None:
    """Write a page of sections and the commands to run next; all texts are escaped."""
    typed = "\n".join(map(escape_text, commands))
    body = (
        f'<p class="intro">{escape_text(intro)}</p>\n',
        *map(_section, sections),
        f"<section>\n<h2>What to type next</h2>\n<pre>{typed}</pre>\n</section>\n",
    )
    write_page(path, title, body, style=_COLUMNS)


def _section(section: PageSection) -> str:
    return f"""<section>
<h2>{escape_text(section.title)}</h2>
<p>{escape_text(section.text)}</p>
{table(section.figures)}
{_pictures(section.columns)}
</section>
"""


def _pictures(columns: Mapping[str, Sequence[np.ndarray]]) -> str:
    """Return the rows of images, as many side by side as the window is wide."""
    rows = zip(*columns.values(), strict=True)
    return '<div class="rows">' + "".join(_row(list(columns), row) for row in rows) + "</div>"


def _row(names: Sequence[str], row: Sequence[np.ndarray]) -> str:
    cells = "".join(
        f'<figure><img loading="lazy" alt="{escape_text(name)}" src="{data_uri(images.to_pil_image(pixels), "PNG")}">'
        f"<figcaption>{escape_text(name)}</figcaption></figure>"
        for name, pixels in zip(names, row, strict=True)
    )
    return f'<div class="row">{cells}</div>'


_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fff; --ink: #1a1d21; --soft: #5c6670; --line: #dde1e6; --box: #f5f6f8; --link: #0b5cad; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171a; --ink: #e6e9ec; --soft: #98a2ac; --line: #30363c; --box: #1d2125; --link: #7db7f5; --bad: #ff8a80;
  }
}
body {
  margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
a { color: var(--link); }
.intro { color: var(--soft); margin-top: 0; }
table.figures { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
.figures th, .figures td { padding: .35rem 1.25rem .35rem 0; border-bottom: 1px solid var(--line); text-align: right; }
.figures th, .figures td { overflow-wrap: break-word; }
.figures th:first-child, .figures td:first-child { text-align: left; }
.figures th { color: var(--soft); font-weight: 500; }
img { display: block; width: 100%; height: auto; border-radius: 4px; background: var(--box); }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: 1rem; overflow-x: auto; }
"""

_COLUMNS = """
.figures tbody tr:first-child td { font-weight: 600; }
.rows { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 500px), 1fr)); gap: 1.25rem; }
.row { display: grid; grid-auto-columns: 1fr; grid-auto-flow: column; gap: .5rem; }
figure { margin: 0; }
figcaption { color: var(--soft); font-size: .8rem; text-align: center; padding-top: .2rem; }
"""
