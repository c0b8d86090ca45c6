"""pix2pix: paired image-to-image translation (Isola et al., "Image-to-Image Translation with Conditional Adversarial
Networks", CVPR 2017). The defaults are the recipe of the reference implementation."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from translate.config import option
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Losses, Scheduled, Step, Update
from translate.methods.building import adam_options, check_gan_config, discriminator_losses, with_default_unet
from translate.methods.configs import MODERN_PAIRED, resolve_label_maps
from translate.methods.content_loss import match_discriminator_features
from translate.methods.paired import PairedConfig, PairedMethod
from translate.nn import networks
from translate.nn.losses import ADVERSARIAL, l1
from translate.nn.networks import GENERATORS


@dataclass(frozen=True)
class Pix2PixConfig(PairedConfig):
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


class Pix2Pix(PairedMethod[Pix2PixConfig]):
    """pix2pix (sec. 3): a generator `g` from a to b, and a discriminator `d` of pairs (a, b) and (a, g(a))."""

    name = "pix2pix"
    summary = "paired translation from a to b; the best choice where each input has its true output"
    Config = Pix2PixConfig
    presets = {
        "paper": {},
        "modern": MODERN_PAIRED,
        "quick": {**MODERN_PAIRED, "images": 24_000, "decay_images": 12_000, "load_size": 128, "crop_size": 64},
    }
    large_presets = {"modern": {"generator": "resize_unet", "g_width": 64, "lr": 5e-4, "ema_half_life": 10_000}}

    def __init__(self, cfg: Pix2PixConfig) -> None:
        super().__init__(cfg)
        self.updates = {
            "d": Update(("d",), cfg.lr, options=adam_options(cfg), role=DISCRIMINATOR),
            "g": Update(("g",), cfg.lr, options=adam_options(cfg)),
        }

    @classmethod
    def resolve_config(cls, cfg: Pix2PixConfig) -> Pix2PixConfig:
        cfg = with_default_unet(resolve_label_maps(cfg), "unet")
        check_gan_config(cls, cfg)
        return cfg

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
        matched = match_discriminator_features(self.cfg, *shared) if shared else {}
        return {**losses, **matched, **self.content(fake, b, without=tuple(matched))}
