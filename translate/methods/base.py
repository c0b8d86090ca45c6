"""The contract between a method and the engine.

A method owns networks and says, in `step`, which losses to minimise over which of them and in what order; the engine does
everything else. A step is a generator: `yield "g", losses` means *minimise the sum of these over the networks of update
"g", now*; when it resumes, those weights have moved.
"""

from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from translate.config import TrainConfig, option
from translate.errors import UsageError
from translate.nn.blocks import set_test_time
from translate.nn.diffaugment import DIFFAUGMENT
from translate.nn.diffaugment import find as find_policy
from translate.nn.discriminators import DISCRIMINATORS, Discriminator
from translate.nn.generators import GENERATORS, Generator
from translate.nn.generators import find as find_generator
from translate.nn.init import normal_
from translate.nn.losses import ADVERSARIAL

Batch = dict[str, Tensor]
Losses = dict[str, Tensor]
Step = abc.Generator[tuple[str, Losses], None, None]
"""What `Method.step` returns: its yields are (name of an update, losses to minimise over its networks)."""


@dataclass(frozen=True)
class Clock:
    """All the time a method knows; one object for all micro-batches and processes of a step."""

    images: int
    """Training images seen before this step, over all processes and micro-batches."""
    step: int
    """Steps done before this one."""
    epoch: int
    """Whole epochs done."""
    progress: float
    """Images seen of the images planned; moves when a run is lengthened, so never branch on it."""


@dataclass(frozen=True)
class Update:
    """One optimizer: the networks it moves, by attribute name or dotted path."""

    networks: tuple[str, ...]
    lr: float = 2e-4
    optimizer: str = "adam"
    options: Mapping[str, Any] = field(default_factory=lambda: {"betas": (0.5, 0.999)})


@dataclass(frozen=True)
class GanConfig(TrainConfig):
    """Settings of methods with a generator and a discriminator of the shared kinds."""

    generator: str = option("resnet_9blocks", "network that translates", choices=GENERATORS, others=find_generator)
    discriminator: str = option("basic", "network that judges; basic sees 70×70 patches", choices=DISCRIMINATORS)
    norm: str = option("instance", "normalisation in all networks", choices=("batch", "instance", "none"))
    dropout: bool = option(False, "dropout in the generator, in training and in conversion")
    g_width: int = option(64, "channels of the generator's first layer", low=1)
    d_width: int = option(64, "channels of the discriminator's first layer", low=1)
    d_layers: int = option(3, "halvings of the n_layers discriminator", low=1, high=6)
    adversarial: str = option("lsgan", "adversarial cost", choices=ADVERSARIAL)
    real_label: float = option(1.0, "label of real images; 0.9 is one-sided label smoothing", low=0.5, high=1.0)
    diffaugment: str = option(
        "",
        "random changes of what discriminators see, as color,translation,cutout",
        choices=("", *DIFFAUGMENT),
        others=find_policy,
    )
    norm_statistics: str = option(
        "sample",
        "what batch norm divides by in conversion: each image's own, or running",
        choices=("sample", "running"),
    )


class Method(nn.Module):
    """A translation method. Subclasses are one file each and do not extend one another."""

    name: ClassVar[str]
    layout: ClassVar[str]
    """The data it reads: a row of `data.layouts.LAYOUTS`."""
    Config: ClassVar[type[TrainConfig]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}}
    """Settings of each preset where they differ from the defaults."""
    translators: ClassVar[Mapping[str, str]]
    """Target domain → attribute of the generator that conversion needs for it."""
    batch_multiple: ClassVar[int] = 1
    coupled: str = ""
    """Why images of a batch influence each other; then k micro-batches or ranks are not one large batch."""
    updates: dict[str, Update]
    ema: tuple[str, ...] = ()
    """Networks whose averages are kept where that is asked for."""

    def __init__(self, cfg: Any) -> None:
        super().__init__()
        self.cfg = cfg

    @classmethod
    def check(cls, cfg: Any) -> Any:
        """The config with everything filled in that depends on other settings; UsageError if it cannot work."""
        return cfg

    @classmethod
    def on_meta(cls, cfg: Any) -> Self:
        """The method without memory for its weights: shapes, size rules and names only."""
        with torch.device("meta"):
            return cls(cfg)

    def prepare(self, batch: Batch) -> None:
        """Fills buffers from data, once, before the first step, with the same batch on every rank."""

    def phase(self, clock: Clock) -> str:
        """Names every branch that `step` takes: the same phase is the same operations on the same shapes."""
        return ""

    def step(self, batch: Batch, clock: Clock) -> Step:
        raise NotImplementedError

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> Tensor:
        """x (N, C, H, W) in [-1, 1] in domain `to`; key (N,) decides the noise of methods that use it, None: no noise.

        Call in evaluation mode. H and W obey the size rule of the generator.
        """
        raise NotImplementedError

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Named columns of images (N, C, H, W) in [-1, 1], for the sample grid."""
        raise NotImplementedError

    def judge(self, batch: Batch) -> dict[str, Tensor]:
        """Raw outputs (N, …) of each discriminator on real and on made images, by "real" and "fake", "_domain" behind them
        where there are several; empty for methods without. Call in evaluation mode."""
        return {}

    def generator_for(self, to: str) -> Generator:
        network = self.get_submodule(self.translators[to])
        assert isinstance(network, Generator)
        return network


def build_generator(cfg: GanConfig, in_channels: int, out_channels: int, *key: int | str) -> Generator:
    """The generator that the config asks for, with initial weights that are a function of the key."""
    build = find_generator(cfg.generator)
    assert build is not None, "the config is checked"
    net = build(in_channels, out_channels, cfg.g_width, cfg.norm, cfg.dropout)
    set_test_time(net, cfg.norm_statistics)
    net.recomputes = cfg.gradient_checkpointing
    normal_(net, *key)
    return net


def build_discriminator(cfg: GanConfig, in_channels: int, *key: int | str) -> Discriminator:
    """The discriminator that the config asks for, with initial weights that are a function of the key."""
    net = DISCRIMINATORS[cfg.discriminator](in_channels, cfg.d_width, cfg.norm, cfg.d_layers)
    normal_(net, *key)
    return net


def check_gan(cls: type[Method], cfg: GanConfig) -> None:
    """UsageError where the networks cannot take the crop, or the adversarial cost not the norm or label."""
    nets = [] if cfg.preprocess == "none" else list(cls.on_meta(cfg).modules())  # else each image has a size of its own
    judges = max((net.minimum for net in nets if isinstance(net, Discriminator)), default=1)
    for net in nets:
        if isinstance(net, Generator) and (cfg.crop_size < net.minimum or cfg.crop_size % net.multiple_of):
            least = -(-max(net.minimum, judges) // net.multiple_of) * net.multiple_of
            near = max(least, cfg.crop_size // net.multiple_of * net.multiple_of)
            raise UsageError(
                f"--crop-size {cfg.crop_size}: {cfg.generator} takes multiples of {net.multiple_of} from {net.minimum} up; "
                f"try --crop-size {near}"
            )
    if cfg.crop_size < judges:
        raise UsageError(
            f"--crop-size {cfg.crop_size}: the {cfg.discriminator} discriminator needs at least {judges}; use a larger crop, "
            f"or --discriminator pixel"
        )
    cost = ADVERSARIAL[cfg.adversarial]
    if cost.penalty and cfg.norm == "batch":
        raise UsageError(
            f"--adversarial {cfg.adversarial} penalises each image's own gradient, which batch norm in the discriminator "
            f"mixes; use --norm instance or none"
        )
    if cfg.real_label != 1 and not cost.smooths:
        raise UsageError(f"--real-label {cfg.real_label}: {cfg.adversarial} has no labels to smooth; leave it at 1")
    if cfg.batch_size % cfg.accumulate:
        raise UsageError(f"--accumulate {cfg.accumulate} does not divide --batch-size {cfg.batch_size}")
    if cfg.precision == "fp16" and cost.penalty:
        raise UsageError(f"--precision fp16 cannot hold the gradient penalty of {cfg.adversarial}; use bf16 or fp32")
