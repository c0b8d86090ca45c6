"""pix2pix: paired image-to-image translation (Isola et al., "Image-to-Image Translation with Conditional Adversarial
Networks", CVPR 2017). The defaults are the recipe of the reference implementation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from translate.config import option
from translate.methods.base import Batch, Clock, Method, Step, Update
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
from translate.nn.losses import ADVERSARIAL, l1
from translate.nn.networks import GENERATORS, find


@dataclass(frozen=True)
class Pix2PixConfig(GanConfig):
    """Settings of pix2pix."""

    generator: str | None = option(  # type: ignore[assignment]
        None,
        "generator network [default: the deepest U-Net that fits the crop size]",
        choices=GENERATORS,
        accepts=find,
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


class Pix2Pix(Method):
    """One generator from a to b; the discriminator judges pairs (a, b) against (a, G(a))."""

    name = "pix2pix"
    layout = "paired"
    Config = Pix2PixConfig
    generator_names = {"b": "g"}
    ema = ("g",)

    def __init__(self, cfg: Pix2PixConfig) -> None:
        super().__init__(cfg)
        self.g = build_generator(cfg, cfg.input_channels, cfg.output_channels, cfg.seed, "g")
        self.d = build_discriminator(cfg, cfg.input_channels + cfg.output_channels, cfg.seed, "d")
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.updates = {"d": Update(("d",), cfg.lr), "g": Update(("g",), cfg.lr)}
        self.coupled = coupling_reason(cfg)

    @classmethod
    def resolve_config(cls, cfg: Pix2PixConfig) -> Pix2PixConfig:
        cfg = with_default_unet(cfg, "unet")
        check_gan_config(cls, cfg)
        return cfg

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def step(self, batch: Batch, clock: Clock) -> Step:
        a, b = batch["a"], batch["b"]
        fake = self.g(a)

        # eq. 1: the discriminator first, as in the reference; both losses see the same fake.
        real_pair, fake_pair = self.pair(batch, b, "real"), self.pair(batch, fake.detach(), "fake")
        on_fake, on_real = forward_concatenated(
            self.d, fake_pair, real_pair
        )  # in this order: batch norm's running statistics tell
        losses = {"adv": self.adversarial_loss.discriminator_loss(on_real, on_fake)}
        if self.adversarial_loss.has_penalty(clock.step):
            losses["penalty"] = self.adversarial_loss.penalty(self.d.forward, real_pair, fake_pair, batch["key"])
        yield "d", losses

        # eq. 4: fool the discriminator that has just moved, and stay near the truth.
        yield (
            "g",
            {
                "adv": self.adversarial_loss.generator_loss(
                    lambda image: self.d(self.pair(batch, image, "g")), fake, b
                ),
                "l1": self.cfg.lambda_l1 * l1(fake, b),
            },
        )

    def pair(self, batch: Batch, image: Tensor, use: str) -> Tensor:
        """What the discriminator sees: the input beside the true or the made image."""
        a = batch["a"]
        whole = torch.cat([a, image], 1)
        return diffaugment(whole, batch["key"], self.cfg.diffaugment, use, condition_channels=a.shape[1])

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        return {"input": batch["a"], "output": self.translate(batch["a"], "b", batch["key"]), "truth": batch["b"]}

    def discriminator_outputs(self, batch: Batch) -> dict[str, Tensor]:
        a, b = batch["a"], batch["b"]
        fake = self.translate(a, "b", batch["key"])
        return {"real": self.d(torch.cat([a, b], 1)), "fake": self.d(torch.cat([a, fake], 1))}
