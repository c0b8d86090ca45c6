"""`translate status RUN`: show the progress of a training and what it has kept. `translate status MODEL`: describe a model."""

import json as json_module
import math
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api
from translate.cli.flags import JSON, MODEL_HELP
from translate.cli.runs import format_best, print_runs
from translate.text import ago, align_columns, duration, file_size, format_number, join_names, memory_size, printable

SPARKS = "▁▂▃▄▅▆▇█"
"""Characters of a sparkline, from the lowest value to the highest."""
MIN_CHANGE = 0.01
"""Relative change below which a sparkline is drawn flat."""
MAX_METRICS = 4
"""Number of metrics of a model that are shown."""
MAX_ADVICE = 3
"""Number of warnings that are shown, the newest ones."""


def status(
    model: Annotated[str | None, Parameter(help=f"{MODEL_HELP} [default: all runs, as translate runs]")] = None,
    /,
    *,
    json: Annotated[bool, JSON] = False,
) -> None:
    """Show the progress of a training, or describe a model.

    For a run: progress, speed, time left, losses, sentinels, the models and checkpoints that it has kept, and what takes disk.
    For its model, or any other: networks, sizes and origin. Without MODEL: a list of the runs.
    """
    description = api.status(model)
    if json:
        print(json_module.dumps(description))
    else:
        print_status(description)


def print_status(description: dict[str, Any]) -> None:
    """Print the result of `api.status` on stdout."""
    if "runs" in description:
        print_runs(description)
    if "run" in description:
        print_run(description["run"])
    if "networks" in description:
        if "run" in description:
            print()
        _print(_model_rows(description))


def _print(rows: dict[str, str]) -> None:
    """Print a line for each row: name, value."""
    for name, value in rows.items():
        print(f"{name:<16}{printable(value)}")


# Runs.


def print_run(run: dict[str, Any]) -> None:
    """Print the facts of a run, a table of its curves, and its newest warnings."""
    _print(_run_rows(run))
    if run["curves"]:
        _print_curves(run)
    if run["saved"]:
        print()
        for line in align_columns(saved_rows(run)):
            print(line)


def saved_rows(run: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for each model and checkpoint that a run has kept: the name to type, sizes, metrics."""
    rows: list[tuple[str, ...]] = [("kept", "checkpoint", "model", "metrics")]
    for saved in run["saved"]:
        marks = ["last"] * saved["newest"] + ["best"] * saved["best"]
        name = printable(saved["name"]) + (f" ({', '.join(marks)})" if marks else "")
        sizes = (file_size(saved[key]) if saved[key] else "–" for key in ("checkpoint_bytes", "model_bytes"))
        best_by = run["best"]["metric"] if run["best"] else ""
        metrics = "; ".join(_metrics(split, values, best_by) for split, values in saved["metrics"].items())
        rows.append((name, *sizes, metrics or "–"))
    return rows


def _metrics(name: str, values: Mapping[str, float], first: str) -> str:
    """Return metrics as "validation: swd 0.172, l1 12.35", at most MAX_METRICS of them, the one named `first` in front."""
    ordered = sorted(values.items(), key=lambda item: item[0] != first)
    named = [f"{key} {format_number(value)}" for key, value in ordered]
    return f"{printable(name)}: {join_names(named, MAX_METRICS)}"


def _print_curves(run: dict[str, Any]) -> None:
    """Print a table of a run's curves, and its newest warnings."""
    shown = {name: printable(name) for name in run["curves"]}
    width = max(map(len, shown.values()))
    print(f"\n{'':<{width}}{'now':>10}{'halfway':>10}  curve")
    for name, curve in run["curves"].items():
        now, half = (_number(curve[when]) for when in ("now", "half"))
        print(
            f"{shown[name]:<{width}}{now:>10}{half:>10}  {sparkline(curve['shape']):<24}{_verdict(run, name)}".rstrip()
        )
    for advice in run["advice"][-MAX_ADVICE:]:
        print(f"\nafter {advice['images']:,} images: {printable(advice['line'])}")


def _run_rows(run: dict[str, Any]) -> dict[str, str]:
    """Return name → value of the facts of a run: state, progress, speed, memory, checkpoint."""
    data = Path(run["data"]).name if run["data"] else "?"
    process = f" ({run['process']})" if run["process"] else ""
    rows = {
        "run": run["path"],
        "training": f"{run['method'] or '?'} on {data}: {run['state']}{process}",
        "progress": _progress(run),
    }
    if run["images_per_second"]:
        waiting = f", {run['data_wait']:.0%} of the time spent waiting for data" if run["data_wait"] is not None else ""
        rows["speed"] = f"{format_number(run['images_per_second'])} images/s{waiting}"
    if run["seconds_left"] is not None:
        rows["time left"] = duration(run["seconds_left"])
    if run["memory_gib"]:
        rows["memory"] = memory_size(run["memory_gib"] * 2**30)
    rows["last log"] = ago(run["seen_at"]) if run["seen_at"] else "none yet"
    if saved := run["checkpoint"]:
        rows["checkpoint"] = f"after {saved['images']:,} images, {file_size(saved['bytes'])}, {ago(saved['saved_at'])}"
    else:
        rows["checkpoint"] = "none yet"
    if chosen := run["convolutions"]["chosen"]:
        shapes = ", ".join(f"{printable(name)} for {count} shapes" for name, count in chosen.items())
        rows["convolutions"] = f"{run['convolutions']['convolution']}, tuned {run['convolutions']['tune']}: {shapes}"
    if run["forked_from"]:
        rows["forked from"] = printable(Path(run["forked_from"]).name)
    if run["best"]:
        rows["best"] = format_best(run["best"])
    parts = [f"{kind} {file_size(count)}" for kind, count in run["disk"].items() if count and kind != "total"]
    rows["disk"] = f"{file_size(run['disk']['total'])} ({', '.join(parts)})" if parts else "0 B"
    return rows


def _progress(run: dict[str, Any]) -> str:
    """Return the images seen, of how many, and the epoch."""
    text = f"{run['images']:,} images"
    if run["planned"]:
        text = f"{run['images']:,} of {run['planned']:,} images ({run['images'] / run['planned']:.0%})"
    return text if run["epoch"] is None else f"{text}, epoch {run['epoch']}"


def _verdict(run: dict[str, Any], name: str) -> str:
    """Return what a sentinel says of a curve, and the limit at which it warns; empty where none watches it."""
    watched = run["watch"].get(name)
    return f"  {watched['verdict']} (warns {watched['side']} {watched['limit']:.3g})" if watched else ""


def _number(value: float | None) -> str:
    return "–" if value is None else format_number(value)


def sparkline(values: list[float | None]) -> str:
    """Return a curve as a line of text, scaled to its range; a gap where a value is None, flat where it hardly changes."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    span = high - low if high - low > MIN_CHANGE * max(abs(low), abs(high)) else math.inf
    steps = [None if value is None else round((value - low) / span * (len(SPARKS) - 1)) for value in values]
    return "".join(" " if step is None else SPARKS[step] for step in steps)


# Models.


def _model_rows(model: dict[str, Any]) -> dict[str, str]:
    """Return name → value of the facts of a model: networks, weights, sizes, behaviour in conversion, origin."""
    networks, size, domains = model["networks"], model["size"], model["domains"]
    rows = {"model": model["path"], "method": model["method"]}
    if model["classes"] is not None:
        side, channels = size["minimum"], domains["a"]["channels"]
        rows["generates"] = f"images of {side}×{side} pixels, {channels} channels, from noise"
        rows["weights"] = f"{model['parameters']:,} parameters, {model['dtype']}"
        rows |= {"classes": ", ".join(model["classes"])} if model["classes"] else {}
    if model["directions"]:
        rows["translates"] = _directions(model["directions"], domains)
        rows["generator"] = (
            f"{networks.get('generator', model['method'] + ' generator')}, width {networks['g_width']}, {networks['norm']} norm"
        )
        rows["weights"] = f"{model['parameters']:,} parameters, {model['dtype']}"
        rows["sizes"] = f"any, padded to multiples of {size['multiple_of']}, at least {size['minimum']}"
        meaning = (
            _NORM_STATISTICS[model["norm_statistics"]]
            if networks["norm"] == "batch"
            else "no effect without batch norm"
        )
        rows["norm_statistics"] = f"{model['norm_statistics']} ({meaning})"
        rows["dropout"] = f"{model['dropout']} in conversion"
    if model["discriminators"]:
        kind = f"{networks['discriminator']}, width {networks['d_width']}, {networks['norm']} norm"
        rows["discriminators"] = f"{', '.join(model['discriminators'])}: {kind}; training can start from them"
    if "trained_on" in model:
        trained = model["trained_on"]
        rows["trained on"] = f"{trained['data']}, {trained['images']} images, {trained['crop_size']} px"
    if "imported_from" in model:
        rows["imported from"] = ", ".join(model["imported_from"])
    if "license" in model:
        rows["licence"] = model["license"]
    rows["SHA-256"] = model["sha256"]
    if model["notices"]:
        rows["note"] = "; ".join(model["notices"])
    return rows


def _directions(directions: Container[str], domains: Mapping[str, Any]) -> str:
    """Return the domains between which a model translates, with their channels."""
    if set(domains) != {"a", "b"}:
        return f"to {', '.join(domains)} ({next(iter(domains.values()))['channels']} channels)"
    return ", ".join(
        f"{source} ({domains[source]['channels']} channels) → {to} ({domains[to]['channels']})"
        for to, source in (("b", "a"), ("a", "b"))
        if to in directions
    )


_NORM_STATISTICS = {
    "sample": "batch norm uses each image's own statistics",
    "running": "batch norm uses averages over the training",
}
