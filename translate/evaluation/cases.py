"""Cases to evaluate: a model on held-out images, or a folder of images, with the real images to compare them with."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from translate import config, images
from translate.callbacks import ProgressCallback
from translate.config import option
from translate.data import layouts, pairing
from translate.data.instances import attach_instances
from translate.data.split import ImageRef, Split, split_by_target
from translate.errors import DataError, NonFiniteError, UsageError
from translate.evaluation import image_sets, label_data
from translate.evaluation.evaluator import Subject
from translate.evaluation.image_sets import ImageSet, ReadOptions, batch_by_size
from translate.evaluation.input_checks import TranslateFn
from translate.evaluation.label_data import LabelTask
from translate.evaluation.label_scorers import LabelScorer
from translate.evaluation.made_inputs import InputMaker
from translate.evaluation.protocol import networks_trained_against
from translate.evaluation.references import ReferenceSources
from translate.evaluation.robustness import ATTACK_IMAGES
from translate.evaluation.truth import TRUTH, TruthRule, find_truth, recorded_settings, resolve_truth, truth_kind
from translate.run_folder import run_of_model
from translate.text import join_names
from translate.trained.differentiable import translate_with_grad
from translate.trained.folder import TrainedModel
from translate.trained.model_info import ModelInfo
from translate.trained.noise import pixel_key
from translate.trained.sampler import ImageSampler
from translate.trained.translator import Translator

REFERENCE_SIZE = 256
"""Size that the reference resizes test images to, for models that do not say at which size they were trained."""

DIVERSITY_SAMPLES = 10
"""Outputs of each input that diversity compares if `--samples` does not say."""

HELD_OUT_SPLITS = ("test", "val")
"""Splits of held-out images, in the order in which they are looked for."""


@dataclass(frozen=True)
class EvaluationCase:
    """Subject of an evaluation with what its results say of it."""

    subject: Subject
    read_options: ReadOptions
    """Options with which the real and the translated images are read."""
    data: dict[str, Any]
    """Entries of the protocol that say which images these are."""
    provenance: dict[str, Any]
    """Entries of the results that say what was evaluated: a model, or a folder."""
    run_folder: Path | None = None
    """Run folder of the model, if it lies in one."""
    notices: tuple[str, ...] = ()
    """Lines on how the images were found."""
    reference_sources: ReferenceSources | None = None
    """Images from which values of reference are computed; None where there are no inputs."""


@dataclass(frozen=True)
class HeldOutData:
    """Held-out images of a data folder."""

    root: Path
    """Data folder."""
    name: str
    """Name of the split: test, val or train."""
    split: Split
    """Images of the two domains."""
    direction: str
    """Direction in which the two domains are read: a2b or b2a."""
    why_no_truth: str = ""
    """Reason why the images are no pairs, with the remedy."""


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of an evaluation. UsageError, which names the flag, for a value that is not possible."""

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
    truth: str | None = option(
        None,
        "names: files of one name in testA and testB show the same, so that metrics against the true image are computed; "
        "none: leave these metrics out [default: as the data set's card or the run says; of --real and --fake, names]",
        choices=TRUTH,
        group="Images",
    )
    skip_unmatched: bool = option(False, "leave out images without a partner of the same name", group="Images")
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
    samples: int | None = option(
        None,
        "images that a model from noise generates [default: as many as there are real ones]; outputs of each input that "
        "diversity compares, by a model that translates [default: 10]",
        low=2,
        group="Metrics",
    )
    truncation: float | None = option(None, "truncation of the noise, by models that have one", group="Metrics")
    attack_images: int = option(
        ATTACK_IMAGES, "inputs, evenly spaced, that the metric robustness attacks at most", low=1, group="Metrics"
    )
    attack_restarts: int = option(
        1,
        "random starts of each PGD attack of the metric robustness, of which the worst counts",
        low=1,
        group="Metrics",
    )
    batch_size: int = option(8, "images of one size that a GPU translates at a time", low=1, group="Speed")
    seed: int = option(0, "seed of every random draw", group="Metrics")

    def __post_init__(self) -> None:
        config.check_options(self)


def case_from_folders(real: Path, fake: Path, options: EvaluationOptions) -> EvaluationCase:
    """Compare the images of one folder with those of another, as pairs if all match by name.

    DataError where a folder has no images, or one that cannot be read, or where pairs are asked for but names do not match.
    """
    read_options = ReadOptions(options.size if isinstance(options.size, int) else None)
    split, why_no_truth = _match_folders(real, fake, options)
    outputs = image_sets.read_image_set(split.a, fake, read_options)
    real_images = image_sets.read_image_set(split.b, real, read_options)
    subject = Subject(outputs, real_images, real_images if split.paired else None, why_no_truth)
    data = {"data": real.resolve().name, "paired": split.paired, "truth": truth_kind(split)}
    provenance = {"outputs": str(fake), "sha256": outputs.sha256()}
    return EvaluationCase(subject, read_options, data, provenance, notices=split.notices)


def _match_folders(real: Path, fake: Path, options: EvaluationOptions) -> tuple[Split, str]:
    """Return the images of `fake` as a and those of `real` as b, as pairs if names match; else also why they are none."""
    reals, fakes = image_sets.list_images(real), image_sets.list_images(fake)
    if options.truth == "none":
        return Split(fakes, reals, paired=False), "--truth none"
    folders = fake, real
    match = pairing.match_names([ref.path for ref in fakes], [ref.path for ref in reals], folders)
    if match.is_one_to_one or (options.skip_unmatched and match.pairs):
        a, b = (tuple(ImageRef(pair[side]) for pair in match.pairs) for side in (0, 1))
        return Split(a, b, paired=True, notices=tuple(pairing.describe_match(match, folders))), ""
    why = pairing.describe_mismatch(match, folders)
    if options.truth == "names":
        raise DataError(f"--truth names: {why}")
    return Split(fakes, reals, paired=False), why


def case_from_model(
    model: Translator,
    source: TrainedModel | None,
    root: Path,
    options: EvaluationOptions,
    progress: ProgressCallback,
    say: Callable[[str], None],
) -> EvaluationCase:
    """Translate the held-out images of a data folder with a model.

    `source` is the model as it was read, None for a model in memory. UsageError for a target domain or split that the model
    or the folder does not have, DataError for images that cannot be used.
    """
    model.check_target(options.to)
    if options.to not in model.directions:  # "all", or several attributes
        raise UsageError(
            f"--to {options.to}: an evaluation is of one domain; give one of {', '.join(model.directions)}"
        )
    data = _held_out(root, model, options, run_of_model(source.source) if source else None, say)
    return case_from_split(model, source, data, options, progress)


def case_from_split(
    model: Translator,
    source: TrainedModel | None,
    data: HeldOutData,
    options: EvaluationOptions,
    progress: ProgressCallback,
) -> EvaluationCase:
    """Translate the images of a split with a model. `source` is the model as it was read, None for a model in memory."""
    to, given = options.to, model.source_domain(options.to)
    split = split_by_target(data.split, to)
    size = _image_size(options.size, model.info)
    channels = {given: model.input_channels(to), to: model.output_channels(to)}
    read_options = {domain: ReadOptions(size, count, model.value_range(domain)) for domain, count in channels.items()}
    read_options[given] = replace(read_options[given], labels=model.label_format(to))
    maker = _input_maker(model, options.seed)
    inputs, real = _read_images(split, data.root, read_options[given], read_options[to], maker)
    outputs = _translate_all(model, inputs, options, progress)
    two_way = given in model.directions and given != to
    subject = Subject(
        outputs,
        real,
        real if split.paired else None,
        data.why_no_truth,
        inputs,
        translate=_translate_fn(model, to, options.seed),
        translate_samples=_translate_samples(model, options),
        translate_back=_translate_fn(model, given, options.seed) if two_way else None,
        translate_with_grad=translate_with_grad(model, to, options.seed),
        train_label_scorer=_label_scorer_trainer(model, data, split.a, read_options[to], options),
        border=model.scale(to) if model.scale(to) > 1 else 0,
        copies=maker.copy(inputs) if maker else None,
    )
    run_folder = run_of_model(source.source) if source else None
    described = {
        "data": data.root.resolve().name, "split": data.name, "layout": model.method.layout, "direction": data.direction,
        "to": to, "paired": split.paired, "truth": truth_kind(split), "precision": model.precision.name,
        "trained_against": networks_trained_against({**model.info.networks, **recorded_settings(run_folder)}),
    }  # fmt: skip
    sources = ReferenceSources(
        data.root,
        lambda: _training_split(model, data, to),
        read_options[given],
        read_options[to],
        is_training=data.name == "train",
        maker=maker,
    )
    return EvaluationCase(
        subject,
        read_options[to],
        described,
        describe_model_source(model, source, outputs),
        run_folder,
        reference_sources=sources,
    )


def _read_images(
    split: Split, root: Path, read_inputs: ReadOptions, read_real: ReadOptions, maker: InputMaker | None
) -> tuple[ImageSet, ImageSet]:
    """Return the inputs and the real images of a split; inputs are made of the real images if there is a rule for it."""
    if maker:
        real = maker.fit(image_sets.read_image_set(split.b, root, read_real))
        return maker.make(real), real
    inputs = image_sets.read_image_set(split.a, root, read_inputs)
    return inputs, image_sets.read_image_set(split.b, root, read_real)


def _input_maker(model: Translator, seed: int) -> InputMaker | None:
    """Return the rule by which the model's method makes inputs of photos; None if its inputs are files."""
    method = model.method
    if method.layout != "photos":
        return None
    return InputMaker(
        method.make_input,
        method.copy_input,
        method.photo_multiple,
        lambda pixels: pixel_key(pixels, seed),
        model.device,
        json.dumps([model.info.method, model.info.networks, seed], sort_keys=True),
    )


def _label_scorer_trainer(
    model: Translator,
    data: HeldOutData,
    inputs: tuple[ImageRef, ...],
    read_real: ReadOptions,
    options: EvaluationOptions,
) -> Callable[[str], tuple[LabelScorer, Tensor]]:
    """Return the function that trains the scorer of a label metric; see `Subject.train_label_scorer`."""

    def train(metric: str) -> tuple[LabelScorer, Tensor]:
        labels = Path(options.labels) if options.labels else None
        training = _training_images(model, data, options.to)
        task = LabelTask(metric, data.root, training, inputs, read_real, labels)
        return label_data.train_label_scorer(task, seed=options.seed, device=model.device)

    return train


def describe_model_source(
    model: Translator | ImageSampler, source: TrainedModel | None, outputs: ImageSet
) -> dict[str, Any]:
    """Return the entries of the results that say which model made the outputs; `source` as in `case_from_split`."""
    return {
        "model": str(source.source) if source else None,
        "method": model.info.method,
        "sha256": model.sha256,
        "trained_on": model.info.trained_on,
        "outputs_sha256": outputs.sha256(),
    }


def _held_out(
    root: Path, model: Translator, options: EvaluationOptions, run: Path | None, say: Callable[[str], None]
) -> HeldOutData:
    """Return the split asked for, else the held-out one, else that of training; as pairs where its truth is known."""
    layout, direction = model.method.layout, options.direction or model.info.direction or "a2b"
    rule = resolve_truth(options.truth, root, run)
    check_truth_options(options, layout, rule)
    present = [name for name in HELD_OUT_SPLITS if layouts.has_split(root, name)]
    name = options.split or next(iter(present), "train")
    split = layouts.find_split(root, layout, name, direction, skip_unmatched=options.skip_unmatched)
    if name == "train":
        say(train_notice(root, layout))
    if layout == "photos":
        split = split.with_itself(paired=True)
    why_no_truth = "" if layout in layouts.LAYOUTS_WITH_TRUTH else "images of domains have none"
    if layout == "unpaired":
        truth = find_truth(root, name, direction, rule, skip_unmatched=options.skip_unmatched)
        split, why_no_truth = truth.pairs or split, truth.missing
        if truth.notice:
            say(truth.notice)
    for line in split.notices:
        say(line)
    labels = model.label_format(options.to)
    if labels is not None and labels.edges:
        split = attach_instances(split, root, name, direction)
    return HeldOutData(root, name, split, direction, why_no_truth)


def train_notice(root: Path, layout: str) -> str:
    """Return the line that warns of an evaluation on images that a model may have been trained on."""
    if layout in ("photos", "images") and not layouts.has_split(root, "train"):
        return (
            f"{root}: all of its {layout} are used; on those that it was trained on a model does better than on others"
        )
    return (
        f"{root}: these are training images, on which a model does better than on others; add a folder of test images"
    )


def check_truth_options(options: EvaluationOptions, layout: str, rule: TruthRule) -> None:
    """Raise UsageError for flags that have no meaning for the model's layout."""
    if options.truth is not None and layout != "unpaired":
        raise UsageError(f"--truth {options.truth}: is for models of unpaired methods with two domains; leave it out")
    if options.skip_unmatched and layout != "paired" and not rule.by_names:
        raise UsageError(
            "--skip-unmatched: this model's method needs no partners; leave it out, or give --truth names too"
        )


def _training_images(model: Translator, data: HeldOutData, to: str) -> tuple[ImageRef, ...]:
    """Return the real images of the target domain that a scorer may learn from."""
    split = layouts.find_split(data.root, model.method.layout, "train", data.direction)
    return split.a if model.method.layout == "photos" else split_by_target(split, to).b


def _training_split(model: Translator, data: HeldOutData, to: str) -> Split:
    """Return all training images, those that are translated to `to` as a, real images of `to` as b; they are no pairs."""
    if not layouts.has_split(data.root, "train"):
        raise DataError(f"{data.root} has no training images")
    layout = model.method.layout
    split = layouts.find_split(data.root, "unpaired" if layout == "paired" else layout, "train", data.direction)
    return split.with_itself(paired=False) if layout == "photos" else split_by_target(split, to)


def _image_size(size: int | str, info: ModelInfo) -> int | None:
    """Return the side of the square that images are resized to by `--size`; None: no resizing.

    "auto" is the size of training, so that a model sees what it learned from: the crop size where the load size is only the
    enlargement that random crops are cut from, 286 for 256, as in the reference's test; else the load size. It is None where
    training did not resize.
    """
    if size == "keep" or (size == "auto" and info.preprocess not in (None, "resize_and_crop")):
        return None
    if isinstance(size, int):
        return size
    if info.trained_on is None:
        return REFERENCE_SIZE
    crop, load = info.trained_on["crop_size"], info.trained_on["load_size"]
    return crop if load == config.default_load_size(crop) else load


def _translate_all(
    model: Translator, inputs: ImageSet, options: EvaluationOptions, progress: ProgressCallback
) -> ImageSet:
    """Translate each image, in 8 bits."""
    outputs: list[Tensor] = []
    progress(0, 0, len(inputs))
    normalized = (inputs.normalized(i) for i in range(len(inputs)))
    for batch in batch_by_size(normalized, options.batch_size if model.device.type == "cuda" else 1):
        try:
            translated = model(torch.cat(batch), options.to, seed=options.seed)
        except NonFiniteError as e:
            names = inputs.names[len(outputs) : len(outputs) + len(batch)]
            raise NonFiniteError(f"{join_names(names)}: {e}") from None
        outputs.extend(images.quantize(x) for x in translated)
        progress(len(outputs), 0, len(inputs))
    return ImageSet(inputs.names, tuple(outputs), formats="8 bits, lossless")


def _translate_fn(model: Translator, to: str, seed: int) -> TranslateFn:
    return lambda x: model(x, to, seed=seed)


def _translate_samples(model: Translator, options: EvaluationOptions) -> TranslateFn:
    """Return the function that makes several outputs of one input, for diversity."""

    def translate(x: Tensor) -> Tensor:
        if not model.has_noise(options.to):
            raise UsageError(
                f"diversity: needs a model with several outputs for an input, but {model.info.method} has no latent code, and "
                f"this model no dropout in conversion; leave the metric out"
            )
        numbers = range(options.samples or DIVERSITY_SAMPLES)
        return torch.cat([model(x, options.to, seed=options.seed, sample=number) for number in numbers])

    return translate
