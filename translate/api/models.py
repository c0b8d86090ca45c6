"""What is done with trained models: load, convert, import, export, describe."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from translate import atomic
from translate.callbacks import ProgressCallback
from translate.config import FLAGS, resolve
from translate.conversion import job, sampling
from translate.conversion.options import ConversionOptions, ConversionResult
from translate.errors import ModelError, UsageError
from translate.runtime import devices
from translate.trained import folder as model_folder
from translate.trained import reference_pth, translator
from translate.trained.detect import RUNNING_STATISTICS
from translate.trained.folder import TrainedModel
from translate.trained.translator import Translator

EXPORT_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def say_to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def load(
    model: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    dropout: str | bool | None = None,
    norm_statistics: str | None = None,
    say: Callable[[str], None] = say_to_stderr,
) -> Translator:
    """A trained model as a function of pictures and tensors; what had to be assumed about it is said in a line.

    MODEL is a run folder, a model folder, a `.pth` or folder of the reference implementation, or a name in checkpoints/.
    `dropout` and `norm_statistics`: another behaviour in conversion than the model's own. Raises ModelError if there is no
    usable model.
    """
    ready = translator.load(model, device=device, precision=precision, dropout=dropout, norm_statistics=norm_statistics)
    for notice in ready.notices:
        say(notice)
    return ready


def convert(
    model: str | Path | Translator,
    source: str | Path,
    output: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    dropout: str | bool | None = None,
    norm_statistics: str | None = None,
    progress: ProgressCallback = lambda finished, failed, total: None,
    say: Callable[[str], None] = say_to_stderr,
    **options: Any,
) -> ConversionResult:
    """Converts an image, folder or glob; `options` are those of `conversion.job.ConversionOptions`. Images that fail are listed.

    The settings of a model that is already loaded stay as they are.
    """
    chosen = resolve(ConversionOptions, (FLAGS, options))
    if isinstance(model, Translator) and not (dropout is None and norm_statistics is None):
        raise UsageError("this model is loaded already: give dropout and norm_statistics to translate.load")
    if not isinstance(model, Translator):
        model = load(
            model, device=device, precision=precision, dropout=dropout, norm_statistics=norm_statistics, say=say
        )
    return job.convert(model, source, output, chosen, progress, say)


def import_weights(
    source: str | Path,
    folder: str | Path,
    *,
    epoch: str | int | None = None,
    dropout: str | bool | None = None,
    norm_statistics: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = say_to_stderr,
) -> TrainedModel:
    """Makes a model folder of a checkpoint of the reference implementation: one `.pth`, or a folder with several.

    `epoch` of a folder's networks: "latest" or the last one if not given. Raises ModelError if it is none of the reference's
    networks, UsageError if the folder holds something already.
    """
    path, target = Path(source), Path(folder).resolve()  # a link stays, and leads to the new model
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder")
    if epoch is not None and not path.is_dir():
        raise UsageError(f"--epoch {epoch}: {path} is a single file; give the folder")
    _check_free(target, overwrite)
    model = (
        reference_pth.read_pth_folder(path, None if epoch is None else str(epoch))
        if path.is_dir()
        else reference_pth.read_pth(path)
    )
    model = model.with_inference_settings(translator.parse_dropout(dropout), norm_statistics)
    with atomic.storage_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    atomic.replace_folder(
        target,
        lambda place: model_folder.write_model_folder(place, model.info, model.generators(), model.discriminators),
    )
    for notice in model.notices:
        say(notice)
    return model


def _check_free(folder: Path, overwrite: bool) -> None:
    """UsageError where a model folder cannot be made without losing what is there."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file; give a folder for the model")
    there = {path.name for path in folder.iterdir()}
    strange = there - set(model_folder.MODEL_FILES) if model_folder.is_model_folder(folder) else there
    if strange:
        raise UsageError(f"{folder}: holds more than a model ({min(strange)}); give a new folder")
    if there and not overwrite:
        raise UsageError(f"{folder}: holds a model already; --overwrite replaces it")


def sample(
    model: str | Path,
    output: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    progress: ProgressCallback = lambda finished, failed, total: None,
    **choice: Any,
) -> sampling.SamplingResult:
    """Images from noise, into a folder or onto one sheet (a .png); `choice` are those of `conversion.sampling.SamplingOptions`.

    Raises ModelError where the model makes none from noise, UsageError where the folder holds others.
    """
    chosen = resolve(sampling.SamplingOptions, (FLAGS, choice))
    sampler = sampling.ImageSampler(translator.read_model(model), devices.resolve_device(device), precision)
    return sampling.sample_images(sampler, Path(output), chosen, progress)


def export(
    model: str | Path,
    target: str | Path,
    *,
    to: str | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = say_to_stderr,
) -> Path:
    """Writes a model folder, its weights as `dtype` ("fp32", "fp16", "bf16"; as they are if not given); or the generator to
    domain `to` (b if not given) as a `.pth` of the reference implementation, where the target ends so.
    """
    path = Path(target)
    given = translator.read_model(model)
    if path.suffix == ".pth":
        if dtype is not None:
            raise UsageError(
                f"--dtype {dtype}: is for model folders; the reference's .pth keeps its weights as they are"
            )
        return _export_reference(given, path, to or "b", overwrite, say)
    if path.suffix and not path.is_dir():
        raise UsageError(
            f"{path}: cannot export to this; possible: a file that ends in .pth, or a folder, whose name has no ending"
        )
    if to is not None:
        raise UsageError(f"--to {to}: a model folder keeps all directions; leave it out, or give a .pth")
    if dtype is not None and dtype not in EXPORT_DTYPES:
        raise UsageError(f"--dtype {dtype}: unknown; possible: {', '.join(EXPORT_DTYPES)}")
    folder = path.resolve()
    _check_free(folder, overwrite)
    with atomic.storage_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
    atomic.replace_folder(
        folder, lambda place: model_folder.write_model_copy(place, given, EXPORT_DTYPES.get(dtype or ""))
    )
    return path


def _export_reference(given: TrainedModel, path: Path, to: str, overwrite: bool, say: Callable[[str], None]) -> Path:
    if to not in given.info.directions:
        possible = " and ".join(given.info.directions) or "nothing: it holds discriminators only"
        raise UsageError(f"--to {to}: {given.source} translates to {possible}")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give a file that ends in .pth")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists; --overwrite replaces it")
    with atomic.storage_errors(path.parent):
        atomic.write(path, reference_pth.encode_pth(given, to))
    generator = given.info.networks["generator"]
    if generator not in reference_pth.REFERENCE_GENERATORS:
        say(f"{path}: a {generator}; by name the reference builds only {', '.join(reference_pth.REFERENCE_GENERATORS)}")
    return path


def describe_model(model: str | Path) -> dict[str, Any]:
    """What is known of a model: its networks, sizes, behaviour in conversion and where it came from."""
    given = translator.read_model(model)
    weights = given.generators()
    return {
        "path": str(given.source),
        **given.info.to_dict(),
        "dtype": ", ".join(
            sorted({str(w.dtype).removeprefix("torch.") for w in weights.values() if w.is_floating_point()})
        ),
        "parameters": sum(w.numel() for key, w in weights.items() if not key.endswith(RUNNING_STATISTICS)),
        "classes": list(given.method.classes) if given.method.sampling_networks else None,
        "discriminators": sorted({key.split(".")[0] for key in given.discriminators}),
        "sha256": given.sha256,
        "notices": given.notices,
    }
