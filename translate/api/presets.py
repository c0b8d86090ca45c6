"""Presets: settings of a method by a name, and those of them that give way to what a user asks for."""

import difflib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from translate.api import training_data
from translate.api.run_record import Preset, read_started_run
from translate.config import TrainConfig, resolve
from translate.data.loader import fixed_batch
from translate.data.split import Split
from translate.errors import UsageError
from translate.invocation import command_line
from translate.methods import METHODS, Method
from translate.nn.networks.projected import LARGEST_SMALL_CROP
from translate.run_folder import CHECKPOINTS
from translate.runtime import distributed
from translate.runtime.precision import resolve_precision
from translate.text import duration
from translate.training.engine import Engine
from translate.training.schedule import Schedule

PRESETS = {
    "paper": "the authors' settings",
    "modern": "networks and losses that give better pictures in the same time",
    "quick": "small networks, images of 128 px: minutes to an hour on a laptop's CPU",
    "mnist": "the authors' networks for grey digits of 28 px",
}
"""Presets and what they are for. The settings of each are with the method: `Method.presets`."""

LONG_SECONDS = 2 * 3600.0
"""Forecast from which on a faster preset is proposed."""

IMAGE_SETTINGS = ("input_channels", "output_channels", "range_a", "range_b", "background", "direction")
"""Settings that follow from the images, whatever the preset."""


OWN_PRESET = "of this method alone"
"""Purpose of a preset that only a plug-in has."""

T = TypeVar("T", bound=TrainConfig)


def sized_settings(cls: type[Method], name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a method's preset for the crop size that is `given`, or its own."""
    settings = dict(cls.presets[name])
    crop = given.get("crop_size") or settings.get("crop_size") or cls.Config().crop_size
    is_large = isinstance(crop, int) and crop > LARGEST_SMALL_CROP
    return settings | dict(cls.large_presets.get(name, {}) if is_large else {})


def find_preset(cls: type[Method], name: str, folder: Path, given: Mapping[str, Any] | None = None) -> Preset:
    """Return a method's preset of that name, as it was when the run in the folder was started, if that has begun with it.

    Its networks are those for the crop size among the settings that are `given`. An unfinished run continues with the settings
    that it was started with, although a later version has better ones.
    Raises UsageError, naming the presets of the method and the methods that have this one, where the method has none.
    """
    if name not in cls.presets:
        own = f"{cls.name} has " + ", ".join(f"{preset} ({PRESETS.get(preset, OWN_PRESET)})" for preset in cls.presets)
        having = [method for method, other in METHODS.items() if name in other.presets]
        if having:
            raise UsageError(f"--preset {name}: {cls.name} has none; {', '.join(having)} have it; {own}")
        close = difflib.get_close_matches(name, cls.presets, n=1)
        raise UsageError(f"--preset {name}: unknown; " + (f"did you mean {close[0]}? " if close else "") + own)
    record = read_started_run(folder)
    if record is not None and record.preset is not None and record.preset.name == name and record.method == cls.name:
        return record.preset
    return Preset(name, sized_settings(cls, name, given or {}))


def preset_settings(preset: Preset, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a preset without those that settings `given` by a file or by flags decide in another way.

    A crop size alone decides the load size, too; epochs replace the number of images.
    """
    settings = without_replaced_length(preset.settings, given)
    if given.get("crop_size") is not None and given.get("load_size") is None:
        settings.pop("load_size", None)
    return settings


def shorten_preset(preset: Preset, given: Mapping[str, Any]) -> Preset:
    """Return a preset whose learning rate falls over the same share of fewer images, if fewer are `given`.

    A run records the preset so: when more images are given later, the decay stays as long as it is, and the run continues.
    """
    planned, images = preset.settings.get("images"), given.get("images")
    if planned is None or not isinstance(images, int) or not 0 < images < planned:
        return preset
    decay = int(images * preset.settings.get("decay_images", 0) / planned)
    return replace(preset, settings={**preset.settings, "images": images, "decay_images": decay})


def forecast_preset(cls: type[Method], cfg: TrainConfig, split: Split, name: str, device: torch.device) -> float | None:
    """Return the seconds that a training by a preset would take on the device and images of another training.

    It runs two of its steps, of which the second is timed, and changes nothing of the other training, whose draws are functions
    of its seed and of image numbers. None where the method has no such preset, or where it does not go with the images.
    """
    if name not in cls.presets:
        return None
    images = {setting: getattr(cfg, setting) for setting in IMAGE_SETTINGS}
    try:
        cfg = cls.resolve_config(
            with_load_size(resolve(cls.Config, (name, sized_settings(cls, name, {})), (name, images)))
        )
    except UsageError:
        return None
    precision = resolve_precision(cfg.precision, device)
    method = cls(cfg)
    schedule = Schedule.from_config(cfg, len(split))
    engine = Engine(method, schedule, seed=cfg.seed, device=device, precision=precision, batch_size=cfg.batch_size)
    preprocessing = training_data.build_preprocessing(cfg, method)
    batch = fixed_batch(split, preprocessing, cfg.batch_size, device, precision.weights)
    engine.step([batch])
    started = time.perf_counter()
    engine.step([batch])
    return (time.perf_counter() - started) * schedule.planned / len(next(iter(batch.values())))


def advise_preset(
    cls: type[Method], cfg: TrainConfig, split: Split, root: Path, folder: Path, device: torch.device, seconds: float
) -> list[str]:
    """Return a line on the preset quick, with the time that it would take here, where a training takes many seconds.

    root: folder of the data; folder: of the run. Empty on other devices than a CPU, and with several processes.
    """
    if seconds < LONG_SECONDS or device.type != "cpu" or distributed.world_size() > 1:
        return []
    quick = forecast_preset(cls, cfg, split, "quick", device)
    if quick is None or quick > seconds / 2:
        return []
    run = f"{folder.name if folder.parent == CHECKPOINTS else folder}-quick"
    return [
        f"--preset quick ≈ {duration(quick)}: {command_line('train', cls.name, root, '--preset', 'quick', '--run', run)}"
    ]


def without_replaced_length(settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without their number of images, where `given`, which win, count epochs instead."""
    counts_epochs = any(given.get(name) is not None for name in ("epochs", "decay_epochs"))
    if counts_epochs and given.get("images") is None:
        return {name: value for name, value in settings.items() if name not in ("images", "decay_images")}
    return dict(settings)


def with_load_size(cfg: T) -> T:
    """Return the settings with a load size. Raises UsageError if the crop size is larger than that."""
    if cfg.load_size is None:
        cfg = replace(cfg, load_size=cfg.default_load_size)
    assert cfg.load_size is not None
    if cfg.crops and cfg.crop_size > cfg.load_size:
        raise UsageError(
            f"--crop-size {cfg.crop_size} is larger than --load-size {cfg.load_size}; images are resized to the load size "
            f"and then cropped: lower the first or raise the second"
        )
    return cfg
