"""`translate status RUN`: how a training goes. `translate status MODEL`: what a model is and how it converts."""

import json as json_module
import math
import time
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api
from translate.text import duration, file_size, format_number, memory_size

SPARKS = "▁▂▃▄▅▆▇█"
FLAT = 0.01
"""Share of its size by which a curve must change to be drawn as one."""
ADVICE = 3
"""Lines of advice that are shown, the newest."""


def status(
    model: Annotated[str, Parameter(help="run folder, model folder, .pth, or a name in checkpoints/")],
    /,
    *,
    json: Annotated[bool, Parameter(help="one JSON object on stdout", negative=())] = False,
) -> None:
    """Show how a training goes: how far, how fast, losses and sentinels; and what a model is: networks, sizes, origin."""
    known = api.status(model)
    if json:
        print(json_module.dumps(known))
    else:
        print_status(known)


def print_status(known: dict[str, Any]) -> None:
    """What `api.status` says, line by line on stdout."""
    if "run" in known:
        print_run(known["run"])
    if "networks" in known:
        if "run" in known:
            print()
        _print(_rows(known))


def _print(rows: dict[str, str]) -> None:
    for name, value in rows.items():
        print(f"{name:<16}{value}")


# A run.


def print_run(run: dict[str, Any]) -> None:
    """A row for each thing known of a run, a table of its curves, and what it advised."""
    _print(_standing(run))
    if not run["curves"]:
        return
    width = max(map(len, run["curves"]))
    print(f"\n{'':<{width}}{'now':>10}{'half way':>10}  curve")
    for name, curve in run["curves"].items():
        now, half = (_figure(curve[when]) for when in ("now", "half"))
        print(f"{name:<{width}}{now:>10}{half:>10}  {sparkline(curve['shape']):<24}{_verdict(run, name)}".rstrip())
    for said in run["advice"][-ADVICE:]:
        print(f"\nafter {said['images']:,} images: {said['line']}")


def _standing(run: dict[str, Any]) -> dict[str, str]:
    data = Path(run["data"]).name if run["data"] else "?"
    process = f" ({run['process']})" if run["process"] else ""
    rows = {
        "run": run["path"],
        "training": f"{run['method'] or '?'} on {data}: {run['state']}{process}",
        "progress": _progress(run),
    }
    if run["images_per_second"]:
        waiting = f", {run['data_wait']:.0%} of the time waiting for data" if run["data_wait"] is not None else ""
        rows["speed"] = f"{format_number(run['images_per_second'])} images/s{waiting}"
    if run["seconds_left"] is not None:
        rows["time left"] = duration(run["seconds_left"])
    if run["memory_gib"]:
        rows["memory"] = memory_size(run["memory_gib"] * 2**30)
    rows["last seen"] = _ago(run["seen_at"]) if run["seen_at"] else "no statistics yet"
    if saved := run["checkpoint"]:
        rows["checkpoint"] = f"after {saved['images']:,} images, {file_size(saved['bytes'])}, {_ago(saved['saved_at'])}"
    else:
        rows["checkpoint"] = "none yet"
    return rows


def _progress(run: dict[str, Any]) -> str:
    text = f"{run['images']:,} images"
    if run["planned"]:
        text = f"{run['images']:,} of {run['planned']:,} images ({run['images'] / run['planned']:.0%})"
    return text if run["epoch"] is None else f"{text}, epoch {run['epoch']}"


def _verdict(run: dict[str, Any], name: str) -> str:
    watched = run["watch"].get(name)
    return f"  {watched['verdict']} (warns {watched['side']} {watched['limit']:.3g})" if watched else ""


def _figure(value: float | None) -> str:
    return "–" if value is None else format_number(value)


def _ago(seconds_since_1970: float) -> str:
    return f"{duration(time.time() - seconds_since_1970)} ago"


def sparkline(values: list[float | None]) -> str:
    """A curve in a line of text, from its least to its greatest value; a gap where a value is None, flat if all are alike."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    span = high - low if high - low > FLAT * max(abs(low), abs(high)) else math.inf
    steps = [None if value is None else round((value - low) / span * (len(SPARKS) - 1)) for value in values]
    return "".join(" " if step is None else SPARKS[step] for step in steps)


# A model.


def _rows(known: dict[str, Any]) -> dict[str, str]:
    networks, size, domains = known["networks"], known["size"], known["domains"]
    rows = {"model": known["path"], "method": known["method"]}
    if known["classes"] is not None:
        side, channels = size["minimum"], domains["a"]["channels"]
        rows["makes"] = f"images of {side}×{side} pixels, {channels} channels, from noise"
        rows["weights"] = f"{known['parameters']:,} parameters, {known['dtype']}"
        rows |= {"classes": ", ".join(known["classes"])} if known["classes"] else {}
    if known["directions"]:
        rows["translates"] = _directions(known["directions"], domains)
        rows["generator"] = f"{networks['generator']}, width {networks['g_width']}, {networks['norm']} norm"
        rows["weights"] = f"{known['parameters']:,} parameters, {known['dtype']}"
        rows["sizes"] = f"any; padded to multiples of {size['multiple_of']}, at least {size['minimum']}"
        meaning = (
            _NORM_STATISTICS[known["norm_statistics"]]
            if networks["norm"] == "batch"
            else "without batch norm, no matter"
        )
        rows["norm_statistics"] = f"{known['norm_statistics']} ({meaning})"
        rows["dropout"] = f"{known['dropout']} in conversion"
    if known["discriminators"]:
        kind = f"{networks['discriminator']}, width {networks['d_width']}, {networks['norm']} norm"
        rows["discriminators"] = f"{', '.join(known['discriminators'])}: {kind}; training can go on from them"
    if "trained_on" in known:
        trained = known["trained_on"]
        rows["trained on"] = f"{trained['data']}, {trained['images']} images, {trained['crop_size']} px"
    if "imported_from" in known:
        rows["imported from"] = ", ".join(known["imported_from"])
    rows["SHA-256"] = known["sha256"]
    if known["notices"]:
        rows["note"] = "; ".join(known["notices"])
    return rows


def _directions(known: Container[str], domains: Mapping[str, Any]) -> str:
    """Between which domains a model translates."""
    if set(domains) != {"a", "b"}:
        return f"to {', '.join(domains)} ({next(iter(domains.values()))['channels']} channels)"
    return ", ".join(
        f"{source} ({domains[source]['channels']} channels) → {to} ({domains[to]['channels']})"
        for to, source in (("b", "a"), ("a", "b"))
        if to in known
    )


_NORM_STATISTICS = {
    "sample": "batch norm divides by each image's own statistics",
    "running": "batch norm divides by those of training",
}
