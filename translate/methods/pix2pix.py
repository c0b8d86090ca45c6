"""pix2pix: paired image-to-image translation (Isola et al., "Image-to-Image Translation with Conditional Adversarial
Networks", CVPR 2017). The defaults are the recipe of the reference implementation."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from translate.config import option
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Losses, Method, Scheduled, Step, Update
from translate.methods.building import (
    adam_options,
    augment,
    build_adversarial_loss,
    build_discriminator,
    build_generator,
    check_gan_config,
    coupling_reason,
    discriminator_losses,
    with_default_unet,
)
from translate.methods.colour_start import PREPARATION_IMAGES, start_from_colours
from translate.methods.configs import (
    LABEL_SETTINGS,
    MODERN_PAIRED,
    NETWORK_SETTINGS,
    GanConfig,
    LabelMapConfig,
    resolve_label_maps,
)
from translate.methods.content_loss import ContentLoss, feature_networks
from translate.nn import networks
from translate.nn.losses import ADVERSARIAL, Logits, feature_matching, l1
from translate.nn.networks import GENERATORS
from translate.nn.networks.projected import ProjectedView


@dataclass(frozen=True)
class Pix2PixConfig(GanConfig, LabelMapConfig):
    """Config of pix2pix."""

    generator: str | None = option(  # type: ignore[assignment]
        None,
        "generator network [default: the deepest U-Net that fits the crop size]",
        choices=GENERATORS,
        accepts=networks.find,
        group="Networks",
    )
    norm: str = option(
        "batch", "normalisation layers of all networks", choices=("batch", "instance", "none"), group="Networks"
    )
    dropout: bool = option(True, "dropout in the generator, in training and in conversion", group="Networks")
    adversarial: str = option("non-saturating", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    lambda_l1: float = option(
        100.0, "weight of the L1 loss between the output and the true image", low=0, group="Losses"
    )


class Pix2Pix(Method[Pix2PixConfig]):
    """pix2pix (sec. 3): a generator `g` from a to b, and a discriminator `d` of pairs (a, b) and (a, g(a))."""

    name = "pix2pix"
    summary = "paired translation from a to b; the best choice where each input has its true output"
    layout = "paired"
    Config = Pix2PixConfig
    presets = {
        "paper": {},
        "modern": MODERN_PAIRED,
        "quick": {**MODERN_PAIRED, "images": 24_000, "decay_images": 12_000, "load_size": 128, "crop_size": 64},
    }
    large_presets = {"modern": {"generator": "resize_unet", "g_width": 64, "lr": 5e-4, "ema_half_life": 10_000}}
    generator_names = {"b": "g"}
    network_settings = (*NETWORK_SETTINGS, *LABEL_SETTINGS)
    ema = ("g",)

    def __init__(self, cfg: Pix2PixConfig) -> None:
        super().__init__(cfg)
        self.g = build_generator(cfg, cfg.input_channels, cfg.output_channels, cfg.seed, "g")
        channels = cfg.input_channels + cfg.output_channels
        self.d = build_discriminator(cfg, channels, cfg.seed, "d", condition_channels=cfg.input_channels)
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.content = ContentLoss(cfg, cfg.output_channels)
        self.frozen_networks = feature_networks(self)
        self.preparation_images = PREPARATION_IMAGES if cfg.colour_start == "on" else 0
        self.updates = {
            "d": Update(("d",), cfg.lr, options=adam_options(cfg), role=DISCRIMINATOR),
            "g": Update(("g",), cfg.lr, options=adam_options(cfg)),
        }
        self.coupled = coupling_reason(self)

    @classmethod
    def resolve_config(cls, cfg: Pix2PixConfig) -> Pix2PixConfig:
        cfg = with_default_unet(resolve_label_maps(cfg), "unet")
        check_gan_config(cls, cfg)
        return cfg

    def prepare(self, batches: Iterable[Batch]) -> list[str]:
        return start_from_colours(self, batches)

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the discriminator's losses (eq. 1), then the generator's (eq. 4)."""
        a, b, loss, shared = batch["a"], batch["b"], self.adversarial_loss, self.cfg.share_augmentation
        fake = self.g(a)

        # eq. 1: the discriminator first, as in the reference implementation; both losses use the same fake.
        real_view = self.view(batch, b, "real")
        seen = fake if shared else fake.detach()
        fake_view = self.view(batch, seen, "real", real_view) if shared else self.view(batch, seen, "fake")
        yield "d", discriminator_losses(loss, self.d, real_view, fake_view.detach(), batch["key"], clock.step)

        # eq. 4: the adversarial loss, by the discriminator just updated, and the L1 distance to the true output.
        yield "g", self.generator_losses(batch, fake, (fake_view, real_view) if shared else None)

    def generator_losses(self, batch: Batch, fake: Tensor, shared: tuple[Any, Any] | None) -> Losses:
        """Return the generator's losses for its output; `shared` are the discriminator's views of it and of the true output.

        None: the discriminator is shown both anew. Its views are held no longer than here, since they take memory.
        """
        b, d = batch["b"], self.d
        fake_view, real_view = shared or (self.view(batch, fake, "g"), None)
        adversarial = self.adversarial_loss.generator_loss(
            d(fake_view), lambda: d(self.view(batch, b, "g") if real_view is None else real_view)
        )
        losses = {"adv": adversarial, "l1": self.cfg.lambda_l1 * l1(fake, b)}
        matched = self.match_features(*shared) if shared else {}
        return {**losses, **matched, **self.content(fake, b, without=tuple(matched))}

    def view(self, batch: Batch, image: Tensor, name: str, beside: Any = None) -> Any:
        """Return the discriminator's view of the input and an output image, both augmented by the draws of that name.

        beside: view by the same draws of another output image.
        """
        a = batch["a"]
        pair = augment(self.cfg, batch, torch.cat([a, image], 1), name, condition_channels=a.shape[1])
        return self.d.view(pair, beside)

    def match_features(self, fake: Any, real: Any) -> Losses:
        """Return the feature matching loss by the features that a projected discriminator has of both views; none without."""
        if self.cfg.lambda_features == 0 or not isinstance(fake, ProjectedView):
            return {}
        return {"features": self.cfg.lambda_features * feature_matching(fake.features, real.detach().features)}

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
