"""Report of a run, `report.html` in its folder: progress, samples over time, metrics, curves and settings on one page.

It is made of the files of the run folder alone, and needs no other file and no network.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from translate import html, run_folder
from translate.data.split import evenly_spaced
from translate.html import escape_text
from translate.methods.base import DISCRIMINATOR, GENERATOR
from translate.text import format_number
from translate.training import stats_file
from translate.training.charts import chart_layout
from translate.training.line_chart import CHART_STYLE, line_chart
from translate.training.loss_names import LossNames
from translate.training.stats_file import LogPoint

MAX_GRIDS = 6
"""Limit of the sample grids that are shown: the newest, and earlier ones evenly spaced."""
GRID_WIDTH = 1040
"""Limit of the width of a sample grid, in pixels."""


def write_run_report(folder: Path, losses: LossNames) -> None:
    """Write the report of the run in a folder, from its settings, log points and sample grids. StorageError if that fails.

    losses: names of the losses of the run's method.
    """
    settings = run_folder.read_config(folder)
    points = stats_file.read(folder / run_folder.STATS_FILE)
    title = f"{folder.resolve().name}: {settings.get('method', 'training')}"
    style = CHART_STYLE + _STYLE
    html.write_page(folder / run_folder.REPORT, title, _body(folder, settings, points, losses), style=style)


def _body(folder: Path, settings: Mapping[str, Any], points: Sequence[LogPoint], losses: LossNames) -> Iterator[str]:
    yield _intro(settings, points)
    yield _advice(points)
    yield from _samples(folder)
    yield _metrics(points)
    yield from _charts(points, losses)
    yield _settings(settings)


def _intro(settings: Mapping[str, Any], points: Sequence[LogPoint]) -> str:
    last = points[-1] if points else {"images": 0}
    progress = f", {last['progress']:.0%} of the training" if "progress" in last else ""
    speed = last.get("time/images_per_second")
    parts = [
        f"Data: {settings.get('root', 'unknown')}",
        f"{last['images']:,} images seen{progress}",
        f"{format_number(speed)} images/s" if speed else "",
        f"written {time.strftime('%Y-%m-%d %H:%M')}",
    ]
    return f'<p class="intro">{escape_text(" · ".join(filter(None, parts)))}</p>\n'


def _advice(points: Sequence[LogPoint]) -> str:
    """Return the warnings of the health checks, the newest first; an empty text if there are none."""
    lines = [(point["images"], line) for point in points for line in point.get("advice", [])]
    if not lines:
        return ""
    items = "".join(
        f"<li>{escape_text(line)} <small>after {images:,} images</small></li>" for images, line in reversed(lines)
    )
    return f'<section class="advice">\n<h2>Warnings</h2>\n<ul>{items}</ul>\n</section>\n'


def _samples(folder: Path) -> Iterator[str]:
    grids = sorted((folder / run_folder.SAMPLES).glob("*.png"))
    if not grids:
        return
    yield '<section>\n<h2>Samples</h2>\n<p class="intro">The same images over time, the newest first.</p>\n'
    earlier, newest = evenly_spaced(len(grids) - 1, MAX_GRIDS - 1), len(grids) - 1
    for i in (newest, *reversed(earlier)):
        with suppress(OSError, ValueError):  # a grid that was removed or damaged meanwhile is left out
            name = f"after {int(grids[i].stem):,} images"
            uri = _grid_uri(grids[i])
            yield f'<figure class="grid">{html.image(uri, name)}<figcaption>{name}</figcaption></figure>\n'
    yield "</section>\n"


def _grid_uri(path: Path) -> str:
    with Image.open(path) as file:
        grid = file.convert("RGB")
    grid.thumbnail((GRID_WIDTH, 8 * GRID_WIDTH), Image.Resampling.BICUBIC)
    return html.data_uri(grid, "WEBP", quality=85, method=0)


def _metrics(points: Sequence[LogPoint]) -> str:
    """Return the table of the validations; an empty text if there were none."""
    names = [name for name in stats_file.scalar_names(points) if name.startswith(("val/", "val_ema/"))]
    if not names:
        return ""
    measured = [point for point in points if any(name in point for name in names)]
    rows = [("images", *names)]
    for i in evenly_spaced(len(measured), min(len(measured), 12)):
        cells = (format_number(measured[i][name]) if name in measured[i] else "" for name in names)
        rows.append((f"{measured[i]['images']:,}", *cells))
    return f'<section>\n<h2>Metrics on held-out images</h2>\n<div class="wide">{html.table(rows)}</div>\n</section>\n'


def _charts(points: Sequence[LogPoint], losses: LossNames) -> Iterator[str]:
    names = stats_file.scalar_names(points)
    for category, charts in chart_layout(names, losses).items():
        drawn = "".join(
            line_chart(
                {name: stats_file.curve(points, name) for name in lines}, _colours(lines, losses), points[-1]["images"]
            )
            for lines in charts.values()
        )
        if drawn:
            yield f'<section>\n<h2>{escape_text(category)}</h2>\n<div class="charts">{drawn}</div>\n</section>\n'


def _colours(names: Sequence[str], losses: LossNames) -> dict[str, int]:
    """Return the colours of curves: what a generator makes has the first, what a discriminator learns by the second."""
    sides = {GENERATOR: 0, "fake": 0, DISCRIMINATOR: 1, "real": 1}
    about = {name: losses.role(name) or name.removeprefix("judge/").partition("_")[0] for name in names}
    found = {name: sides[side] for name, side in about.items() if side in sides}
    return found if len(set(found.values())) == len(names) else {}


def _settings(settings: Mapping[str, Any]) -> str:
    rows = [("setting", "value")]
    rows += [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in settings.items()]
    return f'<details class="settings"><summary>Settings</summary>{html.table(rows)}</details>\n'


_STYLE = """
.grid { margin: 0 0 1.5rem; }
.grid img { width: auto; max-width: 100%; background: none; }
figcaption { color: var(--soft); font-size: .85rem; padding-top: .25rem; }
.advice h2 { color: var(--bad); }
.advice small { color: var(--soft); }
.wide { overflow-x: auto; }
summary { color: var(--soft); cursor: pointer; margin-top: 2.5rem; }
.settings td, .settings th { text-align: left; }
"""
