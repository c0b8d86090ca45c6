"""Sampling of images from noise, as a job that can be stopped at any moment and resumed.

Image n of a job is a pure function of the model, the seed, n and its class or text, so a file that is there need not be made
again. `samples.json` in the output folder says which model and seed the files are of.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from translate import atomic, config, images, locks, records
from translate.callbacks import ProgressCallback
from translate.config import option
from translate.conversion import interpolation
from translate.conversion.options import make_mark
from translate.conversion.output_paths import check_writable
from translate.conversion.overwrite_guard import linked_folder
from translate.errors import Interrupted, UsageError
from translate.images import Metadata, Picture
from translate.runtime import signals
from translate.trained.sampler import ImageSampler

RECORD = "samples.json"
COLUMNS = 8
"""Images in a row of a contact sheet."""


@dataclass(frozen=True)
class SamplingOptions:
    """Options of sampling. Raises UsageError that names the flag where a value is not possible."""

    count: int = option(64, "number of images", low=1, group="Images")
    seed: int = option(0, "seed of the noise; the same seed gives the same images", group="Images")
    of_class: str | None = option(
        None, "generate only images of this class [default: all classes in turn]", group="Images"
    )
    text: str | None = option(
        None, "generate images of this text, for stackgan [default: images of its classes in turn]", group="Images"
    )
    truncation: float | None = option(
        None,
        "typical images instead of varied ones: of style codes, from 1 (none) to 0 (the average image), for stylegan2; of the "
        "noise, its largest magnitude, for biggan [default: none]",
        group="Images",
    )
    interpolate: int | None = option(
        None,
        "write an animation (OUTPUT.gif, .webp, .png or .avif) that goes through N images and back to the first; for stylegan2 "
        "[default: images]",
        low=2,
        group="Images",
    )
    frames: int = option(24, "with --interpolate: frames from one image to the next", low=1, group="Images")
    format: str = option("png", "file format of the images", choices=images.WRITER_NAMES, group="Output")
    quality: int | None = option(
        None,
        "quality of jpg, webp and avif, from 1 to 100 [default: jpg 95, webp 90, avif 85]",
        low=1,
        high=100,
        group="Output",
    )
    batch_size: int = option(64, "images that are generated at a time", low=1, group="Speed")
    overwrite: bool = option(False, "generate every image again, replacing those in the folder", group="Output")
    mark: bool = option(True, "say in the metadata of the images that a model made them", group="Output")

    def __post_init__(self) -> None:
        config.check_options(self)
        check_writable(self.format)


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
    began = time.monotonic()
    if options.text is not None:
        check_text(sampler, options)
    if options.interpolate is not None:
        result = _interpolation(sampler, output, options)
    elif images.extension(output) in images.IMAGE_EXTENSIONS and not output.is_dir():
        result = _sheet(sampler, output, options)
    else:
        atomic.check_writable(output)
        with locks.lock_folder(output, "wait for it or use another folder"):
            atomic.remove_temporaries(output)
            result = _folder(sampler, output, options, progress)
    result.seconds = time.monotonic() - began
    return result


def check_text(sampler: ImageSampler, options: SamplingOptions) -> None:
    """Raise UsageError, which names the flag, for a text that the model cannot take, or beside flags that say otherwise."""
    for flag, given in (("--class", options.of_class), ("--interpolate", options.interpolate)):
        if given is not None:
            raise UsageError(f"--text and {flag}: each says what the images show; give one of them")
    assert options.text is not None
    sampler.method.encode_text(options.text)


def _sheet(sampler: ImageSampler, output: Path, options: SamplingOptions) -> SamplingResult:
    if images.extension(output) != "png":
        raise UsageError(f"{output}: a sheet is a PNG; give a name that ends in .png, or a folder")
    if output.exists() and not options.overwrite:
        raise UsageError(f"{output}: exists; --overwrite replaces it")
    tensors = torch.cat(
        [
            sampler(part, options.seed, options.of_class, text=options.text).cpu()
            for part in _batches(range(options.count), options)
        ]
    )
    with atomic.storage_errors(output.parent):
        images.write_png(output, images.make_grid(tensors, COLUMNS))
    return SamplingResult(output, done=options.count)


def _interpolation(sampler: ImageSampler, output: Path, options: SamplingOptions) -> SamplingResult:
    """Write the animation of `--interpolate`."""
    sampler.check_styles(f"--interpolate {options.interpolate}")
    fmt = images.extension(output)
    if fmt not in images.ANIMATED:
        raise UsageError(
            f"{output}: --interpolate writes one animation; give a name that ends in .{', .'.join(images.ANIMATED)}"
        )
    if output.exists() and not options.overwrite:
        raise UsageError(f"{output}: exists; --overwrite replaces it")
    assert options.interpolate is not None
    frames = interpolation.frames(sampler, range(options.interpolate), options.seed, options.frames, options.batch_size)
    mark = _mark(sampler) if options.mark else None
    with atomic.storage_errors(output.parent):
        atomic.write(output, images.encode_animation(frames, fmt, quality=options.quality, metadata=mark))
    return SamplingResult(output, done=options.interpolate * options.frames)


def _mark(sampler: ImageSampler) -> Metadata:
    """Return metadata that says which model generated an image."""
    return Metadata().with_mark(make_mark(sampler.method.name, sampler.sha256, images.GENERATED))


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
    mark = _mark(sampler) if options.mark else None
    with signals.stop_on_signal() as stop, atomic.storage_errors(output):
        for numbers in _batches(todo, options):
            for n, image in zip(
                numbers, sampler(numbers, options.seed, options.of_class, text=options.text), strict=True
            ):
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
    wanted |= {} if options.truncation is None else {"truncation": options.truncation}
    wanted |= {} if options.text is None else {"text": options.text}
    if path.exists() and not options.overwrite:
        try:
            known = records.read_json(path)
        except (OSError, ValueError):
            known = None
        if known != wanted:
            raise UsageError(
                f"{output}: holds samples of another model, seed, class, text or truncation; use another folder, or --overwrite"
            )
    elif not options.overwrite and any((output / _name(sampler, n, options)).exists() for n in range(options.count)):
        raise UsageError(f"{output}: holds images of these names already; use another folder, or --overwrite")
    with atomic.storage_errors(output):
        atomic.write(path, (json.dumps(wanted, indent=2) + "\n").encode())
