"""DualGAN: unpaired translation by two critics and reconstruction (Yi et al., "DualGAN: Unsupervised Dual Learning for
Image-to-Image Translation", ICCV 2017). The defaults are the recipe of the authors' code."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from translate.config import option
from translate.methods import two_way
from translate.methods.base import Batch, Clock, Losses, Method, Step, Update
from translate.methods.building import (
    build_adversarial_loss,
    build_discriminator,
    build_generator,
    check_gan_config,
    coupling_reason,
    forward_concatenated,
    with_default_unet,
)
from translate.methods.configs import GanConfig
from translate.nn.diffaugment import diffaugment
from translate.nn.losses import ADVERSARIAL, cycle_consistency
from translate.nn.networks import DISCRIMINATORS, GENERATORS, find


@dataclass(frozen=True)
class DualGANConfig(GanConfig):
    """Settings of DualGAN."""

    epochs: int = option(50, "epochs at the constant learning rate", low=0, group="Length")
    decay_epochs: int = option(
        0, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    load_size: int | None = option(
        None, "resize images to a square of this side before cropping [default: the crop size]", low=2, group="Data"
    )
    lr: float = option(5e-5, "learning rate of all networks", low=0, group="Length")
    generator: str | None = option(  # type: ignore[assignment]
        None,
        "generator network [default: the deepest U-Net of DualGAN that fits the crop size]",
        choices=GENERATORS,
        accepts=find,
        group="Networks",
    )
    discriminator: str = option(
        "dualgan",
        "discriminator network; dualgan sees the whole image, dualgan_patch sees patches",
        choices=DISCRIMINATORS,
        group="Networks",
    )
    adversarial: str = option("wgan-gp", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    lambda_a: float = option(
        500.0, "weight of the reconstruction loss of domain a; natural images need less", low=0, group="Losses"
    )
    lambda_b: float = option(500.0, "weight of the reconstruction loss of domain b", low=0, group="Losses")
    n_critic: int = option(
        1, "discriminator updates, each on new images, before each turn of the generators", low=1, group="Losses"
    )
    g_steps: int | None = option(
        None, "generator updates in a row [default: 2 with non-saturating, else 1]", low=1, group="Losses"
    )
    clip: float = option(
        0.0, "clip the discriminators' weights to ±N after each update; 0 turns it off", low=0, group="Losses"
    )

    @property
    def default_load_size(self) -> int:
        return self.crop_size  # no random crop: the authors resize alone


class DualGAN(Method):
    """Two generators, `g_ab` and `g_ba`, and two discriminators: `d_a` judges domain a, `d_b` domain b."""

    name = "dualgan"
    layout = "unpaired"
    Config = DualGANConfig
    generator_names = {"b": "g_ab", "a": "g_ba"}
    ema = ("g_ab", "g_ba")

    def __init__(self, cfg: DualGANConfig) -> None:
        super().__init__(cfg)
        a, b, seed = cfg.input_channels, cfg.output_channels, cfg.seed
        self.g_ab = build_generator(cfg, a, b, seed, "g_ab")
        self.g_ba = build_generator(cfg, b, a, seed, "g_ba")
        self.d_a = build_discriminator(cfg, a, seed, "d_a")
        self.d_b = build_discriminator(cfg, b, seed, "d_b")
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.updates = {
            "d": Update(("d_a", "d_b"), cfg.lr, "rmsprop", {"decay": 0.9}),
            "g": Update(("g_ab", "g_ba"), cfg.lr, "rmsprop", {"decay": 0.9}),
        }
        self.coupled = coupling_reason(cfg)

    @classmethod
    def resolve_config(cls, cfg: DualGANConfig) -> DualGANConfig:
        cfg = with_default_unet(cfg, "dual_unet")
        if cfg.g_steps is None:  # as the authors have it for what their code calls classic
            cfg = replace(cfg, g_steps=2 if cfg.adversarial == "non-saturating" else 1)
        check_gan_config(cls, cfg)
        return cfg

    def updates_generator(self, clock: Clock) -> bool:
        """Whether the generators move in this step: in the last of each `n_critic`."""
        return (clock.step + 1) % self.cfg.n_critic == 0

    def phase(self, clock: Clock) -> str:
        turn = "both" if self.updates_generator(clock) else "critics"
        return f"{turn} {self.adversarial_loss.phase(clock.step)}"

    def step(self, batch: Batch, clock: Clock) -> Step:
        # Alg. 1: the critics first. Each update makes its own fakes, as in the authors' code: so with dropout other ones.
        yield "d", self.discriminator_losses(batch, clock)
        self.clip_weights()
        if self.updates_generator(clock):
            for turn in range(self.cfg.g_steps):
                yield "g", self.generator_losses(batch, turn)

    def discriminator_losses(self, batch: Batch, clock: Clock) -> Losses:
        """Eq. 1 and 2: how well each critic tells real images from made ones, (N, C, H, W) each."""
        with torch.no_grad():
            fake_b, fake_a = self.g_ab(batch["a"]), self.g_ba(batch["b"])
        a, fake_a = self.augment(batch, batch["a"], "real a"), self.augment(batch, fake_a, "fake a")
        b, fake_b = self.augment(batch, batch["b"], "real b"), self.augment(batch, fake_b, "fake b")
        losses = {
            "adv_a": self.adversarial_loss.discriminator_loss(*forward_concatenated(self.d_a, a, fake_a)),
            "adv_b": self.adversarial_loss.discriminator_loss(*forward_concatenated(self.d_b, b, fake_b)),
        }
        if self.adversarial_loss.has_penalty(clock.step):
            losses["penalty_a"] = self.adversarial_loss.penalty(self.d_a.forward, a, fake_a, batch["key"])
            losses["penalty_b"] = self.adversarial_loss.penalty(self.d_b.forward, b, fake_b, batch["key"])
        return losses

    def clip_weights(self) -> None:
        """Wasserstein critics without a penalty: weights, norm scales and biases within ± `clip` (Arjovsky et al., 2017)."""
        if self.cfg.clip == 0:
            return
        with torch.no_grad():
            for parameter in (*self.d_a.parameters(), *self.d_b.parameters()):
                parameter.clamp_(-self.cfg.clip, self.cfg.clip)

    def generator_losses(self, batch: Batch, turn: int) -> Losses:
        """Eq. 3: both generators fool the critics and come back to where they started."""
        a, b, cfg = batch["a"], batch["b"], self.cfg
        fake_b, fake_a = self.g_ab(a), self.g_ba(b)
        return {
            "adv_ab": self.adversarial_loss.generator_loss(
                lambda x: self.d_b(self.augment(batch, x, f"g b {turn}")), fake_b, b
            ),
            "adv_ba": self.adversarial_loss.generator_loss(
                lambda x: self.d_a(self.augment(batch, x, f"g a {turn}")), fake_a, a
            ),
            "cycle_a": cfg.lambda_a * cycle_consistency(self.g_ba(fake_b), a),
            "cycle_b": cfg.lambda_b * cycle_consistency(self.g_ab(fake_a), b),
        }

    def augment(self, batch: Batch, x: Tensor, use: str) -> Tensor:
        """What a discriminator sees of images."""
        return diffaugment(x, batch["key"], self.cfg.diffaugment, use)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        return two_way.preview(self, batch)

    def discriminator_outputs(self, batch: Batch) -> dict[str, Tensor]:
        return two_way.discriminator_outputs(self, batch)
