"""StarGAN: one generator for many domains (Choi et al., "StarGAN: Unified Generative Adversarial Networks for Multi-Domain
Image-to-Image Translation", CVPR 2018). The defaults are the recipe of the authors' implementation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from translate import keyed_random
from translate.config import option
from translate.errors import DataError, UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Domain, Losses, Method, Scheduled, Step, Update
from translate.methods.building import (
    adam_options,
    augment,
    build_adversarial_loss,
    build_generator,
    check_gan_config,
    coupling_reason,
)
from translate.methods.configs import NETWORK_SETTINGS, GanConfig
from translate.methods.content_loss import ContentLoss, feature_networks
from translate.nn import networks
from translate.nn.base import Generator, clamp_to_image_range
from translate.nn.blocks import keyed_dropout
from translate.nn.losses import ADVERSARIAL, Logits, cycle_consistency, domain_classification
from translate.nn.networks import GENERATORS
from translate.nn.networks.stargan import StarGANClassifier
from translate.runtime import distributed

PAPER_LENGTH = {"images": 3_200_000, "decay_images": 1_600_000}
"""Default length of the training: 200 000 iterations of 16 images, with the learning rate falling to zero over the second half.

That is the paper and the code as first released; today's code lowers the rate by 0.1 % in all, which is
`--schedule stargan-released`."""

ALL, NONE = "all", "none"
"""Values of `to` beside names: every domain in turn, and (for attributes) none of them."""

MAX_PREVIEW_DOMAINS = 5
"""Domains in the sample grid, at most."""


@dataclass(frozen=True)
class StarGANConfig(GanConfig):
    """Config of StarGAN. Without --images or --epochs it is trained for 3.2 million images."""

    epochs: int = option(
        0, "epochs at the constant learning rate; 0 trains for 3.2 million images instead", low=0, group="Length"
    )
    decay_epochs: int = option(
        0, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    batch_size: int = option(16, "images in a training step, for each process", low=1, group="Data")
    crop_size: int = option(128, "side of the random square crops to train on, in pixels", low=2, group="Data")
    lr: float = option(1e-4, "learning rate of all networks", low=0, group="Length")
    generator: str = option("stargan", "generator network", choices=GENERATORS, accepts=networks.find, group="Networks")
    discriminator: str = option(
        "stargan", "discriminator network; it also classifies the domain", choices=("stargan",), group="Networks"
    )
    adversarial: str = option("wgan-gp", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    domains: str | None = option(
        None, "comma-separated names of the domains or attributes [default: those of the data]", group="Data"
    )
    attributes: bool = option(
        False, "labels are attributes, of which an image may have several [default: as the data has them]", group="Data"
    )
    lambda_cls: float = option(1.0, "weight of the classification loss", low=0, group="Losses")
    lambda_rec: float = option(10.0, "weight of the reconstruction loss", low=0, group="Losses")
    n_critic: int = option(5, "discriminator steps for each generator step, each on new images", low=1, group="Losses")


class StarGAN(Method[StarGANConfig]):
    """StarGAN (sec. 3.1): a generator `g` of images and target labels, and a discriminator `d` that classifies too.

    Labels are vectors (N, K) of 0 and 1: among K domains that of the image is 1, among K attributes those that it has.
    """

    name = "stargan"
    summary = (
        "unpaired translation among several domains or attributes with one generator, from labelled folders or a table"
    )
    generator_sees_image_alone = False
    smallest_micro_batch = 2
    layout = "domains"
    has_cycle = True
    Config = StarGANConfig
    ema = ("g",)
    network_settings = (*NETWORK_SETTINGS, "domains", "attributes")

    def __init__(self, cfg: StarGANConfig) -> None:
        super().__init__(cfg)
        # Before the data is known there are no names: two stand in, for the shapes alone.
        self.domain_names = tuple(cfg.domains.split(",")) if cfg.domains else ("1", "2")
        self.generator_names = dict.fromkeys(self.domain_names, "g")
        channels, classes = cfg.input_channels, len(self.domain_names)
        self.g = build_generator(cfg, channels + classes, channels, cfg.seed, "g")
        self.d = StarGANClassifier(channels, cfg.d_width, cfg.crop_size, classes)
        self.d.initialise(self.d, cfg.seed, "d")
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.content = ContentLoss(cfg, channels)
        self.frozen_networks = feature_networks(self)
        self.updates = {
            "d": Update(("d",), cfg.lr, options=adam_options(cfg), role=DISCRIMINATOR),
            "g": Update(("g",), cfg.lr, options=adam_options(cfg)),
        }
        self.coupled = ", ".join(filter(None, ["targets are permuted", coupling_reason(self)]))

    @classmethod
    def resolve_config(cls, cfg: StarGANConfig) -> StarGANConfig:
        if cfg.input_channels != cfg.output_channels or cfg.range_b is not None:
            raise UsageError(
                "stargan's domains all have one format: give --input-channels and --output-channels the same value, and leave "
                "--range-b out"
            )
        if cfg.residual == "on" or cfg.share_augmentation:
            flag = "--residual on" if cfg.residual == "on" else "--share-augmentation on"
            raise UsageError(f"{flag}: does not go with stargan's generator of many domains; leave it out")
        if not cfg.crops:
            raise UsageError(
                f"--preprocess {cfg.preprocess} keeps images of many sizes, but stargan's discriminator takes one size; "
                f"leave it out"
            )
        if cfg.batch_size // cfg.accumulate < cls.smallest_micro_batch:
            raise UsageError(
                f"--batch-size {cfg.batch_size} with --accumulate {cfg.accumulate}: targets are the labels of other images in "
                f"a micro-batch; use micro-batches of at least 2 images"
            )
        check_gan_config(cls, replace(cfg, norm="none"))  # the discriminator, which is checked here, has no norm
        if cfg.images is None and cfg.epochs == cfg.decay_epochs == 0:
            cfg = replace(
                cfg, images=PAPER_LENGTH["images"], decay_images=cfg.decay_images or PAPER_LENGTH["decay_images"]
            )
        return cfg

    @classmethod
    def with_labels(cls, cfg: StarGANConfig, names: tuple[str, ...], exclusive: bool) -> StarGANConfig:
        for name in names:
            if "," in name or name in (ALL, NONE):
                raise DataError(f"{name!r} cannot be the name of a domain: --to gives it another meaning; rename it")
        if exclusive and len(names) < 2:
            raise DataError(f"stargan translates between domains, but there is only {names[0]!r}; add another folder")
        if cfg.domains not in (None, ",".join(names)):
            raise UsageError(f"--domains {cfg.domains}: the data has {','.join(names)}; start a new run without it")
        return replace(cfg, domains=",".join(names), attributes=not exclusive)

    def phase(self, clock: Clock) -> str:
        return f"{self.adversarial_loss.phase(clock.step)} {'g' if self.updates_generator(clock) else ''}".strip()

    def updates_generator(self, clock: Clock) -> bool:
        """Return whether the step updates the generator too: every `n_critic`-th does."""
        return (clock.step + 1) % self.cfg.n_critic == 0

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the discriminator's losses (eq. 5) and, once in `n_critic` steps, the generator's (eq. 6)."""
        a, key, cfg, loss = batch["a"], batch["key"], self.cfg, self.adversarial_loss
        own = self.label_vectors(batch["label"], a.dtype)
        target = permute_labels(own, key)

        # eq. 5: the discriminator's adversarial loss, and its classification of real images.
        with torch.no_grad():
            fake = self.generate(a, target)
        real_view, fake_view = augment(cfg, batch, a, "real"), augment(cfg, batch, fake, "fake")
        on_real, class_logits = self.d.source_and_class_logits(real_view)
        losses = {
            "adv": loss.discriminator_loss(on_real, self.d(fake_view)),
            "classification": cfg.lambda_cls * domain_classification(class_logits, own, attributes=cfg.attributes),
        }
        if loss.has_penalty(clock.step):
            losses["penalty"] = loss.penalty(self.d.forward, real_view, fake_view, key)
        yield "d", losses

        # eq. 6, once in n_critic steps: the generator's adversarial, classification and reconstruction losses.
        if self.updates_generator(clock):
            yield "g", self.generator_losses(batch, own, target)

    def generator_losses(self, batch: Batch, own: Tensor, target: Tensor) -> Losses:
        """Return the losses of the generator (eq. 6) for the images' own labels and target labels, (N, K)."""
        a, cfg, loss = batch["a"], self.cfg, self.adversarial_loss
        fake = self.generate(a, target)
        on_fake, class_logits = self.d.source_and_class_logits(augment(cfg, batch, fake, "g"))
        back = self.generate(fake, own)
        return {
            "adv": loss.generator_loss(on_fake, lambda: self.d(augment(cfg, batch, a, "g"))),
            "classification": cfg.lambda_cls * domain_classification(class_logits, target, attributes=cfg.attributes),
            "reconstruction": cfg.lambda_rec * cycle_consistency(back, a),
            **self.content(back, a),
        }

    def label_vectors(self, label: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the labels of a batch, (N,) numbers of domains or (N, K) attributes, as (N, K) of 0 and 1."""
        if self.cfg.attributes:
            return label.to(dtype)
        return (label[:, None] == torch.arange(len(self.domain_names), device=label.device)).to(dtype)

    def generate(self, x: Tensor, label: Tensor) -> Tensor:
        """Translate x (N, C, H, W) to labels (N, K), which the generator gets as planes along the channels."""
        planes = label[:, :, None, None].expand(-1, -1, *x.shape[2:]).to(x.dtype)
        planes = planes.contiguous(memory_format=torch.channels_last)  # so that the concatenation has the layout of x
        return cast(Tensor, self.g(torch.cat([x, planes], 1)))

    @property
    def domains(self) -> Mapping[str, Domain]:
        return dict.fromkeys(self.domain_names, Domain(self.cfg.input_channels, self.cfg.range_a))

    def source_domain(self, to: str) -> str:
        return to

    def generator_for(self, to: str) -> Generator:
        return self.g

    def target_domains(self, to: str) -> tuple[str, ...]:
        if to == ALL:
            return self.domain_names
        self.target_label(to)
        return (to,)

    def target_label(self, to: str) -> Tensor:
        """Return the label (K,) of a target: the name of a domain, or the attributes that the image should have.

        Attributes are separated by commas, or "none". UsageError, naming the possible ones, for other names.
        """
        wanted = [to]
        if self.cfg.attributes:
            wanted = [] if to == NONE else [name.strip() for name in to.split(",")]
        for name in wanted:
            if name not in self.domain_names:
                several = f" (one or several, separated by commas), {NONE}" if self.cfg.attributes else ""
                raise UsageError(
                    f"this model translates to {', '.join(self.domain_names)}{several} or {ALL}, not to {name!r}"
                )
        return torch.tensor([float(name in wanted) for name in self.domain_names])

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> Tensor:
        return self.translate_to_label(x, self.target_label(to).to(x.device).expand(x.shape[0], -1), key)

    def translate_to_label(self, x: Tensor, label: Tensor, key: Tensor | None) -> Tensor:
        """Translate x to labels (N, K) as in conversion, clamped to [-1, 1]; key (N,) decides the dropout masks."""
        with keyed_dropout(self.g, key):
            return clamp_to_image_range(self.generate(x, label))

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        a, key = batch["a"], batch["key"]
        own = self.label_vectors(batch["label"], a.dtype)
        columns = {"input": a}
        one_hot = torch.eye(len(self.domain_names), dtype=a.dtype, device=a.device)
        for name, label in zip(self.domain_names[:MAX_PREVIEW_DOMAINS], one_hot, strict=False):
            if self.cfg.attributes:
                columns[f"{name} changed"] = self.translate_to_label(a, (own - label).abs(), key)
            else:
                columns[f"to {name}"] = self.translate_to_label(a, label.expand_as(own), key)
        first = list(columns)[1]
        return {**columns, "cycle": self.translate_to_label(columns[first], own, key)}

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        a = batch["a"]
        others = self.label_vectors(batch["label"], a.dtype).roll(1, 0)
        return {"real": self.d(a), "fake": self.d(self.translate_to_label(a, others, batch["key"]))}


def permute_labels(label: Tensor, key: Tensor) -> Tensor:
    """Permute the labels (N, K) of a batch by its keys (N,): as targets they occur as often as in the data.

    The batches of all processes are permuted together, so that the number of processes does not matter.
    """
    order = keyed_random.bits(distributed.all_gather_batch(key), "target").argsort(stable=True)
    return distributed.local_shard(distributed.all_gather_batch(label)[order])
