"""Base of methods that learn from pairs (a, b): a generator from a to b, and a discriminator that judges b beside a."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from translate.config import option
from translate.errors import UsageError
from translate.methods.base import Batch, Clock, Method
from translate.methods.building import (
    augment,
    build_adversarial_loss,
    build_discriminator,
    build_generator,
    coupling_reason,
)
from translate.methods.colour_start import PREPARATION_IMAGES, start_from_colours
from translate.methods.configs import LABEL_SETTINGS, NETWORK_SETTINGS, GanConfig, LabelMapConfig
from translate.methods.content_loss import ContentLoss, feature_networks
from translate.nn.base import Discriminator, MultiscaleFeatureDiscriminator
from translate.nn.losses import Logits, feature_matching


@dataclass(frozen=True)
class PairedConfig(GanConfig, LabelMapConfig):
    """Config of methods that learn from pairs: the networks are from the registries, and domain a may hold label maps."""


@dataclass(frozen=True)
class FeatureMatchingConfig(PairedConfig):
    """Config of methods whose discriminator of several scales has features to match."""

    lambda_feature_matching: float = option(
        10.0,
        "weight of feature matching: the L1 distance of the discriminators' maps of the output and of the true image",
        low=0,
        group="Losses",
    )


C = TypeVar("C", bound=PairedConfig)
FM = TypeVar("FM", bound=FeatureMatchingConfig)


class PairedMethod(Method[C]):
    """Base class with a generator `g` from a to b, and a discriminator `d` of pairs (a, b) and (a, g(a)).

    A subclass has `updates` and `step`.
    """

    layout = "paired"
    generator_names = {"b": "g"}
    network_settings: ClassVar[tuple[str, ...]] = (*NETWORK_SETTINGS, *LABEL_SETTINGS)
    ema: tuple[str, ...] = ("g",)

    def __init__(self, cfg: C) -> None:
        super().__init__(cfg)
        self.g = build_generator(cfg, cfg.input_channels, cfg.output_channels, cfg.seed, "g")
        channels = cfg.input_channels + cfg.output_channels
        self.d = build_discriminator(cfg, channels, cfg.seed, "d", condition_channels=cfg.input_channels)
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.content = ContentLoss(cfg, cfg.output_channels)
        self.frozen_networks = feature_networks(self)
        self.preparation_images = PREPARATION_IMAGES if cfg.colour_start == "on" else 0
        self.coupled = coupling_reason(self)

    def prepare(self, batches: Iterable[Batch]) -> list[str]:
        return start_from_colours(self, batches)

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def pair(self, batch: Batch, image: Tensor, name: str) -> Tensor:
        """Return the inputs with images of domain b, (N, Ca + Cb, H, W), both augmented by the random draws of that name."""
        a = batch["a"]
        return augment(self.cfg, batch, torch.cat([a, image], 1), name, condition_channels=a.shape[1])

    def view(self, batch: Batch, image: Tensor, name: str, beside: Any = None) -> Any:
        """Return the discriminator's view of the pair of inputs and images of domain b; `name`: see `pair`.

        beside: view by the same draws of other images of domain b.
        """
        return self.d.view(self.pair(batch, image, name), beside)

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


class FeatureMatchingMethod(PairedMethod[FM]):
    """Base class with a loss of the features that a discriminator of several scales has of outputs and true images."""

    def feature_matching_loss(self, fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
        """Return the weighted feature matching loss of the maps (N, C, H, W) of each scale and layer.

        Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", 2018, eq. 4. The weights
        are those of the authors' code, which SPADE's has taken over: a mean over the scales of sums over the layers, times 4 /
        layers, which is 1 for the usual four.
        """
        by_scale = torch.stack([feature_matching(x, y) for x, y in zip(fake, real, strict=True)])
        return self.cfg.lambda_feature_matching * 4 / len(fake[0]) * by_scale.mean()


def check_features_to_match(name: str, cfg: FeatureMatchingConfig, d: Discriminator) -> None:
    """Check that the discriminator of a method of that name has what its loss needs. Raises UsageError if not."""
    if cfg.lambda_feature_matching > 0 and not isinstance(d, MultiscaleFeatureDiscriminator):
        raise UsageError(
            f"--discriminator {cfg.discriminator} has no features for {name} to match; use {name}, or "
            f"--lambda-feature-matching 0"
        )
