"""Settings: one flat dataclass for each method, read from flags, keyword arguments and TOML alike.

A setting is declared once, by `option`, with its help text and its limits. Later layers win: defaults, the preset, the
`--config` file, the flags.
"""

import difflib
import math
import tomllib
import types
import typing
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from translate.errors import UsageError

ON_OFF = {"on": True, "off": False}
AUTO_ON_OFF = ("auto", *ON_OFF)


def option(
    default: Any,
    help: str,
    *,
    choices: Iterable[str] | None = None,
    accepts: Callable[[str], Any] | None = None,
    low: float | None = None,
    high: float = math.inf,
    resumable: bool = False,
) -> Any:
    """A field with its help text and limits (low and high included).

    `accepts` says of a name that is not among the choices whether it is possible all the same (true) or not.
    `resumable` settings do not decide the weights, so an unfinished run goes on when they are changed.
    """
    names = tuple(choices) if choices is not None else None
    limits = {"choices": names, "accepts": accepts, "low": low, "high": high}
    return field(default=default, metadata={"help": help, "resumable": resumable, **limits})


@dataclass(frozen=True)
class TrainConfig:
    """What every method's training can be told. An image is one element of a batch, summed over processes."""

    epochs: int = option(100, "epochs at the constant learning rate", low=0)
    decay_epochs: int = option(100, "epochs over which the rate then falls to zero", low=0)
    schedule: str = option(
        "reference",
        "reference lowers the rate after each epoch; reference-2020 before it, so that the last one trains nothing; "
        "stargan-released by a thousandth in all, over the last --decay-images",
        choices=("reference", "reference-2020", "stargan-released"),
    )
    images: int | None = option(None, "stop after N training images instead of counting epochs", low=1)
    decay_images: int = option(0, "with --images: the rate falls to zero over the last N of them", low=0)
    batch_size: int = option(1, "images in a step, for each process", low=1)
    accumulate: int = option(1, "micro-batches a batch is split into, to save memory", low=1)
    auto_batch: bool = option(False, "where memory runs out, split batches further and go on", resumable=True)
    load_size: int | None = option(None, "images are resized to this square first (crop size · 286 / 256)", low=2)
    crop_size: int = option(256, "random squares of this size are trained on", low=2)
    preprocess: str = option(
        "resize_and_crop",
        "resize_and_crop: to the load size, then a random square; crop: of the image as it is; scale_width_and_crop: to the "
        "load size in width; none: whole images",
        choices=("resize_and_crop", "crop", "scale_width_and_crop", "none"),
    )
    flip: bool = option(True, "mirror half of the images")
    decoder: str = option(
        "pillow", "what decodes JPEG; nvjpeg does on the GPU", choices=("pillow", "torchcodec", "nvjpeg")
    )
    resize: str = option("pillow", "bicubic filter: pillow's, or the faster one of torch", choices=("pillow", "torch"))
    sampling: str = option(
        "reference",
        "unpaired order: b at random beside a permuted a, or both permuted",
        choices=("reference", "permute-both"),
    )
    augment: str = option("", "more random changes on the device, as rotate,affine,color (docs/augmentation.md)")
    albumentations: str | None = option(None, "YAML recipe of albumentations, applied by the stream loader's workers")
    background: str = option("white", "colour behind what is transparent: a name or #rrggbb")
    direction: str = option("a2b", "b2a swaps the domains when they are read", choices=("a2b", "b2a"))
    input_channels: int = option(3, "channels of domain a: 3 (colour) or 1 (grey)", low=1)
    output_channels: int = option(3, "channels of domain b: 3 (colour) or 1 (grey)", low=1)
    range_a: str | None = option(
        None, "LOW:HIGH, the values that −1 and 1 stand for in domain a (all of the file's depth)"
    )
    range_b: str | None = option(None, "the same of domain b")
    lr: float = option(2e-4, "learning rate of all networks", low=0)
    init_from: str | None = option(None, "a trained model whose generators to start from")
    seed: int = option(0, "decides every random draw")
    precision: str = option(
        "auto",
        "arithmetic; auto is bf16 on GPUs that have it, else fp32",
        choices=("auto", "fp32", "bf16", "fp16", "fp64"),
    )
    ema_half_life: int = option(
        0,
        "half-life in images of averaged generators, which are then exported and shown beside the raw ones; 0: none",
        low=0,
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps", resumable=True)
    compile: bool = option(False, "compile the networks with torch.compile", resumable=True)
    graph: str = option(
        "auto",
        "record each kind of step once as a CUDA graph and replay it; auto does where there is CUDA",
        choices=AUTO_ON_OFF,
        resumable=True,
    )
    channels_last: str = option(
        "auto",
        "keep images and weights with their channels last in memory; auto does on CUDA in bf16 and fp16",
        choices=AUTO_ON_OFF,
        resumable=True,
    )
    gradient_checkpointing: bool = option(
        False, "compute the generators' inner maps again in the backward pass instead of keeping them", resumable=True
    )
    max_memory: float | None = option(
        None, "GiB that training may take; more, as estimated before the first step, is refused", low=0, resumable=True
    )
    threads: int | None = option(None, "CPU threads of torch", low=1, resumable=True)
    loader: str = option(
        "auto",
        "where decoded images live: resident (on the device), ram (on the host) or stream (nowhere: decoded each time)",
        choices=("auto", "resident", "ram", "stream"),
        resumable=True,
    )
    workers: int = option(2, "processes that decode images for the stream loader", low=0, resumable=True)
    strict: bool = option(False, "stop at the first file that cannot be read", resumable=True)
    save_every: int | None = option(None, "checkpoint after every N images (every 5 minutes)", low=1, resumable=True)
    keep_every: int | None = option(
        None, "keep a checkpoint after every N images for good, beside the two newest", low=1, resumable=True
    )
    sample_every: int | None = option(
        None, "sample grid after every N images (with each checkpoint)", low=1, resumable=True
    )
    log_every: int = option(100, "write losses after every N images", low=1, resumable=True)
    evaluate_every: int | None = option(
        None, "figures on a validation set after every N images, and the best model kept", low=1, resumable=True
    )
    evaluate_metrics: str = option(
        "",
        "comma-separated metrics of the validation (l1, psnr, ssim where the truth is known, else swd and others)",
        resumable=True,
    )
    evaluate_images: int = option(
        200, "images of the validation set that are looked at, at most", low=2, resumable=True
    )
    best_by: str | None = option(
        None, "the figure that the best model is chosen by (l1 for pairs, else swd)", resumable=True
    )
    patience: int | None = option(
        None, "stop after so many validations in a row that were no better than the best", low=1, resumable=True
    )
    hold_out: float = option(
        0.0,
        "share of the training images that is set aside for validation where there is no val folder",
        low=0,
        high=0.5,
    )
    watch: bool = option(True, "warn when samples or losses show that training goes wrong", resumable=True)

    @property
    def default_load_size(self) -> int:
        """What images are resized to where nothing else is asked for: 286 for crops of 256 (pix2pix, sec. 6.2)."""
        return self.crop_size * 286 // 256


C = TypeVar("C", bound=TrainConfig)


def setting_names(cls: type) -> list[str]:
    return [f.name for f in fields(cls)]


def resolve(cls: type[C], *layers: tuple[str, Mapping[str, Any]]) -> C:
    """A checked config from layers of (source, values), the last one winning; None means not given.

    Raises UsageError that names the source, the key or value and what is possible.
    """
    known = {f.name: f for f in fields(cls)}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for source, layer in layers:
        for key, value in layer.items():
            name = key.replace("-", "_")
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"possible: {', '.join(known)}"
                raise UsageError(f"{source}: unknown setting {key!r}; {hint}")
            if value is not None:
                values[name] = _checked(known[name], hints[name], value, source)
    return cls(**values)


def _checked(f: Field, hint: Any, value: Any, source: str) -> Any:
    kinds = [k for k in typing.get_args(hint) if k is not types.NoneType] or [hint]
    kind = kinds[0]
    if kind is bool and isinstance(value, str) and value in ON_OFF:
        value = ON_OFF[value]
    if isinstance(value, bool) and f.metadata["choices"] == AUTO_ON_OFF:  # as Python and TOML say on and off
        value = next(name for name, is_on in ON_OFF.items() if is_on == value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        wanted = {int: "a whole number", float: "a number", bool: "on or off", str: "a name"}[kind]
        raise UsageError(f"{source}: {f.name} is {value!r}, but must be {wanted}")
    choices, low, high = f.metadata["choices"], f.metadata["low"], f.metadata["high"]
    accepts = f.metadata["accepts"]
    if choices is not None and value not in choices and not (accepts and accepts(value)):
        raise UsageError(f"{source}: {f.name} is {value!r}, but must be one of {', '.join(choices)}")
    if low is not None and not (low <= value <= high and math.isfinite(value)):
        limits = f"at least {low}" if high == math.inf else f"from {low} to {high}"
        raise UsageError(f"{source}: {f.name} is {value!r}, but must be {limits}")
    return value


def parse_range(text: str) -> tuple[float, float]:
    """The two numbers of LOW:HIGH. UsageError if it is not that."""
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise UsageError(f"range {text!r}: must be LOW:HIGH, such as 0:65535") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"range {text!r}: the first number must be less than the second")
    return low, high


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a flat TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; --config takes a TOML file of settings") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise UsageError(f"{path}: not a readable TOML file: {e}") from None


def to_dict(cfg: Any) -> dict[str, Any]:
    """All settings that are set, in their declared order."""
    return {f.name: getattr(cfg, f.name) for f in fields(cfg) if getattr(cfg, f.name) is not None}


def to_toml(values: Mapping[str, Any]) -> str:
    return tomli_w.dumps(values)


def differences(
    old: TrainConfig, new: TrainConfig, old_processes: int = 1, new_processes: int = 1, resumable: Container[str] = ()
) -> list[str]:
    """What decides the weights and is not equal, one line each. A longer plan is no difference, nor is what is `resumable` here.

    Of the batch size it is the sum over processes that counts.
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
        lines.append(f"{f.name}: {before} in the run, {after} now")
    return lines
