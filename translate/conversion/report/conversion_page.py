"""Report of a conversion: a page with what was done, what failed and why, and images before and after.

It is made from the manifests and the files, so it also shows what earlier runs and other shards have done. The page needs no
other file and no network; without JavaScript the pictures stand side by side. Only the rows that are shown are read,
one by one.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from translate import atomic, html, images, videos
from translate.conversion.inputs import Listing, Shard
from translate.conversion.item import ItemConverter
from translate.conversion.manifest import Manifest
from translate.conversion.options import ConversionResult
from translate.conversion.output_paths import Item
from translate.conversion.report.clip import side_by_side_clip
from translate.data.split import evenly_spaced
from translate.html import escape_text
from translate.text import duration, file_size, rate
from translate.version import __version__

PAGE_NAME = "report.html"

MAX_SHOWN = 200
"""Limit of the images that are shown, evenly spaced over the listing."""

MAX_OPEN_FAILURES = 20
"""Failures that are shown at once; the others unfold."""

PREVIEW_SIDE = 512
"""Limit of the longer side of a preview, in pixels."""

MIN_DOUBLED = 96
"""Longer side in pixels from which a small image is shown at twice its size; smaller ones would be blurred."""


@dataclass
class Outcome:
    """State of the inputs, from the manifests."""

    done: dict[str, list[Item]] = field(default_factory=dict)
    """Input → its outputs by this model with these settings, of any run."""
    failures: dict[str, str] = field(default_factory=dict)
    """Input → reason of the failure."""
    notices: Counter[str] = field(default_factory=Counter)
    """Notice, such as what a format cannot hold → number of images."""


def write_conversion_page(
    converter: ItemConverter,
    listing: Listing,
    shard: Shard,
    result: ConversionResult,
    items: Sequence[Item] | None = None,
    name: str = PAGE_NAME,
) -> Path:
    """Write the page into the output folder after a run; return its path. StorageError if that fails.

    `items`: those of the job, where they are not the outputs that a conversion of the listing has.
    """
    manifest = Manifest(converter.output, converter.translator.sha256, converter.settings, shard.manifest)
    if items is None:
        items = manifest.plan(listing.inputs, converter.options.format, converter.options.samples)
    outcome = _outcome(manifest, items)
    outcome.failures.update(result.failures)  # folders that cannot be listed are in no manifest
    path = converter.output / name
    with atomic.storage_errors(converter.output):
        title = f"Converted by {converter.translator.name}"
        html.write_page(
            path,
            title,
            _body(converter, listing, shard, result, outcome),
            style=html.PAIR_STYLE + _STYLE,
            script=html.PAIR_SCRIPT,
            tag=converter.tag,
        )
    return path


def _outcome(manifest: Manifest, items: Sequence[Item]) -> Outcome:
    outcome = Outcome()
    for item in items:
        line = manifest.last_line(item.key)
        if line is None:
            continue
        if line["status"] == "failed":
            outcome.failures[item.input] = str(line.get("error"))
        elif (line.get("model"), line.get("settings")) == (manifest.model, manifest.settings):
            outcome.done.setdefault(item.input, []).append(replace(item, output=line["output"]))
            outcome.notices.update(line.get("notices", ()))
    return outcome


def _body(
    converter: ItemConverter, listing: Listing, shard: Shard, result: ConversionResult, outcome: Outcome
) -> Iterator[str]:
    yield _intro(converter, listing, shard)
    yield _counts(result, outcome)
    yield _settings(converter)
    yield _failures(outcome.failures)
    yield _notices(outcome.notices)
    yield from _gallery(converter, list(outcome.done.values()))


def _intro(converter: ItemConverter, listing: Listing, shard: Shard) -> str:
    source, to = converter.translator.source_domain(converter.options.to), converter.options.to
    domains = to if source == to else f"{source} → {to}"
    part = f" Part {shard.index} of {shard.count}; what other parts have converted counts as done before."
    made = time.strftime("%Y-%m-%d %H:%M")
    source_name = listing.source or converter.root.absolute().name
    text = f"{source_name}: {domains} by {converter.translator.info.title}, {made}.{part if shard.name else ''}"
    return f'<p class="intro">{escape_text(text)}</p>\n'


def _counts(result: ConversionResult, outcome: Outcome) -> str:
    counts = {
        "converted": f"{result.done:,}",
        "done before": f"{sum(map(len, outcome.done.values())) - result.done:,}",
        "failed": f"{len(outcome.failures):,}",
        "other files": f"{result.others:,}",
        "time": duration(result.seconds) if result.done else "",
        "speed": rate(result.done, result.seconds),
    }
    cells = "".join(
        f'<div class="{"bad" if name == "failed" and outcome.failures else ""}"><dt>{name}</dt><dd>{value}</dd></div>'
        for name, value in counts.items()
        if value
    )
    return f'<dl class="counts">{cells}</dl>\n'


def _settings(converter: ItemConverter) -> str:
    translator, options = converter.translator, converter.options
    rows = {
        "model": translator.info.title,
        "weights (SHA-256)": translator.sha256,
        "made by": f"image-translate {__version__} on {translator.device}",
        "format": options.format,
        **{name.replace("_", " "): value for name, value in converter.settings.items()},
    }
    cells = "".join(
        f"<tr><td>{escape_text(name)}</td><td>{escape_text(value if isinstance(value, str) else json.dumps(value))}</td></tr>"
        for name, value in rows.items()
        if value is not None
    )
    return f'<details><summary>Settings</summary><table class="figures settings">{cells}</table></details>\n'


def _failures(failures: Mapping[str, str]) -> str:
    if not failures:
        return ""
    rows = [
        f'<li><bdi class="name">{escape_text(name)}</bdi><span class="reason">{escape_text(reason)}</span></li>\n'
        for name, reason in failures.items()
    ]
    first, rest = "".join(rows[:MAX_OPEN_FAILURES]), "".join(rows[MAX_OPEN_FAILURES:])
    more = (
        f"<details><summary>{len(rows) - MAX_OPEN_FAILURES:,} more</summary><ul>\n{rest}</ul></details>" if rest else ""
    )
    return f'<section class="failures">\n<h2>{len(rows):,} failed</h2>\n<ul>\n{first}</ul>\n{more}</section>\n'


def _notices(notices: Mapping[str, int]) -> str:
    if not notices:
        return ""
    rows = [("notice", "images")]
    rows += [(notice, f"{count:,}") for notice, count in sorted(notices.items())]
    return f'<section class="notices">\n<h2>Notices</h2>\n{html.table(rows)}\n</section>\n'


# The gallery.


def _gallery(converter: ItemConverter, done: Sequence[Sequence[Item]]) -> Iterator[str]:
    """Yield the images before and after; `done`: the outputs of each input."""
    if not done:
        return
    count = min(MAX_SHOWN, len(done))
    note = f"{count:,} of {len(done):,} shown, evenly spaced" if count < len(done) else f"All {count:,} shown"
    yield f'<section>\n<h2>Before and after</h2>\n<p class="intro">{note}.</p>\n<div class="gallery">\n'
    for i in evenly_spaced(len(done), count):
        yield _row(converter, done[i])
    yield "</div>\n</section>\n"


@dataclass(frozen=True)
class _Preview:
    """Small image for the page."""

    uri: str
    width: int
    height: int
    """Height of the full image in pixels; so is the width."""
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.uint8))
    """Data type of the values in the file."""


def _row(converter: ItemConverter, items: Sequence[Item]) -> str:
    """Return the input and its outputs: one under a slider, several side by side."""
    first, to = items[0], converter.options.to
    source = converter.root / first.input
    if videos.is_video(first.input):
        return "".join(_clip_row(converter, item) for item in items)
    before = _preview(converter, source, converter.translator.source_domain(to))
    given = None if before is None else images.StoredType(before.dtype, converter.options.declared_range)
    outputs = [converter.output / item.output for item in items]
    after = [_preview(converter, output, to, given) for output in outputs]
    size = f"{before.width:,} × {before.height:,}" if before else ""
    if before and after[0] and converter.scale > 1:
        size += f" → {after[0].width:,} × {after[0].height:,}"
    size += " · " if size else ""
    bytes_ = f"{_bytes(source)} → {', '.join(map(_bytes, outputs))}"
    if first.sample is None and before and after[0]:
        shown = html.slider_pair(before.uri, after[0].uri, first.input)
    else:
        several = "" if first.sample is None else " several"
        shown = f'<div class="apart{several}">{"".join(map(_cell, [before, *after]))}</div>'
    links = "".join(f'<a href="{quote(os.fsencode(item.output))}">{_link_text(item)}</a>\n' for item in items)
    return f"""<article>
{shown}
{links}<small>{size}{bytes_}</small>
</article>
"""


def _clip_row(converter: ItemConverter, item: Item) -> str:
    """Return a clip of a video and of its translation, side by side."""
    source, output = converter.root / item.input, converter.output / item.output
    uri = side_by_side_clip(source, output)
    shown = html.image(uri, "input and output, side by side", "clip") if uri else '<div class="none">no preview</div>'
    return f"""<article>
{shown}
<a href="{quote(os.fsencode(item.output))}">{_link_text(item)}</a>
<small>{_bytes(source)} → {_bytes(output)}</small>
</article>
"""


def _link_text(item: Item) -> str:
    """Return the name that leads to an output: that of the input or, of several outputs, that of the output."""
    return f'<bdi class="name">{escape_text(item.input if item.sample is None else item.output)}</bdi>'


def _cell(preview: _Preview | None) -> str:
    return html.image(preview.uri, "image", "alone") if preview else '<div class="none">no preview</div>'


def _preview(
    converter: ItemConverter, path: Path, domain: str, given: images.StoredType | None = None
) -> _Preview | None:
    """Return a small 8-bit sRGB copy of an image or first frame; None if it has channels other than 1 or 3, or is damaged.

    `given`: type of the input of an output.
    """
    translator, options = converter.translator, converter.options
    channels = translator.domain_info(domain)["channels"]
    labels = translator.label_format(options.to) if given is None else None
    if channels not in (1, 3) and labels is None:
        return None
    values = translator.value_range(domain) or options.declared_range
    if given is not None:
        depths = images.WRITERS[images.writer_for(images.extension(path)) or "png"].depths
        values = translator.output_type(given, options.to, depths).range
    background = images.parse_colour(options.background)
    how = images.Reading(channels, background=background, deep=True, value_range=values, metadata=True)
    if labels is not None:
        how = images.Reading(1, labels=replace(labels, edges=False))
    try:
        picture = images.read(path, how=how)
    except images.ImageError:
        return None
    if labels is None:
        shown = images.to_uint8_array(images.to_tensor(picture.pixels, values))
    else:
        shown = labels.colours(picture.pixels[:, :, 0])
    image = images.to_pil_image(shown)
    if MIN_DOUBLED <= max(image.size) <= PREVIEW_SIDE // 2:
        image = image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.BICUBIC)
    return _Preview(html.data_uri(image, "WEBP", quality=82, method=2), picture.width, picture.height, picture.dtype)


def _bytes(path: Path) -> str:
    """Return the size of a file in words; "gone" if there is none."""
    try:
        size = path.stat().st_size
    except OSError:
        return "gone"
    return file_size(size)


_STYLE = """
.counts { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; }
.counts div { flex: 1 1 7rem; background: var(--box); border: 1px solid var(--line); border-radius: 8px; padding: .6rem .9rem; }
.counts dt { color: var(--soft); font-size: .85rem; }
.counts dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.counts .bad { border-color: var(--bad); }
.counts .bad dd { color: var(--bad); }
summary { color: var(--soft); cursor: pointer; }
.settings td, .settings td:first-child { text-align: left; font-size: .9rem; overflow-wrap: anywhere; }
.settings td:first-child { color: var(--soft); white-space: nowrap; vertical-align: top; }
.notices .figures td:first-child { min-width: 60%; }
.failures h2 { color: var(--bad); }
.failures ul { list-style: none; margin: .5rem 0; padding: 0; }
.failures li {
  border-bottom: 1px solid var(--line); padding: .35rem 0;
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); column-gap: 1rem;
}
.failures .reason { color: var(--soft); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 1.75rem 1.25rem; }
.gallery { align-items: start; }
article { display: grid; }
article > a { margin-top: .5rem; line-height: 1.3; text-decoration: none; }
article > a:hover { text-decoration: underline; }
article small { color: var(--soft); font-variant-numeric: tabular-nums; }
.apart, .none { border-radius: 8px; overflow: hidden; background: var(--box); }
.apart { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
.apart { aspect-ratio: 1; }
.apart.several { aspect-ratio: auto; grid-template-columns: repeat(auto-fill, minmax(5rem, 1fr)); }
.apart.several > * { aspect-ratio: 1; }
.apart img { height: 100%; min-height: 0; object-fit: contain; border-radius: 0; }
.none { display: grid; place-items: center; min-height: 8rem; border-radius: 0; color: var(--soft); font-size: .9rem; }
"""
