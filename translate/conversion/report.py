"""A self-contained HTML page of translations: everything is inside the one file, so it opens from anywhere."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from translate import files, images


@dataclass(frozen=True)
class Section:
    """A heading, a text, a table of figures and rows of pictures under common column names."""

    title: str
    text: str
    figures: Sequence[tuple[str, ...]]
    """The table's rows; the first is its head. Empty: no table."""
    columns: Mapping[str, Sequence[np.ndarray]]
    """Column name → (H, W, C) uint8 pictures, one for each row."""


def write(path: Path, title: str, intro: str, sections: Sequence[Section], commands: Sequence[str]) -> None:
    """Writes the page; all texts are escaped."""
    body = "".join(map(_section, sections))
    typed = escape("\n".join(commands))
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="intro">{escape(intro)}</p>
{body}
<section>
<h2>What to type next</h2>
<pre>{typed}</pre>
</section>
</main>
</body>
</html>
"""
    files.write(path, page.encode())


def _section(section: Section) -> str:
    return f"""<section>
<h2>{escape(section.title)}</h2>
<p>{escape(section.text)}</p>
{_table(section.figures)}
{_pictures(section.columns)}
</section>
"""


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _pictures(columns: Mapping[str, Sequence[np.ndarray]]) -> str:
    """Triplets side by side, as many next to each other as the window is wide."""
    rows = zip(*columns.values(), strict=True)
    return '<div class="rows">' + "".join(_row(list(columns), row) for row in rows) + "</div>"


def _row(names: Sequence[str], row: Sequence[np.ndarray]) -> str:
    cells = "".join(
        f'<figure><img loading="lazy" alt="{escape(name)}" src="{_data_uri(pixels)}">'
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for name, pixels in zip(names, row, strict=True)
    )
    return f'<div class="row">{cells}</div>'


def _data_uri(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    images.to_image(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1a1d21; --soft: #5c6670; --line: #dde1e6; --box: #f5f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171a; --ink: #e6e9ec; --soft: #98a2ac; --line: #30363c; --box: #1d2125; }
}
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
.intro { color: var(--soft); margin-top: 0; }
table.figures { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
.figures th, .figures td { padding: .35rem 1.25rem .35rem 0; border-bottom: 1px solid var(--line); text-align: right; }
.figures th:first-child, .figures td:first-child { text-align: left; }
.figures th { color: var(--soft); font-weight: 500; }
.figures tbody tr:first-child td { font-weight: 600; }
.rows { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 500px), 1fr)); gap: 1.25rem; }
.row { display: grid; grid-auto-columns: 1fr; grid-auto-flow: column; gap: .5rem; }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; border-radius: 4px; background: var(--box); }
figcaption { color: var(--soft); font-size: .8rem; text-align: center; padding-top: .2rem; }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: 1rem; overflow-x: auto; }
"""
