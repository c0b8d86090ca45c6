"""Use of trained models: load, convert, sample, import, export, describe."""

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from translate import atomic
from translate.api import exports
from translate.callbacks import ProgressCallback, SayCallback, ignore_line, ignore_progress
from translate.catalog.shipped import find_images
from translate.config import FLAGS, resolve
from translate.conversion import cloaking, job, projection, sampling
from translate.conversion.options import ConversionOptions, ConversionResult
from translate.errors import ModelError, UsageError
from translate.runtime import devices
from translate.text import printable_lines
from translate.trained import find, reference_pth, translator
from translate.trained import folder as model_folder
from translate.trained.call_options import parse_dropout
from translate.trained.description import StoredTensor, describe
from translate.trained.folder import TrainedModel
from translate.trained.sampler import ImageSampler
from translate.trained.translator import Translator


def say_to_stderr(line: str) -> None:
    """Print a line of progress or advice on stderr, at once, control characters escaped; drop it where that fails."""
    with suppress(OSError):
        print(printable_lines(line), file=sys.stderr, flush=True)


def load(
    model: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    dropout: str | bool | None = None,
    norm_statistics: str | None = None,
    convolution: str = "auto",
    tune: str = "fast",
    runtime: str = "torch",
    say: SayCallback | None = say_to_stderr,
) -> Translator:
    """Load a trained model as a function of images and tensors.

    `say` gets a line for each fact that had to be assumed; None: silence.

    `model` is a run folder, a model folder, a `.pth` or folder of the reference implementation, an `.onnx` file that `export`
    has written, or a name in checkpoints/.
    `dropout` ("on" or "off") and `norm_statistics` ("sample" or "running") change how the networks behave in conversion.
    `convolution` ("auto", "direct" or "winograd") says how convolutions are computed on a CPU, and `tune` ("off", "fast" or
    "full") how much "auto" times for it. `runtime` is the library
    that computes images: "torch", or "onnx" for ONNX Runtime on the CPU, for which the model is exported once into the user's
    cache folder. Raises ModelError if there is no usable model, UsageError if it cannot behave so.
    """
    ready = translator.load(
        model,
        device=device,
        precision=precision,
        dropout=dropout,
        norm_statistics=norm_statistics,
        convolution=convolution,
        tune=tune,
        runtime=runtime,
        say=say or ignore_line,
    )
    _say_notices(ready.notices, say)
    return ready


def as_translator(model: str | Path | Translator, **settings: Any) -> Translator:
    """Return a loaded model as it is, and load any other with the settings of `load`."""
    return model if isinstance(model, Translator) else load(model, **settings)


def _say_notices(notices: Iterable[str], say: SayCallback | None) -> None:
    for notice in notices:
        (say or ignore_line)(notice)


def convert(
    model: str | Path | Translator,
    source: str | Path,
    output: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    dropout: str | bool | None = None,
    norm_statistics: str | None = None,
    convolution: str = "auto",
    tune: str = "fast",
    runtime: str = "torch",
    progress: ProgressCallback | None = None,
    say: SayCallback | None = say_to_stderr,
    **options: Any,
) -> ConversionResult:
    """Convert an image, a folder or a glob into `output`, and return counts and failures.

    `options` are the fields of `translate.conversion.options.ConversionOptions`. `device`, `precision`, `dropout`,
    `norm_statistics`, `convolution`, `tune` and `runtime` are for a model that is not loaded yet. `progress` is called with
    (images finished, images failed, images in all). An image that fails is listed in the result and stops nothing.
    `say=None`: silence. Raises UsageError, DataError, ModelError, BusyError or StorageError, and Interrupted after a clean stop
    on a signal.
    """
    say = say or ignore_line
    chosen = resolve(ConversionOptions, (FLAGS, options))
    given = dropout, norm_statistics, convolution, tune, runtime
    if isinstance(model, Translator) and given != (None, None, "auto", "fast", "torch"):
        raise UsageError(
            "the model is loaded already; give dropout, norm_statistics, convolution, tune and runtime to translate.load"
        )
    ready = as_translator(
        model,
        device=device,
        precision=precision,
        dropout=dropout,
        norm_statistics=norm_statistics,
        convolution=convolution,
        tune=tune,
        runtime=runtime,
        say=say,
    )
    return job.convert(ready, find_images(source, say), output, chosen, progress or ignore_progress, say)


def import_weights(
    source: str | Path,
    folder: str | Path,
    *,
    epoch: str | int | None = None,
    dropout: str | bool | None = None,
    norm_statistics: str | None = None,
    overwrite: bool = False,
    say: SayCallback | None = say_to_stderr,
) -> TrainedModel:
    """Import a checkpoint of the reference implementation, one `.pth` or a folder with several, into a model folder.

    `epoch` chooses among the networks of a folder: "latest", or the last one, if it is not given. Raises ModelError if the
    weights are of none of the reference's networks, UsageError if the model folder holds something already.
    """
    path, target = Path(source), Path(folder).resolve()  # a link stays, and leads to the new model
    if not path.exists():
        path = find.find_named_model(str(source)) or path
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder")
    if epoch is not None and not path.is_dir():
        raise UsageError(f"--epoch {epoch}: {path} is a single file; give the folder")
    exports.check_free(target, overwrite)
    model = (
        reference_pth.read_pth_folder(path, None if epoch is None else str(epoch))
        if path.is_dir()
        else reference_pth.read_pth(path)
    )
    model = model.with_inference_settings(parse_dropout(dropout), norm_statistics)
    with atomic.storage_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    atomic.replace_folder(
        target,
        lambda place: model_folder.write_model_folder(place, model.info, model.generators(), model.discriminators),
    )
    _say_notices(model.notices, say)
    return model


def sample(
    model: str | Path,
    output: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    convolution: str = "auto",
    tune: str = "fast",
    progress: ProgressCallback | None = None,
    say: SayCallback | None = say_to_stderr,
    **options: Any,
) -> sampling.SamplingResult:
    """Generate images from noise into a folder, onto one sheet if `output` ends in .png, or as an animation between them.

    `options` are the fields of `translate.conversion.sampling.SamplingOptions`. Raises ModelError if the model does not make
    images from noise, UsageError if the folder holds images of other samples.
    """
    chosen = resolve(sampling.SamplingOptions, (FLAGS, options))
    given = find.read_model(model)
    _say_notices(given.notices, say)
    sampler = ImageSampler(given, devices.resolve_device(device), precision, convolution, chosen.truncation, tune=tune)
    return sampling.sample_images(sampler, Path(output), chosen, progress or ignore_progress)


def project(
    model: str | Path,
    image: str | Path,
    output: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    convolution: str = "auto",
    tune: str = "fast",
    progress: ProgressCallback | None = None,
    say: SayCallback | None = say_to_stderr,
    **options: Any,
) -> projection.ProjectionResult:
    """Find the style code whose image is most like a given one; write the image (.png) and the code (.npy) beside it.

    `options` are the fields of `translate.conversion.projection.ProjectionOptions`. `progress` gets the steps done. Raises
    ModelError if the model does not make images from noise, UsageError if it has no styles or a file exists.
    """
    chosen = resolve(projection.ProjectionOptions, (FLAGS, options))
    given = find.read_model(model)
    _say_notices(given.notices, say)
    sampler = ImageSampler(given, devices.resolve_device(device), precision, convolution, tune=tune)
    return projection.project_image(sampler, Path(image), Path(output), chosen, progress or ignore_progress)


def cloak(
    model: str | Path | Translator,
    photo: str | Path,
    output: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    convolution: str = "auto",
    tune: str = "fast",
    progress: ProgressCallback | None = None,
    say: SayCallback | None = say_to_stderr,
    **options: Any,
) -> cloaking.CloakResult:
    """Write a photo with a change, too small to see, that makes a model's translation of it fail; a .png or .tiff file.

    `options` are the fields of `translate.conversion.cloaking.CloakOptions`. `progress` gets the parts done. Raises UsageError
    if the model does not take colour photos or the file exists, DataError if the photo cannot be used.
    """
    chosen = resolve(cloaking.CloakOptions, (FLAGS, options))
    ready = as_translator(model, device=device, precision=precision, convolution=convolution, tune=tune, say=say)
    result = cloaking.cloak_photo(ready, Path(photo), Path(output), chosen, progress or ignore_progress)
    _say_notices(result.notices, say)
    return result


def export(
    model: str | Path,
    target: str | Path,
    *,
    to: str | None = None,
    dtype: str | None = None,
    with_preprocessing: bool = False,
    license: str | None = None,
    overwrite: bool = False,
    say: SayCallback | None = say_to_stderr,
) -> Path:
    """Export a model to a model folder, or a generator to a file for other software; return the path.

    A folder gets the weights as `dtype` ("fp32", "fp16" or "bf16"; unchanged if not given), of all directions or of that to
    domain `to`; a `.pth` gets the generator that translates to domain `to` ("b" if not given). `.onnx` and `.pt2` files are
    programs for any height, width and batch size, in "fp32" or "fp16" arithmetic; `with_preprocessing` puts the value range
    and the padding inside, so that uint8 images of any size go in and come out. Each is compared with the model on images of
    three sizes before it is written; `say` gets the difference. `license`: licence of the weights, for their description.

    Raises UsageError if the target cannot be exported to, holds something already, or needs an extra that is not installed;
    ModelError if there is no usable model, or the program differs from it.
    """
    return exports.export_model(
        model, target, to=to, dtype=dtype, with_preprocessing=with_preprocessing, license=license, overwrite=overwrite,
        say=say,
    )  # fmt: skip


def describe_model(model: str | Path) -> dict[str, Any]:
    """Return what is known of a model: its networks, sizes, behaviour in conversion and where it came from.

    Raises ModelError if there is no usable model.
    """
    given = find.read_model(model)
    tensors = {
        key: StoredTensor(str(tensor.dtype).removeprefix("torch."), tensor.shape)
        for key, tensor in given.generators().items()
    }
    classes = given.method.classes if given.method.sampling_networks else None
    discriminators = sorted({key.split(".")[0] for key in given.discriminators})
    described = describe(given.source, given.info, tensors, given.sha256, classes)
    return described | {"discriminators": discriminators, "notices": given.notices}
