"""DiscoGAN: unpaired translation where shapes change (Kim et al., "Learning to Discover Cross-Domain Relations with Generative
Adversarial Networks", ICML 2017). The defaults are the recipe of the authors' code."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from translate.config import option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Losses, Scheduled, Step, Update
from translate.methods.building import adam_options, batch_mean, check_gan_config
from translate.methods.configs import MixedSupervisionConfig, NoRandomCrop
from translate.methods.two_way import TwoWayMethod
from translate.nn import networks
from translate.nn.base import FeatureDiscriminator
from translate.nn.losses import ADVERSARIAL
from translate.nn.networks import DISCRIMINATORS, GENERATORS

WEIGHT_DECAY = 1e-5
"""Weight decay of both optimizers, as in the authors' code."""


@dataclass(frozen=True)
class DiscoGANConfig(NoRandomCrop, MixedSupervisionConfig):
    """Config of DiscoGAN."""

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
    generator: str = option(
        "discogan", "generator network", choices=GENERATORS, accepts=networks.find, group="Networks"
    )
    discriminator: str = option(
        "discogan",
        "discriminator network; discogan sees the whole image",
        choices=DISCRIMINATORS,
        accepts=networks.find_discriminator,
        group="Networks",
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


class DiscoGAN(TwoWayMethod[DiscoGANConfig]):
    """DiscoGAN (sec. 2): generators `g_ab` and `g_ba` (G_AB and G_BA), discriminators `d_a` and `d_b` (D_A and D_B)."""

    name = "discogan"
    summary = "unpaired translation in both directions where shapes change; small images, 64 pixels in the paper"
    Config = DiscoGANConfig
    one_size = "feature matching compares real and fake images place by place"

    def __init__(self, cfg: DiscoGANConfig) -> None:
        super().__init__(cfg)
        options = {**adam_options(cfg), "weight_decay": WEIGHT_DECAY}
        self.updates = {
            "d": Update(("d_a", "d_b"), cfg.lr, options=options, role=DISCRIMINATOR),
            "g": Update(("g_ab", "g_ba"), cfg.lr, options=options),
        }
        self.coupled = self.coupled or "feature matching"

    @classmethod
    def resolve_config(cls, cfg: DiscoGANConfig) -> DiscoGANConfig:
        if not isinstance(cls.on_meta(cfg).d_a, FeatureDiscriminator):
            raise UsageError(
                f"--discriminator {cfg.discriminator} has no features for discogan to match; use discogan, basic or n_layers"
            )
        check_gan_config(cls, cfg)
        return cfg

    def updates_discriminator(self, clock: Clock) -> bool:
        """Return whether this step, the first of each `update_interval`, updates the discriminators and not the generators."""
        return clock.step % self.cfg.update_interval == 0

    def discriminator_step(self, clock: Clock) -> int:
        """Return the number of discriminator steps before this one."""
        return clock.step // self.cfg.update_interval

    def reconstruction_share(self, clock: Clock) -> float:
        """Return the share of the reconstruction in the generators' loss."""
        return self.cfg.starting_rate if clock.step < self.cfg.gan_curriculum else self.cfg.default_rate

    def phase(self, clock: Clock) -> str:
        if self.updates_discriminator(clock):
            return f"d {self.adversarial_loss.phase(self.discriminator_step(clock))}"
        return f"g {self.reconstruction_share(clock)}"

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the losses of the discriminators or of the generators, whichever the step updates (sec. 2.4)."""
        if self.updates_discriminator(clock):
            with torch.no_grad():
                fake_b, fake_a = self.g_ab(batch["a"]), self.g_ba(batch["b"])
            views = self.view(batch, "a", fake_a, "fake a"), self.view(batch, "b", fake_b, "fake b")
            yield "d", self.discriminator_losses(batch, *views, self.discriminator_step(clock))  # eq. 8
        else:
            yield "g", self.generator_losses(batch, self.reconstruction_share(clock))

    def generator_losses(self, batch: Batch, rate: float) -> Losses:
        """Return the losses of both generators (eq. 7): adversarial, feature matching, and reconstruction of share `rate`."""
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
            **self.content(back_a, a, "_a"),
            **self.content(back_b, b, "_b"),
            **self.pair_losses(batch),
        }

    def adversarial_and_feature_loss(self, batch: Batch, domain: str, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Return the adversarial loss and the feature-matching loss of fake images (N, C, H, W) of a domain."""
        real, d = batch[domain], self.d_a if domain == "a" else self.d_b
        assert isinstance(d, FeatureDiscriminator), "the config is checked"
        with torch.no_grad():
            real_features, on_real = d.features_and_logits(self.augment(batch, real, f"real {domain}"))
        fake_features, on_fake = d.features_and_logits(self.augment(batch, fake, f"g {domain}"))
        adversarial = self.adversarial_loss.generator_loss(on_fake, lambda: on_real)
        return adversarial, feature_matching_loss(real_features, fake_features)


def reconstruction_loss(back: Tensor, image: Tensor) -> Tensor:
    """Return the mean squared difference of images (N, C, H, W) on the paper's scale, [0, 1]: a quarter of that on [−1, 1]."""
    return ((back - image) / 2).square().mean()


def feature_matching_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the squared difference of mean features of real and fake images, mean over each map (N, C, H, W), sum over maps.

    The authors' hinge embedding loss with target 1 is that mean.
    """
    pairs = zip(real, fake, strict=True)
    return torch.stack([(batch_mean(x) - batch_mean(y)).square().mean() for x, y in pairs]).sum()
