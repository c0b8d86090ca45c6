"""HTML pages that need no other file and no network: their frame, tables, images, and pairs of images with a slider."""

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from translate import atomic
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


def table(rows: Sequence[tuple[str, ...]], best: int | None = None) -> str:
    """Return an HTML table whose first row is the head; an empty text for no rows. Row `best`, counted below it, is in bold."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape_text(cell)}</th>" for cell in rows[0])
    body = "".join(_table_row(row, is_best=number == best) for number, row in enumerate(rows[1:]))
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _table_row(row: tuple[str, ...], *, is_best: bool) -> str:
    cells = "".join(f"<td>{escape_text(cell)}</td>" for cell in row)
    return f'<tr class="best">{cells}</tr>' if is_best else f"<tr>{cells}</tr>"


def data_uri(image: Image.Image, fmt: str, **options: object) -> str:
    """Encode a Pillow image as a data URI; `fmt` and `options` are those of `Image.save`."""
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return f"data:image/{fmt.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


# Images, and pairs of them with a slider.


def image(uri: str, alt: str, name: str = "") -> str:
    """Return an image by its data URI, with a class of that name."""
    kind = f' class="{name}"' if name else ""
    return f'<img{kind} alt="{escape_text(alt)}" loading="lazy" decoding="async" src="{uri}">'


def slider_pair(before: str, after: str, name: str, words: tuple[str, str] = ("before", "after")) -> str:
    """Return two images, by their data URIs, on top of each other, with a slider that uncovers the upper one.

    `name` says what the images show, for those who hear the page. A button enlarges the pair to the window. Without scripts the
    images stand side by side. The page needs PAIR_STYLE and PAIR_SCRIPT.
    """
    label = escape_text(name)
    return (
        f'<div class="pair">{image(before, words[0], "before")}{image(after, words[1], "after")}'
        f'<input type="range" min="0" max="100" value="50" autocomplete="off" aria-label="{escape_text(words[0])} and '
        f'{escape_text(words[1])}: {label}">'
        f"<span>{escape_text(words[0])}</span><span>{escape_text(words[1])}</span>"
        f'<button type="button" class="zoom" aria-label="enlarge: {label}" title="enlarge, Esc to close">⤢</button></div>'
    )


PAIR_SCRIPT = """
document.addEventListener("input", event => {
  event.target.parentElement.style.setProperty("--cut", event.target.value + "%");
});
document.addEventListener("click", event => {
  const button = event.target.closest(".zoom");
  if (button) button.parentElement.classList.toggle("zoomed");
});
document.addEventListener("keydown", event => {
  if (event.key === "Escape") document.querySelectorAll(".zoomed").forEach(pair => pair.classList.remove("zoomed"));
});
"""
"""Script of the sliders and of the buttons that enlarge."""

PAIR_STYLE = """
.pair { position: relative; aspect-ratio: 1; --cut: 50%; border-radius: 8px; overflow: hidden; background: var(--box); }
.pair img {
  position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; border-radius: 0; background: none;
}
.pair .before { clip-path: inset(0 calc(100% - var(--cut)) 0 0); }
.pair .after { clip-path: inset(0 0 0 var(--cut)); }
.pair:has(input:focus-visible) { outline: 3px solid var(--link); outline-offset: 2px; }
.pair span {
  position: absolute; bottom: .5rem; left: .5rem; padding: .05rem .45rem; border-radius: 4px; pointer-events: none;
  background: rgb(0 0 0 / .55); color: #fff; font-size: .72rem;
}
.pair span:last-of-type { left: auto; right: .5rem; }
.pair .zoom {
  position: absolute; top: .4rem; right: .4rem; width: 2rem; height: 2rem; border: 0; border-radius: 4px; cursor: zoom-in;
  background: rgb(0 0 0 / .45); color: #fff; font-size: 1rem; line-height: 1; opacity: 0; transition: opacity .15s;
}
.pair:hover .zoom, .pair .zoom:focus-visible, .zoomed .zoom { opacity: 1; }
@media (hover: none) { .pair .zoom { opacity: 1; } }
.pair.zoomed { position: fixed; inset: 0; z-index: 1; aspect-ratio: auto; border-radius: 0; }
.zoomed .zoom { cursor: zoom-out; }
/* A line, and on it a knob with two arrow heads. */
.pair {
  --thumb:
    conic-gradient(from 60deg at 0 50%, #444 60deg, transparent 0) 13px 50% / 6px 10px no-repeat,
    conic-gradient(from 240deg at 100% 50%, #444 60deg, transparent 0) 25px 50% / 6px 10px no-repeat,
    radial-gradient(circle, #fff 13px, rgb(0 0 0 / .3) 13.5px 14px, transparent 14.5px),
    linear-gradient(90deg, transparent 21px, #fff 21px 23px, transparent 23px);
}
/* The thumb is 44 px wide, a finger's width, and the slider wider than its picture by that: so its middle is the cut. */
.pair input {
  position: absolute; top: 0; left: -22px; width: calc(100% + 44px); height: 100%; margin: 0; padding: 0;
  appearance: none; background: none; outline: none; cursor: ew-resize; touch-action: pan-y;
}
.pair input::-webkit-slider-runnable-track { height: 100%; background: none; }
.pair input::-moz-range-track { height: 100%; background: none; }
.pair input::-webkit-slider-thumb {
  appearance: none; width: 44px; height: 100%; border: 0; border-radius: 0; box-shadow: none; background: var(--thumb);
}
.pair input::-moz-range-thumb { width: 44px; height: 100%; border: 0; border-radius: 0; background: var(--thumb); }
@media (scripting: none) {
  .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; aspect-ratio: 2; }
  .pair img { position: static; clip-path: none !important; }
  .pair input, .pair .zoom { display: none; }
}
"""
"""Style of the pairs: square tiles, which images are made to fit, small ones too."""


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
.figures .best td { font-weight: 650; }
img { display: block; width: 100%; height: auto; border-radius: 4px; background: var(--box); }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: 1rem; overflow-x: auto; }
"""
