"""What an evaluation judges: translations of held-out images, or a folder of images; and what they are held against."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from translate import config, images
from translate.callbacks import ProgressCallback
from translate.config import option
from translate.data import layouts
from translate.data.split import ImageRef, Split
from translate.errors import DataError, UsageError
from translate.evaluation import image_sets, label_data
from translate.evaluation.evaluator import Subject, TranslateFn
from translate.evaluation.image_sets import ImageSet, ReadOptions
from translate.run_folder import run_of_model
from translate.trained.folder import TrainedModel
from translate.trained.model_info import ModelInfo
from translate.trained.translator import Translator, pad_to_size_rule

REFERENCE_SIZE = 256
"""What the reference's test resizes to; for models that do not say at which size they were trained."""

HELD_OUT_SPLITS = ("test", "val")
"""Where held-out images are looked for, in this order."""


@dataclass(frozen=True)
class EvaluationCase:
    """A subject, and what is to be said of it."""

    subject: Subject
    read_options: ReadOptions
    """How its images were read."""
    data: dict[str, Any]
    """For the protocol: which images these are."""
    provenance: dict[str, Any]
    """What is judged."""
    run_folder: Path | None = None
    """The run folder, if the model lies in one."""


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of an evaluation. Raises UsageError that names the flag where a value is not possible."""

    to: str = option("b", "target domain: b; a with a two-way model; the name of a domain with StarGAN", group="Images")
    split: str | None = option(
        None, "split to translate: test, val or train [default: the first of them that exists]", group="Images"
    )
    direction: str | None = option(
        None,
        "a2b, or b2a to swap the two domains when the data is read [default: as in training]",
        choices=("a2b", "b2a"),
        group="Images",
    )
    size: int | str = option(
        "auto",
        "resize images to a square of this side; auto is the size in training; keep leaves them as they are",
        choices=("auto", "keep"),
        low=1,
        group="Images",
    )
    labels: str | Path | None = option(
        None,
        "folder of label maps, named as the images of ROOT, for the metric segmentation [default: none]",
        group="Images",
    )
    batch_size: int = option(8, "images of one size that a GPU translates at a time", low=1, group="Speed")
    seed: int = option(0, "seed of every random draw", group="Metrics")

    def __post_init__(self) -> None:
        config.check_options(self)


def case_from_folders(real: Path, fake: Path, choice: EvaluationOptions) -> EvaluationCase:
    """The images of one folder against those of another; all matched by name, they are pairs as well."""
    way = ReadOptions(choice.size if isinstance(choice.size, int) else None)
    real_refs, fake_refs = image_sets.list_images(real), image_sets.list_images(fake)
    partners = image_sets.match_by_name(fake_refs, real_refs, (fake, real))
    outputs, known = (
        image_sets.read_image_set(fake_refs, fake, way),
        image_sets.read_image_set(partners or real_refs, real, way),
    )
    subject = Subject(outputs, known, truth=known if partners else None)
    data = {"data": real.resolve().name, "paired": partners is not None}
    return EvaluationCase(subject, way, data, {"outputs": str(fake), "sha256": outputs.sha256()})


def case_from_model(
    model: Translator,
    source: TrainedModel | None,
    root: Path,
    choice: EvaluationOptions,
    progress: ProgressCallback,
    say: Callable[[str], None],
) -> EvaluationCase:
    """A model's translations of the held-out images of a data folder. `source`: where the model lies, if it was read."""
    model.check_target(choice.to)
    if choice.to not in model.directions:  # "all", or several attributes
        raise UsageError(f"--to {choice.to}: figures are of one domain; give one of {', '.join(model.directions)}")
    direction = choice.direction or model.info.direction or "a2b"
    name, split = _held_out(root, model.method.layout, choice.split, direction, say)
    if split.label_names:
        split = split_by_domain(split, choice.to)
    return case_from_split(model, source, root, name, split, direction, choice, progress)


def case_from_split(
    model: Translator, source: TrainedModel | None, root: Path, name: str, split: Split, direction: str,
    choice: EvaluationOptions, progress: ProgressCallback,
) -> EvaluationCase:  # fmt: skip
    """A model's translations of the images of a split."""
    split, given = split.swapped() if choice.to == "a" else split, model.source_domain(choice.to)
    side = _side(choice.size, model.info)
    channels = {given: model.input_channels(choice.to), choice.to: model.output_channels(choice.to)}
    ways = {domain: ReadOptions(side, count, model.value_range(domain)) for domain, count in channels.items()}
    inputs, real = (
        image_sets.read_image_set(split.a, root, ways[given]),
        image_sets.read_image_set(split.b, root, ways[choice.to]),
    )
    outputs = _translated(model, inputs, choice, progress)
    subject = Subject(
        outputs, real, real if split.paired else None, inputs,
        translate=_by(model, choice.to, choice.seed),
        translate_back=_by(model, given, choice.seed) if given in model.directions and given != choice.to else None,
        translate_with_grad=_differentiable(model, choice.to, choice.seed),
        train_label_scorer=lambda metric: label_data.train_label_scorer(
            metric, root, _of_training(root, model, direction, choice.to), split.a, ways[choice.to],
            Path(choice.labels) if choice.labels else None, seed=choice.seed, device=model.device,
        ),
    )  # fmt: skip
    data = {
        "data": root.resolve().name, "split": name, "layout": model.method.layout, "direction": direction,
        "to": choice.to, "paired": split.paired, "precision": model.precision.name,
    }  # fmt: skip
    return EvaluationCase(
        subject, ways[choice.to], data, _about(model, source, outputs), run_of_model(source.source) if source else None
    )


def _about(model: Translator, source: TrainedModel | None, outputs: ImageSet) -> dict[str, Any]:
    return {
        "model": str(source.source) if source else None,
        "method": model.info.method,
        "sha256": model.sha256,
        "trained_on": model.info.trained_on,
        "outputs_sha256": outputs.sha256(),
    }


def _held_out(
    root: Path, layout: str, wanted: str | None, direction: str, say: Callable[[str], None]
) -> tuple[str, Split]:
    """The split that is asked for, else the held-out one, else that of training; as pairs wherever the names match."""
    there = [name for name in HELD_OUT_SPLITS if layouts.has_split(root, name)]
    name = wanted or next(iter(there), "train")
    split = layouts.find_split(root, layout, name, direction)
    if name == "train":
        say(f"{root}: these are training images, which a model knows by heart: its figures on others will be worse")
    if layout == "unpaired" and (pairs := find_hidden_pairs(root, name, direction)) is not None:
        say(
            f"{root}: {name} holds pairs, which training did not see: the truth is known, and figures against it are given too"
        )
        return name, pairs
    return name, split


def find_hidden_pairs(root: Path, name: str, direction: str) -> Split | None:
    """A split as pairs, where the names match though the method learns without pairs."""
    try:
        return layouts.find_split(root, "paired", name, direction)
    except DataError:
        return None


def split_by_domain(split: Split, to: str) -> Split:
    """Of many domains: as a the images that are not of domain `to` (or do not have this attribute), as b those that are.

    DataError where either are none.
    """
    number = split.label_names.index(to)
    there = [label[number] == 1 if isinstance(label, tuple) else label == number for label in split.labels]
    a, b = (tuple(ref for ref, of in zip(split.a, there, strict=True) if of == wanted) for wanted in (False, True))
    if not (a and b):
        raise DataError(f"no images {'of' if a else 'but those of'} domain {to!r}: there is nothing to compare")
    return Split(a, b, paired=False)


def _of_training(root: Path, model: Translator, direction: str, to: str) -> tuple[ImageRef, ...]:
    """The real images of the target domain that a scorer may learn from."""
    split = layouts.find_split(root, model.method.layout, "train", direction)
    if split.label_names:
        return split_by_domain(split, to).b
    return split.b if to == "b" else split.a


def _side(size: int | str, info: ModelInfo) -> int | None:
    """Of the square that images are resized to: that of training, so that a model sees what it learned from.

    The crop size where the load size is only the enlargement that random crops are cut from, 286 for 256, as the
    reference's test does; else the load size. None: as they are, where training left them so.
    """
    if size == "keep" or (size == "auto" and info.preprocess not in (None, "resize_and_crop")):
        return None
    if isinstance(size, int):
        return size
    if info.trained_on is None:
        return REFERENCE_SIZE
    crop, load = info.trained_on["crop_size"], info.trained_on["load_size"]
    return crop if load == config.default_load_size(crop) else load


def _translated(model: Translator, inputs: ImageSet, choice: EvaluationOptions, progress: ProgressCallback) -> ImageSet:
    """What the model makes of each image, in 8 bits."""
    made: list[Tensor] = []
    progress(0, 0, len(inputs))
    for batch in _batches(inputs, choice.batch_size if model.device.type == "cuda" else 1):
        outputs = model(torch.cat(batch), choice.to, seed=choice.seed)
        made.extend(images.quantize(x) for x in outputs)
        progress(len(made), 0, len(inputs))
    return ImageSet(inputs.names, tuple(made), formats="8 bits, lossless")


def _batches(inputs: ImageSet, batch_size: int) -> Iterator[list[Tensor]]:
    """(1, C, H, W) each; the images of a batch have one size."""
    scaled = (inputs.normalized(i) for i in range(len(inputs)))
    for _, alike in groupby(scaled, key=lambda x: x.shape):
        while batch := list(islice(alike, batch_size)):
            yield batch


def _by(model: Translator, to: str, seed: int) -> TranslateFn:
    return lambda x: model(x, to, seed=seed)


def _differentiable(model: Translator, to: str, seed: int) -> TranslateFn:
    """The model with gradients; its noise depends on the seed alone, so that it stays the same when an image changes."""

    def translate(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        key = torch.full((len(x),), seed, device=model.device)
        batch = torch.stack(
            [pad_to_size_rule(image.to(model.device, model.precision.weights), **model.info.size) for image in x]
        )
        with model.precision.autocast(model.device):
            return model.method.translate(batch, to, key)[..., :height, :width].to(x.device, x.dtype)

    return translate
