"""Base of methods with a generator for each direction and a discriminator for each domain: CycleGAN, DualGAN and DiscoGAN."""

from typing import TypeVar

from torch import Tensor

from translate.methods.base import Batch, Losses, Method
from translate.methods.building import (
    augment,
    build_adversarial_loss,
    build_discriminator,
    build_generator,
    coupling_reason,
    forward_concatenated,
)
from translate.methods.configs import GanConfig

C = TypeVar("C", bound=GanConfig)


class TwoWayMethod(Method[C]):
    """Base class with generators `g_ab` and `g_ba`, and discriminators `d_a` of domain a and `d_b` of domain b."""

    layout = "unpaired"
    generator_names = {"b": "g_ab", "a": "g_ba"}
    ema = ("g_ab", "g_ba")

    def __init__(self, cfg: C) -> None:
        super().__init__(cfg)
        a, b, seed = cfg.input_channels, cfg.output_channels, cfg.seed
        self.g_ab = build_generator(cfg, a, b, seed, "g_ab")
        self.g_ba = build_generator(cfg, b, a, seed, "g_ba")
        self.d_a = build_discriminator(cfg, a, seed, "d_a")
        self.d_b = build_discriminator(cfg, b, seed, "d_b")
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.coupled = coupling_reason(self)

    def augment(self, batch: Batch, x: Tensor, name: str) -> Tensor:
        """Augment images x (N, C, H, W) before a discriminator sees them; `name` is that of the random draws."""
        return augment(self.cfg, batch, x, name)

    def discriminator_losses(self, batch: Batch, fake_a: Tensor, fake_b: Tensor, step: int) -> Losses:
        """Return the losses of both discriminators for the batch's images and fake ones, (N, C, H, W) without a graph.

        step: number of the discriminators' steps so far, which decides whether it has a gradient penalty.
        """
        key, loss = batch["key"], self.adversarial_loss
        a, fake_a = self.augment(batch, batch["a"], "real a"), self.augment(batch, fake_a, "fake a")
        b, fake_b = self.augment(batch, batch["b"], "real b"), self.augment(batch, fake_b, "fake b")
        losses = {
            "adv_a": loss.discriminator_loss(*forward_concatenated(self.d_a, a, fake_a)),
            "adv_b": loss.discriminator_loss(*forward_concatenated(self.d_b, b, fake_b)),
        }
        if loss.has_penalty(step):
            losses["penalty_a"] = loss.penalty(self.d_a.forward, a, fake_a, key)
            losses["penalty_b"] = loss.penalty(self.d_b.forward, b, fake_b, key)
        return losses

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Return each domain's images, their translations, and the translations back."""
        a, b, key = batch["a"], batch["b"], batch["key"]
        fake_b, fake_a = self.translate(a, "b", key), self.translate(b, "a", key)
        return {
            "real a": a,
            "fake b": fake_b,
            "cycle a": self.translate(fake_b, "a", key),
            "real b": b,
            "fake a": fake_a,
            "cycle b": self.translate(fake_a, "b", key),
        }

    def discriminator_outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the logits of both discriminators for real and fake images."""
        a, b, key = batch["a"], batch["b"], batch["key"]
        return {
            "real_a": self.d_a(a),
            "fake_a": self.d_a(self.translate(b, "a", key)),
            "real_b": self.d_b(b),
            "fake_b": self.d_b(self.translate(a, "b", key)),
        }
