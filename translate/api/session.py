"""translate.api.session"""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import Any

import torch

from translate import config, images
from translate.data import albumentations_recipe, batch_augment
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing
from translate.errors import UsageError
from translate.methods import Method
from translate.methods.base import Batch
from translate.training import loop


def build_preprocessing(cfg: Any, method: Method) -> Preprocessing:
    """How the images of a training are prepared."""
    size, values = cfg.load_size, (cfg.range_a, cfg.range_b)
    declared_a, declared_b = (None if text is None else config.parse_range(text) for text in values)
    return Preprocessing(
        size, cfg.crop_size, cfg.flip, (cfg.input_channels, cfg.output_channels), cfg.preprocess, (declared_a, declared_b),
        cfg.decoder, cfg.resize, images.parse_colour(cfg.background), method.size_rule["multiple_of"],
    )  # fmt: skip


def loader_options(cfg: Any) -> LoaderOptions:
    """How the images of a training are loaded."""
    chosen = albumentations_recipe.load_recipe(cfg.albumentations) if cfg.albumentations else None
    return LoaderOptions(
        cfg.loader, cfg.workers, cfg.sampling, batch_augment.parse_augmentations(cfg.augment), chosen, cfg.strict
    )


def recipe_digest(cfg: Any) -> str:
    """Of the content of a recipe of albumentations: a changed one is changed data."""
    return f" {albumentations_recipe.load_recipe(cfg.albumentations).digest}" if cfg.albumentations else ""


def check_data_options(cfg: Any, device: torch.device) -> None:
    """UsageError where the settings of the data path cannot be, before anything is read."""
    for declared in (cfg.range_a, cfg.range_b):
        if declared is not None:
            config.parse_range(declared)
    try:
        images.parse_colour(cfg.background)
    except ValueError:
        raise UsageError(f"--background {cfg.background}: no such colour; use a name or #rrggbb") from None
    if cfg.decoder == "nvjpeg" and device.type != "cuda":
        raise UsageError(f"--decoder nvjpeg decodes on a CUDA device, not on {device.type}; use pillow or torchcodec")
    if cfg.decoder != "pillow" and importlib.util.find_spec("torchcodec") is None:
        raise UsageError(f"--decoder {cfg.decoder} needs torchcodec: install image-translate[gpu], or use pillow")
    loader_options(cfg)


@dataclass
class LaterLoader:
    """Another loader for the steps from an image of the run on, made when it is first needed."""

    image: int
    load: Callable[[], Loader]

    @cached_property
    def loader(self) -> Loader:
        return self.load()


def loop_data(source: Loader, sample: Batch, later: LaterLoader | None = None) -> loop.TrainingData:
    """What the loop is given: the batches of one loader, or of one after the other."""
    order, steps = source.context.sampler, source.context.batch_sampler

    def later_batches(start: int, seed: int) -> Iterator[Batch]:
        assert later is not None
        later.loader.context.sampler.reseed(seed)
        yield from later.loader.batches(start)

    def batches(start: int, seed: int) -> Iterator[Batch]:
        order.reseed(seed)
        if later is None:
            return source.batches(start)
        size = steps.batch_size * steps.world_size
        before = max(0, -(-(later.image - start) // size))
        first = islice(source.batches(start), before) if before else iter(())
        return chain(first, later_batches(start + before * size, seed))

    return loop.TrainingData(batches, lambda numbers: order.files(torch.tensor(numbers)), sample)
