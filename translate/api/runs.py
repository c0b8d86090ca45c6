"""What is known of a run: read from its folder without torch, also while another process is at work in it."""

import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

from safetensors import SafetensorError, safe_open

from translate import config, files
from translate.errors import ModelError
from translate.training import signs, stats
from translate.training.stats import Point

WINDOW = 10
"""Log points of which a mean is shown: single ones of a GAN tell little."""

SHAPE = 24
"""Values in which a whole curve is told."""

ROOMS = ("val", "val_ema", "loss", "judge", "watch", "grad", "lr", "time", "memory")
"""The order of curves, by the first part of their names."""

MEANT = ("loss", "grad", "time", "memory")
"""Rooms of scalars of which means are shown; of the others, which come with the sample grids, the last."""

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Ends of the names of batch norm's statistics, which are no parameters."""

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def status(model: str | Path) -> dict[str, Any]:
    """What is known of a model: its networks, sizes, behaviour in conversion and where it came from.

    Of a run folder, or the name of one, also "run": how far it is, how fast, and what its losses and sentinels say; and the
    model only once there is one. Raises ModelError if there is neither.
    """
    folder = find(model)
    if folder is None:
        from translate.api import models  # needs torch, which takes seconds to load

        return models.describe(model)
    return {**_model(folder), "run": describe(folder)}


def find(run: str | Path) -> Path | None:
    """The folder of the run that RUN names; None if it names no run."""
    path = Path(run)
    path = path if path.exists() else Path("checkpoints") / path
    return path if (path / "config.toml").is_file() or (path / stats.NAME).is_file() else None


def describe(folder: Path) -> dict[str, Any]:
    """How a training goes. Times are in seconds, `seen_at` and `saved_at` since 1970; None is what is not known."""
    recorded = folder / "config.toml"
    settings = config.read_toml(recorded) if recorded.is_file() else {}
    points = stats.read(folder / stats.NAME)
    last = points[-1] if points else {"images": 0}
    images, planned, process = last["images"], _planned(settings, last), holder(folder)
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
        "seen_at": (folder / stats.NAME).stat().st_mtime if points else None,
        "seconds_left": left,
        "images_per_second": _now(points, "time/images_per_second"),
        "data_wait": _now(points, "time/data_wait"),
        "memory_gib": _now(points, "memory/gib"),
        "curves": {name: _curve(points, name) for name in _names(points)},
        "watch": _watched(points),
        "advice": [{"images": point["images"], "line": line} for point in points for line in point.get("advice", [])],
        "checkpoint": _checkpoint(folder),
    }


def holder(folder: Path) -> str | None:
    """Who is at work in a folder, as "process 42 on host"; None if nobody is.

    The lock is tried for an instant, shared with whoever else looks; a file without a lock was left by a run that was killed.
    """
    try:
        with open(folder / files.LOCK, "rb") as file:
            if os.name == "posix":
                import fcntl

                try:
                    fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    return file.read().decode(errors="replace").strip() or "another process"
            else:
                file.read(1)  # refused while it is locked
    except FileNotFoundError:
        return None
    except PermissionError:
        return "another process"
    return None


def _planned(settings: dict[str, Any], last: Point) -> int | None:
    """Images of the whole plan: as set, or as the last point tells where epochs are counted."""
    if settings.get("images") is not None:
        return int(settings["images"])
    progress = last.get("progress")
    return round(last["images"] / progress) if progress else None


def _pace(points: Sequence[Point]) -> stats.Pace:
    pace, before = stats.Pace(), 0
    for point in points:
        speed, new = point.get("time/images_per_second"), point["images"] - before
        if speed and new > 0:
            pace.add(new, new / speed)
        before = point["images"]
    return pace


def _names(points: Sequence[Point]) -> list[str]:
    """The scalars of ROOMS, room by room."""
    names = stats.names_of(points)
    return [name for room in ROOMS for name in names if name.startswith(f"{room}/")]


def _curve(points: Sequence[Point], name: str) -> dict[str, Any]:
    """A scalar now, at half of the images seen, and its whole shape."""
    curve = stats.curve(points, name)
    count = min(WINDOW, max(1, len(curve) // 2)) if name.startswith(MEANT) else 1
    half = curve[-1][0] / 2
    middle = sorted(curve, key=lambda at: abs(at[0] - half))[:count] if len(curve) > 1 else []
    bins = min(SHAPE, len(curve))
    parts = [curve[i * len(curve) // bins : (i + 1) * len(curve) // bins] for i in range(bins)]
    return {"now": _mean(curve[-count:]), "half": _mean(middle), "shape": [_mean(part) for part in parts]}


def _mean(curve: Sequence[tuple[int, float]]) -> float | None:
    """None where there is nothing, or nothing finite, to tell: neither has a place in JSON."""
    mean = fmean(value for _, value in curve) if curve else math.nan
    return mean if math.isfinite(mean) else None


def _now(points: Sequence[Point], name: str) -> float | None:
    return _curve(points, name)["now"] if stats.curve(points, name) else None


def _watched(points: Sequence[Point]) -> dict[str, Any]:
    """The last value of each sentinel, its limit, and whether it is beyond: "ok", "warns", or "too early" to say."""
    found: dict[str, Any] = {}
    for name in _names(points):
        kind = next((kind for kind in signs.SIGNS if re.fullmatch(f"watch/{kind}(_[a-z]+)?", name)), None)
        if kind is None:
            continue
        images, value = stats.curve(points, name)[-1]
        error = stats.curve(points, name.replace("/change", "/error")) if kind == "change" else []
        limit = signs.limit_of(kind, error[-1][1] if error else None)
        assert limit is not None, "every sign has one"
        progress = next(point.get("progress", 1.0) for point in points if point["images"] == images)
        verdict = "ok" if not limit.is_passed(value) else "warns" if signs.settled(images, progress) else "too early"
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
        info = json.loads((place / "config.json").read_text(encoding="utf-8"))
        with safe_open(weights, "np") as file:
            tensors = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            shapes = {key: (tensor.get_dtype(), tensor.get_shape()) for key, tensor in tensors.items()}
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        if not isinstance(info, dict):
            raise ValueError("its description is no JSON object")
    except (OSError, ValueError, SafetensorError) as e:
        raise ModelError(f"{place}: not a usable model: {' '.join(str(e).split())}") from None
    return {
        "path": str(place),
        **info,
        "dtype": ", ".join(sorted({DTYPES[dtype] for dtype, _ in shapes.values() if dtype in DTYPES})),
        "parameters": sum(math.prod(shape) for key, (_, shape) in shapes.items() if not key.endswith(STATISTICS)),
        "classes": None
        if info["directions"]
        else [name for name in info["networks"].get("classes", "").split(",") if name],
        "discriminators": [],
        "sha256": digest,
        "notices": [],
    }
