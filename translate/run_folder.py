"""Run folder: the names of everything in it, and the way from RUN to the folder. Imports no torch and no config."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from translate import atomic, records
from translate.errors import ModelError
from translate.text import one_line

CHECKPOINTS = Path("checkpoints")
"""Folder of the runs and models that are given by name, in the current directory."""

CONFIG_FILE = "config.toml"
"""All settings of the run, its method, data folder and number of processes."""
MODEL = "model"
"""Folder of the newest model."""
BEST_MODEL = "model-best"
"""Folder of the model that validation found best."""
VALIDATED_MODEL = ".validated"
"""Folder of the model under validation, while that takes."""
SAMPLES = "samples"
"""Folder of the sample grids."""
STATS_FILE = "stats.jsonl"
"""One JSON object for each log point."""
REPORT = "report.html"
"""Page of the run: samples, metrics, curves and settings."""
METRICS_FILE = "metrics.json"
"""Results of the last evaluation, in a run folder; results of a validation, in a model folder."""
RECORD_KEYS = ("method", "root", "processes", "root_from_run", "forked_from", "preset", "convolutions")
"""Keys of config.toml that are no settings."""
EVENT_FILES = "events.out.tfevents.*"
"""Pattern of the TensorBoard files."""
DISCRIMINATORS = "discriminator"
"""Folder of a second event file, with the scalars of the discriminators. TensorBoard colours curves by run, so these have
another colour than those of the generators in the same chart."""


# RUN and the folder.


def resolve_run(run: str | Path) -> Path:
    """Return the folder that RUN names, whether or not it exists yet.

    A folder that exists is taken as it is, then `checkpoints/RUN` if that exists. Of those that do not exist, a bare name is
    one of checkpoints/, any other path is taken as it is.
    """
    path = Path(run)
    if path.is_dir():
        return path
    named = CHECKPOINTS / path
    return named if named.is_dir() or (len(path.parts) == 1 and not path.is_absolute()) else path


def default_run(method: str, root: Path) -> Path:
    """Return the run folder of a training that is given no `--run`: checkpoints/METHOD-ROOT."""
    return CHECKPOINTS / f"{method}-{root.resolve().name}"


def find_run(run: str | Path) -> Path | None:
    """Return the folder of an existing run that RUN names; None if there is none, as where RUN is a file or a model folder."""
    folder = resolve_run(run)
    is_run = (folder / CONFIG_FILE).is_file() or (folder / STATS_FILE).is_file()
    return folder if is_run and not Path(run).is_file() else None


def split_checkpoint_name(name: str | Path) -> tuple[str, int] | None:
    """Return run and images of a name RUN@N, the run after N training images; None for any other name."""
    found = re.fullmatch(r"(.+)@([0-9]+)", str(name))
    return (found[1], int(found[2])) if found else None


def run_name(folder: Path) -> str:
    """Return what names a run in commands: its name where it lies in checkpoints/, else its path."""
    return folder.name if folder.parent == CHECKPOINTS else str(folder)


def run_of_model(model: Path) -> Path | None:
    """Return the run folder that a model folder (model, model-best, model-<images>) or checkpoint lies in; None without."""
    name = re.fullmatch(r"\.(.+)-old", model.name)  # as atomic.previous_folder names one that is being replaced
    is_ours = re.fullmatch(rf"{MODEL}|{BEST_MODEL}|{MODEL}-[0-9]+|state-[0-9]+\.ckpt", name[1] if name else model.name)
    return model.parent if is_ours and (model.parent / CONFIG_FILE).is_file() else None


def read_config(folder: Path) -> dict[str, Any]:
    """Return the settings of a run as they stand in its config.toml, unchecked; empty if there is no such file.

    Raises ModelError if the file cannot be read.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return {}
    try:
        return records.read_toml(path)
    except (OSError, ValueError) as e:
        raise ModelError(f"{path}: not the record of a run: {one_line(e)}") from None


def find_data_folder(folder: Path, settings: Mapping[str, Any]) -> Path | None:
    """Return the data folder of a run with these settings; None if it is not found.

    A relative one is relative to the run folder (`root_from_run`), so that both can be moved together; then it is looked for
    where it was when the run last trained (`root`).
    """
    places = (settings.get(key) for key in ("root_from_run", "root"))
    found = [(folder / place).resolve() for place in places if isinstance(place, str) and "\0" not in place]
    return next((place for place in found if place.is_dir()), None)


# What is in it.


def model_folders(folder: Path) -> tuple[Path, Path]:
    """Return where the newest model of a run is: its folder, and where that is for the instant in which it is replaced."""
    model = folder / MODEL
    return model, atomic.previous_folder(model)


def kept_model_path(folder: Path, images: int) -> Path:
    """Return the folder of the model that is kept for good after so many images seen."""
    return folder / f"{MODEL}-{images}"


def list_model_folders(folder: Path) -> list[Path]:
    """Return the paths of all models of a run: model, model-best and model-<images>, those being replaced included."""
    named = re.compile(rf"(\.?)({MODEL}|{BEST_MODEL}|{MODEL}-[0-9]+)(-old|-new)?")
    found = [named.fullmatch(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    return sorted({folder / match[2] for match in found if match and bool(match[1]) == bool(match[3])})


def sample_path(folder: Path, images: int) -> Path:
    """Return the path of the sample grid after so many images seen."""
    return folder / SAMPLES / f"{images:08d}.png"


def checkpoint_path(folder: Path, images: int) -> Path:
    """Return the path of the checkpoint after so many images seen."""
    return folder / f"state-{images}.ckpt"


def checkpoint_images(path: Path) -> int:
    """Return the training images seen, as the name of a checkpoint says."""
    return int(path.stem.removeprefix("state-"))


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the paths of a run's checkpoints, newest first by images seen."""
    found = [path for path in folder.glob("state-*.ckpt") if path.stem.removeprefix("state-").isdecimal()]
    return sorted(found, key=checkpoint_images, reverse=True)
