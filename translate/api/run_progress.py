"""Progress of a run: how far it has come, of how many images, and who works on it. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from translate import run_folder
from translate.locks import lock_holder
from translate.run_folder import STATS_FILE
from translate.training.stats_file import LogPoint


def describe_progress(folder: Path, settings: dict[str, Any], points: Sequence[LogPoint]) -> dict[str, Any]:
    """Return method, data folder, state, process, images seen and planned, epoch, and the time of the last log point.

    Times are in seconds since 1970. What is not known is None.
    """
    last = points[-1] if points else {"images": 0}
    images, planned, process = last["images"], _planned_images(settings, last), lock_holder(folder)
    is_finished = planned is not None and images >= planned
    data = run_folder.find_data_folder(folder, settings)
    return {
        "path": str(folder),
        "method": settings.get("method"),
        "data": str(data) if data else settings.get("root"),
        "state": "running" if process is not None else "finished" if is_finished else "stopped",
        "process": process,
        "images": images,
        "planned": planned,
        "epoch": last.get("epoch"),
        "seen_at": (folder / STATS_FILE).stat().st_mtime if points else None,
    }


def _planned_images(settings: dict[str, Any], last: LogPoint) -> int | None:
    """Return the images of the whole plan: as set, or from the progress of the last point if epochs are counted."""
    if settings.get("images") is not None:
        return int(settings["images"])
    progress = last.get("progress", 0)
    return round(last["images"] / progress) if 0 < progress <= 1 else None
