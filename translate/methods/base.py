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

from translate.config import TrainConfig
from translate.errors import UsageError
from translate.methods.configs import NETWORK_SETTINGS
from translate.nn.base import Generator
from translate.nn.blocks import keyed_dropout

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


class Method(nn.Module):
    """A translation method. Subclasses are one file each and do not extend one another."""

    name: ClassVar[str]
    layout: ClassVar[str]
    """The data it reads: a row of `data.layouts.LAYOUTS`."""
    Config: ClassVar[type[TrainConfig]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}}
    """Settings of each preset where they differ from the defaults."""
    generator_names: Mapping[str, str]
    """Target domain → attribute of the generator that conversion needs for it."""
    sampling_networks: ClassVar[tuple[str, ...]] = ()
    """Attributes of the networks that `sample` needs."""
    classes: tuple[str, ...] = ()
    """What the labels of `sample` are called; empty where it takes none."""
    network_settings: ClassVar[tuple[str, ...]] = NETWORK_SETTINGS
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
    def resolve_config(cls, cfg: Any) -> Any:
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

    def discriminator_outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Raw outputs (N, …) of each discriminator on real and on made images, by "real" and "fake", "_domain" behind them
        where there are several; empty for methods without. Call in evaluation mode."""
        return {}

    @property
    def domains(self) -> Mapping[str, Domain]:
        """What the images of each domain are like."""
        cfg = self.cfg
        return {"a": Domain(cfg.input_channels, cfg.range_a), "b": Domain(cfg.output_channels, cfg.range_b)}

    def source_domain(self, to: str) -> str:
        """The domain whose images are translated to `to`; where they may be of any domain, `to` itself."""
        return "b" if to == "a" else "a"

    def target_domains(self, to: str) -> tuple[str, ...]:
        """The domains that are meant by `to`, one after another. UsageError, naming those that are possible, if it is none."""
        if to not in self.generator_names:
            raise UsageError(f"this model translates to {' and '.join(self.generator_names)} only, not to {to!r}")
        return (to,)

    @property
    def size_rule(self) -> dict[str, int]:
        """Of the images that its networks take or make: `multiple_of` and `minimum` pixels a side."""
        if not self.generator_names:
            return {"multiple_of": self.cfg.crop_size, "minimum": self.cfg.crop_size}
        generator = self.generator_for(next(iter(self.generator_names)))
        return {"multiple_of": generator.multiple_of, "minimum": generator.minimum}

    def generator_for(self, to: str) -> Generator:
        """The generator that translates to a domain."""
        network = self.get_submodule(self.generator_names[to])
        assert isinstance(network, Generator)
        return network
