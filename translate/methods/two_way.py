"""Base of methods with a generator for each direction and a discriminator for each domain: CycleGAN, DualGAN and DiscoGAN."""

from collections.abc import Iterable
from typing import Any, TypeVar

from torch import Tensor

from translate.methods.base import Batch, Losses, Method
from translate.methods.building import (
    augment,
    build_adversarial_loss,
    build_discriminator,
    build_generator,
    coupling_reason,
    forward_concatenated,
    image_of,
)
from translate.methods.colour_start import PREPARATION_IMAGES, start_from_colours
from translate.methods.configs import MixedSupervisionConfig
from translate.methods.content_loss import ContentLoss, feature_networks
from translate.methods.pair_loss import pair_losses
from translate.nn.losses import Logits

C = TypeVar("C", bound=MixedSupervisionConfig)


class TwoWayMethod(Method[C]):
    """Base class with generators `g_ab` and `g_ba`, and discriminators `d_a` of domain a and `d_b` of domain b."""

    layout = "unpaired"
    generator_names = {"b": "g_ab", "a": "g_ba"}
    ema = ("g_ab", "g_ba")
    has_cycle = True

    def __init__(self, cfg: C) -> None:
        super().__init__(cfg)
        a, b, seed = cfg.input_channels, cfg.output_channels, cfg.seed
        self.g_ab = build_generator(cfg, a, b, seed, "g_ab")
        self.g_ba = build_generator(cfg, b, a, seed, "g_ba")
        self.d_a = build_discriminator(cfg, a, seed, "d_a")
        self.d_b = build_discriminator(cfg, b, seed, "d_b")
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.content = ContentLoss(cfg, a, b)
        self.frozen_networks = feature_networks(self)
        self.preparation_images = PREPARATION_IMAGES if cfg.colour_start == "on" else 0
        self.coupled = coupling_reason(self)

    def augment(self, batch: Batch, x: Tensor, name: str) -> Tensor:
        """Augment images x (N, C, H, W) before a discriminator sees them; `name` is that of the random draws."""
        return augment(self.cfg, batch, x, name)

    def prepare(self, batches: Iterable[Batch]) -> list[str]:
        return start_from_colours(self, batches)

    def view(self, batch: Batch, domain: str, x: Tensor, name: str) -> Any:
        """Return the view that a domain's discriminator takes of images x (N, C, H, W), augmented by the draws of that name."""
        d = self.d_a if domain == "a" else self.d_b
        return d.view(self.augment(batch, x, name))

    def adversarial_generator_loss(self, batch: Batch, domain: str, fake: Tensor, name: str) -> tuple[Tensor, Any]:
        """Return the adversarial loss of fake images of a domain, and the discriminator's view of them if its loss shares that.

        name: of the random draws, unless they are those of the discriminator's loss.
        """
        d, name = self.d_a if domain == "a" else self.d_b, f"fake {domain}" if self.cfg.share_augmentation else name
        seen = self.view(batch, domain, fake, name)
        loss = self.adversarial_loss.generator_loss(d(seen), lambda: d(self.view(batch, domain, batch[domain], name)))
        return loss, seen if self.cfg.share_augmentation else None  # a view takes memory

    def pair_losses(self, batch: Batch) -> Losses:
        """Return the losses of both generators on the known pairs, `pair_a` and `pair_b` of the batch; none without pairs."""
        if self.cfg.pairs is None:
            return {}
        a, b = batch["pair_a"], batch["pair_b"]
        return {
            **pair_losses(self.cfg, self.content, self.g_ab, a, b, "ab"),
            **pair_losses(self.cfg, self.content, self.g_ba, b, a, "ba"),
        }

    def discriminator_losses(self, batch: Batch, fake_a: Any, fake_b: Any, step: int) -> Losses:
        """Return the losses of both discriminators for the batch's images and views of fake ones, without a graph.

        step: number of the discriminators' steps so far, which decides whether it has a gradient penalty.
        """
        key, loss = batch["key"], self.adversarial_loss
        a, b = self.view(batch, "a", batch["a"], "real a"), self.view(batch, "b", batch["b"], "real b")
        losses = {
            "adv_a": loss.discriminator_loss(*forward_concatenated(self.d_a, a, fake_a)),
            "adv_b": loss.discriminator_loss(*forward_concatenated(self.d_b, b, fake_b)),
        }
        if loss.has_penalty(step):
            losses["penalty_a"] = loss.penalty(self.d_a.forward, image_of(a), image_of(fake_a), key)
            losses["penalty_b"] = loss.penalty(self.d_b.forward, image_of(b), image_of(fake_b), key)
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

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        """Return the logits of both discriminators for real and fake images."""
        a, b, key = batch["a"], batch["b"], batch["key"]
        return {
            "real_a": self.d_a(a),
            "fake_a": self.d_a(self.translate(b, "a", key)),
            "real_b": self.d_b(b),
            "fake_b": self.d_b(self.translate(a, "b", key)),
        }
