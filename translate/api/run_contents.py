"""Contents of a run folder: its models with their metrics, the best metric, and what takes disk. Imports no torch."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeGuard

from translate import run_folder
from translate.run_folder import BEST_MODEL, METRICS_FILE, MODEL, SAMPLES, STATS_FILE
from translate.trained.run_models import SavedModel, list_saved_models
from translate.training.stats_file import LogPoint

Metrics = dict[str, float]
"""Name of a metric → its value."""

VALIDATION_GROUPS = ("val", "val_ema")
"""First parts of the names of a validation's scalars; the last one is of the averaged networks, which a model holds where
there are any."""


def describe_saved_models(folder: Path, points: Sequence[LogPoint]) -> list[dict[str, Any]]:
    """Return what a run holds after how many images, in their order: names, paths, sizes, metrics.

    `metrics` are {"validation": …} of the training itself, and of the last `translate evaluate` by the name of its split.
    """
    evaluation = read_results(folder / METRICS_FILE)
    return [
        {
            "name": f"{run_folder.run_name(folder)}@{saved.images}",
            "images": saved.images,
            "newest": saved.is_newest,
            "best": saved.is_best,
            "checkpoint": str(saved.checkpoint) if saved.checkpoint else None,
            "checkpoint_bytes": disk_use(saved.checkpoint) if saved.checkpoint else 0,
            "models": [str(path) for path in saved.folders],
            "model_bytes": sum(map(disk_use, saved.folders)),
            "metrics": _metrics(saved, points, evaluation),
        }
        for saved in list_saved_models(folder)
    ]


def _metrics(saved: SavedModel, points: Sequence[LogPoint], evaluation: dict[str, Any]) -> dict[str, Metrics]:
    """Return the metrics of a model by what they were measured on; empty if it was not measured."""
    found: dict[str, Metrics] = {}
    for group in VALIDATION_GROUPS:
        scalars = {
            name.removeprefix(f"{group}/"): value
            for point in points
            if point["images"] == saved.images
            for name, value in point.items()
            if name.startswith(f"{group}/") and is_number(value)
        }
        found |= {"validation": scalars} if scalars else {}
    if evaluated_images(evaluation) == saved.images and (values := metric_values(evaluation)):
        found[str(evaluation["protocol"].get("split", "evaluation"))] = values
    return found


def read_results(path: Path) -> dict[str, Any]:
    """Return the results of an evaluation; empty if there are none, or the file is damaged."""
    with suppress(OSError, ValueError, RecursionError):
        results = json.loads(path.read_text(encoding="utf-8"))
        parts = (
            [results.get(key) for key in ("metrics", "protocol", "subject")] if isinstance(results, dict) else [None]
        )
        if all(isinstance(part, dict) for part in parts):
            return results
    return {}


def evaluated_images(results: dict[str, Any]) -> int | None:
    """Return the training images that the model of an evaluation had seen; None if that is not known."""
    trained = results.get("subject", {}).get("trained_on")
    images = trained.get("images") if isinstance(trained, dict) else None
    return images if isinstance(images, int) else None


def metric_values(results: dict[str, Any]) -> Metrics:
    """Return the values of an evaluation by name; those that are not finite are left out."""
    values = {name: row.get("value") for name, row in results.get("metrics", {}).items() if isinstance(row, dict)}
    return {name: value for name, value in values.items() if is_number(value)}


def is_number(value: object) -> TypeGuard[float]:
    """Return True for a finite number; a file may hold anything."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def find_best_metric(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return `metric`, `value`, `images` and `split` of the best model, or else of the last evaluation; None without either.

    The metric of the best model is the one that chose it, that of an evaluation its first.
    """
    best, last = (read_results(place / METRICS_FILE) for place in (folder / BEST_MODEL, folder))
    layout = best.get("protocol", {}).get("layout")
    chosen = str(best.get("best_by") or settings.get("best_by") or ("l1" if layout in ("paired", "photos") else "swd"))
    for results, name in ((best, chosen), (last, next(iter(metric_values(last)), ""))):
        if (value := metric_values(results).get(name)) is not None:
            split = results["protocol"].get("split")
            images, named = evaluated_images(results), str(split) if split else None
            return {"metric": name, "value": value, "images": images, "split": named}
    return None


def disk_use(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; 0 of what vanishes meanwhile."""
    total = 0
    with suppress(OSError):
        if not path.is_dir():
            return path.stat().st_size
    for parent, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def describe_disk_use(folder: Path) -> dict[str, int]:
    """Return the bytes of a run folder by kind: checkpoints, models, samples, logs, other; largest first, and their total."""
    kinds = dict.fromkeys(("checkpoints", "models", "samples", "logs", "other"), 0)
    checkpoints, models = run_folder.list_checkpoints(folder), run_folder.list_model_folders(folder)
    names = (STATS_FILE, run_folder.REPORT, run_folder.DISCRIMINATORS)
    logs = {*(folder / name for name in names), *folder.glob(run_folder.EVENT_FILES)}
    for path in folder.iterdir():
        kind = (
            "checkpoints"
            if path in checkpoints
            else "models"
            if path in models or path.name.startswith(f".{MODEL}")
            else "samples"
            if path.name == SAMPLES
            else "logs"
            if path in logs
            else "other"
        )
        kinds[kind] += disk_use(path)
    return {"total": sum(kinds.values()), **dict(sorted(kinds.items(), key=lambda item: -item[1]))}
