"""DualGAN: unpaired translation with Wasserstein critics and reconstruction (Yi et al., "DualGAN: Unsupervised Dual Learning
for Image-to-Image Translation", ICCV 2017). The defaults are the recipe of the authors' code."""

from dataclasses import dataclass, replace

import torch

from translate.config import option
from translate.methods.base import Batch, Clock, Losses, Step, Update
from translate.methods.building import check_gan_config, with_default_unet
from translate.methods.configs import GanConfig, NoRandomCrop
from translate.methods.two_way import TwoWayMethod
from translate.nn import networks
from translate.nn.losses import ADVERSARIAL, cycle_consistency
from translate.nn.networks import DISCRIMINATORS, GENERATORS


@dataclass(frozen=True)
class DualGANConfig(NoRandomCrop, GanConfig):
    """Config of DualGAN."""

    epochs: int = option(50, "epochs at the constant learning rate", low=0)
    decay_epochs: int = option(0, "epochs over which the rate then falls to zero", low=0)
    load_size: int | None = option(None, "images are resized to this square first (the crop size)", low=2)
    lr: float = option(5e-5, "learning rate of all networks", low=0)
    generator: str | None = option(  # type: ignore[assignment]
        None,
        "network that translates (the deepest of DualGAN's U-Nets that takes the crop)",
        choices=GENERATORS,
        accepts=networks.find,
    )
    discriminator: str = option(
        "dualgan",
        "network that judges: images as a whole (dualgan), or patches (dualgan_patch)",
        choices=DISCRIMINATORS,
    )
    adversarial: str = option("wgan-gp", "adversarial cost", choices=ADVERSARIAL)
    lambda_a: float = option(500.0, "weight of the reconstruction of domain a; natural images want less", low=0)
    lambda_b: float = option(500.0, "weight of the reconstruction of domain b", low=0)
    n_critic: int = option(1, "updates of the discriminators, each on new images, to one turn of the generators", low=1)
    g_steps: int | None = option(None, "updates in a turn of the generators (2 with non-saturating, else 1)", low=1)
    clip: float = option(0.0, "discriminators' weights are cut to ± this after each update; 0: they are not", low=0)


class DualGAN(TwoWayMethod[DualGANConfig]):
    """DualGAN (sec. 3): generators `g_ab` and `g_ba` (G_A and G_B), critics `d_a` and `d_b` (D_B and D_A in the paper)."""

    name = "dualgan"
    summary = (
        "unpaired translation in both directions with Wasserstein critics and a U-Net; for drawings, maps and labels"
    )
    Config = DualGANConfig

    def __init__(self, cfg: DualGANConfig) -> None:
        super().__init__(cfg)
        self.updates = {
            "d": Update(("d_a", "d_b"), cfg.lr, "rmsprop", {"decay": 0.9}),
            "g": Update(("g_ab", "g_ba"), cfg.lr, "rmsprop", {"decay": 0.9}),
        }

    @classmethod
    def resolve_config(cls, cfg: DualGANConfig) -> DualGANConfig:
        cfg = with_default_unet(cfg, "dual_unet")
        if cfg.g_steps is None:  # as in the authors' code, which calls the non-saturating loss classic
            cfg = replace(cfg, g_steps=2 if cfg.adversarial == "non-saturating" else 1)
        check_gan_config(cls, cfg)
        return cfg

    def updates_generator(self, clock: Clock) -> bool:
        """Return whether the generators are updated in this step: in the last of each `n_critic`."""
        return (clock.step + 1) % self.cfg.n_critic == 0

    def phase(self, clock: Clock) -> str:
        turn = "both" if self.updates_generator(clock) else "critics"
        return f"{turn} {self.adversarial_loss.phase(clock.step)}"

    def step(self, batch: Batch, clock: Clock) -> Step:
        # alg. 1: the critics first. Each update generates its own fakes, as in the authors' code: with dropout, other ones.
        with torch.no_grad():
            fake_b, fake_a = self.g_ab(batch["a"]), self.g_ba(batch["b"])
        yield "d", self.discriminator_losses(batch, fake_a, fake_b, clock.step)  # eq. 1 and 2
        self.clip_weights()
        if self.updates_generator(clock):
            for turn in range(self.cfg.g_steps):
                yield "g", self.generator_losses(batch, turn)

    def clip_weights(self) -> None:
        """Clip the critics' weights, norm scales and biases to ± `clip` (alg. 1; Arjovsky et al., 2017), unless it is 0."""
        if self.cfg.clip == 0:
            return
        with torch.no_grad():
            for parameter in (*self.d_a.parameters(), *self.d_b.parameters()):
                parameter.clamp_(-self.cfg.clip, self.cfg.clip)

    def generator_losses(self, batch: Batch, turn: int) -> Losses:
        """Return the adversarial and reconstruction losses of both generators (eq. 3), in one of their `g_steps` updates."""
        a, b, cfg, loss = batch["a"], batch["b"], self.cfg, self.adversarial_loss
        fake_b, fake_a = self.g_ab(a), self.g_ba(b)
        return {
            "adv_ab": loss.generator_loss(lambda x: self.d_b(self.augment(batch, x, f"g b {turn}")), fake_b, b),
            "adv_ba": loss.generator_loss(lambda x: self.d_a(self.augment(batch, x, f"g a {turn}")), fake_a, a),
            "cycle_a": cfg.lambda_a * cycle_consistency(self.g_ba(fake_b), a),
            "cycle_b": cfg.lambda_b * cycle_consistency(self.g_ab(fake_a), b),
        }
