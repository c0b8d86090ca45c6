"""List of the runs in a folder, and of whatever else lies there. Imports no torch."""

from pathlib import Path
from typing import Any

from translate import run_folder
from translate.api.run_contents import disk_use, find_best_metric
from translate.api.run_progress import describe_progress
from translate.errors import DataError
from translate.run_folder import CHECKPOINTS, CONFIG_FILE, STATS_FILE
from translate.text import one_line
from translate.trained.model_info import ModelInfo
from translate.training import stats_file

MAX_DEPTH = 2
"""Levels of folders below the given one that runs are looked for in, as in checkpoints/project/run."""


def runs(folder: str | Path = CHECKPOINTS) -> dict[str, Any]:
    """Return the runs in a folder, as {"folder": …, "runs": […]}, those that were active last first.

    Each has `name`, `path`, `kind`, `method`, `data`, `state`, `images`, `planned`, `best` ({metric, value, images, split}),
    `seen_at` (seconds since 1970) and `bytes`; what is not known is None. `kind` is "run", or "model" for a model folder,
    "damaged" for a run that cannot be read and "other" for any other folder; `problem` says what is wrong with these two.
    Raises DataError if there is no such folder, unless it is checkpoints/, which the first training makes.
    """
    place = Path(folder)
    if not place.is_dir() and place != CHECKPOINTS:
        raise DataError(f"{place}: no such folder; give the folder that holds the runs")
    rows = _rows_below(place, MAX_DEPTH) if place.is_dir() else []
    kinds = ("run", "damaged", "model", "other")
    rows.sort(key=lambda row: (kinds.index(row["kind"]), -(row["seen_at"] or 0), row["name"]))
    return {"folder": str(place), "runs": rows}


def _rows_below(place: Path, depth: int) -> list[dict[str, Any]]:
    """Return a row for each folder in `place`, or for the runs and models in it where it is none itself."""
    rows = []
    for folder in sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")):
        row = describe_entry(folder)
        inner = _rows_below(folder, depth - 1) if row["kind"] == "other" and depth > 1 else []
        named = [row for row in inner if row["kind"] != "other"]
        rows += [{**row, "name": f"{folder.name}/{row['name']}"} for row in named] or [row]
    return rows


def describe_entry(folder: Path) -> dict[str, Any]:
    """Return the row of a folder; damage of any kind is told in it."""
    unknown = dict.fromkeys(("method", "data", "state", "images", "planned", "best", "seen_at", "problem"))
    row: dict[str, Any] = {"name": folder.name, "path": str(folder), "kind": "other", **unknown}
    try:
        if (folder / CONFIG_FILE).is_file() or (folder / STATS_FILE).is_file():
            row |= {"kind": "run", **_describe_run(folder)}
        elif (folder / "config.json").is_file():
            row |= {"kind": "model", **_describe_model(folder)}
        else:
            row["problem"] = "neither a run nor a model"
    except Exception as e:  # whatever is wrong with one folder must not hide the others
        row |= {"kind": "damaged", "problem": one_line(e)}
    return {**row, "bytes": disk_use(folder)}


def _describe_run(folder: Path) -> dict[str, Any]:
    settings = run_folder.read_config(folder)
    if not isinstance(settings.get("method"), str):
        raise ValueError(f"{folder / CONFIG_FILE} is missing or names no method")
    progress = describe_progress(folder, settings, stats_file.read(folder / STATS_FILE))
    kept = ("method", "data", "state", "images", "planned", "seen_at")
    return {**{key: progress[key] for key in kept}, "best": find_best_metric(folder, settings)}


def _describe_model(folder: Path) -> dict[str, Any]:
    info = ModelInfo.read(folder / "config.json")
    if not (folder / "model.safetensors").is_file():
        raise ValueError("a model without model.safetensors")
    trained = info.trained_on
    return {"method": info.method} | ({"data": trained["data"], "images": trained["images"]} if trained else {})
