"""`translate evaluate MODEL ROOT | --real DIR --fake DIR | --compare A.json B.json`."""

import json as json_module
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from translate import api
from translate.cli.progress import show_progress
from translate.errors import UsageError
from translate.evaluation import evaluator
from translate.evaluation.metrics import METRICS
from translate.text import printable

ARROWS = {"lower": "↓", "higher": "↑"}


def evaluate(
    model: Annotated[
        str | None, Parameter(help="run folder, model folder, .pth of the reference, or a name in checkpoints/")
    ] = None,
    root: Annotated[Path | None, Parameter(help="data folder whose held-out images are translated")] = None,
    /,
    *,
    real: Annotated[Path | None, Parameter(help="instead of MODEL ROOT: folder of real images")] = None,
    fake: Annotated[Path | None, Parameter(help="folder of images to hold against them")] = None,
    compare: Annotated[
        tuple[Path, Path] | None, Parameter(help="two metrics.json: do they differ by more than chance?", negative=())
    ] = None,
    metrics: Annotated[
        str | None, Parameter(help=f"{','.join(METRICS)} [default: those that the images allow]", show_default=False)
    ] = None,
    extractor: Annotated[
        str | None,
        Parameter(help="network of kid and its kin: efficientnet-lite0 (default), inception, dinov2 or clip"),
    ] = None,
    weights: Annotated[Path | None, Parameter(help="the extractor's file of weights, or that of LPIPS")] = None,
    to: Annotated[str, Parameter(help="target domain: b, or a with a two-way model")] = "b",
    split: Annotated[
        str | None, Parameter(help="test, val or train [default: the first of them that is there]")
    ] = None,
    direction: Annotated[str | None, Parameter(help="a2b or b2a [default: as in training]")] = None,
    size: Annotated[
        int | str, Parameter(help="side of the square that images are resized to, keep, or auto (as in training)")
    ] = "auto",
    labels: Annotated[Path | None, Parameter(help="folder of label maps, named as the images of ROOT")] = None,
    batch_size: Annotated[int, Parameter(help="images of one size that a GPU is given at a time")] = 8,
    seed: Annotated[int, Parameter(help="of every random draw")] = 0,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps")] = "auto",
    precision: Annotated[str, Parameter(help="fp32, bf16, fp16 or fp64")] = "fp32",
    out: Annotated[Path | None, Parameter(help="file for the figures [default: metrics.json of a run folder]")] = None,
    json: Annotated[bool, Parameter(help="one JSON object on stdout", negative=())] = False,
) -> None:
    """Say how good a model's translations are, how alike two folders are, or whether two evaluations differ."""
    if compare is not None:
        if any(value is not None for value in (model, real, fake)):
            raise UsageError("--compare takes two metrics.json and no images; leave out MODEL, --real and --fake")
        told = api.compare(*compare)
        lines = _compared(told["metrics"], compare)
    else:
        with show_progress(Console(stderr=True)) as progress:
            told = api.evaluate(
                model, root, real=real, fake=fake, metrics=_names(metrics), extractor=extractor, weights=weights, to=to,
                split=split, direction=direction, size=size, labels=labels, batch_size=batch_size, seed=seed,
                device=device, precision=precision, out=out, progress=progress,
            )  # fmt: skip
        lines = [*_head(told["protocol"]), "", *_table(told["metrics"], told["protocol"]["extractor"])]
    for line in [json_module.dumps(told, allow_nan=False)] if json else lines:
        print(line)


def _names(text: str | None) -> list[str] | None:
    """The names of a list with commas."""
    names = [name.strip() for name in text.split(",")] if text is not None else None
    if names is not None and not all(names):
        raise UsageError(f"--metrics {text!r}: must be names with commas between; possible: {', '.join(METRICS)}")
    return names


def _head(known: Mapping[str, Any]) -> list[str]:
    """What was measured, for people."""
    size = f"at {known['size']}×{known['size']} px" if known["size"] else "as they are"
    split = f", {known['split']}" if "split" in known else ""
    pairs = ", in pairs" if known["paired"] else ""
    counts = f"{known['output_images']} images against {known['real_images']} real ones{pairs}"
    lines = [f"{printable(known['data'])}{split}: {counts}, {size}"]
    if known["extractor"]:
        lines.append(f"features of {known['extractor']}, SHA-256 {known['extractor_sha256'][:8]}…")
    return lines


def _table(figures: Mapping[str, Any], extractor: str | None) -> list[str]:
    rows = []
    for key, figure in figures.items():
        metric = METRICS[evaluator.metric_of_key(key)]
        rows.append((evaluator.metric_label(key, extractor), ARROWS[metric.better], _with_error(figure), metric.unit))
    return _aligned(rows)


def _with_error(figure: Mapping[str, Any]) -> str:
    """As "0.0123 ± 0.0021": two digits of the error, and the value as far."""
    value, error = figure["value"], figure["error"]
    if value is None:
        return "infinite"
    if not error:
        return f"{value:.4g}"
    places = max(0, 1 - int(f"{error:e}".split("e")[1]))
    return f"{value:.{places}f} ± {error:.{places}f}"


def _compared(figures: Mapping[str, Any], paths: tuple[Path, Path]) -> list[str]:
    rows = [("", *(printable(str(path)) for path in paths), "difference", "")]
    for key, figure in figures.items():
        first, second = (_number(figure[side]) for side in ("first", "second"))
        error = f" ± {_number(figure['error'])}" if figure["error"] is not None else ""
        rows.append((key, first, second, f"{_number(figure['difference'], '+')}{error}", _verdict(key, figure)))
    return _aligned(rows)


def _verdict(key: str, figure: Mapping[str, Any]) -> str:
    if figure["exceeds"] is None:
        return "no error known: cannot say"
    if not figure["exceeds"]:
        return "within its error"
    lower = METRICS[evaluator.metric_of_key(key)].better == "lower"
    return "the second is better" if (figure["difference"] < 0) == lower else "the first is better"


def _number(value: float | None, sign: str = "") -> str:
    return "infinite" if value is None else f"{value:{sign}.4g}"


def _aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The rows as lines, their cells in columns."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
