"""Cases to evaluate of models from noise: generated images, and the real images of a data folder to compare them with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from translate import images
from translate.callbacks import ProgressCallback
from translate.data import layouts
from translate.data.split import Split
from translate.errors import DataError, UsageError
from translate.evaluation import image_sets, label_scorers
from translate.evaluation.cases import (
    HELD_OUT_SPLITS,
    EvaluationCase,
    EvaluationOptions,
    HeldOutData,
    check_truth_options,
    describe_model_source,
    train_notice,
)
from translate.evaluation.evaluator import Subject
from translate.evaluation.image_sets import ImageSet, ReadOptions
from translate.evaluation.label_scorers import LabelScorer
from translate.evaluation.protocol import networks_trained_against
from translate.evaluation.references import ReferenceSources
from translate.evaluation.truth import TruthRule, recorded_settings
from translate.run_folder import run_of_model
from translate.trained.folder import TrainedModel
from translate.trained.sampler import ImageSampler

NO_INPUTS = "images from noise have no inputs; leave it out"
"""Reason why metrics of inputs are not computed."""

NO_TRUTH = "images from noise have none"
"""Reason why there are no true images."""


@dataclass(frozen=True)
class GeneratedImages:
    """Images of a sampler, with the class of each where the model has classes."""

    images: ImageSet
    labels: tuple[int, ...]
    follow_data: bool
    """True if the classes have the shares that they have among the real images; False if they take turns."""


def case_from_sampler(
    sampler: ImageSampler,
    source: TrainedModel | None,
    root: Path,
    options: EvaluationOptions,
    progress: ProgressCallback,
    say: Callable[[str], None],
) -> EvaluationCase:
    """Generate images and compare them with the held-out images of a data folder, else with those of training.

    `source` is the model as it was read. UsageError for options that have no meaning for images from noise, DataError for
    images that cannot be used.
    """
    _check_options(sampler, options)
    layout = sampler.method.layout
    present = [name for name in HELD_OUT_SPLITS if layouts.has_split(root, name)]
    name = options.split or next(iter(present), "train")
    if name == "train":
        say(train_notice(root, layout))
    split = layouts.find_split(root, layout, name)
    return case_from_real_images(sampler, source, HeldOutData(root, name, split, "a2b"), options, progress, say)


def case_from_real_images(
    sampler: ImageSampler,
    source: TrainedModel | None,
    data: HeldOutData,
    options: EvaluationOptions,
    progress: ProgressCallback,
    say: Callable[[str], None],
) -> EvaluationCase:
    """Generate images and compare them with the images a of a split. `source`: None for a model in memory."""
    count = options.samples or len(data.split.a)
    generated = _generate(sampler, data.split, count, options, progress)
    if generated.labels and not generated.follow_data:
        say(f"{data.root}: its classes are not those of the model, which take turns in the generated images")
    channels, side = generated.images.stored[0].shape[0], generated.images.stored[0].shape[-1]
    _check_size(sampler, options, side)
    size = None if options.size == "keep" else side
    read_options = ReadOptions(size, channels, sampler.value_range)
    real = image_sets.read_image_set(data.split.a, data.root, read_options)
    subject = Subject(
        generated.images,
        real,
        why_no_truth=NO_TRUTH,
        why_no_inputs=NO_INPUTS,
        classify=_real_classifier(sampler, real, data.split, options.batch_size)
        if sampler.method.class_names
        else None,
        train_label_scorer=_class_scorer_trainer(sampler, data.root, generated, read_options, options.seed),
    )
    run_folder = run_of_model(source.source) if source else None
    described = {
        "data": data.root.resolve().name,
        "split": data.name,
        "layout": sampler.method.layout,
        "paired": False,
        "truth": None,
        "samples": count,
        "truncation": sampler.truncation,
        "classes": ("as in the real images" if generated.follow_data else "in turn") if generated.labels else None,
        "precision": sampler.precision.name,
        "trained_against": networks_trained_against({**sampler.info.networks, **recorded_settings(run_folder)}),
    }
    sources = ReferenceSources(
        data.root,
        lambda: _training_split(sampler, data.root).with_itself(paired=False),
        read_options,
        read_options,
        is_training=data.name == "train",
    )
    provenance = describe_model_source(sampler, source, generated.images)
    return EvaluationCase(subject, read_options, described, provenance, run_folder, reference_sources=sources)


def _check_options(sampler: ImageSampler, options: EvaluationOptions) -> None:
    """Raise UsageError for flags of translations."""
    check_truth_options(options, sampler.method.layout, TruthRule(by_names=False))
    named = {
        "--to": options.to if options.to != "b" else None,
        "--direction": options.direction,
        "--labels": options.labels,
    }
    for flag, value in named.items():
        if value is not None:
            raise UsageError(f"{flag} {value}: {sampler.method.name} generates images from noise; leave it out")


def _check_size(sampler: ImageSampler, options: EvaluationOptions, side: int) -> None:
    if isinstance(options.size, int) and options.size != side:
        raise UsageError(
            f"--size {options.size}: this {sampler.method.name} generates images of {side} pixels a side, and real images are "
            f"compared at that size; leave it out"
        )


def _generate(
    sampler: ImageSampler, split: Split, count: int, options: EvaluationOptions, progress: ProgressCallback
) -> GeneratedImages:
    """Generate images 0 to count − 1 of the seed, in 8 bits."""
    labels, follow_data = _choose_classes(sampler.classes, split, count) if sampler.classes else ((), False)
    made: list[Tensor] = []
    progress(0, 0, count)
    for start in range(0, count, options.batch_size):
        numbers = range(start, min(start + options.batch_size, count))
        own = [labels[n] for n in numbers] if labels else None
        batch = sampler(numbers, options.seed, labels=own)
        made.extend(images.quantize(x).cpu() for x in batch)
        progress(len(made), 0, count)
    names = tuple(f"{n:06d}.png" for n in range(count))
    return GeneratedImages(ImageSet(names, tuple(made), formats="8 bits, lossless"), labels, follow_data)


def _choose_classes(classes: Sequence[str], split: Split, count: int) -> tuple[tuple[int, ...], bool]:
    """Return the class of each image: with the shares of the real ones, if each of these has a class of the model.

    Else the classes take turns. A metric of whole sets then compares sets of like composition, however rare a class is.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    known = [
        numbers.get(split.label_names[label]) if isinstance(label, int) and label >= 0 else None
        for label in split.labels
    ]
    real = sorted(number for number in known if number is not None)
    if not known or len(real) < len(known):
        return tuple(n % len(classes) for n in range(count)), False
    return tuple(real[n * len(real) // count] for n in range(count)), True


def _real_classifier(
    sampler: ImageSampler, real: ImageSet, split: Split, batch_size: int
) -> Callable[[str], tuple[Tensor, Tensor]]:
    """Return the function that classifies the real images with the model."""

    def classify(metric: str) -> tuple[Tensor, Tensor]:
        names = [split.label_names[x] if isinstance(x, int) and x >= 0 else None for x in split.labels]
        known = sampler.method.class_names
        if not names or any(name not in known for name in names):
            raise DataError(f"{metric}: needs a folder for each class of the model, and no others: {', '.join(known)}")
        labels = torch.tensor([known.index(str(name)) for name in names])
        found = (real.normalized(i) for i in range(len(real)))
        batches = image_sets.batch_by_size(found, batch_size)
        return torch.cat([sampler.classify(torch.cat(batch)).cpu() for batch in batches]), labels

    return classify


def _training_split(sampler: ImageSampler, root: Path) -> Split:
    if not layouts.has_split(root, "train"):
        raise DataError(f"{root} has no training images")
    return layouts.find_split(root, sampler.method.layout, "train")


def _class_scorer_trainer(
    sampler: ImageSampler, root: Path, generated: GeneratedImages, read_options: ReadOptions, seed: int
) -> Callable[[str], tuple[LabelScorer, Tensor]]:
    """Return the function that trains a classifier on real training images of the model's classes."""

    def train(metric: str) -> tuple[LabelScorer, Tensor]:
        if metric != "classification":
            raise UsageError(f"{metric}: {NO_INPUTS}")
        if not generated.labels:
            raise UsageError(f"{metric}: this {sampler.method.name} was trained without classes; leave it out")
        split = layouts.find_split(root, sampler.method.layout, "train")
        numbers = {name: number for number, name in enumerate(sampler.classes)}
        own = [numbers.get(name) for name in split.label_names]
        labelled = [
            (ref, own[label])
            for ref, label in zip(split.a, split.labels, strict=False)
            if isinstance(label, int) and label >= 0 and own[label] is not None
        ]
        if {number for _, number in labelled} != set(numbers.values()):
            raise DataError(f"{metric}: needs training images of each class of the model: {', '.join(sampler.classes)}")
        pixels = image_sets.read_image_set([ref for ref, _ in labelled], root, read_options).stack(metric)
        labels = torch.tensor([number for _, number in labelled])
        scorer = label_scorers.train_classifier(pixels, labels, len(numbers), seed, sampler.device)
        return scorer, torch.tensor(generated.labels)

    return train
