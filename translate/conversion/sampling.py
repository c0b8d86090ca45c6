"""Sampling of images from noise, as a job that can be stopped at any moment and resumed.

Image n of a job is a pure function of the model, the seed, n and its class or text, so a file that is there need not be result
again. `samples.json` in the output folder says which model and seed the files are of.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from translate import atomic, config, images, keyed_random, locks, records
from translate.callbacks import ProgressCallback
from translate.config import option
from translate.conversion.options import make_mark
from translate.conversion.overwrite_guard import linked_folder
from translate.convolution_choice import CONVERSION, Probe, resolve_convolution, set_convolutions
from translate.errors import Interrupted, ModelError, UsageError
from translate.images import Metadata, Picture
from translate.runtime import signals
from translate.runtime.precision import resolve_precision
from translate.trained.arithmetic import check_finite
from translate.trained.folder import TrainedModel

RECORD = "samples.json"
COLUMNS = 8
"""Images in a row of a contact sheet."""


class ImageSampler:
    """Function that generates images with a trained model: numbers → images.

    ModelError if the model does not generate images from noise.
    """

    def __init__(
        self, model: TrainedModel, device: torch.device, precision: str = "fp32", convolution: str = "auto"
    ) -> None:
        self.method, self.info, self.sha256, self.device = model.method, model.info, model.sha256, device
        if not self.method.sampling_networks:
            raise ModelError(
                f"{model.source}: translates images and does not generate them from noise; use translate convert"
            )
        self.precision = resolve_precision(precision, device)
        setting = resolve_convolution(convolution, self.precision)
        for attribute in self.method.sampling_networks:
            self.method.get_submodule(attribute).to(device, self.precision.weights)
        self.method.eval()
        label = self.method.blank_text()[None] if self.method.takes_text else self._class_labels([0], None)
        probe = Probe(lambda: self._generate([0], 0, label), CONVERSION, batch=1, scale=1.0)
        set_convolutions(self.method, setting, {}, lambda: probe, lambda line: None)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that the model was trained on; empty if it was trained without."""
        return self.method.classes

    def __call__(
        self, numbers: Sequence[int], seed: int = 0, of_class: str | None = None, text: str | None = None
    ) -> Tensor:
        """Generate the images (N, C, H, W) in [-1, 1] of the given numbers.

        `of_class`: None takes the classes in turn. `text`: generate images of a text instead; UsageError if it is empty, or
        the model takes none. The same number, seed and class give the same image in any batch, to
        the rounding of float32: batches of other sizes may be convolved by other kernels.
        """
        if text is None:
            return self._generate(numbers, seed, self._class_labels(numbers, of_class))
        return self._generate(numbers, seed, self.method.encode_text(text).expand(len(numbers), -1))

    def _class_labels(self, numbers: Sequence[int], of_class: str | None) -> Tensor | None:
        """Return the classes (N,) of images; None from a model without classes."""
        return torch.tensor([self.class_of(n, of_class) for n in numbers]) if self.classes else None

    def _generate(self, numbers: Sequence[int], seed: int, label: Tensor | None) -> Tensor:
        """Generate the images of these numbers and labels (N, …)."""
        key = keyed_random.image_keys(seed, torch.tensor(list(numbers))).to(self.device)
        label = None if label is None else label.to(self.device)
        with torch.inference_mode(), self.precision.autocast(self.device):
            made = self.method.sample(key, label).to(torch.promote_types(self.precision.weights, torch.float32))
        check_finite(made, self.precision)
        return made

    def class_of(self, number: int, of_class: str | None) -> int:
        """Return the index of the class of an image."""
        return number % len(self.classes) if of_class is None else self.classes.index(of_class)


@dataclass(frozen=True)
class SamplingOptions:
    """Options of sampling. Raises UsageError that names the flag where a value is not possible."""

    count: int = option(64, "number of images", low=1, group="Images")
    seed: int = option(0, "seed of the noise; the same seed gives the same images", group="Images")
    of_class: str | None = option(
        None, "generate only images of this class [default: all classes in turn]", group="Images"
    )
    text: str | None = option(
        None, "generate images of this text, by a model that was trained on captions [default: its classes in turn]",
        group="Images",
    )  # fmt: skip
    format: str = option("png", "file format of the images", choices=(*images.WRITERS, *images.ALIASES), group="Output")
    quality: int | None = option(
        None,
        "quality of jpg, webp and avif, from 1 to 100 [default: jpg 95, webp 90, avif 85]",
        low=1,
        high=100,
        group="Output",
    )
    batch_size: int = option(64, "images that are generated at a time", low=1, group="Speed")
    overwrite: bool = option(False, "generate every image again, replacing those in the folder", group="Output")
    mark: bool = option(True, "say in the metadata of the images that a model result them", group="Output")

    def __post_init__(self) -> None:
        config.check_options(self)


@dataclass
class SamplingResult:
    """Counts of a sampling job."""

    output: Path
    done: int = 0
    skipped: int = 0
    """Images that existed already."""
    seconds: float = 0.0
    classes: dict[str, int] = field(default_factory=dict)
    """Images of each class."""


def sample_images(
    sampler: ImageSampler,
    output: Path,
    options: SamplingOptions,
    progress: ProgressCallback = lambda finished, failed, total: None,
) -> SamplingResult:
    """Write images to a folder, those of a class to a subfolder; or all on one contact sheet, if `output` is a PNG.

    The same call resumes where an earlier one stopped.

    UsageError if the folder holds samples of another model or seed; StorageError, BusyError, Interrupted.
    """
    if options.of_class is not None and options.of_class not in sampler.classes:
        known = f"possible: {', '.join(sampler.classes)}" if sampler.classes else "the model has no classes"
        raise UsageError(f"--class {options.of_class}: unknown; {known}")
    if options.text is not None:
        if options.of_class is not None:
            raise UsageError("--text and --class: each says what the images show; give one of them")
        sampler.method.encode_text(options.text)  # which refuses a text that cannot be used
    began = time.monotonic()
    if images.extension(output) in images.IMAGE_EXTENSIONS and not output.is_dir():
        result = _sheet(sampler, output, options)
    else:
        atomic.check_writable(output)
        with locks.lock_folder(output, "wait for it or use another folder"):
            atomic.remove_temporaries(output)
            result = _folder(sampler, output, options, progress)
    result.seconds = time.monotonic() - began
    return result


def _sheet(sampler: ImageSampler, output: Path, options: SamplingOptions) -> SamplingResult:
    if images.extension(output) != "png":
        raise UsageError(f"{output}: a sheet is a PNG; give a name that ends in .png, or a folder")
    if output.exists() and not options.overwrite:
        raise UsageError(f"{output}: exists; --overwrite replaces it")
    tensors = torch.cat(
        [
            sampler(part, options.seed, options.of_class, options.text).cpu()
            for part in _batches(range(options.count), options)
        ]
    )
    with atomic.storage_errors(output.parent):
        images.write_png(output, images.make_grid(tensors, COLUMNS))
    return SamplingResult(output, done=options.count)


def _folder(
    sampler: ImageSampler, output: Path, options: SamplingOptions, progress: ProgressCallback
) -> SamplingResult:
    _check_record(sampler, output, options)
    names = {n: output / _name(sampler, n, options) for n in range(options.count)}
    for path in names.values():
        if (link := linked_folder(output, path)) is not None:
            raise UsageError(f"{link}: is a link, which samples do not follow; remove it, or use another folder")
    todo = [n for n, path in names.items() if options.overwrite or not path.exists()]
    result = SamplingResult(output, skipped=options.count - len(todo))
    for n in names if sampler.classes and options.text is None else ():
        of = sampler.classes[sampler.class_of(n, options.of_class)]
        result.classes[of] = result.classes.get(of, 0) + 1
    mark = (
        Metadata().with_mark(make_mark(sampler.method.name, sampler.sha256, images.GENERATED)) if options.mark else None
    )
    with signals.stop_on_signal() as stop, atomic.storage_errors(output):
        for numbers in _batches(todo, options):
            for n, image in zip(numbers, sampler(numbers, options.seed, options.of_class, options.text), strict=True):
                picture = Picture(images.to_array(image, np.dtype("uint8")), metadata=mark)
                names[n].parent.mkdir(parents=True, exist_ok=True)
                atomic.write(names[n], images.encode(picture, options.format, options.quality))
                result.done += 1
            progress(result.done, 0, len(todo))
            if stop:
                left = len(todo) - result.done
                raise Interrupted(f"stopped with {left} images left; run the same command again to resume", stop.signal)
    return result


def _batches(numbers: Sequence[int], options: SamplingOptions) -> Iterator[Sequence[int]]:
    """Divide the numbers into batches."""
    for start in range(0, len(numbers), options.batch_size):
        yield numbers[start : start + options.batch_size]


def _name(sampler: ImageSampler, number: int, options: SamplingOptions) -> str:
    """Return the path of an image, relative to the output folder."""
    has_class = bool(sampler.classes) and options.text is None
    folder = sampler.classes[sampler.class_of(number, options.of_class)] + "/" if has_class else ""
    return f"{folder}{number:06d}.{options.format}"


def _check_record(sampler: ImageSampler, output: Path, options: SamplingOptions) -> None:
    """Write the record of the job. UsageError if the folder has the samples of another."""
    path = output / RECORD
    wanted = {"model": sampler.sha256, "method": sampler.method.name, "seed": options.seed, "class": options.of_class}
    if options.text is not None:
        wanted["text"] = options.text
    if path.exists() and not options.overwrite:
        try:
            known = records.read_json(path)
        except (OSError, ValueError):
            known = None
        if known != wanted:
            raise UsageError(
                f"{output}: holds samples of another model, seed, class or text; use another folder, or --overwrite"
            )
    elif not options.overwrite and any((output / _name(sampler, n, options)).exists() for n in range(options.count)):
        raise UsageError(f"{output}: holds images of these names already; use another folder, or --overwrite")
    with atomic.storage_errors(output):
        atomic.write(path, (json.dumps(wanted, indent=2) + "\n").encode())
