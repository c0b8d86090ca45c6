"""BigGAN: images of classes from noise (Brock, Donahue and Simonyan, "Large Scale GAN Training for High Fidelity Natural Image
Synthesis", ICLR 2019). The defaults are the paper's recipe at 128 pixels but for the batch; docs/methods lists the source of
each, and the deviations.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn, cast

import torch
from torch import Tensor

from translate import keyed_random
from translate.config import option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Domain, Method, Scheduled, Step, Update
from translate.methods.building import augment, build_adversarial_loss, check_adversarial_config
from translate.methods.class_labels import classes_of_data, one_hot
from translate.methods.configs import DiscriminatorConfig, NoRandomCrop
from translate.methods.noise_images import (
    SAMPLE_COLUMNS,
    OneDomainConfig,
    check_one_domain,
    refuse_translation,
    sample_columns,
)
from translate.nn.blocks import set_test_time_behaviour
from translate.nn.conditional_norm import ConditionalBatchNorm2d, set_standing_statistics
from translate.nn.init import orthogonal_, plain_normal_
from translate.nn.losses import ADVERSARIAL, Logits, orthogonal_regularisation
from translate.nn.networks.biggan import WIDTHS, BigGANDiscriminator, BigGANGenerator
from translate.nn.spectral_norm import with_spectral_norm

INITIALISE = {"orthogonal": with_spectral_norm(orthogonal_), "normal": with_spectral_norm(plain_normal_)}
"""Initial weights: orthogonal, as in the paper, or N(0, 0.02), as in the authors' script for 32 pixels."""
EMA_IMAGES = 1_774_000
"""Half-life of the averages in images: they keep 0.9999 of themselves in each step of 256 (appendix C)."""
STANDING_BATCH = 64
"""Images in each batch of the standing statistics."""


@dataclass(frozen=True)
class BigGANConfig(NoRandomCrop, OneDomainConfig, DiscriminatorConfig):
    """Config of BigGAN."""

    epochs: int = option(100, "epochs at the constant learning rate", low=0, group="Length")
    decay_epochs: int = option(
        0, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    batch_size: int = option(
        256,
        "images in a training step, for each process; the paper's last models have 2048 in all, as by --accumulate",
        low=1,
        group="Data",
    )
    crop_size: int = option(128, f"side of the generated images: {', '.join(map(str, WIDTHS))}", low=2, group="Data")
    classes: str | None = option(
        None, "comma-separated names of the classes [default: those of the data; one if it has none]", group="Data"
    )
    g_width: int = option(
        96, "unit of the generator's channels, which has up to 16 times as many", low=1, group="Networks"
    )
    d_width: int = option(96, "unit of the discriminator's channels", low=1, group="Networks")
    noise_size: int = option(
        120,
        "length of the noise vector, whose entries are normal; rounded down to a multiple of its parts",
        low=1,
        group="Networks",
    )
    hierarchical: bool = option(
        True, "give each block a part of the noise; off: the first layer gets it all", group="Networks"
    )
    shared_size: int = option(
        128, "length of the class embedding that all norms share; 0: each has its own", low=0, group="Networks"
    )
    attention: int | None = option(
        None,
        "side of the maps that self-attention sees; 0: none [default: 64 from 128 pixels on]",
        low=0,
        group="Networks",
    )
    init: str = option("orthogonal", "initial weights", choices=INITIALISE, group="Networks")
    lr: float = option(5e-5, "learning rate of the generator", low=0, group="Length")
    d_lr: float = option(2e-4, "learning rate of the discriminator", low=0, group="Length")
    ema_half_life: int = option(
        EMA_IMAGES, "half-life, in images, of the averaged weights that are exported; 0: none", low=0, group="Length"
    )
    adversarial: str = option("hinge", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    n_critic: int = option(2, "discriminator steps for each generator step, each on new images", low=1, group="Losses")
    lambda_orthogonal: float = option(
        1e-4, "weight of the orthogonal regularisation of the generator", low=0, group="Losses"
    )
    standing_batches: int = option(
        16,
        f"batches of {STANDING_BATCH} images from which statistics of the norms are taken before images are generated; 0: "
        f"those of training",
        low=0,
        group="Networks",
    )


class BigGAN(Method[BigGANConfig]):
    """BigGAN (sec. 3, appendix B and C): a generator `g` of images from noise and a class, and a discriminator `d`.

    Without classes in the data, all images are of one. Fakes have the classes of the batch's real images, so that classes have
    the same shares on both sides (the authors' code draws them evenly).
    """

    name = "biggan"
    summary = (
        "images of classes from noise, with large batches and truncation; for translate sample, not for translation"
    )
    layout = "images"
    Config = BigGANConfig
    presets = {
        "paper": {},
        "quick": {
            "crop_size": 32, "load_size": 32, "g_width": 16, "d_width": 16, "noise_size": 32, "shared_size": 32,
            "batch_size": 32, "init": "normal", "lr": 2e-4, "d_lr": 2e-4, "n_critic": 1, "ema_half_life": 5000,
            "images": 60_000,
        },
    }  # fmt: skip
    generator_names = {}
    sampling_networks = ("g",)
    network_settings = (
        "input_channels", "output_channels", "crop_size", "g_width", "d_width", "noise_size", "hierarchical", "shared_size",
        "attention", "classes", "standing_batches", "range_a",
    )  # fmt: skip
    truncation_range = (0.02, 4.0)
    coupled = "power iterations of spectral norm and batch norm"
    ema = ("g",)

    def __init__(self, cfg: BigGANConfig) -> None:
        super().__init__(cfg)
        self.classes = tuple(cfg.classes.split(",")) if cfg.classes else ()
        count, size, attention = self.class_count, cfg.crop_size, _attention(cfg)
        self.g = BigGANGenerator(
            cfg.noise_size, count, cfg.input_channels, size, cfg.g_width, cfg.shared_size, cfg.hierarchical, attention
        )
        self.d = BigGANDiscriminator(cfg.input_channels, count, size, cfg.d_width, attention)
        self.g.gradient_checkpointing = cfg.gradient_checkpointing
        for name, net in (("g", self.g), ("d", self.d)):
            INITIALISE[cfg.init](net, cfg.seed, name)
            set_test_time_behaviour(net, "running")  # one generated image is no batch to take statistics from
        self.adversarial_loss = build_adversarial_loss(cfg)
        options = {"betas": (0.0, cfg.beta2), "eps": 1e-6}
        self.updates = {
            "d": Update(("d",), cfg.d_lr, options=options, role=DISCRIMINATOR),
            "g": Update(("g",), cfg.lr, options=options),
        }

    @property
    def class_count(self) -> int:
        """Number of classes that the networks know: 1 where the data has none."""
        return max(1, len(self.classes))

    @classmethod
    def resolve_config(cls, cfg: BigGANConfig) -> BigGANConfig:
        if cfg.crop_size not in WIDTHS:
            nearest = min(WIDTHS, key=lambda size: abs(size - cfg.crop_size))
            raise UsageError(
                f"--crop-size {cfg.crop_size}: biggan generates images of {', '.join(map(str, WIDTHS))} pixels; use "
                f"--crop-size {nearest}"
            )
        check_one_domain(cfg, "biggan")
        parts = len(WIDTHS[cfg.crop_size].g) if cfg.hierarchical else 1
        if cfg.noise_size < parts:
            raise UsageError(
                f"--noise-size {cfg.noise_size}: the noise is divided into {parts} parts; give at least {parts}, or "
                f"--hierarchical off"
            )
        _check_attention(cfg)
        check_adversarial_config(cfg)
        return replace(cfg, output_channels=cfg.input_channels, noise_size=cfg.noise_size // parts * parts)

    @classmethod
    def with_labels(cls, cfg: BigGANConfig, names: tuple[str, ...], exclusive: bool) -> BigGANConfig:
        """Return the config with the data's classes."""
        remedy = "put the images of each class into a folder of its own"
        return replace(cfg, classes=classes_of_data(cfg.classes, names, exclusive, "biggan", remedy))

    @property
    def domains(self) -> Mapping[str, Domain]:
        return {"a": Domain(self.cfg.input_channels, self.cfg.range_a)}

    def updates_generator(self, clock: Clock) -> bool:
        """Return whether the step updates the generator: every `n_critic`-th does."""
        return (clock.step + 1) % self.cfg.n_critic == 0

    def phase(self, clock: Clock) -> str:
        alone = "" if self.updates_generator(clock) else "critic"
        return " ".join(filter(None, (alone, self.adversarial_loss.phase(clock.step))))

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the discriminator's losses, then the generator's for new noise, unless the step is the critic's alone."""
        real, key, loss = batch["a"], batch["key"], self.adversarial_loss
        label = self.labels_of(batch)

        with torch.no_grad():
            fake = self.g(keyed_random.normal(key, "z d", self.cfg.noise_size), label)
        real_view, fake_view = augment(self.cfg, batch, real, "real"), augment(self.cfg, batch, fake, "fake")
        # Both in one pass, as in the authors' code: with one power iteration.
        on_fake, on_real = self.d(torch.cat([fake_view, real_view]), torch.cat([label, label])).chunk(2)
        losses = {"adv": loss.discriminator_loss(on_real, on_fake)}
        if loss.has_penalty(clock.step):
            uncompiled = self.d.forward
            losses["penalty"] = loss.penalty(lambda x: uncompiled(x, label), real_view, fake_view, key)
        yield "d", losses

        if self.updates_generator(clock):
            fake = self.g(keyed_random.normal(key, "z g", self.cfg.noise_size), label)
            on_fake = self.d(augment(self.cfg, batch, fake, "g"), label)
            losses = {"adv": loss.generator_loss(on_fake, lambda: self.d(augment(self.cfg, batch, real, "g"), label))}
            if self.cfg.lambda_orthogonal > 0:
                losses["orthogonal"] = self.cfg.lambda_orthogonal * orthogonal_regularisation(
                    self.regularised_weights()
                )
            yield "g", losses

    def regularised_weights(self) -> list[Tensor]:
        """Return the weights of the generator that are kept orthogonal: all but the embeddings of classes."""
        norms = [module for module in self.g.modules() if isinstance(module, ConditionalBatchNorm2d)]
        tables = [self.g.shared] if self.cfg.shared_size else norms
        embeddings = {id(p) for table in tables for p in table.parameters()}
        return [p for p in self.g.parameters() if p.ndim > 1 and id(p) not in embeddings]

    def labels_of(self, batch: Batch) -> Tensor:
        """Return the classes of a batch's images (N, K), one-hot: all of one class where the data has none."""
        if self.classes:
            return one_hot(batch["label"], self.class_count)
        return torch.ones_like(batch["key"])[:, None]

    def sample(self, key: Tensor, label: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Generate images, each a function of its key and label in any batch; without labels the keys decide them too.

        truncation: magnitude beyond which no entry of the noise is (sec. 3.1).
        """
        if not self.classes:
            label = torch.zeros_like(key)
        elif label is None:
            label = (keyed_random.uniform(key, "class") * self.class_count).to(torch.int64)
        return cast(Tensor, self.g(self.noise(key, truncation), one_hot(label, self.class_count)))

    def noise(self, key: Tensor, truncation: float | None) -> Tensor:
        """Return noise (N, noise_size) that key (N,) decides: normal, or so within ± truncation.

        By the inverse of the distribution function, so that no draw is repeated as the paper does.
        """
        if truncation is None:
            return keyed_random.normal(key, "z", self.cfg.noise_size)
        along = 2 * keyed_random.uniform(key, "z", self.cfg.noise_size) - 1
        return math.sqrt(2) * torch.erfinv(along * math.erf(truncation / math.sqrt(2)))

    def prepare_sampling(self, truncation: float | None) -> None:
        """Take the statistics of the generator's norms from batches of noise of this truncation (appendix C.1)."""
        device = next(self.g.parameters()).device

        def generate(number: int) -> Tensor:
            numbers = torch.arange(number * STANDING_BATCH, (number + 1) * STANDING_BATCH, device=device)
            return self.sample(keyed_random.fold_in(numbers, "standing statistics"), truncation=truncation)

        if self.cfg.standing_batches:
            set_standing_statistics(self.g, [partial(generate, number) for number in range(self.cfg.standing_batches)])

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> NoReturn:
        refuse_translation(self)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Return real images and samples: of different noise, or of the same noise and the first classes."""
        key, columns = batch["key"], {"real": batch["a"]}
        if not self.classes:
            return columns | sample_columns(self, key)
        shown = enumerate(self.classes[:SAMPLE_COLUMNS])
        return columns | {f"sample {name}": self.sample(key, torch.full_like(key, index)) for index, name in shown}

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        label = self.labels_of(batch)
        fake = self.g(keyed_random.normal(batch["key"], "z", self.cfg.noise_size), label)
        return {name: self.d(x, label) for name, x in (("real", batch["a"]), ("fake", fake))}


def _attention(cfg: BigGANConfig) -> int:
    """Return the side of the maps that self-attention sees; 0: there is none."""
    return (64 if cfg.crop_size >= 128 else 0) if cfg.attention is None else cfg.attention


def _check_attention(cfg: BigGANConfig) -> None:
    """Raise UsageError unless both networks have a map for self-attention, and it is wide enough."""
    side, widths = _attention(cfg), WIDTHS[cfg.crop_size]
    if not side:
        return
    of_g = [4 * 2 ** (n + 1) for n in range(len(widths.g) - 1)]
    of_d = [cfg.crop_size >> (n + 1) for n in range(widths.d_halvings)]
    sides = [s for s in of_g if s in of_d]
    if side not in sides:
        raise UsageError(
            f"--attention {side}: both networks have maps of {', '.join(map(str, sides))} pixels; use one of them, or 0"
        )
    channels = min(cfg.g_width * widths.g[of_g.index(side) + 1], cfg.d_width * widths.d[of_d.index(side)])
    if channels < 8:
        raise UsageError(f"--attention {side}: its maps have {channels} channels, but need 8; use --attention 0")
