"""PGGAN: images from noise by progressive growing (Karras et al., "Progressive Growing of GANs for Improved Quality, Stability,
and Variation", ICLR 2018). The defaults are the recipe of the authors' code (version 2, one GPU), whose schedule has 600,000
images where the paper has 800,000; docs/methods.md lists the source of each, and the deviations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor

from translate import keyed_random
from translate.config import option
from translate.methods.base import DISCRIMINATOR, Batch, Clock, DataStage, Domain, Method, Scheduled, Step, Update
from translate.methods.building import augment, build_adversarial_loss, check_adversarial_config, coupling_reason
from translate.methods.configs import DiscriminatorConfig, NoRandomCrop
from translate.methods.noise_images import (
    OneDomainConfig,
    check_one_domain,
    check_power_of_two,
    refuse_translation,
    sample_columns,
)
from translate.nn.base import clamp_to_image_range
from translate.nn.equalized import standard_normal_
from translate.nn.losses import ADVERSARIAL, Logits
from translate.nn.networks.pggan import (
    FULL_WIDTH_SIZE,
    MAX_SIZE,
    PGGANDiscriminator,
    PGGANGenerator,
    level_of,
    shown_images,
    size_of,
)
from translate.runtime import distributed

MIN_SIZE = 8
"""Side of the smallest images in pixels: one doubling of the first level."""
EMA_STEPS = 693
"""Half-life of the averages in steps: they keep 0.999 of themselves in each (the authors' code)."""
DRIFT = 0.001
"""Weight of the mean square of a critic's logits of real images, which keeps them near 0 (appendix A.1)."""
FASTER_SIZE, FASTER = 1024, 1.5
"""Side of the images from which on the learning rate is larger, and by how much (the authors' code)."""


@dataclass(frozen=True)
class PGGANConfig(NoRandomCrop, OneDomainConfig, DiscriminatorConfig):
    """Config of PGGAN."""

    batch_size: int | None = option(  # type: ignore[assignment]
        None,
        "images in a training step of the last level, for each process; the levels before it have twice as many for each "
        "halving of the side, up to --max-batch-size [default: 2048 / crop size, from 4 to 64]",
        low=1,
        group="Data",
    )
    max_batch_size: int = option(
        128, "images in a step of a level before the last one, at most, for each process", low=1, group="Data"
    )
    crop_size: int = option(
        128, "side of the images of the last level: a power of two from 8 to 1024", low=2, group="Data"
    )
    stable_images: int = option(
        600_000,
        "training images of each level once it is whole; the last one takes all that are left",
        low=1,
        group="Length",
    )
    fade_images: int = option(600_000, "training images over which each new level fades in", low=0, group="Length")
    flip: bool = option(False, "mirror half of the images", group="Data")
    lr: float = option(1e-3, "learning rate of both networks; 1.5 times as large at 1024 pixels", low=0, group="Length")
    beta2: float = option(0.99, "decay of Adam's mean square of gradients", low=0, high=0.9999, group="Length")
    g_width: int = option(
        512,
        "channels of the generator's maps up to --full-width-size; maps of twice the side have half as many",
        low=1,
        group="Networks",
    )
    d_width: int = option(512, "the same for the discriminator", low=1, group="Networks")
    full_width_size: int = option(
        FULL_WIDTH_SIZE, "side in pixels up to which maps have all channels", low=4, group="Networks"
    )
    noise_size: int = option(512, "length of the noise vector, of normal numbers", low=1, group="Networks")
    adversarial: str = option("wgan-gp", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    lambda_drift: float | None = option(
        None,
        "weight of the mean square of the logits of real images [default: 0.001 for wgan-gp, else 0]",
        low=0,
        group="Losses",
    )
    ema_half_life: int | None = option(  # type: ignore[assignment]
        None,
        "half-life, in images, of the exponential moving average (EMA) of the generator, which is exported; 0 turns it off "
        "[default: 693 steps of the last level, each of which keeps 0.999]",
        low=0,
        group="Networks",
    )


QUICK: dict[str, Any] = {
    "crop_size": 32,
    "batch_size": 16,
    "max_batch_size": 16,
    "g_width": 32,
    "d_width": 32,
    "noise_size": 64,
    "stable_images": 8_000,
    "fade_images": 8_000,
    "images": 64_000,
    "ema_half_life": 2_000,
}
"""Settings of the preset quick: images of 32 pixels in minutes on a CPU."""


def growth_at(cfg: PGGANConfig, images: int) -> tuple[int, float]:
    """Return the level after so many training images, and the weight α by which it fades in; 1: it is whole.

    Appendix A: a level is trained for `stable_images`, then the next one fades in over `fade_images`, linearly.
    """
    turn, within = divmod(images, cfg.stable_images + cfg.fade_images)
    if turn >= level_of(cfg.crop_size):
        return level_of(cfg.crop_size), 1.0
    if within < cfg.stable_images:
        return turn, 1.0
    return turn + 1, (within - cfg.stable_images) / cfg.fade_images


def level_batch_size(cfg: PGGANConfig, level: int) -> int:
    """Return the images of a step of a level in each process."""
    assert cfg.batch_size is not None, "the config is resolved"
    count = cfg.batch_size
    for _ in range(level_of(cfg.crop_size) - level):
        count = 2 * count if 2 * count <= cfg.max_batch_size else count
    return count


def rate_factor(cfg: PGGANConfig, clock: Clock) -> float:
    """Return the factor of the learning rate: larger for the largest images."""
    return FASTER if size_of(growth_at(cfg, clock.images)[0]) >= FASTER_SIZE else 1.0


class PGGAN(Method[PGGANConfig]):
    """PGGAN (sec. 2 and 3, appendix A): a generator `g` of images from noise, and a discriminator `d`, which both grow.

    A run begins with images of 4 pixels a side. The generator stores how far it has grown, and generates images of that level.
    """

    name = "pggan"
    summary = "images from noise, in levels from 4 pixels to 1024; for translate sample, not for translation"
    layout = "images"
    Config = PGGANConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"images": 12_000_000}, "quick": QUICK}
    grows = True
    generator_names = {}
    sampling_networks = ("g",)
    network_settings = (
        "input_channels", "output_channels", "crop_size", "g_width", "d_width", "full_width_size", "noise_size", "range_a",
    )  # fmt: skip
    ema = ("g",)

    def __init__(self, cfg: PGGANConfig) -> None:
        super().__init__(cfg)
        full = cfg.full_width_size
        self.g = PGGANGenerator(cfg.noise_size, cfg.input_channels, cfg.crop_size, cfg.g_width, full)
        self.d = PGGANDiscriminator(cfg.input_channels, cfg.crop_size, cfg.d_width, full)
        self.g.gradient_checkpointing = cfg.gradient_checkpointing
        for name, net in (("g", self.g), ("d", self.d)):
            standard_normal_(net, cfg.seed, name)
        self.adversarial_loss = build_adversarial_loss(cfg)
        has_no_bound = not self.adversarial_loss.objective.bounded_below
        self.drift = cfg.lambda_drift if cfg.lambda_drift is not None else DRIFT if has_no_bound else 0.0
        options = {"betas": (0.0, cfg.beta2), "eps": 1e-8}
        factor = partial(rate_factor, cfg)
        self.updates = {
            "d": Update(("d",), cfg.lr, options=options, role=DISCRIMINATOR, factor=factor),
            "g": Update(("g",), cfg.lr, options=options, factor=factor),
        }
        self.coupled = coupling_reason(self)

    @classmethod
    def resolve_config(cls, cfg: PGGANConfig) -> PGGANConfig:
        check_power_of_two(cfg, "pggan", MIN_SIZE, MAX_SIZE)
        check_one_domain(cfg, "pggan")
        batch_size = cfg.batch_size or max(4, min(64, 2048 // cfg.crop_size))
        whole = batch_size * distributed.launched_processes()
        half_life = EMA_STEPS * whole if cfg.ema_half_life is None else cfg.ema_half_life
        cfg = replace(cfg, output_channels=cfg.input_channels, batch_size=batch_size, ema_half_life=half_life)
        check_adversarial_config(cfg)
        return cfg

    @classmethod
    def stages(cls, cfg: PGGANConfig, planned: int, decays_from: int) -> tuple[DataStage, ...]:
        """Return two stages for each level, in which it fades in and in which it is whole; for the first one, the latter."""
        assert cfg.load_size is not None, "the config is resolved"
        stages, period = [], cfg.stable_images + cfg.fade_images
        for level in range(level_of(cfg.crop_size) + 1):
            size, count = size_of(level), level_batch_size(cfg, level)
            load_size = max(size, round(cfg.load_size * size / cfg.crop_size))
            starts = (
                [level * period - cfg.fade_images, level * period] if level and cfg.fade_images else [level * period]
            )
            stages += [DataStage(image, load_size, size, count) for image in starts]
        return tuple(stages)

    def restarts(self, before: DataStage, now: DataStage) -> tuple[str, ...]:
        """Return both updates: their moments start anew when a level begins to fade in and when it is whole (code)."""
        return "d", "g"

    @property
    def domains(self) -> Mapping[str, Domain]:
        return {"a": Domain(self.cfg.input_channels, self.cfg.range_a)}

    def scheduled_values(self, clock: Clock) -> Mapping[str, float]:
        return {"alpha": growth_at(self.cfg, clock.images)[1]}

    def phase(self, clock: Clock) -> str:
        level, alpha = growth_at(self.cfg, clock.images)
        fading = "fading" if alpha < 1 else ""
        return " ".join(filter(None, (f"{size_of(level)} px", fading, self.adversarial_loss.phase(clock.step))))

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the discriminator's losses (appendix A.1), then the generator's, for images of other noise."""
        key, loss = batch["key"], self.adversarial_loss
        level, weight = growth_at(self.cfg, clock.images)
        alpha = scheduled["alpha"] if weight < 1 else None
        self.g.growth.copy_(scheduled["alpha"] + (level - 1))
        real = shown_images(self.at_level(batch["a"], level), alpha)

        with torch.no_grad():
            fake = self.g(self.latent_code(key, "z of d"), level, alpha)
        real_view, fake_view = augment(self.cfg, batch, real, "real"), augment(self.cfg, batch, fake, "fake")
        on_real, on_fake = self.d(real_view, alpha), self.d(fake_view, alpha)
        losses = {"adv": loss.discriminator_loss(on_real, on_fake)}
        if loss.has_penalty(clock.step):
            uncompiled = self.d.forward
            losses["penalty"] = loss.penalty(lambda x: uncompiled(x, alpha), real_view, fake_view, key)
        if self.drift:
            losses["drift"] = self.drift * on_real.square().mean()
        yield "d", losses

        fake = self.g(self.latent_code(key, "z of g"), level, alpha)
        on_fake = self.d(augment(self.cfg, batch, fake, "g"), alpha)
        yield "g", {"adv": loss.generator_loss(on_fake, lambda: self.d(augment(self.cfg, batch, real, "g"), alpha))}

    def latent_code(self, key: Tensor, name: str) -> Tensor:
        """Return noise (N, noise_size) from N(0, 1) that key (N,) and the name of the use decide."""
        return keyed_random.normal(key, name, self.cfg.noise_size)

    def at_level(self, x: Tensor, level: int) -> Tensor:
        """Return images (N, C, H, H) in the size of a level, by means of squares of pixels where they are larger."""
        times = x.shape[-1] // size_of(level)
        return F.avg_pool2d(x, times) if times > 1 else x

    def sample(self, key: Tensor, label: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Generate images of the level that the generator has grown to, each a function of its key in any batch."""
        return clamp_to_image_range(self.g(self.latent_code(key, "z")))

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> NoReturn:
        refuse_translation(self)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Return real images and samples of the present level, all enlarged to the crop size."""
        level, alpha = self.g.grown
        columns = {"real": shown_images(self.at_level(batch["a"], level), alpha), **sample_columns(self, batch["key"])}
        side = self.cfg.crop_size
        return {name: F.interpolate(x, size=(side, side), mode="nearest") for name, x in columns.items()}

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        level, alpha = self.g.grown
        real = shown_images(self.at_level(batch["a"], level), alpha)
        return {"real": self.d(real, alpha), "fake": self.d(self.sample(batch["key"]), alpha)}
