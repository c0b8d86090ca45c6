"""Settings of a training: one flat dataclass for each method, read from flags, keyword arguments and TOML alike.

A setting is declared once, by `option`, with its help text and its limits. Later layers win: defaults, the preset, the
`--config` file, the flags.
"""

import difflib
import math
import numbers
import types
import typing
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import tomli_w

from translate import records
from translate.errors import UsageError
from translate.text import flag_name, one_line, suggest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ON_OFF = {"on": True, "off": False}
AUTO_ON_OFF = ("auto", *ON_OFF)
FLAGS = "flags"
"""Source of the settings that are given as flags or keyword arguments: messages name these as flags are typed."""

SCHEDULES = ("reference", "reference-2020", "delayed", "stargan-released")
"""Rules of the learning rate's decay (`training.schedule`)."""
WHOLE_IMAGES = ("none", "scale_width")
"""Rows of `data.preprocessing.PREPROCESS` that are followed by no crop."""

LOAD_TO_CROP = 286 / 256
"""Ratio of the load size to the crop size: images are resized to 286 for crops of 256 (Isola et al., 2017, sec. 6.2)."""


def default_load_size(crop_size: int) -> int:
    """Return the side in pixels that images are resized to before they are cropped, if no load size is given."""
    return int(crop_size * LOAD_TO_CROP)


def option(
    default: Any,
    help: str,
    *,
    choices: Iterable[str] | None = None,
    accepts: Callable[[str], Any] | None = None,
    low: float | None = None,
    high: float = math.inf,
    resumable: bool = False,
    switch: bool = False,
    group: str | None = None,
) -> Any:
    """Return a dataclass field with its help text, limits (`low` and `high` included) and choices.

    `accepts` is asked about a value that is not among the choices: it returns something true if the value is possible.
    `resumable` settings do not decide the weights: an unfinished run resumes when they have changed. A `switch` is on or off,
    and its flag takes no word. `group`: heading of the flag in the help.
    """
    names = tuple(choices) if choices is not None else None
    limits = {"choices": names, "accepts": accepts, "low": low, "high": high}
    return field(
        default=default, metadata={"help": help, "resumable": resumable, "switch": switch, "group": group, **limits}
    )


@dataclass(frozen=True)
class TrainConfig:
    """Settings that the training of every method has. Images are counted over all processes."""

    epochs: int = option(100, "epochs at the constant learning rate", low=0, group="Length")
    decay_epochs: int = option(100, "further epochs, over which the rate falls linearly to zero", low=0, group="Length")
    schedule: str = option(
        "reference",
        "when the learning rate falls: reference, after each epoch; reference-2020, before each epoch (the last one "
        "trains with rate zero); delayed, an epoch later than reference; stargan-released, by only a thousandth in all over "
        "the last --decay-images",
        choices=SCHEDULES,
        group="Length",
    )
    images: int | None = option(
        None,
        "stop after N training images, instead of counting epochs [default: --epochs and --decay-epochs]",
        low=1,
        group="Length",
    )
    decay_images: int = option(
        0, "with --images: the learning rate falls linearly to zero over the last N images", low=0, group="Length"
    )
    batch_size: int = option(1, "images in a training step, for each process", low=1, group="Data")
    accumulate: int = option(1, "split each batch into N micro-batches, to save memory", low=1, group="Speed")
    auto_batch: bool = option(
        False, "when memory runs out, split batches further and continue", resumable=True, group="Speed"
    )
    load_size: int | None = option(
        None,
        "resize images to a square of this side before cropping [default: crop size · 286 / 256]",
        low=2,
        group="Data",
    )
    crop_size: int = option(256, "side of the random square crops to train on, in pixels", low=2, group="Data")
    preprocess: str = option(
        "resize_and_crop",
        "resize_and_crop: resize to the load size, then crop at random; crop: crop the original image; "
        "scale_width_and_crop: resize the width to the load size, then crop; scale_width: the same without a crop; none: train "
        "on whole images of their own size",
        choices=("resize_and_crop", "crop", "scale_width_and_crop", *WHOLE_IMAGES),
        group="Data",
    )
    flip: bool = option(True, "mirror half of the images", group="Data")
    decoder: str = option(
        "pillow",
        "library that decodes JPEG files; nvjpeg decodes on the GPU",
        choices=("pillow", "torchcodec", "nvjpeg"),
        group="Speed",
    )
    resize: str = option(
        "pillow", "library of the bicubic resize filter; torch is faster", choices=("pillow", "torch"), group="Data"
    )
    sampling: str = option(
        "reference",
        "order of unpaired images: reference pairs each image of a shuffled a with a random one of b; permute-both "
        "shuffles both domains",
        choices=("reference", "permute-both"),
        group="Data",
    )
    augment: str = option(
        "",
        "further random changes on the device, such as rotate,affine,color (docs/augmentation.md) [default: none]",
        group="Data",
    )
    albumentations: str | None = option(
        None, "YAML recipe of albumentations, applied by the workers of the stream loader [default: none]", group="Data"
    )
    background: str = option("white", "colour that replaces transparency: a name or #rrggbb", group="Data")
    direction: str = option(
        "a2b", "b2a swaps the two domains when the data is read", choices=("a2b", "b2a"), group="Data"
    )
    input_channels: int = option(3, "channels of domain a: 3 (colour) or 1 (grey)", low=1, group="Data")
    output_channels: int = option(3, "channels of domain b: 3 (colour) or 1 (grey)", low=1, group="Data")
    range_a: str | None = option(
        None,
        "LOW:HIGH, the pixel values that map to −1 and 1 in domain a [default: 0:255 or 0:65535 by the bit depth, 0:1 of "
        "floats; of other values those of the whole set]",
        group="Data",
    )
    range_b: str | None = option(None, "the same for domain b [default: as for domain a]", group="Data")
    lr: float = option(2e-4, "learning rate of all networks", low=0, group="Length")
    init_from: str | None = option(
        None,
        "start from the generators of this trained model: RUN, RUN@N, a model folder or a .pth [default: new random weights]",
        group="Run",
    )
    seed: int = option(0, "seed of every random draw", group="Run")
    precision: str = option(
        "auto",
        "arithmetic; auto is bf16 on GPUs that support it, else fp32",
        choices=("auto", "fp32", "bf16", "fp16", "fp64"),
        group="Speed",
    )
    ema_half_life: int = option(
        0,
        "half-life, in images, of the exponential moving average (EMA) of the generators, which is then exported and "
        "shown beside the raw weights; 0 turns it off",
        low=0,
        group="Networks",
    )
    device: str = option("auto", "device to train on: auto, cpu, cuda, cuda:N or mps", resumable=True, group="Run")
    compile: bool = option(False, "compile the networks with torch.compile", resumable=True, group="Speed")
    graph: str = option(
        "auto",
        "record each kind of step as a CUDA graph and replay it; auto is off, as its speed on a GPU is not measured yet",
        choices=AUTO_ON_OFF,
        resumable=True,
        group="Speed",
    )
    channels_last: str = option(
        "auto",
        "keep images and weights in memory format channels_last; auto is off, as its speed on a GPU is not measured yet",
        choices=AUTO_ON_OFF,
        resumable=True,
        group="Speed",
    )
    convolution: str = option(
        "auto", "how convolutions are computed on a CPU; auto as the run has recorded, else the fastest way that --tune finds",
        choices=("auto", "direct", "winograd"), resumable=True, group="Speed",
    )  # fmt: skip
    tune: str = option(
        "fast", "what --convolution auto times, once on each machine: off nothing, fast a few ways (seconds), full all of them",
        choices=("off", "fast", "full"), resumable=True, group="Speed",
    )  # fmt: skip
    gradient_checkpointing: bool = option(
        False,
        "recompute the generators' activations in the backward pass instead of storing them: less memory, slower",
        resumable=True,
        group="Speed",
    )
    max_memory: float | None = option(
        None,
        "refuse to start if training would need more than this many GiB, as estimated before the first step "
        "[default: no limit]",
        low=0,
        resumable=True,
        group="Speed",
    )
    threads: int | None = option(
        None, "CPU threads of torch [default: chosen by torch]", low=1, resumable=True, group="Speed"
    )
    loader: str = option(
        "auto",
        "where decoded images are kept: resident (on the device), ram (in host memory) or stream (nowhere: decoded "
        "for each use); auto takes the first that fits",
        choices=("auto", "resident", "ram", "stream"),
        resumable=True,
        group="Speed",
    )
    workers: int = option(2, "processes that decode images for the stream loader", low=0, resumable=True, group="Speed")
    skip_unmatched: bool = option(
        False,
        "leave out images without a partner instead of refusing them; for paired methods",
        switch=True,
        group="Data",
    )
    strict: bool = option(
        False,
        "stop at the first file that cannot be read, instead of using another image in its place",
        resumable=True,
        group="Data",
    )
    save_every: int | None = option(
        None, "write a checkpoint every N images [default: every 5 minutes]", low=1, resumable=True, group="Logging"
    )
    keep_every: int | None = option(
        None,
        "keep a checkpoint and its model (RUN@N) every N images for good [default: only the two newest checkpoints and "
        "the newest model are kept]",
        low=1,
        resumable=True,
        group="Logging",
    )
    sample_every: int | None = option(
        None,
        "write a sample grid every N images [default: with each checkpoint]",
        low=1,
        resumable=True,
        group="Logging",
    )
    log_every: int = option(100, "log the losses every N images", low=1, resumable=True, group="Logging")
    evaluate_every: int | None = option(
        None,
        "compute metrics on a validation set every N images and keep the best model [default: no validation]",
        low=1,
        resumable=True,
        group="Validation",
    )
    evaluate_metrics: str = option(
        "",
        "comma-separated metrics of the validation [default: l1, psnr and ssim where the true image is known, else "
        "swd and others]",
        resumable=True,
        group="Validation",
    )
    evaluate_images: int = option(200, "use at most N validation images", low=2, resumable=True, group="Validation")
    best_by: str | None = option(
        None,
        "metric that chooses the best model [default: l1 for paired methods, else swd]",
        resumable=True,
        group="Validation",
    )
    patience: int | None = option(
        None,
        "stop after N validations in a row without improvement [default: never]",
        low=1,
        resumable=True,
        group="Validation",
    )
    truth: str | None = option(
        None,
        "names: files of one name in valA and valB (or testA and testB) show the same, so that metrics against the true "
        "image are computed; none: leave these metrics out; for unpaired methods [default: as the data set's card says]",
        choices=("names", "none"),
        resumable=True,
        group="Validation",
    )
    hold_out: float = option(
        0.0,
        "share of the training images to set aside for validation if there is no val folder",
        low=0,
        high=0.5,
        group="Validation",
    )
    watch: bool = option(
        True, "warn when samples or losses show that training goes wrong", resumable=True, group="Logging"
    )

    @property
    def default_load_size(self) -> int:
        """Side in pixels that images are resized to if `load_size` is not given."""
        return default_load_size(self.crop_size)

    @property
    def crops(self) -> bool:
        """True if images are cropped to the crop size; else they stay whole, and may be of many sizes."""
        return self.preprocess not in WHOLE_IMAGES

    @property
    def not_advised(self) -> tuple[str, ...]:
        """Settings that do not help this method where a health check proposes them for others."""
        return ()


C = TypeVar("C", bound="DataclassInstance")


def setting_names(cls: "type[DataclassInstance]") -> list[str]:
    """Return the names of the settings of a dataclass, in their declared order."""
    return [f.name for f in fields(cls)]


def resolve(cls: type[C], *layers: tuple[str, Mapping[str, Any]]) -> C:
    """Return a checked dataclass of options from layers of (source, values), the last one winning; None means not given.

    Raises UsageError that names the source, the setting or its value, and what is possible.
    """
    known = {f.name: f for f in fields(cls)}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for source, layer in layers:
        for key, value in layer.items():
            name = key.replace("-", "_")
            if name not in known:
                hint = suggest(name, known, flag_name if source == FLAGS else str)
                raise UsageError(
                    f"{flag_name(key)}: unknown; {hint}"
                    if source == FLAGS
                    else f"{source}: unknown setting {key!r}; {hint}"
                )
            if value is not None:
                values[name] = _check_value(known[name], hints[name], value, source)
    return cls(**values)


def check_options(options: "DataclassInstance") -> None:
    """Check the values of a dataclass of options against their declarations; None is possible where it is the default.

    Raises UsageError that names the flag, its value and what is possible.
    """
    hints = typing.get_type_hints(type(options))
    for f in fields(options):
        value = getattr(options, f.name)
        if value is not None or f.default is not None:
            object.__setattr__(options, f.name, _check_value(f, hints[f.name], value, FLAGS))  # options are frozen


_KINDS = {int: "a whole number", float: "a number", bool: "on or off", str: "a name", Path: "a path"}


def _check_value(f: Field[Any], hint: Any, value: Any, source: str) -> Any:
    """Return a value in the type of its setting. Raises UsageError if it has another type or is beyond the limits."""
    kinds = tuple(kind for kind in typing.get_args(hint) or (hint,) if kind is not types.NoneType)
    choices, accepts = f.metadata["choices"], f.metadata["accepts"]
    low, high = f.metadata["low"], f.metadata["high"]
    if bool in kinds and isinstance(value, str) and value in ON_OFF:
        value = ON_OFF[value]
    if isinstance(value, bool) and choices == AUTO_ON_OFF:  # as Python and TOML say on and off
        value = next(name for name, is_on in ON_OFF.items() if is_on == value)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        value = int(value)  # integers of numpy too
        if abs(value) > records.LARGEST_COUNT:
            raise _refusal(f.name, value, source, f"at most {records.LARGEST_COUNT}")
        if float in kinds:
            value = float(value)
    limits = "" if low is None else f"at least {low}" if high == math.inf else f"from {low} to {high}"
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise _refusal(f.name, value, source, _KINDS[kinds[0]])
    if isinstance(value, str) and choices is not None and value not in choices and not (accepts and accepts(value)):
        number = f", or a number of {limits}" if int in kinds else ""
        close = difflib.get_close_matches(value, choices, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise _refusal(f.name, value, source, f"one of {', '.join(choices)}{number}{hint}")
    if isinstance(value, (int, float)) and low is not None and not (low <= value <= high and math.isfinite(value)):
        named = f"one of {', '.join(choices)}, or a number of " if choices is not None else ""
        raise _refusal(f.name, value, source, named + limits)
    return value


def _refusal(name: str, value: Any, source: str, possible: str) -> UsageError:
    if source == FLAGS:
        given = value if isinstance(value, str) else records.shown(value)
        return UsageError(f"{flag_name(name)} {given}: must be {possible}")
    return UsageError(f"{source}: {name} is {records.shown(value)}, but must be {possible}")


def parse_range(text: str, flag: str = "range") -> tuple[float, float]:
    """Return the two numbers of LOW:HIGH.

    Raises UsageError, which names the flag, if the text is not two finite numbers, the lower first.
    """
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise UsageError(f"{flag} {text!r}: must be LOW:HIGH, such as 0:65535") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{flag} {text!r}: the first number must be less than the second")
    return low, high


def read_toml(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file, unchecked. Raises UsageError if it is missing or cannot be read."""
    try:
        return records.read_toml(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; --config takes a TOML file of settings") from None
    except (OSError, ValueError) as e:
        raise UsageError(f"{path}: not a readable TOML file: {one_line(e)}") from None


def to_dict(cfg: TrainConfig) -> dict[str, Any]:
    """Return the settings that are not None, in their declared order."""
    return {f.name: getattr(cfg, f.name) for f in fields(cfg) if getattr(cfg, f.name) is not None}


def to_toml(values: Mapping[str, Any]) -> str:
    """Return the text of a TOML file of these values."""
    return tomli_w.dumps(values)


def differences(
    old: TrainConfig, new: TrainConfig, old_processes: int = 1, new_processes: int = 1, resumable: Container[str] = ()
) -> list[str]:
    """Return one line for each setting that decides the weights and differs: its flag, its value in the run, its value now.

    A longer plan is no difference, nor are the settings named in `resumable`. The batch size is compared as the sum over
    processes.
    """
    lines = []
    for f in fields(new):
        before, after = getattr(old, f.name), getattr(new, f.name)
        if f.name == "batch_size":
            before, after = before * old_processes, after * new_processes
        if before == after or f.metadata["resumable"] or f.name in resumable:
            continue
        if f.name in ("epochs", "images") and None not in (before, after) and after > before:
            continue
        before, after = (one_line(x) if isinstance(x, str) and x else x for x in (before, after))
        lines.append(f"{flag_name(f.name)}: {before} in the run, {after} now")
    return lines
