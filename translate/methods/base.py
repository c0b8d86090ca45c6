"""The contract between a method and the engine.

A method owns networks and says, in `step`, which losses to minimise over which of them and in what order; the engine does
everything else. A step is a generator: `yield "g", losses` means *minimise the sum of these over the networks of update
"g", now*; when it resumes, those weights have moved.
"""

from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from translate.config import TrainConfig, option
from translate.errors import UsageError
from translate.nn.adversary import Adversary
from translate.nn.blocks import keyed_dropout, set_test_time
from translate.nn.diffaugment import DIFFAUGMENT
from translate.nn.diffaugment import find as find_policy
from translate.nn.discriminators import DISCRIMINATORS, Discriminator
from translate.nn.generators import GENERATORS, Generator, unet_for
from translate.nn.generators import find as find_generator
from translate.nn.losses import ADVERSARIAL

GENERATOR_SETTINGS = (
    "input_channels", "output_channels", "generator", "norm", "dropout", "g_width", "norm_statistics", "range_a", "range_b",
)  # fmt: skip
DISCRIMINATOR_SETTINGS = ("discriminator", "d_width", "d_layers")
NETWORK_SETTINGS = (*GENERATOR_SETTINGS, *DISCRIMINATOR_SETTINGS)

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
class Domain:
    """What the images of a domain are like."""

    channels: int
    range: str | None = None
    """LOW:HIGH, the values that −1 and 1 stand for; None: all of the file's depth."""


@dataclass(frozen=True)
class Update:
    """One optimizer: the networks it moves, by attribute name or dotted path."""

    networks: tuple[str, ...]
    lr: float = 2e-4
    optimizer: str = "adam"
    options: Mapping[str, Any] = field(default_factory=lambda: {"betas": (0.5, 0.999)})


@dataclass(frozen=True)
class AdversarialConfig(TrainConfig):
    """Settings of methods with a discriminator."""

    norm: str = option("instance", "normalisation in all networks", choices=("batch", "instance", "none"))
    g_width: int = option(64, "channels of the generator's first layer", low=1)
    d_width: int = option(64, "channels of the discriminator's first layer", low=1)
    adversarial: str = option("lsgan", "adversarial cost", choices=ADVERSARIAL)
    real_label: float = option(1.0, "label of real images; 0.9 is one-sided label smoothing", low=0.5, high=1.0)
    lambda_penalty: float | None = option(
        None,
        "weight of the gradient penalty of wgan-gp (10) and relativistic (γ of R1 and R2, 1; more for larger images)",
        low=0,
    )
    penalty_every: int | None = option(
        None,
        "steps from one gradient penalty to the next, which then counts so often (wgan-gp 1, relativistic 8)",
        low=1,
    )
    diffaugment: str = option(
        "",
        "random changes of what discriminators see, as color,translation,cutout",
        choices=("", *DIFFAUGMENT),
        accepts=find_policy,
    )


@dataclass(frozen=True)
class GanConfig(AdversarialConfig):
    """Settings of methods that translate with a generator and a discriminator of the shared kinds."""

    generator: str = option("resnet_9blocks", "network that translates", choices=GENERATORS, accepts=find_generator)
    discriminator: str = option("basic", "network that judges; basic sees 70×70 patches", choices=DISCRIMINATORS)
    d_layers: int = option(3, "halvings of the n_layers discriminator", low=1, high=6)
    dropout: bool = option(False, "dropout in the generator, in training and in conversion")
    norm_statistics: str = option(
        "sample",
        "what batch norm divides by in conversion: each image's own, or running",
        choices=("sample", "running"),
    )


C = TypeVar("C", bound=GanConfig)


class Method(nn.Module):
    """A translation method. Subclasses are one file each and do not extend one another."""

    name: ClassVar[str]
    layout: ClassVar[str]
    """The data it reads: a row of `data.layouts.LAYOUTS`."""
    Config: ClassVar[type[TrainConfig]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}}
    """Settings of each preset where they differ from the defaults."""
    translators: Mapping[str, str]
    """Target domain → attribute of the generator that conversion needs for it."""
    samplers: ClassVar[tuple[str, ...]] = ()
    """Attributes of the networks that `sample` needs."""
    classes: tuple[str, ...] = ()
    """What the labels of `sample` are called; empty where it takes none."""
    settings: ClassVar[tuple[str, ...]] = NETWORK_SETTINGS
    """Settings that say all that is needed to build the networks."""
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
    def with_labels(cls, cfg: Any, names: tuple[str, ...], exclusive: bool) -> Any:
        """The config with what the data's labels are called filled in: of domains or classes, of which an image has one
        (`exclusive`), or of attributes that it has or has not. Called once the data is known, before the networks are built.
        """
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
        net = self.generator_for(to)
        with keyed_dropout(net, key if self.cfg.dropout else None):
            return net(x)

    def sample(self, key: Tensor, label: Tensor | None = None) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] made of the noise that key (N,) decides, of the classes label (N,) if there are any.

        Call in evaluation mode.
        """
        raise UsageError(f"{self.name} makes no images from noise; it translates them: use translate convert")

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Named columns of images (N, C, H, W) in [-1, 1], for the sample grid."""
        raise NotImplementedError

    def judge(self, batch: Batch) -> dict[str, Tensor]:
        """Raw outputs (N, …) of each discriminator on real and on made images, by "real" and "fake", "_domain" behind them
        where there are several; empty for methods without. Call in evaluation mode."""
        return {}

    @property
    def domains(self) -> Mapping[str, Domain]:
        """What the images of each domain are like."""
        cfg = self.cfg
        return {"a": Domain(cfg.input_channels, cfg.range_a), "b": Domain(cfg.output_channels, cfg.range_b)}

    def source_of(self, to: str) -> str:
        """The domain whose images are translated to `to`; where they may be of any domain, `to` itself."""
        return "b" if to == "a" else "a"

    def targets(self, to: str) -> tuple[str, ...]:
        """The domains that are meant by `to`, one after another. UsageError, naming those that are possible, if it is none."""
        if to not in self.translators:
            raise UsageError(f"this model translates to {' and '.join(self.translators)} only, not to {to!r}")
        return (to,)

    @property
    def size_rule(self) -> dict[str, int]:
        """Of the images that its networks take or make: `multiple_of` and `minimum` pixels a side."""
        if not self.translators:
            return {"multiple_of": self.cfg.crop_size, "minimum": self.cfg.crop_size}
        generator = self.generator_for(next(iter(self.translators)))
        return {"multiple_of": generator.multiple_of, "minimum": generator.minimum}

    def generator_for(self, to: str) -> Generator:
        """The generator that translates to a domain."""
        network = self.get_submodule(self.translators[to])
        assert isinstance(network, Generator)
        return network


def adversary_of(cfg: AdversarialConfig) -> Adversary:
    """The adversarial cost that the config asks for."""
    return Adversary(cfg.adversarial, real_label=cfg.real_label, weight=cfg.lambda_penalty, every=cfg.penalty_every)


def coupling(cfg: GanConfig) -> str:
    """Why images of a batch influence each other in networks of the shared kinds; empty if they do not."""
    return "batch norm" if cfg.norm == "batch" else "dropout" if cfg.dropout else ""


def passes(net: nn.Module, *batches: Tensor) -> tuple[Tensor, ...]:
    """`net` of several batches (N, …), as if they went through it one after another, in that order.

    They go through it at once where no image changes what becomes of another, that is without batch norm: that halves the
    operations, and the weights' gradients are made once. Not where memory is short, for what is computed again in the backward
    pass would be twice as much at a time.
    """
    apart = any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    if apart or getattr(net, "recomputes", False) or len({x.shape[1:] for x in batches}) > 1:
        return tuple(net(x) for x in batches)
    return net(torch.cat(batches)).split([len(x) for x in batches])


def build_generator(cfg: GanConfig, in_channels: int, out_channels: int, *key: int | str) -> Generator:
    """The generator that the config asks for, with initial weights that are a function of the key."""
    build = find_generator(cfg.generator)
    assert build is not None, "the config is checked"
    net = build(in_channels, out_channels, cfg.g_width, cfg.norm, cfg.dropout)
    set_test_time(net, cfg.norm_statistics)
    net.recomputes = cfg.gradient_checkpointing
    net.initialise(net, *key)
    return net


def build_discriminator(cfg: GanConfig, in_channels: int, *key: int | str) -> Discriminator:
    """The discriminator that the config asks for, with initial weights that are a function of the key."""
    net = DISCRIMINATORS[cfg.discriminator](in_channels, cfg.d_width, cfg.norm, cfg.d_layers, cfg.crop_size)
    net.initialise(net, *key)
    return net


def with_unet(cfg: C, kind: str) -> C:
    """The config with its generator filled in, if it has none: the deepest U-Net of the kind that takes the crop."""
    if cfg.generator is not None:
        return cfg
    generator = unet_for(cfg.crop_size, kind)
    if generator is None:
        near = max(32, cfg.crop_size // 32 * 32)
        raise UsageError(
            f"--crop-size {cfg.crop_size}: no U-Net takes it; use a multiple of 32, such as --crop-size {near}"
        )
    return replace(cfg, generator=generator)


def check_gan(cls: type[Method], cfg: GanConfig) -> None:
    """UsageError where the networks cannot take the crop, or the adversarial cost not the norm or label."""
    nets = list(cls.on_meta(cfg).modules())
    if cfg.preprocess == "none":  # each image has a size of its own
        if any(isinstance(net, Discriminator) and net.only for net in nets):
            raise UsageError(
                f"--preprocess none leaves images of many sizes, but the {cfg.discriminator} discriminator judges one; give "
                f"another --discriminator, such as basic"
            )
        if cls.layout == "unpaired" and ADVERSARIAL[cfg.adversarial].penalty:
            raise UsageError(
                f"--preprocess none leaves images of many sizes, but {cfg.adversarial} puts real and made ones beside each "
                f"other; use another --adversarial"
            )
        nets = []
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
    check_adversarial(cfg)


def check_adversarial(cfg: AdversarialConfig) -> None:
    """UsageError where the adversarial cost cannot work with the norm, the label or the precision, or a batch not be split."""
    cost = ADVERSARIAL[cfg.adversarial]
    if cost.penalty and cfg.norm == "batch":
        raise UsageError(
            f"--adversarial {cfg.adversarial} penalises each image's own gradient, which batch norm in the discriminator "
            f"mixes; use --norm instance or none"
        )
    for name in ("lambda_penalty", "penalty_every"):
        if getattr(cfg, name) is not None and not cost.penalty:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} {getattr(cfg, name)}: {cfg.adversarial} has no gradient penalty; leave it out")
    if cfg.real_label != 1 and not cost.smooths:
        raise UsageError(f"--real-label {cfg.real_label}: {cfg.adversarial} has no labels to smooth; leave it at 1")
    if cfg.batch_size % cfg.accumulate:
        raise UsageError(f"--accumulate {cfg.accumulate} does not divide --batch-size {cfg.batch_size}")
    if cfg.precision == "fp16" and cost.penalty:
        raise UsageError(f"--precision fp16 cannot hold the gradient penalty of {cfg.adversarial}; use bf16 or fp32")
