"""Models of a run: what it holds after how many images, as model folders and checkpoints. Imports no torch."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from translate import atomic, run_folder
from translate.run_folder import BEST_MODEL, MODEL
from translate.trained.model_info import ModelInfo


@dataclass(frozen=True)
class SavedModel:
    """Model of a run after so many training images; it is named RUN@images."""

    images: int
    folders: tuple[Path, ...]
    """Model folders that hold it: model-<images>, model, model-best; none where only the checkpoint does."""
    checkpoint: Path | None
    """Checkpoint of the whole training state; None where there is none."""

    @property
    def is_newest(self) -> bool:
        """True for what the name of the run alone stands for."""
        return any(_is_named(path, MODEL) for path in self.folders)

    @property
    def is_best(self) -> bool:
        """True for the model that validation found best."""
        return any(_is_named(path, BEST_MODEL) for path in self.folders)


def _is_named(path: Path, name: str) -> bool:
    return path.name in (name, atomic.previous_folder(Path(name)).name)


def list_saved_models(run: Path) -> list[SavedModel]:
    """Return what a run holds, in the order of images seen. A damaged model folder is left out."""
    folders: dict[int, list[Path]] = {}
    for folder in run_folder.list_model_folders(run):
        for place in (folder, atomic.previous_folder(folder)):  # the latter for the instant in which it is replaced
            if (images := _images_seen(place)) is not None:
                folders.setdefault(images, []).append(place)
                break
    checkpoints = {run_folder.checkpoint_images(path): path for path in run_folder.list_checkpoints(run)}
    return [
        SavedModel(images, tuple(sorted(folders.get(images, ()), key=_preference)), checkpoints.get(images))
        for images in sorted(folders.keys() | checkpoints)
    ]


def _preference(folder: Path) -> bool:
    """Sort folders that training replaces behind the one that it keeps."""
    return _is_named(folder, MODEL) or _is_named(folder, BEST_MODEL)


def _images_seen(model: Path) -> int | None:
    """Return the training images that a model folder says it has seen; None if it does not say so."""
    with suppress(OSError, ValueError, TypeError, RecursionError, KeyError):
        info = ModelInfo.read(model / "config.json")
        return int(info.trained_on["images"]) if info.trained_on else None
    return None


def describe_saved(run: Path, models: list[SavedModel]) -> str:
    """Return the names by which what a run holds can be used, in one line."""
    name = run_folder.run_name(run)
    marks = [", ".join(["last"] * model.is_newest + ["best"] * model.is_best) for model in models]
    named = [
        f"{name}@{model.images}" + (f" ({mark})" if mark else "") for model, mark in zip(models, marks, strict=True)
    ]
    return ", ".join(named) or "nothing yet"
