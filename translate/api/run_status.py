"""What is known of a run: read from its folder without torch, also while another process is at work in it."""

import hashlib
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from safetensors import SafetensorError, safe_open

from translate import config, run_folder
from translate.atomic import lock_holder
from translate.data.split import evenly_spaced
from translate.errors import ModelError
from translate.run_folder import find_run
from translate.text import one_line
from translate.trained.model_info import ModelInfo
from translate.training import stats_file
from translate.training.monitors import health_rules
from translate.training.stats_file import LogPoint

MEAN_POINTS = 10
"""Log points of which a mean is shown: single ones of a GAN tell little."""

CURVE_POINTS = 24
"""Values in which a whole curve is told."""

SCALAR_GROUPS = ("val", "val_ema", "loss", "judge", "watch", "grad", "lr", "time", "memory")
"""The order of curves, by the first part of their names."""

AVERAGED_GROUPS = ("loss", "grad", "time", "memory")
"""Rooms of scalars of which means are shown; of the others, which come with the sample grids, the last."""

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Ends of the names of batch norm's statistics, which are no parameters."""

SAFETENSORS_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def status(model: str | Path) -> dict[str, Any]:
    """What is known of a model: its networks, sizes, behaviour in conversion and where it came from.

    Of a run folder, or the name of one, also "run": how far it is, how fast, and what its losses and sentinels say; and the
    model only once there is one. Raises ModelError if there is neither.
    """
    folder = find_run(model)
    if folder is None:
        from translate.api import models  # needs torch, which takes seconds to load

        return models.describe_model(model)
    return {**_model(folder), "run": describe_run(folder)}


def describe_run(folder: Path) -> dict[str, Any]:
    """How a training goes. Times are in seconds, `seen_at` and `saved_at` since 1970; None is what is not known."""
    recorded = folder / "config.toml"
    settings = config.read_toml(recorded) if recorded.is_file() else {}
    points = stats_file.read(folder / run_folder.STATS_FILE)
    last = points[-1] if points else {"images": 0}
    images, planned, process = last["images"], _planned(settings, last), lock_holder(folder)
    ended = planned is not None and images >= planned
    left = _pace(points).seconds_for(planned - images) if planned is not None and process and not ended else None
    return {
        "path": str(folder),
        "method": settings.get("method"),
        "data": settings.get("root"),
        "state": "at work" if process else "finished" if ended else "stopped",
        "process": process,
        "images": images,
        "planned": planned,
        "epoch": last.get("epoch"),
        "seen_at": (folder / run_folder.STATS_FILE).stat().st_mtime if points else None,
        "seconds_left": left,
        "images_per_second": _now(points, "time/images_per_second"),
        "data_wait": _now(points, "time/data_wait"),
        "memory_gib": _now(points, "memory/gib"),
        "curves": {name: _curve(points, name) for name in _names(points)},
        "watch": _watched(points),
        "advice": [{"images": point["images"], "line": line} for point in points for line in point.get("advice", [])],
        "checkpoint": _checkpoint(folder),
    }


def _planned(settings: dict[str, Any], last: LogPoint) -> int | None:
    """Images of the whole plan: as set, or as the last point tells where epochs are counted."""
    if settings.get("images") is not None:
        return int(settings["images"])
    progress = last.get("progress")
    return round(last["images"] / progress) if progress else None


def _pace(points: Sequence[LogPoint]) -> stats_file.SpeedMeter:
    pace, before = stats_file.SpeedMeter(), 0
    for point in points:
        speed, new = point.get("time/images_per_second"), point["images"] - before
        if speed and new > 0:
            pace.add(new, new / speed)
        before = point["images"]
    return pace


def _names(points: Sequence[LogPoint]) -> list[str]:
    """The scalars of ROOMS, room by room."""
    names = stats_file.scalar_names(points)
    return [name for room in SCALAR_GROUPS for name in names if name.startswith(f"{room}/")]


def _curve(points: Sequence[LogPoint], name: str) -> dict[str, Any]:
    """A scalar now, at half of the images seen, and its whole shape."""
    curve = stats_file.curve(points, name)
    count = min(MEAN_POINTS, max(1, len(curve) // 2)) if name.startswith(AVERAGED_GROUPS) else 1
    half = curve[-1][0] / 2
    middle = sorted(curve, key=lambda at: abs(at[0] - half))[:count] if len(curve) > 1 else []
    edges = [*evenly_spaced(len(curve), CURVE_POINTS), len(curve)]
    parts = [curve[start:stop] for start, stop in pairwise(edges)]
    return {"now": _mean(curve[-count:]), "half": _mean(middle), "shape": [_mean(part) for part in parts]}


def _mean(curve: Sequence[tuple[int, float]]) -> float | None:
    """None where there is nothing, or nothing finite, to tell: neither has a place in JSON."""
    mean = fmean(value for _, value in curve) if curve else math.nan
    return mean if math.isfinite(mean) else None


def _now(points: Sequence[LogPoint], name: str) -> float | None:
    return _curve(points, name)["now"] if stats_file.curve(points, name) else None


def _watched(points: Sequence[LogPoint]) -> dict[str, Any]:
    """The last value of each sentinel, its limit, and whether it is beyond: "ok", "warns", or "too early" to say."""
    found: dict[str, Any] = {}
    for name in _names(points):
        kind = next((kind for kind in health_rules.HEALTH_RULES if re.fullmatch(f"watch/{kind}(_[a-z]+)?", name)), None)
        if kind is None:
            continue
        images, value = stats_file.curve(points, name)[-1]
        error = stats_file.curve(points, name.replace("/change", "/error")) if kind == "change" else []
        limit = health_rules.limit_for(kind, error[-1][1] if error else None)
        assert limit is not None, "every sign has one"
        progress = next(point.get("progress", 1.0) for point in points if point["images"] == images)
        verdict = (
            "ok"
            if not limit.is_exceeded(value)
            else "warns"
            if health_rules.is_settled(images, progress)
            else "too early"
        )
        found[name] = {"value": value, "verdict": verdict, "side": limit.side, "limit": limit.bound}
    return found


def _checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest one."""
    found = ((re.fullmatch(r"state-(\d+)\.ckpt", path.name), path) for path in folder.iterdir())
    for images, path in sorted(((int(name[1]), path) for name, path in found if name), reverse=True):
        with suppress(FileNotFoundError):  # replaced meanwhile by a newer one
            about = path.stat()
            return {"path": str(path), "images": images, "bytes": about.st_size, "saved_at": about.st_mtime}
    return None


def _model(folder: Path) -> dict[str, Any]:
    """The run's model, described as any other is; empty before its first checkpoint."""
    place = next((p for p in (folder / "model", folder / ".model-old") if (p / "config.json").is_file()), None)
    if place is None:
        return {}
    weights = place / "model.safetensors"
    try:
        info = ModelInfo.read(place / "config.json")
        with safe_open(weights, "np") as file:
            tensors = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            shapes = {key: (tensor.get_dtype(), tensor.get_shape()) for key, tensor in tensors.items()}
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    except (OSError, ValueError, SafetensorError) as e:
        raise ModelError(f"{place}: not a usable model: {one_line(e)}") from None
    return {
        "path": str(place),
        **info.to_dict(),
        "dtype": ", ".join(
            sorted({SAFETENSORS_DTYPES[dtype] for dtype, _ in shapes.values() if dtype in SAFETENSORS_DTYPES})
        ),
        "parameters": sum(math.prod(shape) for key, (_, shape) in shapes.items() if not key.endswith(STATISTICS)),
        "classes": None if info.directions else [name for name in info.networks.get("classes", "").split(",") if name],
        "discriminators": [],
        "sha256": digest,
        "notices": [],
    }
