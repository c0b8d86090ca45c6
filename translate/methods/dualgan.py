"""DualGAN: unpaired translation with Wasserstein critics and reconstruction (Yi et al., "DualGAN: Unsupervised Dual Learning
for Image-to-Image Translation", ICCV 2017). The defaults are the recipe of the authors' code."""

from dataclasses import dataclass, replace

import torch

from translate.config import option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Losses, Scheduled, Step, Update
from translate.methods.building import check_gan_config, with_default_unet
from translate.methods.configs import MixedSupervisionConfig, NoRandomCrop
from translate.methods.two_way import TwoWayMethod
from translate.nn import networks
from translate.nn.losses import ADVERSARIAL, cycle_consistency
from translate.nn.networks import DISCRIMINATORS, GENERATORS


@dataclass(frozen=True)
class DualGANConfig(NoRandomCrop, MixedSupervisionConfig):
    """Config of DualGAN."""

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
        accepts=networks.find,
        group="Networks",
    )
    discriminator: str = option(
        "dualgan",
        "discriminator network; dualgan sees the whole image, dualgan_patch sees patches",
        choices=DISCRIMINATORS,
        accepts=networks.find_discriminator,
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
            "d": Update(("d_a", "d_b"), cfg.lr, "rmsprop", {"decay": 0.9}, DISCRIMINATOR),
            "g": Update(("g_ab", "g_ba"), cfg.lr, "rmsprop", {"decay": 0.9}),
        }

    @classmethod
    def resolve_config(cls, cfg: DualGANConfig) -> DualGANConfig:
        cfg = with_default_unet(cfg, "dual_unet")
        if cfg.g_steps is None:  # as in the authors' code, which calls the non-saturating loss classic
            cfg = replace(cfg, g_steps=2 if cfg.adversarial == "non-saturating" else 1)
        if cfg.beta2 != DualGANConfig.beta2:
            raise UsageError(f"--beta2 {cfg.beta2}: is of Adam, but dualgan trains with RMSProp; leave it out")
        check_gan_config(cls, cfg)
        return cfg

    def updates_generator(self, clock: Clock) -> bool:
        """Return whether the generators are updated in this step: in the last of each `n_critic`."""
        return (clock.step + 1) % self.cfg.n_critic == 0

    def phase(self, clock: Clock) -> str:
        turn = "both" if self.updates_generator(clock) else "critics"
        return f"{turn} {self.adversarial_loss.phase(clock.step)}"

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the critics' losses, then, once in `n_critic` steps, the generators' in each of their updates (alg. 1)."""
        # alg. 1: the critics first. Each update generates its own fakes, as in the authors' code: with dropout, other ones.
        with torch.no_grad():
            fake_b, fake_a = self.g_ab(batch["a"]), self.g_ba(batch["b"])
        views = self.view(batch, "a", fake_a, "fake a"), self.view(batch, "b", fake_b, "fake b")
        yield "d", self.discriminator_losses(batch, *views, clock.step)  # eq. 1 and 2
        self.clip_weights()
        if self.updates_generator(clock):
            assert self.cfg.g_steps is not None, "the config is resolved"
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
        a, b, cfg = batch["a"], batch["b"], self.cfg
        fake_b, fake_a = self.g_ab(a), self.g_ba(b)
        adv_ab, _ = self.adversarial_generator_loss(batch, "b", fake_b, f"g b {turn}")
        adv_ba, _ = self.adversarial_generator_loss(batch, "a", fake_a, f"g a {turn}")
        back_a, back_b = self.g_ba(fake_b), self.g_ab(fake_a)
        return {
            "adv_ab": adv_ab,
            "adv_ba": adv_ba,
            "cycle_a": cfg.lambda_a * cycle_consistency(back_a, a),
            "cycle_b": cfg.lambda_b * cycle_consistency(back_b, b),
            **self.content(back_a, a, "_a"),
            **self.content(back_b, b, "_b"),
            **self.pair_losses(batch),
        }
