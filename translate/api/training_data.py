"""Data of a training: its settings checked, how images are prepared and loaded, and the batches that the loop is given."""

import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice

import torch

from translate import config, images
from translate.config import TrainConfig
from translate.data import albumentations_recipe, batch_augment
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing
from translate.data.split import Split
from translate.errors import UsageError
from translate.methods import Method
from translate.methods.base import Batch, DataStage
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
    return Preprocessing(
        cfg.load_size, cfg.crop_size, cfg.flip, (cfg.input_channels, cfg.output_channels), cfg.preprocess, (range_a, range_b),
        cfg.decoder, cfg.resize, images.parse_colour(cfg.background),
        math.lcm(method.size_rule["multiple_of"], method.photo_multiple), _smallest_side(method),
    )  # fmt: skip


def _smallest_side(method: Method) -> int:
    """Return the smallest height and width of an image that all networks of a method take."""
    networks = [net for net in method.modules() if isinstance(net, (Generator, Discriminator))]
    return max(net.minimum for net in networks)


@dataclass
class StageLoader:
    """Loader of a stage of the training data; built when it is first used."""

    image: int
    """First image of the run that comes from it, rounded up to a whole step."""
    load: Callable[[], Loader]

    @cached_property
    def loader(self) -> Loader:
        """The loader itself."""
        return self.load()


def stage_loaders(
    stages: Sequence[DataStage],
    split: Split,
    preprocessing: Preprocessing,
    options: LoaderOptions,
    build: Callable[[Split, Preprocessing, LoaderOptions], Loader],
) -> list[StageLoader]:
    """Return the loaders of the stages, which differ in the sizes of images and batches alone."""

    def loader_of(stage: DataStage) -> StageLoader:
        sized = replace(preprocessing, load_size=stage.load_size, crop_size=stage.crop_size)
        return StageLoader(stage.image, lambda: build(split, sized, replace(options, batch_size=stage.batch_size)))

    return [loader_of(stage) for stage in stages]


def loop_data(stages: Sequence[StageLoader], sample: Batch) -> loop.TrainingData:
    """Return the training data of the loop: batches of the stages' loaders, one after another, and the sample batch."""
    sampler = stages[0].loader.context.sampler

    def batches(start: int, seed: int) -> Iterator[Batch]:
        sampler.reseed(seed)
        return chain.from_iterable(_stage_batches(stages, start, seed))

    return loop.TrainingData(batches, lambda numbers: sampler.files(torch.tensor(numbers)), sample)


def _stage_batches(stages: Sequence[StageLoader], start: int, seed: int) -> Iterator[Iterator[Batch]]:
    """Yield the batches of each stage from image `start` of the run on; those of the last one have no end."""
    for stage, following in zip(stages, (*stages[1:], None), strict=True):
        if following is not None and start >= following.image:
            continue
        loader = stage.loader
        loader.context.sampler.reseed(seed)
        if following is None:
            yield loader.batches(start)
            return
        step_size = loader.options.batch_size * loader.options.world_size
        steps = -(-(following.image - start) // step_size)
        yield islice(loader.batches(start), steps)
        start += steps * step_size
