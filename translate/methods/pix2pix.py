"""pix2pix: paired image-to-image translation (Isola et al., "Image-to-Image Translation with Conditional Adversarial
Networks", CVPR 2017). The defaults are the recipe of the reference implementation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from translate.config import option
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Method, Scheduled, Step, Update
from translate.methods.building import (
    augment,
    build_adversarial_loss,
    build_discriminator,
    build_generator,
    check_gan_config,
    coupling_reason,
    discriminator_losses,
    with_default_unet,
)
from translate.methods.configs import GanConfig
from translate.nn import networks
from translate.nn.losses import ADVERSARIAL, l1
from translate.nn.networks import GENERATORS


@dataclass(frozen=True)
class Pix2PixConfig(GanConfig):
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
        "quick": {
            "images": 16_000,
            "decay_images": 8_000,
            "batch_size": 8,
            "crop_size": 128,
            "norm_statistics": "running",  # averages over batches of several images, unlike the paper's of one
            "dropout": False,
            "g_width": 24,
            "d_width": 24,
            "lr": 5e-4,
            "lambda_l1": 300.0,
            "ema_half_life": 500,
        },
    }
    generator_names = {"b": "g"}
    ema = ("g",)

    def __init__(self, cfg: Pix2PixConfig) -> None:
        super().__init__(cfg)
        self.g = build_generator(cfg, cfg.input_channels, cfg.output_channels, cfg.seed, "g")
        channels = cfg.input_channels + cfg.output_channels
        self.d = build_discriminator(cfg, channels, cfg.seed, "d", condition_channels=cfg.input_channels)
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.updates = {"d": Update(("d",), cfg.lr, role=DISCRIMINATOR), "g": Update(("g",), cfg.lr)}
        self.coupled = coupling_reason(self)

    @classmethod
    def resolve_config(cls, cfg: Pix2PixConfig) -> Pix2PixConfig:
        cfg = with_default_unet(cfg, "unet")
        check_gan_config(cls, cfg)
        return cfg

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the discriminator's losses (eq. 1), then the generator's (eq. 4)."""
        a, b, loss = batch["a"], batch["b"], self.adversarial_loss
        fake = self.g(a)

        # eq. 1: the discriminator first, as in the reference implementation; both losses use the same fake.
        real_pair, fake_pair = self.pair(batch, b, "real"), self.pair(batch, fake.detach(), "fake")
        yield "d", discriminator_losses(loss, self.d, real_pair, fake_pair, batch["key"], clock.step)

        # eq. 4: the adversarial loss, by the discriminator just updated, and the L1 distance to the true output.
        losses = {
            "adv": loss.generator_loss(lambda image: self.d(self.pair(batch, image, "g")), fake, b),
            "l1": self.cfg.lambda_l1 * l1(fake, b),
        }
        yield "g", losses

    def pair(self, batch: Batch, image: Tensor, name: str) -> Tensor:
        """Concatenate the input and an output image along the channels, and augment both; `name` is that of the draws."""
        a = batch["a"]
        return augment(self.cfg, batch, torch.cat([a, image], 1), name, condition_channels=a.shape[1])

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        return {"input": batch["a"], "output": self.translate(batch["a"], "b", batch["key"]), "truth": batch["b"]}

    def discriminator_outputs(self, batch: Batch) -> dict[str, Tensor]:
        a, b = batch["a"], batch["b"]
        fake = self.translate(a, "b", batch["key"])
        return {"real": self.d(torch.cat([a, b], 1)), "fake": self.d(torch.cat([a, fake], 1))}
