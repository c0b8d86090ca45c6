"""MODEL: what a path or a name stands for, and the trained model that is read from there."""

import difflib
from pathlib import Path

from translate import run_folder
from translate.errors import ModelError
from translate.invocation import command_line
from translate.run_folder import CHECKPOINTS
from translate.trained import reference_pth
from translate.trained.folder import TrainedModel, find_model_folder, read_model_folder
from translate.trained.from_checkpoint import read_model_in_checkpoint
from translate.trained.hub import is_hub_name, read_hub_model
from translate.trained.run_models import describe_saved, list_saved_models

PROGRAMS = {
    ".onnx": "is an ONNX file, which convert and evaluate run; it holds no weights by name for this",
    ".pt2": "is a program of torch.export, for other software",
}
"""Files that are exported for other software, by extension, and why they are no models here."""


def is_onnx_file(model: str | Path) -> bool:
    """Return whether MODEL is the path of an ONNX file."""
    return Path(model).suffix.lower() == ".onnx" and Path(model).is_file()


def find_named_model(name: str) -> Path | None:
    """Return the folder of a named model, in checkpoints/ or among those that ship with the project; None if there is none."""
    return next((folder / name for folder in model_homes() if (folder / name).exists()), None)


def model_homes() -> tuple[Path, ...]:
    """Return the folders whose models are given by name: that of the runs, and those of the models that ship."""
    package = Path(__file__).parents[1]
    return CHECKPOINTS, package.parent / "checkpoints", package / "_checkpoints"


def _known_models() -> list[str]:
    """Return the names of all models that can be given by name."""
    places = (place for home in model_homes() if home.is_dir() for place in home.iterdir())
    return sorted({place.name for place in places if find_model_folder(place) is not None})


def read_model(model: str | Path) -> TrainedModel:
    """Read the model that MODEL names: hf://user/name, a path, else a name in checkpoints/, else RUN@N.

    ModelError if there is none; errors of the hub as in `hub.read_hub_model`.
    """
    if is_hub_name(model):
        return read_hub_model(model)
    path = Path(model)
    if not path.exists():
        path = find_named_model(str(model)) or CHECKPOINTS / path
    if not path.exists() and (kept := run_folder.split_checkpoint_name(model)) is not None:
        return read_run_model(*kept)
    if path.is_file() and path.suffix.lower() in PROGRAMS:
        raise ModelError(f"{path}: {PROGRAMS[path.suffix.lower()]}; give the model that it was exported from")
    if path.is_file():
        return reference_pth.read_pth(path)
    folder = find_model_folder(path)
    if folder is not None:
        return read_model_folder(folder)
    if reference_pth.list_networks(path):
        return reference_pth.read_pth_folder(path)
    if not path.exists():
        close = difflib.get_close_matches(str(model), _known_models(), n=1)
        hint = f"did you mean {close[0]}? Or " if close else ""
        raise ModelError(
            f"{model}: no such model; {hint}give a run folder, a model folder, a .pth or .onnx file, "
            f"hf://user/name or a name in checkpoints/"
        )
    raise ModelError(
        f"{path}: holds no model (config.json and model.safetensors); has the training saved a checkpoint yet?"
    )


def read_run_model(run: str, images: int) -> TrainedModel:
    """Read the model of a run after exactly `images` images. ModelError, which lists what there is, if there is none."""
    folder = find_started_run(run, images)
    for saved in list_saved_models(folder):
        if saved.images == images and saved.folders:
            return read_model_folder(saved.folders[0])
        if saved.images == images and saved.checkpoint:
            return read_model_in_checkpoint(folder, saved.checkpoint)
    raise ModelError(nothing_after(folder, images))


def find_started_run(run: str, images: int) -> Path:
    """Return the folder of the run in RUN@N. ModelError if there is none."""
    folder = run_folder.find_run(run)
    if folder is None:
        raise ModelError(f"{run}@{images}: no run {run}; {command_line('runs')} lists those in checkpoints/")
    return folder


def nothing_after(folder: Path, images: int) -> str:
    """Return the message that a run holds nothing after so many images, with what it holds instead."""
    there = describe_saved(folder, list_saved_models(folder))
    return f"{run_folder.run_name(folder)}@{images}: nothing was kept after {images} images; there is {there}"
