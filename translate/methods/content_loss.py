"""Losses between an image and one that shows the same, which every method can add to its own."""

from typing import Any

from torch import Tensor, nn

from translate.errors import UsageError
from translate.methods.base import Losses
from translate.methods.configs import GanConfig
from translate.nn.features import load_features
from translate.nn.features.feature_network import FeatureNetwork
from translate.nn.losses import feature_matching, lowpass_l1, perceptual_loss
from translate.nn.networks.projected import ProjectedView


class ContentLoss(nn.Module):
    """Optional losses of a config between images (N, C, H, W) in [-1, 1] and others that show the same.

    lowpass: L1 distance of the means of 4×4 pixels. features, perceptual: distance in the maps of a frozen network. Each is
    there if its weight is not 0. channels: of the images.
    """

    def __init__(self, cfg: GanConfig, *channels: int) -> None:
        super().__init__()
        self.weights = {
            name: weight
            for name in ("lowpass", "features", "perceptual")
            if (weight := getattr(cfg, f"lambda_{name}")) > 0
        }
        flags = {"features": "--features", "perceptual": "--perceptual-network"}
        networks = {"features": cfg.features, "perceptual": cfg.perceptual_network}
        for name, flag in flags.items():
            if name in self.weights:
                _check_channels(f"--lambda-{name}", channels)
                setattr(self, name, load_features(networks[name], flag))

    def forward(self, x: Tensor, target: Tensor, suffix: str = "", *, without: tuple[str, ...] = ()) -> Losses:
        """Return the losses of images x and their targets, by name and suffix, but for those that are left out."""
        losses = {}
        for name, weight in self.weights.items():
            if name in without:
                continue
            if name == "lowpass":
                loss = lowpass_l1(x, target)
            else:
                network = getattr(self, name)
                assert isinstance(network, FeatureNetwork)
                loss = perceptual_loss(network, x, target)
            losses[f"{name}{suffix}"] = weight * loss
        return losses


def _check_channels(flag: str, channels: tuple[int, ...]) -> None:
    """Check that a feature network takes the images. Raises UsageError if not."""
    for count in channels:
        if count not in (1, 3):
            raise UsageError(
                f"{flag}: the feature network takes images of 1 or 3 channels, not of {count}; leave it out, or use "
                f"--lambda-lowpass"
            )


def match_discriminator_features(cfg: GanConfig, fake: Any, real: Any) -> Losses:
    """Return the loss "features" by what a projected discriminator has of its views of outputs and of true images.

    None if its weight is 0, or for views of other discriminators.
    """
    if cfg.lambda_features == 0 or not isinstance(fake, ProjectedView):
        return {}
    return {"features": cfg.lambda_features * feature_matching(fake.features, real.detach().features)}


def feature_networks(method: nn.Module) -> tuple[str, ...]:
    """Return the names of all feature networks of a method, for `Method.frozen_networks`; a shared one is named once."""
    return tuple(name for name, module in method.named_modules() if isinstance(module, FeatureNetwork))
