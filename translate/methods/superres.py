"""superres: super-resolution of photos by a factor of 2 or 4, learnt from a folder of photos that are made small.

The defaults train SRResNet without batch norm for the L1 distance alone, as the first step of SRGAN (Ledig et al.,
"Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017) in BasicSR. Its second step
starts from that model, with the adversarial and the perceptual loss by their flags.
"""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from translate.config import option
from translate.errors import UsageError
from translate.methods.building import build_generator
from translate.methods.configs import NETWORK_SETTINGS
from translate.methods.photo_pairs import PhotoPairs, PhotoPairsConfig
from translate.nn import networks
from translate.nn.base import Generator, clamp_to_image_range
from translate.nn.bicubic import enlarge
from translate.nn.degradation import DEGRADATIONS
from translate.nn.networks import GENERATORS

FACTORS = 2, 4

QUICK: dict[str, Any] = {
    "generator": "srresnet_4blocks",
    "g_width": 32,
    "lr": 1e-3,
    "batch_size": 8,
    "crop_size": 96,
    "images": 48_000,
    "decay_images": 24_000,
    "ema_half_life": 1000,
}
"""Settings of the preset quick."""


@dataclass(frozen=True)
class SuperResConfig(PhotoPairsConfig):
    """Config of superres."""

    factor: int = option(
        4, "enlarge images by this factor: 2 or 4", low=min(FACTORS), high=max(FACTORS), group="Networks"
    )
    degradation: str = option(
        "bicubic",
        "how photos are made small: bicubic, as in benchmarks; real: with random blur, noise and JPEG, for inputs of unknown "
        "origin",
        choices=DEGRADATIONS,
        group="Data",
    )
    generator: str = option(
        "srresnet_16blocks",
        "generator network, of the family srresnet",
        choices=GENERATORS,
        accepts=networks.find,
        group="Networks",
    )
    norm: str = option(
        "none", "normalisation layers of all networks", choices=("batch", "instance", "none"), group="Networks"
    )
    preprocess: str = option(
        "crop",
        "crop: crop the original photo; resize_and_crop: resize to the load size, then crop at random; "
        "scale_width_and_crop: resize the width to the load size, then crop; none: train on whole photos",
        choices=("resize_and_crop", "crop", "scale_width_and_crop", "none"),
        group="Data",
    )
    crop_size: int = option(
        128, "side of the random square crops of photos to train on, in pixels", low=2, group="Data"
    )
    batch_size: int = option(16, "images in a training step, for each process", low=1, group="Data")
    beta2: float = option(
        0.99,
        "decay of Adam's mean square of gradients; 0.999 follows changes later",
        low=0,
        high=0.9999,
        group="Length",
    )
    lambda_gan: float = option(
        0.0,
        "weight of the generator's adversarial loss; 0 trains without a discriminator, SRGAN has 0.005",
        low=0,
        group="Losses",
    )
    lambda_l1: float = option(
        1.0, "weight of the L1 loss between the output and the photo, with --loss paired", low=0, group="Losses"
    )


class SuperRes(PhotoPairs[SuperResConfig]):
    """superres: a generator `g` from small photos to photos, and a discriminator `d` of photos beside bicubic enlargements."""

    name = "superres"
    summary = "photos enlarged by a factor of 2 or 4, learnt from a folder of photos"
    Config = SuperResConfig
    presets = {"paper": {}, "quick": QUICK}
    network_settings = (*NETWORK_SETTINGS, "factor", "degradation")

    def __init__(self, cfg: SuperResConfig) -> None:
        super().__init__(cfg)
        self.degradation = DEGRADATIONS[cfg.degradation](cfg.factor)
        self.frozen_networks = (*self.frozen_networks, "degradation")
        options = {"betas": (0.9, cfg.beta2)}  # BasicSR; 0.5 is of networks that only fool a discriminator
        self.updates = {name: replace(update, options=options) for name, update in self.updates.items()}

    @classmethod
    def resolve_config(cls, cfg: SuperResConfig) -> SuperResConfig:
        if cfg.factor not in FACTORS:
            raise UsageError(f"--factor {cfg.factor}: must be 2 or 4")
        return super().resolve_config(cfg)

    def build_photo_generator(self) -> Generator:
        cfg = self.cfg
        return build_generator(cfg, cfg.input_channels, cfg.output_channels, cfg.seed, "g", factor=cfg.factor)

    @property
    def photo_multiple(self) -> int:
        return self.cfg.factor * self.generator_for("b").multiple_of

    def make_input(self, photo: Tensor, key: Tensor) -> Tensor:
        """Return the photos (N, C, H, W) made small, (N, C, H / factor, W / factor), by the degradation of the config."""
        small: Tensor = self.degradation(photo, key)
        return small

    def copy_input(self, x: Tensor) -> Tensor:
        """Return the bicubic enlargement of the inputs."""
        return clamp_to_image_range(enlarge(x, self.cfg.factor))
