"""Configs that methods share: settings of adversarial losses, and of generators and discriminators by name."""

from dataclasses import dataclass

from translate.config import TrainConfig, option
from translate.nn import networks
from translate.nn.diffaugment import DIFFAUGMENT, find_policy
from translate.nn.losses import ADVERSARIAL
from translate.nn.networks import DISCRIMINATORS, GENERATORS

GENERATOR_SETTINGS = (
    "input_channels", "output_channels", "generator", "norm", "dropout", "g_width", "norm_statistics", "range_a", "range_b",
)  # fmt: skip
DISCRIMINATOR_SETTINGS = ("discriminator", "d_width", "d_layers")
NETWORK_SETTINGS = (*GENERATOR_SETTINGS, *DISCRIMINATOR_SETTINGS)


class NoRandomCrop:
    """Mixin for configs of methods whose authors resize images to the crop size, without a random crop."""

    crop_size: int

    @property
    def default_load_size(self) -> int:
        """Size that images are resized to by default: the crop size."""
        return self.crop_size


@dataclass(frozen=True)
class AdversarialConfig(TrainConfig):
    """Config of methods with a discriminator."""

    norm: str = option("instance", "normalisation in all networks", choices=("batch", "instance", "none"))
    g_width: int = option(64, "channels of the generator's first layer", low=1)
    d_width: int = option(64, "channels of the discriminator's first layer", low=1)
    adversarial: str = option("lsgan", "adversarial cost", choices=ADVERSARIAL)
    real_label: float = option(1.0, "label of real images; 0.9 is one-sided label smoothing", low=0.5, high=1.0)
    lambda_penalty: float | None = option(
        None,
        "weight of the gradient penalty of wgan-gp (10) and relativistic (γ of R1 and R2, 1; more for larger images)",
        low=0,
    )
    penalty_every: int | None = option(
        None,
        "steps from one gradient penalty to the next, which then counts so often (wgan-gp 1, relativistic 8)",
        low=1,
    )
    diffaugment: str = option(
        "",
        "random changes of what discriminators see, as color,translation,cutout",
        choices=("", *DIFFAUGMENT),
        accepts=find_policy,
    )


@dataclass(frozen=True)
class GanConfig(AdversarialConfig):
    """Config of methods that translate with a generator and a discriminator from the registries."""

    generator: str = option("resnet_9blocks", "network that translates", choices=GENERATORS, accepts=networks.find)
    discriminator: str = option("basic", "network that judges; basic sees 70×70 patches", choices=DISCRIMINATORS)
    d_layers: int = option(3, "halvings of the n_layers discriminator", low=1, high=6)
    dropout: bool = option(False, "dropout in the generator, in training and in conversion")
    norm_statistics: str = option(
        "sample",
        "what batch norm divides by in conversion: each image's own, or running",
        choices=("sample", "running"),
    )
