"""Shared parts of the methods that generate images from noise: what is asked of their settings, and their sample grids."""

from dataclasses import dataclass
from typing import Any, NoReturn

from torch import Tensor

from translate import keyed_random
from translate.config import TrainConfig, option
from translate.errors import UsageError
from translate.methods.base import Method

SAMPLE_COLUMNS = 6
"""Columns of samples in the sample grid, at most."""


@dataclass(frozen=True)
class OneDomainConfig(TrainConfig):
    """Config of methods whose images are all of one domain, which has channels of its own."""

    input_channels: int = option(3, "channels of the images: 3 (colour) or 1 (grey)", low=1, group="Data")
    output_channels: int | None = option(  # type: ignore[assignment]
        None, "must equal --input-channels, as there is one domain [default: --input-channels]", low=1, group="Data"
    )


def check_one_domain(cfg: TrainConfig, name: str) -> None:
    """Check that the settings are those of one domain with images of one size. Raises UsageError, with a setting that works.

    name: of the method.
    """
    if not cfg.crops:
        raise UsageError(
            f"--preprocess {cfg.preprocess} keeps images of many sizes, but {name}'s are all of the crop size; use "
            f"resize_and_crop"
        )
    if cfg.direction != "a2b" or cfg.range_b is not None:
        flag = "--range-b" if cfg.range_b is not None else "--direction b2a"
        raise UsageError(f"{flag}: {name} has no domain b; leave it out")
    if cfg.output_channels not in (None, cfg.input_channels):
        raise UsageError(
            f"--output-channels {cfg.output_channels}: {name} generates images like those of the data, of --input-channels "
            f"{cfg.input_channels}; leave it out"
        )


def check_power_of_two(cfg: TrainConfig, name: str, smallest: int, largest: int | None = None) -> None:
    """Check that the crop size is a power of two in a range. Raises UsageError that proposes the nearest one."""
    size = cfg.crop_size
    if size.bit_count() == 1 and smallest <= size and (largest is None or size <= largest):
        return
    below = 1 << (size.bit_length() - 1)
    nearest = max(smallest, min(below, 2 * below, key=lambda other: abs(other - size)))
    sizes = f"from {smallest} pixels up" if largest is None else f"from {smallest} to {largest} pixels"
    raise UsageError(
        f"--crop-size {size}: {name} generates images of a power of two {sizes}; use --crop-size "
        f"{nearest if largest is None else min(nearest, largest)}"
    )


def refuse_translation(method: Method[Any]) -> NoReturn:
    """Raise UsageError: a method that generates images translates none."""
    raise UsageError(f"{method.name} generates images from noise and translates none; use translate sample")


def sample_columns(method: Method[Any], key: Tensor) -> dict[str, Tensor]:
    """Return columns of samples of different noise, (N, C, H, W) each, for a sample grid; key (N,)."""
    names = range(SAMPLE_COLUMNS)
    return {f"sample {n + 1}": method.sample(keyed_random.fold_in(key, "preview", n)) for n in names}
