"""pix2pixHD: paired translation at high resolution (Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation
with Conditional GANs", CVPR 2018). Networks, losses and schedule are those of the authors' code."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from translate.config import SCHEDULES, option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Losses, Method, Scheduled, Step, Update, Weights
from translate.methods.building import (
    adam_options,
    augment,
    build_adversarial_loss,
    build_discriminator,
    build_generator,
    check_gan_config,
    coupling_reason,
    discriminator_losses,
)
from translate.methods.colour_start import PREPARATION_IMAGES, start_from_colours
from translate.methods.configs import LABEL_SETTINGS, NETWORK_SETTINGS, GanConfig, LabelMapConfig, resolve_label_maps
from translate.methods.content_loss import ContentLoss, feature_networks
from translate.nn import networks
from translate.nn.losses import Logits, feature_matching
from translate.nn.networks import DISCRIMINATORS, GENERATORS
from translate.nn.networks.pix2pixhd import LocalEnhancer, Pix2PixHDDiscriminator


@dataclass(frozen=True)
class Pix2PixHDConfig(GanConfig, LabelMapConfig):
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
    lambda_feature_matching: float = option(
        10.0,
        "weight of feature matching: the L1 distance of the discriminators' maps of the output and of the true image",
        low=0,
        group="Losses",
    )
    fix_global: int = option(
        0,
        "train the local enhancer alone for the first N images, with the global generator of --init-from as it is; then all",
        low=0,
        group="Length",
    )


class Pix2PixHD(Method[Pix2PixHDConfig]):
    """pix2pixHD (sec. 3): a generator `g` from a to b, and discriminators `d` of pairs (a, b) and (a, g(a)) at some scales."""

    name = "pix2pixhd"
    summary = "paired translation from a to b of large images, or of label maps; sharp without an L1 loss"
    layout = "paired"
    Config = Pix2PixHDConfig
    presets = {
        "paper": {},
        "quick": {
            "images": 24_000,
            "decay_images": 12_000,
            "batch_size": 8,
            "load_size": 128,
            "crop_size": 64,
            "generator": "pix2pixhd_global_2downs_3blocks",
            "g_width": 16,
            "d_width": 16,
        },
    }
    generator_names = {"b": "g"}
    network_settings = (*NETWORK_SETTINGS, *LABEL_SETTINGS)
    ema = ("g",)

    def __init__(self, cfg: Pix2PixHDConfig) -> None:
        super().__init__(cfg)
        self.g = build_generator(cfg, cfg.input_channels, cfg.output_channels, cfg.seed, "g")
        channels = cfg.input_channels + cfg.output_channels
        self.d = build_discriminator(cfg, channels, cfg.seed, "d", condition_channels=cfg.input_channels)
        self.adversarial_loss = build_adversarial_loss(cfg)
        if isinstance(self.d, Pix2PixHDDiscriminator):
            self.adversarial_weight = float(self.d.scales)  # the authors' losses are sums over the scales, not means
        self.content = ContentLoss(cfg, cfg.output_channels)
        self.frozen_networks = feature_networks(self)
        self.preparation_images = PREPARATION_IMAGES if cfg.colour_start == "on" else 0
        self.updates = {
            "g": Update(("g",), cfg.lr, options=adam_options(cfg)),
            "d": Update(("d",), cfg.lr, options=adam_options(cfg), role=DISCRIMINATOR),
        }
        if cfg.fix_global:
            # An optimizer of its own: that of all weights starts anew, without moments, where the fixed part ends.
            self.updates["g_local"] = Update(("g.model1_1", "g.model1_2"), cfg.lr, options=adam_options(cfg))
        self.coupled = coupling_reason(self)

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
        if cfg.lambda_feature_matching > 0 and not isinstance(plain.d, Pix2PixHDDiscriminator):
            raise UsageError(
                f"--discriminator {cfg.discriminator} has no features for pix2pixhd to match; use pix2pixhd, or "
                f"--lambda-feature-matching 0"
            )
        check_gan_config(cls, cfg)
        return cfg

    def prepare(self, batches: Iterable[Batch]) -> list[str]:
        return start_from_colours(self, batches)

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
        return " ".join(filter(None, (fixed, self.adversarial_loss.phase(clock.step))))

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
            assert isinstance(d, Pix2PixHDDiscriminator), "the config is checked"
            with torch.no_grad():
                real_maps, on_real = d.features_and_logits(real_view)
            fake_maps, on_fake = d.features_and_logits(fake_view)
            matched["feature_matching"] = self.feature_matching_loss(d, fake_maps, real_maps)
            adversarial = self.adversarial_loss.generator_loss(on_fake, lambda: on_real)
        else:
            adversarial = self.adversarial_loss.generator_loss(d(fake_view), lambda: d(real_view))
        return {"adv": self.adversarial_weight * adversarial, **matched, **self.content(fake, b)}

    def feature_matching_loss(
        self, d: Pix2PixHDDiscriminator, fake: list[list[Tensor]], real: list[list[Tensor]]
    ) -> Tensor:
        """Return the weighted feature matching loss (eq. 4) of the maps (N, C, H, W) of each scale and layer.

        The weights are those of the authors' code: a mean over the scales, and a sum over the layers times 4 / (layers + 1),
        which is 1 for three.
        """
        by_scale = torch.stack([feature_matching(x, y) for x, y in zip(fake, real, strict=True)])
        return self.cfg.lambda_feature_matching * 4 / (d.layers + 1) * by_scale.mean()

    def view(self, batch: Batch, image: Tensor, name: str, beside: Any = None) -> Any:
        """Return the discriminators' view of the input and an output image, both augmented by the draws of that name.

        beside: view by the same draws of another output image.
        """
        a = batch["a"]
        pair = augment(self.cfg, batch, torch.cat([a, image], 1), name, condition_channels=a.shape[1])
        return self.d.view(pair, beside)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        return {
            "input": self.displayed("a", batch["a"]),
            "output": self.translate(batch["a"], "b", batch["key"]),
            "truth": batch["b"],
        }

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        a, b = batch["a"], batch["b"]
        fake = self.translate(a, "b", batch["key"])
        return {"real": self.d(torch.cat([a, b], 1)), "fake": self.d(torch.cat([a, fake], 1))}
