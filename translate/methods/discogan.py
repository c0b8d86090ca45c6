"""DiscoGAN: unpaired translation where shapes change (Kim et al., "Learning to Discover Cross-Domain Relations with Generative
Adversarial Networks", ICML 2017). The defaults are the recipe of the authors' code."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from translate.config import option
from translate.errors import UsageError
from translate.methods import two_way
from translate.methods.base import Batch, Clock, Losses, Method, Step, Update
from translate.methods.building import (
    build_adversarial_loss,
    build_discriminator,
    build_generator,
    check_gan_config,
    coupling_reason,
    forward_concatenated,
)
from translate.methods.configs import GanConfig
from translate.nn.base import FeatureDiscriminator
from translate.nn.diffaugment import diffaugment
from translate.nn.losses import ADVERSARIAL
from translate.nn.networks import DISCRIMINATORS, GENERATORS, find
from translate.runtime import distributed

ADAM = {"betas": (0.5, 0.999), "weight_decay": 1e-5}


@dataclass(frozen=True)
class DiscoGANConfig(GanConfig):
    """Settings of DiscoGAN."""

    epochs: int = option(5000, "epochs at the constant learning rate", low=0, group="Length")
    decay_epochs: int = option(
        0, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    batch_size: int = option(64, "images in a training step, for each process", low=1, group="Data")
    load_size: int | None = option(
        None, "resize images to a square of this side before cropping [default: the crop size]", low=2, group="Data"
    )
    crop_size: int = option(64, "side of the random square crops to train on, in pixels", low=2, group="Data")
    flip: bool = option(False, "mirror half of the images", group="Data")
    generator: str = option("discogan", "generator network", choices=GENERATORS, accepts=find, group="Networks")
    discriminator: str = option(
        "discogan", "discriminator network; discogan sees the whole image", choices=DISCRIMINATORS, group="Networks"
    )
    norm: str = option(
        "batch", "normalisation layers of all networks", choices=("batch", "instance", "none"), group="Networks"
    )
    norm_statistics: str = option(
        "running",
        "statistics for batch norm in conversion: sample (each image's own) or running (averages over training)",
        choices=("sample", "running"),
        group="Networks",
    )
    adversarial: str = option("non-saturating", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    update_interval: int = option(
        3, "update the discriminators in every Nth step, and the generators in all others", low=2, group="Losses"
    )
    feature_share: float = option(
        0.9, "share of feature matching in the generators' adversarial loss", low=0, high=1, group="Losses"
    )
    default_rate: float = option(
        0.5, "share of the reconstruction loss in the generators' loss", low=0, high=1, group="Losses"
    )
    starting_rate: float = option(
        0.01, "the same during the first --gan-curriculum steps", low=0, high=1, group="Losses"
    )
    gan_curriculum: int = option(10_000, "number of steps at the beginning with --starting-rate", low=0, group="Losses")

    @property
    def default_load_size(self) -> int:
        return self.crop_size  # no random crop: the authors resize alone


class DiscoGAN(Method):
    """Two generators, `g_ab` and `g_ba`, and two discriminators: `d_a` judges domain a, `d_b` domain b."""

    name = "discogan"
    layout = "unpaired"
    Config = DiscoGANConfig
    generator_names = {"b": "g_ab", "a": "g_ba"}
    ema = ("g_ab", "g_ba")

    def __init__(self, cfg: DiscoGANConfig) -> None:
        super().__init__(cfg)
        a, b, seed = cfg.input_channels, cfg.output_channels, cfg.seed
        self.g_ab = build_generator(cfg, a, b, seed, "g_ab")
        self.g_ba = build_generator(cfg, b, a, seed, "g_ba")
        self.d_a = build_discriminator(cfg, a, seed, "d_a")
        self.d_b = build_discriminator(cfg, b, seed, "d_b")
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.updates = {
            "d": Update(("d_a", "d_b"), cfg.lr, options=ADAM),
            "g": Update(("g_ab", "g_ba"), cfg.lr, options=ADAM),
        }
        self.coupled = coupling_reason(cfg) or "feature matching"

    @classmethod
    def resolve_config(cls, cfg: DiscoGANConfig) -> DiscoGANConfig:
        if not isinstance(cls.on_meta(cfg).d_a, FeatureDiscriminator):
            raise UsageError(
                f"--discriminator {cfg.discriminator}: has no inner maps for DiscoGAN to match; use discogan, basic or n_layers"
            )
        check_gan_config(cls, cfg)
        return cfg

    def updates_discriminator(self, clock: Clock) -> bool:
        """Whether it is the discriminators that move in this step: the first of each `update_interval`."""
        return clock.step % self.cfg.update_interval == 0

    def discriminator_step(self, clock: Clock) -> int:
        """Steps of the discriminators before this one of theirs."""
        return clock.step // self.cfg.update_interval

    def reconstruction_share(self, clock: Clock) -> float:
        """Share of the reconstruction in what the generators minimise."""
        return self.cfg.starting_rate if clock.step < self.cfg.gan_curriculum else self.cfg.default_rate

    def phase(self, clock: Clock) -> str:
        if self.updates_discriminator(clock):
            return f"d {self.adversarial_loss.phase(self.discriminator_step(clock))}"
        return f"g {self.reconstruction_share(clock)}"

    def step(self, batch: Batch, clock: Clock) -> Step:
        if self.updates_discriminator(clock):
            yield "d", self.discriminator_losses(batch, clock)
        else:
            yield "g", self.generator_losses(batch, self.reconstruction_share(clock))

    def discriminator_losses(self, batch: Batch, clock: Clock) -> Losses:
        """How well each discriminator tells real images from made ones, (N, C, H, W) each."""
        with torch.no_grad():
            fake_b, fake_a = self.g_ab(batch["a"]), self.g_ba(batch["b"])
        a, fake_a = self.augment(batch, batch["a"], "real a"), self.augment(batch, fake_a, "fake a")
        b, fake_b = self.augment(batch, batch["b"], "real b"), self.augment(batch, fake_b, "fake b")
        losses = {
            "adv_a": self.adversarial_loss.discriminator_loss(*forward_concatenated(self.d_a, a, fake_a)),
            "adv_b": self.adversarial_loss.discriminator_loss(*forward_concatenated(self.d_b, b, fake_b)),
        }
        if self.adversarial_loss.has_penalty(self.discriminator_step(clock)):
            losses["penalty_a"] = self.adversarial_loss.penalty(self.d_a.forward, a, fake_a, batch["key"])
            losses["penalty_b"] = self.adversarial_loss.penalty(self.d_b.forward, b, fake_b, batch["key"])
        return losses

    def generator_losses(self, batch: Batch, rate: float) -> Losses:
        """Both generators fool, make what has the features of real images, and come back; `reconstruction_share` is the weight of the last."""
        a, b, share = batch["a"], batch["b"], self.cfg.feature_share
        fake_b, fake_a = self.g_ab(a), self.g_ba(b)
        back_a, back_b = self.g_ba(fake_b), self.g_ab(fake_a)
        adv_ab, features_b = self.adversarial_and_feature_loss(batch, "b", fake_b)
        adv_ba, features_a = self.adversarial_and_feature_loss(batch, "a", fake_a)
        return {
            "adv_ab": (1 - rate) * (1 - share) * adv_ab,
            "adv_ba": (1 - rate) * (1 - share) * adv_ba,
            "feature_matching_b": (1 - rate) * share * features_b,
            "feature_matching_a": (1 - rate) * share * features_a,
            "reconstruction_a": rate * reconstruction_loss(back_a, a),
            "reconstruction_b": rate * reconstruction_loss(back_b, b),
        }

    def adversarial_and_feature_loss(self, batch: Batch, domain: str, fake: Tensor) -> tuple[Tensor, Tensor]:
        """How far made images are from fooling the discriminator of a domain, and their features from those of real ones."""
        real, judge = batch[domain], self.d_a if domain == "a" else self.d_b
        assert isinstance(judge, FeatureDiscriminator), "the config is checked"
        with torch.no_grad():
            wanted, on_real = judge.features_and_logits(self.augment(batch, real, f"real {domain}"))
        made, on_fake = judge.features_and_logits(self.augment(batch, fake, f"g {domain}"))
        adversarial = self.adversarial_loss.generator_loss(lambda x: on_fake if x is fake else on_real, fake, real)
        return adversarial, feature_matching_loss(wanted, made)

    def augment(self, batch: Batch, x: Tensor, use: str) -> Tensor:
        """What a discriminator sees of images."""
        return diffaugment(x, batch["key"], self.cfg.diffaugment, use)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        return two_way.preview(self, batch)

    def discriminator_outputs(self, batch: Batch) -> dict[str, Tensor]:
        return two_way.discriminator_outputs(self, batch)


def reconstruction_loss(back: Tensor, image: Tensor) -> Tensor:
    """Mean squared difference of images (N, C, H, W) on the paper's scale, where they are in [0, 1]: a quarter of that in
    [−1, 1]."""
    return ((back - image) / 2).square().mean()


def feature_matching_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Squared difference between the mean features of real and of made images, mean over each map (N, C, H, W) and sum over the
    maps (the authors' hinge embedding loss with target 1 is just that mean)."""
    pairs = zip(real, fake, strict=True)
    return torch.stack([(batch_mean(x) - batch_mean(y)).square().mean() for x, y in pairs]).sum()


def batch_mean(x: Tensor) -> Tensor:
    """Mean (C, H, W) over the images of x (N, C, H, W) in the batches of all processes, with N in each; in float32 at least.

    Its gradient reaches the images of this process as if the mean were theirs alone, so that what the mean over processes
    makes of gradients is the gradient of one large batch.
    """
    own = x.to(torch.promote_types(x.dtype, torch.float32)).mean(0)
    return own + (distributed.all_reduce_mean(own.detach()) - own.detach())
