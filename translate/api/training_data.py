"""Data of a training: its settings checked, how images are prepared and loaded, and the batches that the loop is given."""

import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import chain, islice
from pathlib import Path

import torch

from translate import config, images, keyed_random
from translate.api.label_settings import labels_of, with_instances
from translate.config import TrainConfig
from translate.data import albumentations_recipe, batch_augment, layouts
from translate.data.known_pairs import KnownPairs, find_pairs
from translate.data.labelled import divide_labelled
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing
from translate.data.split import Split
from translate.errors import UsageError
from translate.methods import Method
from translate.methods.base import Batch, DataStage
from translate.methods.configs import MixedSupervisionConfig, SemiSupervisedConfig
from translate.nn.base import Discriminator, Generator
from translate.runtime import distributed
from translate.training import loop


def check_data_options(cfg: TrainConfig, device: torch.device) -> LoaderOptions:
    """Check the settings of the data path before any data is read, and return those of the loader.

    Raises UsageError for values that are impossible, or impossible on this device or without an extra.
    """
    for flag, declared in (("--range-a", cfg.range_a), ("--range-b", cfg.range_b)):
        if declared is not None:
            config.parse_range(declared, flag)
    try:
        images.parse_colour(cfg.background)
    except ValueError:
        raise UsageError(f"--background {cfg.background}: unknown colour; use a name or #rrggbb") from None
    if cfg.decoder == "nvjpeg" and device.type != "cuda":
        raise UsageError(f"--decoder nvjpeg: decodes on a CUDA device, not on {device.type}; use pillow or torchcodec")
    if cfg.decoder != "pillow" and importlib.util.find_spec("torchcodec") is None:
        raise UsageError(f"--decoder {cfg.decoder}: needs torchcodec; install image-translate[gpu], or use pillow")
    recipe = albumentations_recipe.load_recipe(cfg.albumentations) if cfg.albumentations else None
    augmentations = batch_augment.parse_augmentations(cfg.augment)
    return LoaderOptions(
        batch_size=cfg.batch_size, seed=cfg.seed, tier=cfg.loader, workers=cfg.workers, sampling=cfg.sampling,
        augmentations=augmentations, albumentations=recipe, strict=cfg.strict,
    )  # fmt: skip


def check_layout_options(cls: type[Method], cfg: TrainConfig) -> None:
    """Check the settings that belong to one layout of the data. Raises UsageError for a method of another one."""
    if cfg.truth is not None and cls.layout != "unpaired":
        raise UsageError(
            f"--truth {cfg.truth}: is for unpaired methods of two domains, not for {cls.name}; leave it out"
        )
    if cfg.skip_unmatched and cls.layout != "paired" and cfg.truth != "names":
        raise UsageError(
            f"--skip-unmatched: is for paired methods, and {cls.name} needs no partners; leave it out, or give --truth names "
            f"too"
        )


def find_supervision(
    cfg: TrainConfig, root: Path, everything: Split, used: Split, say: Callable[[str], None]
) -> tuple[Split, KnownPairs | None]:
    """Return the images to train on, and those of a second loader: known pairs, or labelled images; None where there are none.

    Where only some images are to be known with their labels, the others are returned without.
    """
    if isinstance(cfg, SemiSupervisedConfig):
        hidden, labelled = divide_labelled(used, cfg.labelled, cfg.label_seed)
        say(f"labels: those of {len(labelled)} of {len(used)} images are used, of {len(used.label_names)} classes")
        return hidden, KnownPairs(labelled)
    return used, find_known_pairs(cfg, root, everything, used, say)


def find_known_pairs(
    cfg: TrainConfig, root: Path, everything: Split, used: Split, say: Callable[[str], None]
) -> KnownPairs | None:
    """Return the known pairs that the settings name; None where they name none.

    `everything`: all training images; `used`: those that are not held out, among which both images of a pair must be.
    """
    if not isinstance(cfg, MixedSupervisionConfig) or cfg.pairs is None:
        return None
    found = find_pairs(cfg.pairs, root, everything, cfg.direction)
    kept = found.within(used)
    if left_out := len(found.split) - len(kept.split):
        say(f"pairs: {left_out} of {len(found.split)} are left out, since an image of each is held out for validation")
    return kept


def find_held_out(cls: type[Method], cfg: TrainConfig, root: Path) -> Split | None:
    """Return images that training does not see, for the sample grids: those of val/ or of test/; None if there are none."""
    held_out = layouts.held_out_split(root, cls.layout, cfg.direction, skip_unmatched=cfg.skip_unmatched)
    if held_out is None:
        return None
    name = next(name for name in ("val", "test") if layouts.has_split(root, name))
    return with_instances(cfg, held_out, root, name)


def with_labels(cls: type[Method], cfg: TrainConfig, split: Split) -> TrainConfig:
    """Return the settings with what the method takes from the labels of the training images."""
    exclusive = not any(isinstance(label, tuple) for label in split.labels)
    cfg = cls.with_labels(cfg, split.label_names, exclusive=exclusive)
    return cls.with_embeddings(cfg, split.embedding_size) if split.embedding_size else cfg


def with_references(cls: type[Method], split: Split) -> Split:
    """Return a split as the method draws it: with its labelled images as references, too, if it asks for them."""
    return split.with_references() if cls.draws_references else split


def with_pair_images(sample: Batch, cfg: TrainConfig) -> Batch:
    """Return a batch of images as that of a training with known pairs or labels, for an estimate; without any as it is."""
    if isinstance(cfg, SemiSupervisedConfig):
        zeros = torch.zeros(len(sample["a"]), dtype=torch.int64, device=sample["a"].device)
        return {**sample, "labelled_a": sample["a"], "labelled_label": zeros}
    if not isinstance(cfg, MixedSupervisionConfig) or cfg.pairs is None:
        return sample
    a = sample["a"]
    b = a.new_empty(len(a), cfg.output_channels, *a.shape[2:])  # the b of a pair has the size of its a
    return {**sample, "pair_a": a, "pair_b": b}


def check_auto_batch(method: Method) -> None:
    """Check that splitting batches further changes nothing but the memory. Raises UsageError if it would."""
    if method.coupled:
        raise UsageError(
            f"--auto-batch on: the images of a batch influence each other ({method.coupled}), so that a batch in more parts "
            f"is another one; use --norm instance --dropout off, or leave out --auto-batch"
        )
    if distributed.world_size() > 1:
        raise UsageError("--auto-batch on works in a single process; with several give --accumulate")


def build_preprocessing(cfg: TrainConfig, method: Method) -> Preprocessing:
    """Return the preprocessing of the training images: sizes, channels and value ranges of both domains, decoder."""
    assert cfg.load_size is not None, "resolved settings have a load size"
    range_a, range_b = (None if text is None else config.parse_range(text) for text in (cfg.range_a, cfg.range_b))
    if method.draws_references:  # which are images of a
        range_b = range_a
    labels = labels_of(cfg)
    channels = cfg.input_channels if labels is None else labels.stored_channels
    return Preprocessing(
        cfg.load_size, cfg.crop_size, cfg.flip, (channels, cfg.output_channels), cfg.preprocess, (range_a, range_b),
        cfg.decoder, cfg.resize, images.parse_colour(cfg.background),
        math.lcm(method.size_rule["multiple_of"], method.photo_multiple), _smallest_side(method), labels,
    )  # fmt: skip


def _smallest_side(method: Method) -> int:
    """Return the smallest height and width of an image that all networks of a method take."""
    networks = [net for net in method.modules() if isinstance(net, (Generator, Discriminator))]
    return max(net.minimum * (net.scale if isinstance(net, Generator) else 1) for net in networks)


@dataclass
class StageLoader:
    """Loader of a stage of the training data, and that of its known pairs; built when they are first used."""

    image: int
    """First image of the run that comes from it, rounded up to a whole step."""
    load: Callable[[], Loader]
    load_pairs: Callable[[], Loader] | None = None

    @cached_property
    def loaders(self) -> tuple[Loader, ...]:
        """Loader of the images, and that of the known pairs where there are any."""
        return self.load(), *([self.load_pairs()] if self.load_pairs is not None else [])

    def reseed(self, seed: int) -> None:
        """Change the seed, for batches that are requested from now on."""
        for loader, own in zip(self.loaders, (seed, pair_seed(seed)), strict=False):
            loader.context.sampler.reseed(own)

    def files(self, numbers: torch.Tensor) -> list[Path]:
        """List the files from which images of the run come, each once."""
        found = [path for loader in self.loaders for path in loader.context.sampler.files(numbers)]
        return list(dict.fromkeys(found))

    def batches(self, start: int) -> Iterator[Batch]:
        """Yield batches from image `start` of the run on, without end; known pairs as `pair_a` and `pair_b`, labelled images as
        `labelled_a` and `labelled_label`.
        """
        first, *pairs = (loader.batches(start) for loader in self.loaders)
        return map(_with_pairs, first, *pairs) if pairs else first


def _with_pairs(batch: Batch, pairs: Batch) -> Batch:
    if "b" not in pairs:
        return {**batch, "labelled_a": pairs["a"], "labelled_label": pairs["label"]}
    return {**batch, "pair_a": pairs["a"], "pair_b": pairs["b"]}


def pair_seed(seed: int) -> int:
    """Return the seed of the draws of known pairs, so that their order has nothing to do with that of the other images."""
    return keyed_random.derive_key(seed, "pairs")


def stage_loaders(
    stages: Sequence[DataStage],
    split: Split,
    preprocessing: Preprocessing,
    options: LoaderOptions,
    build: Callable[[Split, Preprocessing, LoaderOptions], Loader],
    pairs: Split | None = None,
) -> list[StageLoader]:
    """Return the loaders of the stages, which differ in the sizes of images and batches alone.

    Known `pairs` have loaders of their own: image n of the run comes with pair n mod P of an order of all P pairs, which is
    another one each time that they have all been shown.
    """

    @cache
    def loads(load_size: int, crop_size: int, batch_size: int) -> tuple[Callable[[], Loader], ...]:
        """Functions that build the loader of the images and that of the pairs, or return it where another stage has it."""
        sized = replace(preprocessing, load_size=load_size, crop_size=crop_size)
        own = replace(options, batch_size=batch_size)
        given = [(split, own)]
        if pairs is not None:
            given.append(
                (pairs, replace(own, seed=pair_seed(own.seed), title="pairs" if pairs.b else "labelled images"))
            )
        return tuple(cache(partial(build, images, sized, its)) for images, its in given)

    def loader_of(stage: DataStage) -> StageLoader:
        return StageLoader(stage.image, *loads(stage.load_size, stage.crop_size, stage.batch_size))

    return [loader_of(stage) for stage in stages]


def loop_data(stages: Sequence[StageLoader], sample: Batch) -> loop.TrainingData:
    """Return the training data of the loop: batches of the stages' loaders, one after another, and the sample batch."""

    def batches(start: int, seed: int) -> Iterator[Batch]:
        stages[0].reseed(seed)
        return chain.from_iterable(_stage_batches(stages, start, seed))

    return loop.TrainingData(batches, lambda numbers: stages[0].files(torch.tensor(numbers)), sample)


def _stage_batches(stages: Sequence[StageLoader], start: int, seed: int) -> Iterator[Iterator[Batch]]:
    """Yield the batches of each stage from image `start` of the run on; those of the last one have no end."""
    for stage, following in zip(stages, (*stages[1:], None), strict=True):
        if following is not None and start >= following.image:
            continue
        stage.reseed(seed)
        if following is None:
            yield stage.batches(start)
            return
        options = stage.loaders[0].options
        step_size = options.batch_size * options.world_size
        steps = -(-(following.image - start) // step_size)
        yield islice(stage.batches(start), steps)
        start += steps * step_size
