"""Upload of trained models to the Hugging Face hub."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from translate.api.models import say_to_stderr
from translate.callbacks import SayCallback, ignore_line
from translate.errors import UsageError
from translate.run_folder import run_of_model
from translate.trained import find, hub
from translate.trained.description import DTYPES, EXPORT_DTYPES
from translate.trained.extras import import_extra
from translate.trained.folder import TrainedModel, write_model_copy

CARD = "README.md"


def push(
    model: str | Path,
    name: str,
    *,
    to: str | None = None,
    dtype: str | None = None,
    license: str | None = None,
    private: bool = False,
    say: SayCallback | None = say_to_stderr,
) -> str:
    """Upload a model folder to `name`, user/name on the hub, and return the address of its commit.

    The folder is that of `export`: weights, description, card, samples and metrics. `to`, `dtype` and `license` are those of
    `export`; `private` makes a new repository private. The card of a model folder outside of runs is kept as it is. Raises
    StorageError if the upload is refused or there is no network, ModelError if there is no usable model, UsageError without the
    extra `hub`.
    """
    repository = hub.check_name(name)
    import_extra("hub", f"push {repository}", "huggingface_hub")  # before the model is read
    if dtype is not None and dtype not in EXPORT_DTYPES:
        raise UsageError(f"--dtype {dtype}: unknown; possible: {', '.join(EXPORT_DTYPES)}")
    given = find.read_model(model)
    if license is not None:
        given = replace(given, info=replace(given.info, license=license))
    if to is not None:
        given = given.with_direction(to)
    if given.info.license is None:
        (say or ignore_line)(f"{model}: states no licence; others may not use it without one: --license NAME")
    with tempfile.TemporaryDirectory(prefix="translate-") as scratch:
        folder = Path(scratch)
        write_model_copy(folder, given, None if dtype is None else getattr(torch, DTYPES[dtype].torch))
        if (card := _own_card(given)) is not None and license is None:
            shutil.copyfile(card, folder / CARD)
        return hub.upload_folder(folder, repository, private=private, message=f"Upload {given.info.title}")


def _own_card(given: TrainedModel) -> Path | None:
    """Return the card of a model folder that a person may have written; None for models of runs and checkpoints."""
    card = given.source / CARD
    return card if card.is_file() and run_of_model(given.source) is None else None
