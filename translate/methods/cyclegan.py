"""CycleGAN: unpaired image-to-image translation (Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent
Adversarial Networks", ICCV 2017). The defaults are the recipe of the reference implementation."""

from dataclasses import dataclass
from typing import Any

from translate.config import option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Scheduled, Step, Update
from translate.methods.building import adam_options, check_gan_config, forward_concatenated
from translate.methods.configs import MODERN_UNPAIRED, MixedSupervisionConfig
from translate.methods.image_pool import ImagePool
from translate.methods.two_way import TwoWayMethod
from translate.nn.losses import cycle_consistency, identity_loss

MODERN: dict[str, Any] = {
    **MODERN_UNPAIRED,
    "lambda_cycle": 1.0,
    "lambda_identity": 0.0,  # the colour start does its work
    "pool_size": 0,
}
"""Settings of the preset modern, for small crops."""


@dataclass(frozen=True)
class CycleGANConfig(MixedSupervisionConfig):
    """Config of CycleGAN."""

    lambda_cycle: float = option(
        10.0, "weight of the cycle-consistency loss, in both directions", low=0, group="Losses"
    )
    lambda_identity: float = option(
        0.5, "weight of the identity loss, as a factor of --lambda-cycle", low=0, group="Losses"
    )
    pool_size: int = option(
        50, "size of the image pool: earlier fakes that each discriminator may see again", low=0, group="Losses"
    )


class CycleGAN(TwoWayMethod[CycleGANConfig]):
    """CycleGAN (sec. 3): generators `g_ab` and `g_ba` (G and F in the paper), discriminators `d_a` and `d_b` (D_X and D_Y)."""

    name = "cyclegan"
    summary = "unpaired translation in both directions; the default choice where there are no pairs and shapes stay"
    Config = CycleGANConfig
    presets = {
        "paper": {},
        "modern": MODERN,
        "quick": {**MODERN, "images": 16_000, "decay_images": 8_000, "load_size": 128, "crop_size": 64},
    }
    large_presets = {"modern": {"generator": "resize_unet", "g_width": 64, "lr": 5e-4, "ema_half_life": 10_000}}

    def __init__(self, cfg: CycleGANConfig) -> None:
        super().__init__(cfg)
        size = cfg.crop_size
        self.pool_a = ImagePool(cfg.pool_size, cfg.input_channels, size, size, "pool a")
        self.pool_b = ImagePool(cfg.pool_size, cfg.output_channels, size, size, "pool b")
        self.updates = {
            "g": Update(("g_ab", "g_ba"), cfg.lr, options=adam_options(cfg)),
            "d": Update(("d_a", "d_b"), cfg.lr, options=adam_options(cfg), role=DISCRIMINATOR),
        }

    @classmethod
    def resolve_config(cls, cfg: CycleGANConfig) -> CycleGANConfig:
        if cfg.lambda_identity > 0 and cfg.input_channels != cfg.output_channels:
            raise UsageError(
                f"--lambda-identity {cfg.lambda_identity} needs as many channels in domain a ({cfg.input_channels}) as in b "
                f"({cfg.output_channels}); use --lambda-identity 0"
            )
        if not cfg.crops and cfg.pool_size > 0:
            raise UsageError(
                f"--preprocess {cfg.preprocess} keeps images of many sizes, which an image pool cannot hold; use --pool-size 0"
            )
        check_gan_config(cls, cfg)
        return cfg

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the generators' losses (eq. 3, sec. 5.2), then the discriminators' (sec. 4)."""
        a, b, key, cfg = batch["a"], batch["b"], batch["key"], self.cfg
        identity = cfg.lambda_identity > 0
        fake_b = self.g_ab(a)
        back_a = self.g_ba(fake_b)
        fake_a, *same_a = forward_concatenated(self.g_ba, b, *([a] if identity else []))
        back_b, *same_b = forward_concatenated(self.g_ab, fake_a, *([b] if identity else []))

        # eq. 3 and sec. 5.2: adversarial, cycle-consistency and identity losses of both generators.
        adv_ab, seen_b = self.adversarial_generator_loss(batch, "b", fake_b, "g b")
        adv_ba, seen_a = self.adversarial_generator_loss(batch, "a", fake_a, "g a")
        losses = {
            "adv_ab": adv_ab,
            "adv_ba": adv_ba,
            "cycle_a": cfg.lambda_cycle * cycle_consistency(back_a, a),
            "cycle_b": cfg.lambda_cycle * cycle_consistency(back_b, b),
            **self.content(back_a, a, "_a"),
            **self.content(back_b, b, "_b"),
            **self.pair_losses(batch),
        }
        if identity:
            weight = cfg.lambda_cycle * cfg.lambda_identity
            losses["identity_a"] = weight * identity_loss(same_a[0], a)
            losses["identity_b"] = weight * identity_loss(same_b[0], b)
        yield "g", losses

        # sec. 4: the discriminators see fakes from before the generators' update, or earlier ones from the pools.
        if cfg.share_augmentation and cfg.pool_size == 0:
            views = seen_a.detach(), seen_b.detach()
        else:
            views = (
                self.view(batch, "a", self.pool_a(fake_a.detach(), key), "fake a"),
                self.view(batch, "b", self.pool_b(fake_b.detach(), key), "fake b"),
            )
        yield "d", self.discriminator_losses(batch, *views, clock.step)
