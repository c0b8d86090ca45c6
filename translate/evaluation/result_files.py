"""Files of an evaluation beside its JSON: a table of single images (CSV), and a page with values and the worst images."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from translate import atomic, html, images
from translate.evaluation.evaluator import metric_of_key
from translate.evaluation.metrics import METRICS
from translate.evaluation.robustness import AttackedImage
from translate.text import format_number

WORST = 5
"""Images under attack that the page shows at most."""

_STYLE = """
.attack { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin-bottom: 24px; }
.attack figure { margin: 0; }
.attack img { width: 100%; image-rendering: pixelated; }
.attack figcaption { font-size: 0.85rem; overflow-wrap: anywhere; }
"""


def write_image_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the values of single images as a CSV file: a row for each image, a column for each value, empty where none is.

    StorageError if the file cannot be written.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic.storage_errors(path.parent):
        atomic.write(path, text.getvalue().encode())


def write_result_page(path: Path, results: Mapping[str, Any], attacked: Sequence[AttackedImage]) -> None:
    """Write the values of an evaluation, and the images of the largest changes under attack, as one HTML page.

    StorageError if the file cannot be written.
    """
    title = f"Evaluation: {results['protocol']['data']}"
    with atomic.storage_errors(path.parent):
        html.write_page(path, title, _body(results, attacked[:WORST]), style=_STYLE)


def _body(results: Mapping[str, Any], worst: Sequence[AttackedImage]) -> Iterator[str]:
    protocol = results["protocol"]
    model = results["subject"].get("model")
    counts = f"{protocol['output_images']} images against {protocol['real_images']} real ones"
    yield f'<p class="intro">{html.escape_text(" · ".join(filter(None, (model, counts))))}</p>\n'
    rows = [("value", "better", "mean", "standard error", "unit")]
    for key, estimate in results["metrics"].items():
        metric = METRICS[metric_of_key(key)]
        numbers = ("" if estimate[name] is None else format_number(estimate[name]) for name in ("value", "error"))
        rows.append((key, metric.better, *numbers, metric.unit))
    yield html.table(rows)
    if worst:
        yield "\n<h2>Largest changes under attack</h2>\n"
        yield "<p>The strongest attack of the metric robustness: most steps, largest ε.</p>\n"
    for each in worst:
        yield _attacked_images(each)


def _attacked_images(each: AttackedImage) -> str:
    """Return the four images of an attack, side by side."""
    shown: dict[str, np.ndarray] = {
        f"{each.name}: input": each.given,
        "attacked input": each.attacked,
        "output": each.before,
        f"output for the attacked input: mean square change {format_number(each.change)}": each.after,
    }
    figures = "".join(
        f"<figure>{html.image(html.data_uri(images.to_pil_image(pixels), 'PNG'), caption)}"
        f"<figcaption>{html.escape_text(caption)}</figcaption></figure>"
        for caption, pixels in shown.items()
    )
    return f'<div class="attack">{figures}</div>\n'
