"""CycleGAN: unpaired image-to-image translation (Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent
Adversarial Networks", ICCV 2017). The defaults are the recipe of the reference implementation."""

from dataclasses import dataclass

from torch import Tensor

from translate.config import option
from translate.errors import UsageError
from translate.methods import two_way
from translate.methods.base import Batch, Clock, Method, Step, Update
from translate.methods.building import (
    build_adversarial_loss,
    build_discriminator,
    build_generator,
    check_gan_config,
    coupling_reason,
    forward_concatenated,
)
from translate.methods.configs import GanConfig
from translate.methods.image_pool import ImagePool
from translate.nn.diffaugment import diffaugment
from translate.nn.losses import cycle_consistency, identity_loss


@dataclass(frozen=True)
class CycleGANConfig(GanConfig):
    """Settings of CycleGAN."""

    lambda_cycle: float = option(
        10.0, "weight of the cycle-consistency loss, in both directions", low=0, group="Losses"
    )
    lambda_identity: float = option(
        0.5, "weight of the identity loss, as a factor of --lambda-cycle", low=0, group="Losses"
    )
    pool_size: int = option(
        50, "size of the image pool: earlier fakes that each discriminator may see again", low=0, group="Losses"
    )


class CycleGAN(Method):
    """Two generators, `g_ab` and `g_ba`, and two discriminators: `d_a` judges domain a, `d_b` domain b."""

    name = "cyclegan"
    layout = "unpaired"
    Config = CycleGANConfig
    generator_names = {"b": "g_ab", "a": "g_ba"}
    ema = ("g_ab", "g_ba")

    def __init__(self, cfg: CycleGANConfig) -> None:
        super().__init__(cfg)
        a, b, seed = cfg.input_channels, cfg.output_channels, cfg.seed
        self.g_ab = build_generator(cfg, a, b, seed, "g_ab")
        self.g_ba = build_generator(cfg, b, a, seed, "g_ba")
        self.d_a = build_discriminator(cfg, a, seed, "d_a")
        self.d_b = build_discriminator(cfg, b, seed, "d_b")
        self.pool_a = ImagePool(cfg.pool_size, a, cfg.crop_size, cfg.crop_size, "pool a")
        self.pool_b = ImagePool(cfg.pool_size, b, cfg.crop_size, cfg.crop_size, "pool b")
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.updates = {"g": Update(("g_ab", "g_ba"), cfg.lr), "d": Update(("d_a", "d_b"), cfg.lr)}
        self.coupled = coupling_reason(cfg)

    @classmethod
    def resolve_config(cls, cfg: CycleGANConfig) -> CycleGANConfig:
        if cfg.lambda_identity > 0 and cfg.input_channels != cfg.output_channels:
            raise UsageError(
                f"--lambda-identity {cfg.lambda_identity} needs as many channels in a ({cfg.input_channels}) as in b "
                f"({cfg.output_channels}); give --lambda-identity 0"
            )
        if cfg.preprocess == "none" and cfg.pool_size > 0:
            raise UsageError(
                "--preprocess none leaves images of many sizes, which a pool cannot hold; give --pool-size 0"
            )
        check_gan_config(cls, cfg)
        return cfg

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def step(self, batch: Batch, clock: Clock) -> Step:
        a, b, key, cfg = batch["a"], batch["b"], batch["key"], self.cfg

        def seen(x: Tensor, use: str) -> Tensor:
            """What a discriminator sees of images."""
            return diffaugment(x, key, cfg.diffaugment, use)

        preserved = cfg.lambda_identity > 0
        fake_b = self.g_ab(a)
        back_a = self.g_ba(fake_b)
        fake_a, *same_a = forward_concatenated(self.g_ba, b, *([a] if preserved else []))
        back_b, *same_b = forward_concatenated(self.g_ab, fake_a, *([b] if preserved else []))

        # eq. 3 and sec. 5.2: both generators fool, come back, and leave alone what is already there.
        losses = {
            "adv_ab": self.adversarial_loss.generator_loss(lambda x: self.d_b(seen(x, "g b")), fake_b, b),
            "adv_ba": self.adversarial_loss.generator_loss(lambda x: self.d_a(seen(x, "g a")), fake_a, a),
            "cycle_a": cfg.lambda_cycle * cycle_consistency(back_a, a),
            "cycle_b": cfg.lambda_cycle * cycle_consistency(back_b, b),
        }
        if preserved:
            weight = cfg.lambda_cycle * cfg.lambda_identity
            losses["identity_a"] = weight * identity_loss(same_a[0], a)
            losses["identity_b"] = weight * identity_loss(same_b[0], b)
        yield "g", losses

        # sec. 4: discriminators of the fakes that were made before the generators moved, or of earlier ones.
        fake_a, fake_b = self.pool_a(fake_a.detach(), key), self.pool_b(fake_b.detach(), key)
        a, fake_a = seen(a, "real a"), seen(fake_a, "fake a")
        b, fake_b = seen(b, "real b"), seen(fake_b, "fake b")
        losses = {
            "adv_a": self.adversarial_loss.discriminator_loss(*forward_concatenated(self.d_a, a, fake_a)),
            "adv_b": self.adversarial_loss.discriminator_loss(*forward_concatenated(self.d_b, b, fake_b)),
        }
        if self.adversarial_loss.has_penalty(clock.step):
            losses["penalty_a"] = self.adversarial_loss.penalty(self.d_a.forward, a, fake_a, key)
            losses["penalty_b"] = self.adversarial_loss.penalty(self.d_b.forward, b, fake_b, key)
        yield "d", losses

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        return two_way.preview(self, batch)

    def discriminator_outputs(self, batch: Batch) -> dict[str, Tensor]:
        return two_way.discriminator_outputs(self, batch)
