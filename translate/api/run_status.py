"""Status of a run: read from its folder without torch, also while another process is training in it."""

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from safetensors import SafetensorError, safe_open

from translate import records, run_folder
from translate.api.run_contents import describe_disk_use, describe_saved_models, find_best_metric
from translate.api.run_list import runs
from translate.api.run_progress import describe_progress
from translate.atomic import file_sha256
from translate.data.split import evenly_spaced
from translate.errors import ModelError
from translate.run_folder import CONFIG_FILE, STATS_FILE, find_run
from translate.text import one_line
from translate.trained.description import DTYPES, StoredTensor, describe
from translate.trained.model_info import ModelInfo
from translate.training import stats_file
from translate.training.monitors import health_rules
from translate.training.stats_file import LogPoint

MEAN_POINTS = 10
"""Log points that a shown mean is taken over: single points of a GAN's losses say little."""

CURVE_POINTS = 24
"""Number of values that a whole curve is reduced to."""

SCALAR_GROUPS = ("val", "val_ema", "loss", "judge", "watch", "grad", "lr", "time", "memory")
"""First parts of the names of scalars, in the order in which their curves are shown."""

AVERAGED_GROUPS = ("loss", "grad", "time", "memory")
"""Groups of scalars that are shown as means; of the others, which come with the sample grids, the last value is shown."""


def status(model: str | Path | None = None) -> dict[str, Any]:
    """Return what is known of a model: its networks, sizes, behaviour in conversion and where it came from.

    `model` may also be a run folder or the name of a run: the dictionary then has a key "run" with the progress, speed, curves
    and health checks of the training, what it has kept and what takes disk, and describes a model only once there is one.
    Without `model`, the runs in checkpoints/, as `runs` returns them. Raises ModelError if there is neither run nor model.
    """
    if model is None:
        return runs()
    folder = find_run(model)
    if folder is None:
        from translate.api import models  # needs torch, which takes seconds to load

        return models.describe_model(model)
    return {**_describe_model(folder), "run": describe_run(folder)}


def describe_run(folder: Path) -> dict[str, Any]:
    """Return how a training goes and what it has kept, by name.

    Times are in seconds, `seen_at` and `saved_at` in seconds since 1970. What is not known is None. Raises ModelError if the
    record of the run is damaged.
    """
    settings, points = _read_records(folder)
    progress = describe_progress(folder, settings, points)
    images, planned = progress["images"], progress["planned"]
    seconds_left = None
    if planned is not None and progress["state"] == "running" and images < planned:
        seconds_left = _measure_speed(points).seconds_for(planned - images)
    return {
        **progress,
        "seconds_left": seconds_left,
        "images_per_second": _latest(points, "time/images_per_second"),
        "data_wait": _latest(points, "time/data_wait"),
        "memory_gib": _latest(points, "memory/gib"),
        "curves": {name: _summarize_curve(points, name) for name in _shown_scalars(points)},
        "watch": _judge_health(points),
        "advice": [{"images": point["images"], "line": line} for point in points for line in point.get("advice", [])],
        "checkpoint": _newest_checkpoint(folder),
        "convolutions": _describe_convolutions(settings),
        "forked_from": str(settings["forked_from"]) if "forked_from" in settings else None,
        "saved": describe_saved_models(folder, points),
        "best": find_best_metric(folder, settings),
        "disk": describe_disk_use(folder),
    }


def _describe_convolutions(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the convolutions, and for how many shapes each algorithm was chosen; None: not recorded."""
    chosen = settings.get("convolutions")
    return {
        "convolution": settings.get("convolution"),
        "tune": settings.get("tune"),
        "chosen": chosen if isinstance(chosen, dict) else {},
    }


def _read_records(folder: Path) -> tuple[dict[str, Any], list[LogPoint]]:
    """Return the settings and the log points of a run. ModelError if they cannot be read, or a setting is of another kind."""
    settings = run_folder.read_config(folder)
    try:
        records.check_kinds(settings, _SETTINGS)
    except ValueError as e:
        raise ModelError(f"{folder / CONFIG_FILE}: not the record of a run: {e}") from None
    try:
        return settings, stats_file.read(folder / STATS_FILE)
    except OSError as e:
        raise ModelError(f"{folder / STATS_FILE}: cannot be read: {one_line(e)}") from None


_SETTINGS = {
    "method": (records.is_text, "a text"),
    "root": (records.is_text, "a text"),
    "images": (records.is_count, "a whole number"),
}
"""Settings of a run that its status shows."""


def _measure_speed(points: Sequence[LogPoint]) -> stats_file.SpeedMeter:
    """Return a speed meter that has seen all points."""
    meter, before = stats_file.SpeedMeter(), 0
    for point in points:
        speed, new = stats_file.scalar(point, "time/images_per_second"), point["images"] - before
        if speed is not None and 0 < speed < math.inf and new > 0:
            meter.add(new, new / speed)
        before = point["images"]
    return meter


def _shown_scalars(points: Sequence[LogPoint]) -> list[str]:
    """Return the names of the scalars of SCALAR_GROUPS, group by group."""
    names = stats_file.scalar_names(points)
    return [name for group in SCALAR_GROUPS for name in names if name.startswith(f"{group}/")]


def _summarize_curve(points: Sequence[LogPoint], name: str) -> dict[str, Any]:
    """Return a scalar now, at half of the images seen, and its curve in CURVE_POINTS values."""
    curve = stats_file.curve(points, name)
    count = min(MEAN_POINTS, max(1, len(curve) // 2)) if name.startswith(AVERAGED_GROUPS) else 1
    half = curve[-1][0] / 2
    middle = sorted(curve, key=lambda point: abs(point[0] - half))[:count] if len(curve) > 1 else []
    edges = [*evenly_spaced(len(curve), CURVE_POINTS), len(curve)]
    parts = [curve[start:stop] for start, stop in pairwise(edges)]
    return {"now": _mean(curve[-count:]), "half": _mean(middle), "shape": [_mean(part) for part in parts]}


def _mean(curve: Sequence[tuple[int, float]]) -> float | None:
    """Return the mean of the values; None if there are none or it is not finite, which JSON cannot hold."""
    mean = fmean(value for _, value in curve) if curve else math.nan
    return mean if math.isfinite(mean) else None


def _latest(points: Sequence[LogPoint], name: str) -> float | None:
    return _summarize_curve(points, name)["now"] if stats_file.curve(points, name) else None


def _judge_health(points: Sequence[LogPoint]) -> dict[str, Any]:
    """Return the last value of each health check, its limit, and a verdict: "ok", "warns", or "too early" to say."""
    found: dict[str, Any] = {}
    for name in _shown_scalars(points):
        kind = next((kind for kind in health_rules.HEALTH_RULES if re.fullmatch(f"watch/{kind}(_[a-z]+)?", name)), None)
        if kind is None:
            continue
        images, value = stats_file.curve(points, name)[-1]
        error = stats_file.curve(points, name.replace("/change", "/error")) if kind == "change" else []
        limit = health_rules.limit_for(kind, error[-1][1] if error else None)
        assert limit is not None, "every rule has a limit"
        progress = next(point.get("progress", 1.0) for point in points if point["images"] == images)
        is_settled = health_rules.is_settled(images, progress)
        verdict = "ok" if not limit.is_exceeded(value) else "warns" if is_settled else "too early"
        found[name] = {"value": value, "verdict": verdict, "side": limit.side, "limit": limit.bound}
    return found


def _newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return path, images, size and time of the newest checkpoint; None if there is none."""
    for path in run_folder.list_checkpoints(folder):
        with suppress(FileNotFoundError):  # replaced meanwhile by a newer one
            file = path.stat()
            return {
                "path": str(path),
                "images": run_folder.checkpoint_images(path),
                "bytes": file.st_size,
                "saved_at": file.st_mtime,
            }
    return None


def _check_shown(info: ModelInfo) -> None:
    """Raise ValueError where a description lacks what is shown of every model, whose networks are not built here."""
    if missing := {"generator", "norm", "g_width"} - info.networks.keys() if info.directions else set():
        raise ValueError(f"networks lacks {min(missing)}")
    if not info.directions and not ("a" in info.domains and isinstance(info.networks.get("classes", ""), str)):
        raise ValueError("it has no domain a, or its classes are not a text")


def _describe_model(folder: Path) -> dict[str, Any]:
    """Return the description of the run's model, as of any other; empty before the first checkpoint."""
    place = next((path for path in run_folder.model_folders(folder) if (path / "config.json").is_file()), None)
    if place is None:
        return {}
    weights = place / "model.safetensors"
    names = {dtype.safetensors: dtype.torch for dtype in DTYPES.values()}
    try:
        info = ModelInfo.read(place / "config.json")
        _check_shown(info)
        with safe_open(weights, "np") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            tensors = {
                key: StoredTensor(names.get(stored.get_dtype(), "other"), stored.get_shape())
                for key, stored in slices.items()
            }
        sha256 = file_sha256(weights)
    except (OSError, ValueError, SafetensorError) as e:
        raise ModelError(f"{place}: not a usable model: {one_line(e)}") from None
    classes = None if info.directions else [name for name in info.networks.get("classes", "").split(",") if name]
    return describe(place, info, tensors, sha256, classes)
