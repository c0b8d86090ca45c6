"""pix2pixHD: paired translation at high resolution (Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation
with Conditional GANs", CVPR 2018). Networks, losses and schedule are those of the authors' code."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from translate.config import SCHEDULES, option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Losses, Scheduled, Step, Update, Weights
from translate.methods.building import adam_options, check_gan_config, discriminator_losses
from translate.methods.configs import resolve_label_maps
from translate.methods.paired import FeatureMatchingConfig, FeatureMatchingMethod, check_features_to_match
from translate.nn import networks
from translate.nn.base import MultiscaleFeatureDiscriminator
from translate.nn.networks import DISCRIMINATORS, GENERATORS
from translate.nn.networks.pix2pixhd import LocalEnhancer, Pix2PixHDDiscriminator


@dataclass(frozen=True)
class Pix2PixHDConfig(FeatureMatchingConfig):
    """Config of pix2pixHD."""

    # The rate of the reference implementation falls with the first of the decay epochs, that of the authors an epoch later.
    schedule: str = option(
        "delayed",
        "when the learning rate falls: delayed, after the first of the --decay-epochs; reference, an epoch earlier; "
        "reference-2020, two epochs earlier (the last one trains with rate zero); stargan-released, by only a thousandth in "
        "all over the last --decay-images",
        choices=SCHEDULES,
        group="Length",
    )
    generator: str = option(
        "pix2pixhd_global",
        "generator network; pix2pixhd_local is the local enhancer for images of twice the size",
        choices=GENERATORS,
        accepts=networks.find,
        group="Networks",
    )
    discriminator: str = option(
        "pix2pixhd",
        "discriminator network; pix2pixhd judges images at two scales, pix2pixhd_3scales at three",
        choices=DISCRIMINATORS,
        accepts=networks.find_discriminator,
        group="Networks",
    )
    fix_global: int = option(
        0,
        "train the local enhancer alone for the first N images, with the global generator of --init-from as it is; then all",
        low=0,
        group="Length",
    )


class Pix2PixHD(FeatureMatchingMethod[Pix2PixHDConfig]):
    """pix2pixHD (sec. 3): a generator `g` from a to b, and discriminators `d` of pairs (a, b) and (a, g(a)) at some scales."""

    name = "pix2pixhd"
    summary = "paired translation from a to b of large images, or of label maps; sharp without an L1 loss"
    Config = Pix2PixHDConfig
    presets = {
        "paper": {},
        "quick": {
            "images": 24_000,
            "decay_images": 12_000,
            "batch_size": 8,
            "load_size": 128,
            "crop_size": 64,
            # Resize-convolutions: transposed ones leave a lattice in a training of minutes.
            "generator": "resize_unet_4levels_2blocks_2last",
            "g_width": 24,
            "d_width": 16,
            "norm": "batch",
            "norm_statistics": "running",
            "diffaugment": "translation,cutout",
            "share_augmentation": True,
            "lr": 1e-3,
            "beta2": 0.99,
            "ema_half_life": 1000,
            "lambda_lowpass": 160.0,
            "lambda_features": 2.0,  # in place of the authors' VGG loss
        },
    }

    def __init__(self, cfg: Pix2PixHDConfig) -> None:
        super().__init__(cfg)
        if isinstance(self.d, Pix2PixHDDiscriminator):
            self.adversarial_weight = float(self.d.scales)  # the authors' losses are sums over the scales, not means
        self.updates = {
            "g": Update(("g",), cfg.lr, options=adam_options(cfg)),
            "d": Update(("d",), cfg.lr, options=adam_options(cfg), role=DISCRIMINATOR),
        }
        if cfg.fix_global:
            # An optimizer of its own: that of all weights starts anew, without moments, where the fixed part ends.
            self.updates["g_local"] = Update(("g.model1_1", "g.model1_2"), cfg.lr, options=adam_options(cfg))

    @classmethod
    def resolve_config(cls, cfg: Pix2PixHDConfig) -> Pix2PixHDConfig:
        cfg = resolve_label_maps(cfg)
        plain = cls.on_meta(replace(cfg, fix_global=0))
        if cfg.fix_global and not isinstance(plain.g, LocalEnhancer):
            raise UsageError(
                f"--fix-global {cfg.fix_global}: {cfg.generator} has no global generator to fix; use --generator "
                f"pix2pixhd_local, or leave it out"
            )
        if cfg.fix_global and cfg.init_from is None:
            raise UsageError(
                f"--fix-global {cfg.fix_global}: fixes the weights of a trained global generator; give --init-from MODEL too"
            )
        check_features_to_match(cls.name, cfg, plain.d)
        check_gan_config(cls, cfg)
        return cfg

    def initial_weights(self, given: Mapping[str, Weights]) -> Mapping[str, Weights]:
        """Return the given weights, those of a global generator inside a local enhancer, and those of D at their scales."""
        placed = dict(given)
        if (
            isinstance(self.g, LocalEnhancer)
            and "g" in given
            and not any(key.startswith("model1_") for key in given["g"])
        ):
            placed["g"] = self.g.with_global(given["g"])
        if isinstance(self.d, Pix2PixHDDiscriminator) and "d" in given:
            # Fewer scales lie among the smallest ones; the others start from random weights.
            placed["d"] = {**self.d.state_dict(), **given["d"]}
        return placed

    def is_fixed(self, clock: Clock) -> bool:
        """Return whether a step trains the local enhancer alone."""
        return clock.images < self.cfg.fix_global

    def phase(self, clock: Clock) -> str:
        fixed = "fixed global" if self.is_fixed(clock) else ""
        return " ".join(filter(None, (fixed, super().phase(clock))))

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the generator's losses (eq. 5), then the discriminators' (eq. 3), for one output."""
        a, b, shared = batch["a"], batch["b"], self.cfg.share_augmentation
        fixed = self.is_fixed(clock)
        fake = self.g(a, fixed_global=True) if fixed else self.g(a)

        # eq. 5: by the discriminators of before this step, as in the authors' code, where both sides move at once.
        real_view = self.view(batch, b, "g")
        fake_view = self.view(batch, fake, "g", real_view)
        yield "g_local" if fixed else "g", self.generator_losses(batch, fake, fake_view, real_view)

        # eq. 3, summed over the scales. The output is that of before the generator's update, so the order changes nothing.
        fake = fake.detach()
        if not shared:
            real_view, fake_view = self.view(batch, b, "real"), self.view(batch, fake, "fake")
        losses = discriminator_losses(
            self.adversarial_loss, self.d, real_view, fake_view.detach(), batch["key"], clock.step
        )
        yield "d", {**losses, "adv": self.adversarial_weight * losses["adv"]}

    def generator_losses(self, batch: Batch, fake: Tensor, fake_view: Any, real_view: Any) -> Losses:
        """Return the generator's losses for its output; the discriminators' views of it and of the true output are given."""
        b, d = batch["b"], self.d
        matched: Losses = {}
        if self.cfg.lambda_feature_matching > 0:
            assert isinstance(d, MultiscaleFeatureDiscriminator), "the config is checked"
            with torch.no_grad():
                real_maps, on_real = d.features_and_logits(real_view)
            fake_maps, on_fake = d.features_and_logits(fake_view)
            matched["feature_matching"] = self.feature_matching_loss(fake_maps, real_maps)
            adversarial = self.adversarial_loss.generator_loss(on_fake, lambda: on_real)
        else:
            adversarial = self.adversarial_loss.generator_loss(d(fake_view), lambda: d(real_view))
        return {"adv": self.adversarial_weight * adversarial, **matched, **self.content(fake, b)}
