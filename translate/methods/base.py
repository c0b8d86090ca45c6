"""Contract between a translation method and the training engine.

A method owns networks and says, in `step`, which losses to minimise over which of them and in what order; the engine does
everything else. A step is a generator: `yield "g", losses` means *minimise the sum of these losses over the networks of update
"g", now*; when it resumes, those weights have been updated.
"""

from collections import abc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from translate.config import TrainConfig
from translate.errors import UsageError
from translate.images import LabelFormat, normalize
from translate.methods.configs import NETWORK_SETTINGS, LabelMapConfig, label_format
from translate.methods.input_perturbation import InputPerturbation
from translate.nn.base import Generator, clamp_to_image_range
from translate.nn.blocks import keyed_dropout
from translate.nn.losses import Logits

C = TypeVar("C", bound=TrainConfig)
"""Config of a method."""

Batch = dict[str, Tensor]
"""Images and labels by the names of the method's data layout, and "key" (N,), the keys of the images' random draws."""
Losses = dict[str, Tensor]
"""Losses by name, as 0-dim tensors."""
Step = abc.Generator[tuple[str, Losses], None, None]
"""Generator that `Method.step` returns; it yields the name of an update and the losses to minimise over its networks."""
Weights = Mapping[str, Tensor]
"""Weights of a network by key, as in its state dict."""
Scheduled = Mapping[str, Tensor]
"""Values of `Method.scheduled_values` by name, as 0-dim tensors on the device."""

GENERATOR, DISCRIMINATOR = "generator", "discriminator"
"""Roles of updates."""


@dataclass(frozen=True)
class Clock:
    """Progress of the training at a step; the same for all of its micro-batches and processes."""

    images: int
    """Training images seen before this step, over all processes and micro-batches."""
    step: int
    """Steps done before this one."""
    epoch: int
    """Whole epochs done."""
    progress: float
    """Fraction of the planned images seen. It changes when a run is extended, so never branch on it."""


@dataclass(frozen=True)
class Domain:
    """Format of the images of a domain."""

    channels: int
    range: str | None = None
    """Values that −1 and 1 stand for, as LOW:HIGH; None: the whole range of the file's bit depth."""
    labels: LabelFormat | None = None
    """Format of label maps, which the networks get one-hot; None: the domain has images."""


@dataclass(frozen=True)
class Update:
    """One optimizer of a method and the networks it updates."""

    networks: tuple[str, ...]
    """Attribute names or dotted paths of modules."""
    lr: float = 2e-4
    optimizer: str = "adam"
    """Row of `training.optimizers.OPTIMIZERS`."""
    options: Mapping[str, Any] = field(default_factory=lambda: {"betas": (0.5, 0.999)})
    """Keyword arguments of the optimizer."""
    role: str = GENERATOR
    """Side of the adversarial game, GENERATOR or DISCRIMINATOR, by which monitors and charts find its losses. Its adversarial
    loss is called "adv", or "adv_<domain>" where it has several."""
    factor: Callable[[Clock], float] = lambda clock: 1.0
    """Factor of the learning rate beside that of the schedule, as of an update whose rate is warmed up."""
    network_factors: Mapping[str, float] = field(default_factory=dict)
    """Factors of the learning rates of single networks, as of one that is to learn more slowly; 1 for the others."""
    optional_networks: tuple[str, ...] = ()
    """Networks that some yields of the update give no gradient, and so leave with their moments as they are."""


@dataclass(frozen=True)
class DataStage:
    """Sizes of the training images from an image of the run on."""

    image: int
    """First image of the run in this stage, rounded up to a whole step."""
    load_size: int
    crop_size: int
    batch_size: int
    """Images of a step in each process."""


class Method(nn.Module, Generic[C]):
    """Base class of translation methods: a row of METHODS, with one file for each paper."""

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    """One line for help texts: the kind of translation, and the case in which to choose the method."""
    layout: ClassVar[str]
    """Layout of the training data: a row of `data.layouts.LAYOUTS`."""
    Config: ClassVar[type[TrainConfig]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}}
    """Settings of each preset, a row of `api.presets.PRESETS`, that differ from the defaults."""
    large_presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Settings that a preset has instead for crops above `nn.networks.projected.LARGEST_SMALL_CROP`."""
    generator_names: Mapping[str, str]
    """Attribute name of the generator for each target domain."""
    sampling_networks: ClassVar[tuple[str, ...]] = ()
    """Attribute names of the networks that `sample` needs."""
    classes: tuple[str, ...] = ()
    """Names of the labels of `sample`; empty for methods without labels."""
    takes_text: ClassVar[bool] = False
    """True: labels of `sample` may be texts, as `encode_text` gives them."""

    class_names: tuple[str, ...] = ()
    """Names of the classes of `classify`; empty for methods without a classifier."""
    truncation_range: ClassVar[tuple[float, float] | None] = None
    """Least and largest `truncation` that `sample` takes; None: it takes none."""
    network_settings: ClassVar[tuple[str, ...]] = NETWORK_SETTINGS
    """Config fields that suffice to build the networks again."""
    batch_multiple: ClassVar[int] = 1
    """A micro-batch holds a multiple of this number of images."""
    smallest_micro_batch: ClassVar[int] = 1
    """Fewest images of a micro-batch: 2 where a step takes something, such as a wrong text, from another image of it."""
    learns_from_labels: ClassVar[bool] = False
    """True: a step also gets `labelled_a` and `labelled_label`, as many images as `a`, of the few whose classes are known. The
    config is a SemiSupervisedConfig."""
    has_styles: ClassVar[bool] = False
    """True: `sample` goes through style codes, of `styles` and `sample_styles`: they may be truncated, mixed and found."""
    generator_sees_image_alone: bool = True
    """False: its generator takes more than an image, such as labels, so that large images are not converted in tiles."""
    coupled: str = ""
    """Reason why images of a batch influence each other, so that k micro-batches are not one large batch; else empty."""
    has_noise: bool = False
    """True: an input has many translations, one of which the key of `translate` draws; dropout in conversion is not meant."""
    style_networks: tuple[str, ...] = ()
    """Attribute names of the networks that make style codes of images, or of noise, which a trained model holds beside its
    generators."""
    draws_references: ClassVar[bool] = False
    """True: layout domains also shows reference images, b (N, C, H, W) of domains label_b (N,): images 2n and 2n + 1 of a batch
    come with two references of one domain, drawn apart from a."""
    noise_setting: ClassVar[str] = ""
    """Flag without which a training of the method gives a model without noise and styles, such as "--vae on"; else empty."""
    dropout_in_conversion: ClassVar[bool] = True
    """False: where the config has dropout, it is for training alone, unless a conversion asks for it."""
    grows: ClassVar[bool] = False
    """True: later stages of the data take more memory than the first, so that each is checked before the start."""
    has_cycle: ClassVar[bool] = False
    """True: its losses compare images with translations of their translations."""
    one_size: ClassVar[str] = ""
    """Reason why the images of both domains must be of one size, as all are with a crop; else empty."""
    updates: dict[str, Update]
    """Optimizers by name, in the order of their parameters in a checkpoint."""
    adversarial_weight: float = 1.0
    """Factor of the adversarial losses, as of a sum over discriminators: health checks divide by it."""
    discriminator_weight: float = 1.0
    """Further factor of those of the discriminators: 2 for a sum over real and made images instead of a mean."""
    ema: tuple[str, ...] = ()
    """Attribute names of the networks that an exponential moving average is kept of, if the config asks for one."""
    frozen_networks: tuple[str, ...] = ()
    """Attribute names of helper networks with given weights, as of a perceptual loss: they are moved and cast with the others,
    but never trained, saved, broadcast or averaged, and stay in evaluation mode."""
    preparation_images: int = 0
    """Images of each domain that `prepare` is given at most; 0: it is not called."""

    def __init__(self, cfg: C) -> None:
        super().__init__()
        self.cfg = cfg

    @classmethod
    def resolve_config(cls, cfg: C) -> C:
        """Return the config with every setting filled in that depends on others. UsageError if they do not work together."""
        return cfg

    @classmethod
    def with_labels(cls, cfg: C, names: tuple[str, ...], exclusive: bool) -> C:
        """Return the config with the names of the data's labels, once the data is known, before the networks are built.

        exclusive: they are domains or classes, of which an image has one; else attributes that an image has or has not.
        """
        return cfg

    @classmethod
    def with_embeddings(cls, cfg: C, size: int) -> C:
        """Return the config for labels that are embeddings of captions, of `size` numbers each."""
        return cfg

    @classmethod
    def on_meta(cls, cfg: C) -> Self:
        """Return the method on the meta device, without memory for its weights: for shapes, size rules and names."""
        with torch.device("meta"):
            return cls(cfg)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of all networks but the frozen ones."""
        super().train(mode)
        for name in self.frozen_networks:
            self.get_submodule(name).eval()
        return self

    @classmethod
    def draws_domains_apart(cls, cfg: C) -> bool:
        """Return True if photos of layout photos are drawn twice, apart from each other: as domain a and as domain b."""
        return False

    def make_input(self, photo: Tensor, key: Tensor) -> Tensor:
        """Return the input images (N, C, h, w) in [-1, 1] that methods of layout photos make of photos (N, C, H, W).

        It is differentiable, and random only by key (N,). Other methods have inputs of their own, and no such function.
        """
        raise NotImplementedError(f"{self.name} is given its inputs")

    @property
    def photo_multiple(self) -> int:
        """Number of pixels of which the height and width of a photo are a multiple, for `make_input`."""
        return 1

    def copy_input(self, x: Tensor) -> Tensor:
        """Return input images as images of domain b of the outputs' size, (N, C, H, W): what copying the input means."""
        return x

    def sample_pairs(self, batch: Batch) -> Batch:
        """Return the sample batch with key (N,) as images that are translated and true or other images of their target."""
        return batch

    def prepare(self, batches: Iterable[Batch]) -> list[str]:
        """Set weights and buffers from training images, once, before the first step of a run that starts from random weights.

        The batches hold `preparation_images` images of each domain, or all where there are fewer, evenly spaced, and are the
        same in every process. Returns lines that say what was done.
        """
        return []

    @classmethod
    def stages(cls, cfg: C, planned: int, decays_from: int) -> tuple[DataStage, ...]:
        """Return the stages of the training data, the first from image 0 on.

        planned: images of the run; decays_from: image from which on the learning rate falls.
        """
        assert cfg.load_size is not None, "the config is resolved"
        return (DataStage(0, cfg.load_size, cfg.crop_size, cfg.batch_size),)

    def restarts(self, before: DataStage, now: DataStage) -> tuple[str, ...]:
        """Return the updates whose optimizers start anew when a stage of the data follows another."""
        return ()

    def initial_weights(self, given: Mapping[str, Weights]) -> Mapping[str, Weights]:
        """Return the weights by network that a new run starts from, made of those of another model.

        Each is loaded as it is, so that keys and shapes are those of the network; by default those that were given. A method
        whose networks contain others, as a local enhancer contains a global generator, puts them in their place.
        """
        return given

    def scheduled_values(self, clock: Clock) -> Mapping[str, float]:
        """Return numbers that change from step to step, as the weight of a layer that fades in; the same names in each step.

        `step` gets them as tensors, so that a recorded step reads their present values.
        """
        return {}

    def phase(self, clock: Clock) -> str:
        """Return a name for the branches that `step` takes: in one phase all operations and shapes are the same."""
        return ""

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield each update of a training step and its losses, as in the paper's algorithm."""
        raise NotImplementedError

    def training_step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Return `step`, in which generators get perturbed inputs if the config asks for that."""
        step = self.step(batch, clock, scheduled)
        attack, noise = (getattr(self.cfg, name, None) for name in ("adversarial_training", "cycle_noise"))
        if attack in (None, "off") and not noise:
            return step
        networks = {
            name: (self.generator_for(to), self.domains[self.source_domain(to)].channels)
            for to, name in self.generator_names.items()
        }
        return InputPerturbation(networks, attack or "off", getattr(self.cfg, "epsilon", 0.0), noise or 0.0).apply(
            step, batch["key"]
        )

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> Tensor:
        """Translate images x (N, C, H, W) in [-1, 1] to domain `to`, by a method in evaluation mode; clamped to [-1, 1].

        key (N,) decides the noise of methods that have noise; None: no noise. H and W obey `size_rule`.
        """
        net = self.generator_for(to)
        with keyed_dropout(net, key):
            return clamp_to_image_range(net(x))

    def encode_style(self, image: Tensor, to: str) -> Tensor:
        """Return the style codes (N, …) of images (N, C, H, W) of domain `to`, in [-1, 1] and of the crop size.

        UsageError from methods without `style_networks`.
        """
        raise UsageError(f"{self.name} has no encoder of styles; leave the style out")

    def translate_in_style(self, x: Tensor, to: str, style: Tensor, key: Tensor | None = None) -> Tensor:
        """Translate as `translate` does, with codes of `encode_style`, (N, …) or (1, …), instead of noise; key is for dropout.

        UsageError from methods without `style_networks`.
        """
        raise UsageError(f"{self.name} has no encoder of styles; leave the style out")

    def sample(self, key: Tensor, label: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Generate images (N, C, H, W) in [-1, 1] from the noise of key (N,) and classes label (N,), in evaluation mode.

        truncation: within `truncation_range`, None for none; methods without such a range are given no truncation. UsageError
        from methods that translate images.
        """
        raise UsageError(f"{self.name} translates images and generates none from noise; use translate convert")

    def encode_text(self, text: str) -> Tensor:
        """Return a text (T,) as the label of an image for `sample`. UsageError from methods without `takes_text`."""
        raise UsageError(f"--text: {self.name} makes images of noise or classes, not of texts; leave it out")

    def blank_text(self) -> Tensor:
        """Return a label as `encode_text` gives it, for trials of methods with `takes_text`."""
        return self.encode_text("text")

    def prepare_sampling(self, truncation: float | None) -> None:
        """Set what samples depend on beside keys and labels, as statistics of norms, in evaluation mode without gradients.

        Called once before the first `sample` of a trained model. By default nothing.
        """

    def classify(self, x: Tensor) -> Tensor:
        """Return logits (N, K) of the classes of images (N, C, H, W) in [-1, 1], in evaluation mode.

        Their order is that of `class_names`. UsageError from methods that classify no images.
        """
        raise UsageError(f"{self.name} has no classifier of images; leave the metric out")

    def styles(self, key: Tensor, truncation: float = 1.0) -> Tensor:
        """Return the style codes (N, D) of noise of key (N,); truncation 1 leaves them, 0 makes all of them their average.

        UsageError from methods without `has_styles`.
        """
        raise UsageError(f"{self.name} has no style codes")

    def sample_styles(self, styles: Tensor) -> Tensor:
        """Generate images (N, C, H, W) in [-1, 1] from style codes (N, D), or (N, L, D) for each of L layers.

        UsageError from methods without `has_styles`.
        """
        raise UsageError(f"{self.name} has no style codes")

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Return the columns of the sample grid by name: images (N, C, H, W) in [-1, 1]."""
        raise NotImplementedError

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        """Return the logits (N, …) of each discriminator for real and fake images, in evaluation mode; a list of several heads.

        Keys are "real" and "fake", or "real_<domain>" and "fake_<domain>" where there are several discriminators; none for
        methods without a discriminator.
        """
        return {}

    @property
    def domains(self) -> Mapping[str, Domain]:
        """Format of the images of each domain, by its name."""
        cfg = self.cfg
        labels = label_format(cfg) if isinstance(cfg, LabelMapConfig) else None
        return {"a": Domain(cfg.input_channels, cfg.range_a, labels), "b": Domain(cfg.output_channels, cfg.range_b)}

    def displayed(self, domain: str, x: Tensor) -> Tensor:
        """Return inputs of a domain for a person, (N, C, H, W) in [-1, 1]: label maps in the colours of their classes."""
        labels = self.domains[domain].labels
        return x if labels is None else normalize(labels.colours_of(labels.stored_of(x)), x.dtype)

    def source_domain(self, to: str) -> str:
        """Return the domain whose images are translated to `to`; `to` itself where they may be of any domain."""
        return "b" if to == "a" else "a"

    def target_domains(self, to: str) -> tuple[str, ...]:
        """Return the domains that `to` stands for. UsageError, naming the possible ones, if it is none of them."""
        if to not in self.generator_names:
            raise UsageError(f"this model translates to {' and '.join(self.generator_names)} only, not to {to!r}")
        return (to,)

    @property
    def size_rule(self) -> dict[str, int]:
        """Sizes of images that the networks take or generate, as `multiple_of` and `minimum` pixels a side."""
        if not self.generator_names:
            return {"multiple_of": self.cfg.crop_size, "minimum": self.cfg.crop_size}
        generator = self.generator_for(next(iter(self.generator_names)))
        return {"multiple_of": generator.multiple_of, "minimum": generator.minimum}

    def generator_for(self, to: str) -> Generator:
        """Return the generator that translates to a domain."""
        network = self.get_submodule(self.generator_names[to])
        assert isinstance(network, Generator)
        return network
