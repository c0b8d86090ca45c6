"""`translate evaluate MODEL ROOT | --real DIR --fake DIR | --compare A.json B.json`: metrics of translations."""

import json as json_module
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api
from translate.api.evaluation import DEFAULT_EXTRACTOR
from translate.cli.console import open_console, say
from translate.cli.flags import GROUPS, JSON, MODEL_HELP, DeviceOptions, flag_parameters, with_flags
from translate.cli.metric_table import closing_lines, metric_rows
from translate.cli.progress import show_progress
from translate.config import option
from translate.errors import UsageError
from translate.evaluation import evaluator
from translate.evaluation.cases import EvaluationOptions
from translate.evaluation.extractors import EXTRACTORS
from translate.evaluation.metrics import METRICS
from translate.text import align_columns, printable


@dataclass(frozen=True)
class MetricOptions:
    """Options of `api.evaluate` that say what is measured and where the results go."""

    real: Path | None = option(None, "folder of real images, instead of MODEL and ROOT [default: none]", group="Images")
    fake: Path | None = option(None, "folder of images to compare with those in --real [default: none]", group="Images")
    metrics: str | None = option(
        None, f"comma-separated metrics: {', '.join(METRICS)} [default: those that the images allow]", group="Metrics"
    )
    extractor: str | None = option(
        None,
        f"feature extractor of kid and its kin: {', '.join(EXTRACTORS)} [default: {DEFAULT_EXTRACTOR}]",
        group="Metrics",
    )
    weights: Path | None = option(
        None, "file of the extractor's weights, or of LPIPS's [default: the packaged ones]", group="Metrics"
    )
    out: Path | None = option(
        None, "file for the results [default: metrics.json in the run folder of MODEL]", group="Output"
    )
    table: Path | None = option(
        None, "CSV file for the values of single images, by metrics that have them [default: none]", group="Output"
    )
    report: Path | None = option(
        None,
        "HTML page for the results; after --metrics robustness with the five images that change most under attack "
        "[default: none]",
        group="Output",
    )


def _evaluate(
    model: Annotated[str | None, Parameter(help=MODEL_HELP)] = None,
    root: Annotated[Path | None, Parameter(help="data folder whose held-out images are translated")] = None,
    /,
    *,
    compare: Annotated[
        tuple[Path, Path] | None,
        Parameter(
            help="two metrics.json files: say whether they differ by more than chance",
            negative=(),
            group=GROUPS["Metrics"],
        ),
    ] = None,
    json: Annotated[bool, JSON] = False,
    **options: Any,
) -> None:
    """Measure the quality of a model's translations, compare two folders of images, or compare two evaluations.

    Give MODEL and ROOT, or --real and --fake, or --compare.
    """
    if compare is not None:
        if any(value is not None for value in (model, options.get("real"), options.get("fake"))):
            raise UsageError("--compare takes two metrics.json files; leave out MODEL, --real and --fake")
        results = api.compare(*compare)
        lines = _comparison_rows(results["metrics"], compare)
    else:
        metrics = _metric_names(options.pop("metrics", None))
        with show_progress(open_console()) as progress:
            results = api.evaluate(model, root, metrics=metrics, progress=progress, say=say, **options)
        lines = [*_protocol_lines(results["protocol"]), "", *metric_rows(results), *closing_lines(results)]
    for line in [json_module.dumps(results, allow_nan=False)] if json else lines:
        print(printable(line))


evaluate = with_flags(
    _evaluate,
    [p for cls in (MetricOptions, EvaluationOptions, DeviceOptions) for p in flag_parameters(cls, switches=True)],
)


def _metric_names(text: str | None) -> list[str] | None:
    """Return the names of a comma-separated list; None where none is given. UsageError where a name is empty."""
    names = [name.strip() for name in text.split(",")] if text is not None else None
    if names is not None and not all(names):
        raise UsageError(f"--metrics {text!r}: must be names separated by commas; possible: {', '.join(METRICS)}")
    return names


def _protocol_lines(protocol: Mapping[str, Any]) -> list[str]:
    """Return lines that say which images were compared, at which size, by which features."""
    size = f"at {protocol['size']}×{protocol['size']} px" if protocol["size"] else "at their own size"
    split = f", {protocol['split']}" if "split" in protocol else ""
    pairs = ", in pairs" if protocol["paired"] else ""
    counts = f"{protocol['output_images']} images against {protocol['real_images']} real images{pairs}"
    lines = [f"{printable(protocol['data'])}{split}: {counts}, {size}"]
    if protocol["extractor"]:
        lines.append(f"features of {protocol['extractor']}, SHA-256 {protocol['extractor_sha256'][:8]}…")
    return lines


def _comparison_rows(differences: Mapping[str, Any], paths: tuple[Path, Path]) -> list[str]:
    """Return a line for each metric: its value in both evaluations, their difference, and which one is better."""
    rows = [("", *(printable(str(path)) for path in paths), "difference", "")]
    for key, row in differences.items():
        first, second = (_number(row[side]) for side in ("first", "second"))
        error = f" ± {_number(row['error'])}" if row["error"] is not None else ""
        rows.append((key, first, second, f"{_number(row['difference'], '+')}{error}", _verdict(key, row)))
    return align_columns(rows)


def _verdict(key: str, row: Mapping[str, Any]) -> str:
    """Say which of two evaluations is better, or that they differ by no more than chance."""
    if row["exceeds"] is None:
        return "error unknown: cannot tell"
    if not row["exceeds"]:
        return "no significant difference"
    if evaluator.metric_of_key(key) not in METRICS:
        return "unknown metric: cannot tell which is better"
    lower = METRICS[evaluator.metric_of_key(key)].better == "lower"
    return "the second is better" if (row["difference"] < 0) == lower else "the first is better"


def _number(value: float | None, sign: str = "") -> str:
    return "infinite" if value is None else f"{value:{sign}.4g}"
