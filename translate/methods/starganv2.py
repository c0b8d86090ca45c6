"""StarGAN v2: many outputs in each of many domains (Choi et al., "StarGAN v2: Diverse Image Synthesis for Multiple Domains",
CVPR 2020). The defaults are the recipe of the authors' code at 256 pixels.

Not taken from that code: its high-pass filters, which need the landmarks of faces; its random crops, which also change the
aspect ratio; and averages that begin at weights before their initialisation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from translate import keyed_random
from translate.config import option
from translate.errors import DataError, UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Domain, Losses, Method, Scheduled, Step, Update
from translate.methods.building import augment, build_adversarial_loss, check_adversarial_config, coupling_reason
from translate.methods.configs import AdversarialConfig
from translate.nn.base import Generator, clamp_to_image_range
from translate.nn.blocks import set_test_time_behaviour
from translate.nn.frozen import apply_frozen
from translate.nn.losses import ADVERSARIAL, Logits, cycle_consistency, l1, r1_penalty
from translate.nn.networks.starganv2 import (
    INNERMOST_SIZE,
    DomainDiscriminator,
    DomainMappingNetwork,
    StyleEncoder,
    StyleGenerator,
    he_,
)

PAPER_IMAGES = 800_000
"""Default length of the training: 100 000 iterations of 8 images at a constant learning rate (the authors' code)."""
AUTHORS_EMA_HALF_LIFE = 5542
"""Half-life of averages with a decay of 0.999 for each batch of 8 images: 8 ln ½ / ln 0.999."""

LATENT, REFERENCE = "latent", "reference"
"""Sources of styles in a step: random codes through the mapping network, and images of the target domain (sec. 2.2)."""

ALL = "all"
"""Value of `to` beside names: every domain in turn."""

MAX_PREVIEW_DOMAINS = 4
"""Domains in the sample grid, at most."""


@dataclass(frozen=True)
class StarGANV2Config(AdversarialConfig):
    """Config of StarGAN v2. Without --images or --epochs it is trained for 800 000 images."""

    epochs: int = option(
        0, "epochs at the constant learning rate; 0 trains for 800,000 images instead", low=0, group="Length"
    )
    decay_epochs: int = option(
        0, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    batch_size: int = option(8, "images in a training step, for each process: an even number", low=1, group="Data")
    lr: float = option(1e-4, "learning rate of all networks but the mapping network", low=0, group="Length")
    f_lr: float = option(1e-6, "learning rate of the mapping network", low=0, group="Length")
    beta2: float = option(
        0.99, "decay of Adam's mean square of gradients, whose mean of gradients is off", low=0, high=0.9999,
        group="Length",
    )  # fmt: skip
    weight_decay: float = option(1e-4, "weight decay of Adam, added to the gradients", low=0, group="Length")
    ema_half_life: int = option(
        AUTHORS_EMA_HALF_LIFE,
        "half-life, in images, of the exponential moving average (EMA) of generator, mapping network and encoder, which is "
        "then exported and shown beside the raw weights; 0 turns it off",
        low=0,
        group="Networks",
    )
    norm: str = option(
        "instance", "normalisation layers of the generator", choices=("batch", "instance", "none"), group="Networks"
    )
    g_width: int | None = option(  # type: ignore[assignment]
        None, "channels of the generator's first layer [default: 16384 / crop size]", low=1, group="Networks"
    )
    d_width: int | None = option(  # type: ignore[assignment]
        None, "channels of the first layers of discriminator and style encoder [default: 16384 / crop size]", low=1,
        group="Networks",
    )  # fmt: skip
    max_width: int = option(
        512, "channels of a layer, at most, where the first layer has no more", low=1, group="Networks"
    )
    f_width: int = option(512, "width of the mapping network's hidden layers", low=1, group="Networks")
    latent_size: int = option(16, "numbers in a latent code", low=1, group="Networks")
    style_size: int = option(64, "numbers in a style code", low=1, group="Networks")
    adversarial: str = option("non-saturating", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    lambda_r1: float | None = option(
        None,
        "weight of the R1 penalty, on the discriminator's gradient at real images, in each step [default: 1; 0 for adversarial "
        "losses with a penalty of their own]",
        low=0,
        group="Losses",
    )
    lambda_style: float = option(
        1.0, "weight of the L1 loss between a style code and that encoded from its output", low=0, group="Losses"
    )
    lambda_diversity: float = option(
        1.0, "weight of the L1 distance between two outputs of an image, which is maximised", low=0, group="Losses"
    )
    diversity_images: int = option(
        PAPER_IMAGES,
        "training images over which the weight of the diversity loss falls linearly to zero; 0 keeps it constant",
        low=0,
        group="Losses",
    )
    lambda_cycle: float = option(1.0, "weight of the cycle-consistency loss", low=0, group="Losses")
    domains: str | None = option(
        None, "comma-separated names of the domains [default: those of the data]", group="Data"
    )


class StarGANV2(Method[StarGANV2Config]):
    """StarGAN v2 (sec. 2): a generator `g` of images and style codes, a mapping network `f` from latent codes to styles, an
    encoder `e` of the styles of images, and a discriminator `d`; the last three have an output for each domain."""

    name = "starganv2"
    summary = "unpaired translation among several domains, with many outputs or in the style of an example image"
    generator_sees_image_alone = False
    layout = "domains"
    has_cycle = True
    draws_references = True
    Config = StarGANV2Config
    presets = {
        "paper": {},
        # R1 is a sum over pixels, of which images of 32 px have few; with the authors' 1 their discriminator learns too slowly.
        "quick": {
            "load_size": 36, "crop_size": 32, "g_width": 16, "d_width": 16, "max_width": 96, "lambda_r1": 0.05,
            "lambda_diversity": 0.5, "diversity_images": 16_000, "lambda_cycle": 3.0, "lr": 4e-4, "f_lr": 1e-5,
            "ema_half_life": 2000, "images": 24_000,
        },
    }  # fmt: skip
    style_networks = ("f", "e")
    network_settings = (
        "input_channels", "output_channels", "crop_size", "norm", "g_width", "d_width", "max_width", "f_width", "latent_size",
        "style_size", "domains", "range_a",
    )  # fmt: skip
    batch_multiple = 2
    discriminator_weight = (
        2.0  # the authors' losses are sums over real and fake images, those of `AdversarialLoss` means
    )
    has_noise = True
    ema = ("g", "f", "e")

    def __init__(self, cfg: StarGANV2Config) -> None:
        super().__init__(cfg)
        assert cfg.g_width is not None and cfg.d_width is not None, "the config is resolved"
        # Before the data is known there are no names: two stand in, for the shapes alone.
        self.domain_names = tuple(cfg.domains.split(",")) if cfg.domains else ("1", "2")
        self.generator_names = dict.fromkeys(self.domain_names, "g")
        channels, count = cfg.input_channels, len(self.domain_names)
        sizes = {"crop_size": cfg.crop_size, "max_width": cfg.max_width}
        self.g = StyleGenerator(channels, channels, cfg.g_width, cfg.norm, **sizes, style_size=cfg.style_size)
        self.g.gradient_checkpointing = cfg.gradient_checkpointing
        self.f = DomainMappingNetwork(cfg.latent_size, cfg.style_size, cfg.f_width, count)
        self.e = StyleEncoder(channels, cfg.d_width, **sizes, style_size=cfg.style_size, domains=count)
        self.d = DomainDiscriminator(channels, cfg.d_width, **sizes, domains=count)
        for name, net in self.named_children():
            he_(net, cfg.seed, name)
            set_test_time_behaviour(net, "running")
        self.adversarial_loss = build_adversarial_loss(cfg)
        options = {"betas": (0.0, cfg.beta2), "weight_decay": cfg.weight_decay}
        self.updates = {
            "d": Update(("d",), cfg.lr, options=options, role=DISCRIMINATOR),
            "g": Update(
                ("g", "f", "e"), cfg.lr, options=options, optional_networks=("f", "e"),
                network_factors={"f": cfg.f_lr / cfg.lr if cfg.lr else 1.0},
            ),
        }  # fmt: skip
        self.coupled = coupling_reason(self)

    @classmethod
    def resolve_config(cls, cfg: StarGANV2Config) -> StarGANV2Config:
        if cfg.input_channels != cfg.output_channels or cfg.range_b is not None:
            raise UsageError(
                "starganv2's domains all have one format: give --input-channels and --output-channels the same value, and "
                "leave --range-b out"
            )
        if not cfg.crops:
            raise UsageError(
                f"--preprocess {cfg.preprocess} keeps images of many sizes, but starganv2's discriminator takes one size; "
                f"leave it out"
            )
        if cfg.crop_size < INNERMOST_SIZE or cfg.crop_size.bit_count() != 1:
            nearest = max(INNERMOST_SIZE, 1 << (cfg.crop_size.bit_length() - 1))
            raise UsageError(
                f"--crop-size {cfg.crop_size}: starganv2 is trained on crops of a power of two from {INNERMOST_SIZE} pixels "
                f"up; use --crop-size {nearest}"
            )
        if cfg.batch_size % (2 * cfg.accumulate):
            raise UsageError(
                f"--batch-size {cfg.batch_size} with --accumulate {cfg.accumulate}: starganv2 gives two images at a time "
                f"references of one domain; use --batch-size {2 * cfg.accumulate} or a multiple"
            )
        check_adversarial_config(replace(cfg, norm="none"))  # the discriminator has no norm
        if cfg.lr == 0 and cfg.f_lr:
            raise UsageError(f"--f-lr {cfg.f_lr}: is a part of --lr, which is 0; give --f-lr 0 too")
        if cfg.images is None and cfg.epochs == cfg.decay_epochs == 0:
            cfg = replace(cfg, images=PAPER_IMAGES)
        width = max(1, 2**14 // cfg.crop_size)
        r1 = 0.0 if ADVERSARIAL[cfg.adversarial].penalty_weight else 1.0
        return replace(
            cfg,
            g_width=width if cfg.g_width is None else cfg.g_width,
            d_width=width if cfg.d_width is None else cfg.d_width,
            lambda_r1=r1 if cfg.lambda_r1 is None else cfg.lambda_r1,
        )

    @classmethod
    def with_labels(cls, cfg: StarGANV2Config, names: tuple[str, ...], exclusive: bool) -> StarGANV2Config:
        if not exclusive:
            raise UsageError(
                "starganv2 needs domains, of which an image has one, but the data has attributes; use stargan, or put the "
                "images into folders"
            )
        for name in names:
            if "," in name or name == ALL:
                raise DataError(f"{name!r} cannot be the name of a domain: --to gives it another meaning; rename it")
        if len(names) < 2:
            raise DataError(f"starganv2 translates between domains, but there is only {names[0]!r}; add another folder")
        if cfg.domains not in (None, ",".join(names)):
            raise UsageError(f"--domains {cfg.domains}: the data has {','.join(names)}; start a new run without it")
        return replace(cfg, domains=",".join(names))

    def scheduled_values(self, clock: Clock) -> Mapping[str, float]:
        """Return the weight of the diversity loss, which falls linearly to zero (sec. 2.2, full objective)."""
        over = self.cfg.diversity_images
        left = max(0.0, 1 - clock.images / over) if over else 1.0
        return {"lambda_diversity": self.cfg.lambda_diversity * left}

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the losses of the discriminator and then those of the others (eq. 5), each for styles of both sources.

        The order is that of the authors' code. Random codes train generator, mapping network and encoder; references train the
        generator alone.
        """
        for source in (LATENT, REFERENCE):
            yield "d", self.discriminator_losses(batch, source, clock.step)
        for source in (LATENT, REFERENCE):
            yield "g", self.generator_losses(batch, source, scheduled["lambda_diversity"])

    def discriminator_losses(self, batch: Batch, source: str, step: int) -> Losses:
        """Return the losses of the discriminator for styles of a source: adversarial (eq. 1) and R1."""
        x, own, target, loss = batch["a"], batch["label"], batch["label_b"], self.adversarial_loss
        with torch.no_grad():
            fake = self.g(x, self.target_styles(batch, source)[0])
        real_view, fake_view = (
            augment(self.cfg, batch, images, f"{source} {kind}") for images, kind in ((x, "real"), (fake, "fake"))
        )
        adversarial = loss.discriminator_loss(self.d(real_view, own), self.d(fake_view, target))
        losses = {f"adv_{source}": self.discriminator_weight * adversarial}
        uncompiled = self.d.forward
        if self.cfg.lambda_r1:
            losses[f"r1_{source}"] = self.cfg.lambda_r1 * r1_penalty(lambda view: uncompiled(view, own), real_view)
        if loss.has_penalty(step):
            # Mixtures of real and fake images are of no domain: the target's logit is what fakes are judged by.
            losses[f"penalty_{source}"] = loss.penalty(
                lambda view: uncompiled(view, target), real_view, fake_view, batch["key"]
            )
        return losses

    def generator_losses(self, batch: Batch, source: str, lambda_diversity: Tensor) -> Losses:
        """Return the losses of generator, mapping network and encoder for styles of a source (eq. 1 to 4)."""
        x, own, target, cfg = batch["a"], batch["label"], batch["label_b"], self.cfg
        with torch.set_grad_enabled(source == LATENT):
            style, other = self.target_styles(batch, source)
            own_style = self.e(x, own)
        fake = self.g(x, style)
        encoded = self.e(fake, target) if source == LATENT else apply_frozen(self.e, fake, target)
        with torch.no_grad():
            second = self.g(x, other)
        on_fake = self.d(augment(cfg, batch, fake, f"{source} g"), target)
        adversarial = self.adversarial_loss.generator_loss(
            on_fake, lambda: self.d(augment(cfg, batch, x, f"{source} g"), own)
        )
        return {
            f"adv_{source}": adversarial,
            f"style_{source}": cfg.lambda_style * l1(encoded, style),
            f"diversity_{source}": -lambda_diversity * l1(fake, second),
            f"cycle_{source}": cfg.lambda_cycle * cycle_consistency(self.g(fake, own_style), x),
        }

    def target_styles(self, batch: Batch, source: str) -> tuple[Tensor, Tensor]:
        """Return two style codes (N, style_size) of each image's target domain.

        Of the source LATENT they are those of random codes, of REFERENCE those of the image's own reference and of its
        neighbour's: images 2n and 2n + 1 have references of one domain.
        """
        target, size = batch["label_b"], self.cfg.latent_size
        if source == LATENT:
            z, other = (keyed_random.normal(batch["key"], name, size) for name in ("z", "other z"))
            return self.f(z, target), self.f(other, target)
        style = cast(Tensor, self.e(batch["b"], target))
        return style, style.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)

    # Conversion.

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
        if to not in self.domain_names:
            raise UsageError(f"this model translates to {', '.join(self.domain_names)} or {ALL}, not to {to!r}")
        return (to,)

    def label_of(self, x: Tensor, to: str) -> Tensor:
        """Return the number of a domain as the labels (N,) of images x (N, …)."""
        return torch.full((x.shape[0],), self.domain_names.index(to), dtype=torch.int64, device=x.device)

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> Tensor:
        shape = x.shape[0], self.cfg.latent_size
        z = x.new_zeros(*shape) if key is None else keyed_random.normal(key, "z", self.cfg.latent_size)
        return self.translate_in_style(x, to, self.f(z, self.label_of(x, to)), key)

    def translate_in_style(self, x: Tensor, to: str, style: Tensor, key: Tensor | None = None) -> Tensor:
        return clamp_to_image_range(cast(Tensor, self.g(x, style.expand(x.shape[0], -1).to(x.dtype))))

    def encode_style(self, image: Tensor, to: str) -> Tensor:
        """Return the style codes (N, style_size) of images, each read as an image of domain `to`, whatever it shows.

        UsageError for all domains at once, of which each reads an image in its own way.
        """
        if to == ALL:
            raise UsageError(f"--style with --to {ALL}: an image is an example of one domain; name it with --to")
        return cast(Tensor, self.e(image, self.label_of(image, to)))

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Return the columns of the sample grid; the last ones show the input in the style and domain of the next image."""
        a, label, key = batch["a"], batch["label"], batch["key"]
        columns = {"input": a}
        for name in self.domain_names[:MAX_PREVIEW_DOMAINS]:
            columns[f"to {name}"] = self.translate(a, name, key)
            columns[f"to {name} again"] = self.translate(a, name, keyed_random.fold_in(key, "preview"))
        reference, own_style = a.roll(1, 0), self.e(a, label)
        columns["reference"] = reference
        columns["in its style"] = clamp_to_image_range(self.g(a, own_style.roll(1, 0)))
        back = self.g(columns["in its style"], own_style)
        return {**columns, "cycle": clamp_to_image_range(back)}

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        a, label = batch["a"], batch["label"]
        style, target = self.e(a, label).roll(1, 0), label.roll(1, 0)
        fake = clamp_to_image_range(self.g(a, style))
        return {"real": self.d(a, label), "fake": self.d(fake, target)}
