"""Images from noise: a model of a method that samples, as a job that can be stopped at any moment and started again.

Image n of a job is a pure function of the model, the seed, n and its class, so a file that is there need not be made again.
`samples.json` in the output folder says which model and seed the files are of.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from translate import atomic, config, images, keyed_random
from translate.callbacks import ProgressCallback
from translate.config import option
from translate.conversion.options import make_mark
from translate.errors import Interrupted, ModelError, UsageError
from translate.images import Metadata, Picture
from translate.runtime import signals
from translate.runtime.precision import resolve_precision
from translate.trained.folder import TrainedModel

RECORD = "samples.json"
COLUMNS = 8
"""Images in a row of a sheet."""


class ImageSampler:
    """A trained model: numbers → images."""

    def __init__(self, model: TrainedModel, device: torch.device, precision: str = "fp32") -> None:
        """ModelError where the model makes nothing from noise."""
        self.method, self.info, self.sha256, self.device = model.method, model.info, model.sha256, device
        if not self.method.sampling_networks:
            raise ModelError(f"{model.source}: translates images, and makes none from noise; use translate convert")
        self.precision = resolve_precision(precision, device)
        for attribute in self.method.sampling_networks:
            self.method.get_submodule(attribute).to(device, self.precision.weights)
        self.method.eval()

    @property
    def classes(self) -> tuple[str, ...]:
        """Those that it learned; empty if it was trained without."""
        return self.method.classes

    def __call__(self, numbers: Sequence[int], seed: int = 0, of_class: str | None = None) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of some numbers; without a class, each in its turn. The same number, seed and
        class give the same image, whatever else is made with it, to float32's rounding: batches of other sizes may be
        convolved by other kernels."""
        key = keyed_random.image_keys(seed, torch.tensor(list(numbers))).to(self.device)
        label = None
        if self.classes:
            label = torch.tensor([self.class_of(n, of_class) for n in numbers], device=self.device)
        with torch.inference_mode(), self.precision.autocast(self.device):
            return self.method.sample(key, label).to(torch.promote_types(self.precision.weights, torch.float32))

    def class_of(self, number: int, of_class: str | None) -> int:
        """Index of the class of an image."""
        return number % len(self.classes) if of_class is None else self.classes.index(of_class)


@dataclass(frozen=True)
class SamplingOptions:
    """Options of sampling. Raises UsageError that names the flag where a value is not possible."""

    count: int = option(64, "number of images", low=1, group="Images")
    seed: int = option(0, "seed of the noise; the same seed gives the same images", group="Images")
    of_class: str | None = option(
        None, "generate only images of this class [default: all classes in turn]", group="Images"
    )
    format: str = option("png", "file format of the images", choices=(*images.WRITERS, *images.ALIASES), group="Output")
    quality: int | None = option(
        None,
        "quality of jpg, webp and avif, from 1 to 100 [default: that of the format's encoder]",
        low=1,
        high=100,
        group="Output",
    )
    batch_size: int = option(64, "images that are generated at a time", low=1, group="Speed")
    overwrite: bool = option(False, "generate every image again, replacing those in the folder", group="Output")
    mark: bool = option(True, "say in the metadata of the images that a model made them", group="Output")

    def __post_init__(self) -> None:
        config.check_options(self)


@dataclass
class SamplingResult:
    """What a job did."""

    output: Path
    done: int = 0
    skipped: int = 0
    """Were there already."""
    seconds: float = 0.0
    classes: dict[str, int] = field(default_factory=dict)
    """Images of each class."""


def sample_images(
    sampler: ImageSampler,
    output: Path,
    choice: SamplingOptions,
    progress: ProgressCallback = lambda finished, failed, total: None,
) -> SamplingResult:
    """Writes images to a folder, those of a class to a subfolder of its name; or all on one sheet, where `output` is the name
    of an image. The same call goes on where an earlier one stopped.

    UsageError where the folder holds samples of another model or seed, StorageError, BusyError, Interrupted.
    """
    if choice.of_class is not None and choice.of_class not in sampler.classes:
        known = f"possible: {', '.join(sampler.classes)}" if sampler.classes else "the model has no classes"
        raise UsageError(f"--class {choice.of_class}: unknown; {known}")
    began = time.monotonic()
    if images.extension(output) in images.IMAGE_EXTENSIONS and not output.is_dir():
        made = _sheet(sampler, output, choice)
    else:
        atomic.check_writable(output)
        with atomic.lock_folder(output, "wait for it or use another folder"):
            atomic.remove_temporaries(output)
            made = _folder(sampler, output, choice, progress)
    made.seconds = time.monotonic() - began
    return made


def _sheet(sampler: ImageSampler, output: Path, choice: SamplingOptions) -> SamplingResult:
    if images.extension(output) != "png":
        raise UsageError(f"{output}: a sheet is a PNG; give a name that ends in .png, or a folder")
    if output.exists() and not choice.overwrite:
        raise UsageError(f"{output}: exists; --overwrite replaces it")
    tensors = torch.cat(
        [sampler(part, choice.seed, choice.of_class).cpu() for part in _parts(range(choice.count), choice)]
    )
    with atomic.storage_errors(output.parent):
        images.write_png(output, images.make_grid(tensors, COLUMNS))
    return SamplingResult(output, done=choice.count)


def _folder(sampler: ImageSampler, output: Path, choice: SamplingOptions, progress: ProgressCallback) -> SamplingResult:
    _check_record(sampler, output, choice)
    names = {n: output / _name(sampler, n, choice) for n in range(choice.count)}
    todo = [n for n, path in names.items() if choice.overwrite or not path.exists()]
    made = SamplingResult(output, skipped=choice.count - len(todo))
    for n in names if sampler.classes else ():
        of = sampler.classes[sampler.class_of(n, choice.of_class)]
        made.classes[of] = made.classes.get(of, 0) + 1
    mark = (
        Metadata().with_mark(make_mark(sampler.method.name, sampler.sha256, images.GENERATED)) if choice.mark else None
    )
    with signals.stop_on_signal() as stop, atomic.storage_errors(output):
        for numbers in _parts(todo, choice):
            for n, image in zip(numbers, sampler(numbers, choice.seed, choice.of_class), strict=True):
                picture = Picture(images.to_array(image, np.dtype("uint8")), metadata=mark)
                names[n].parent.mkdir(parents=True, exist_ok=True)
                atomic.write(names[n], images.encode(picture, choice.format, choice.quality))
                made.done += 1
            progress(made.done, 0, len(todo))
            if stop:
                left = len(todo) - made.done
                raise Interrupted(f"stopped with {left} images to go; the same command goes on from there", stop.signal)
    return made


def _parts(numbers: Sequence[int], choice: SamplingOptions) -> Iterator[Sequence[int]]:
    """The numbers by batches."""
    for start in range(0, len(numbers), choice.batch_size):
        yield numbers[start : start + choice.batch_size]


def _name(sampler: ImageSampler, number: int, choice: SamplingOptions) -> str:
    """Where an image lies below the output folder."""
    folder = sampler.classes[sampler.class_of(number, choice.of_class)] + "/" if sampler.classes else ""
    return f"{folder}{number:06d}.{choice.format}"


def _check_record(sampler: ImageSampler, output: Path, choice: SamplingOptions) -> None:
    """Leaves the record; UsageError where the folder is of other samples."""
    path = output / RECORD
    wanted = {"model": sampler.sha256, "method": sampler.method.name, "seed": choice.seed, "class": choice.of_class}
    if path.exists() and not choice.overwrite:
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            known = None
        if known != wanted:
            raise UsageError(
                f"{output}: holds samples of another model, seed or class; use another folder, or --overwrite"
            )
    elif not choice.overwrite and any((output / _name(sampler, n, choice)).exists() for n in range(choice.count)):
        raise UsageError(f"{output}: holds images of these names already; use another folder, or --overwrite")
    with atomic.storage_errors(output):
        atomic.write(path, (json.dumps(wanted, indent=2) + "\n").encode())
