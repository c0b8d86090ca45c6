"""Plug-in with networks that the ladder tries before the package has them.

    translate train cyclegan ROOT --plugin tools/ladder_networks.py --preset modern --discriminator vision_aided+pixel

Rows of `ladder_recipes.ELEMENTS` name them. What wins there moves into the package; what does not is removed here.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from translate.nn import networks
from translate.nn.base import Discriminator, Generator
from translate.nn.features.feature_network import FeatureNetwork
from translate.nn.networks.projected import ProjectedDiscriminator, RandomMixing
from translate.nn.networks.resize_unet import ResizeUnet


class Unmixed(RandomMixing):
    """Maps as they are, in the place of a random mixing."""

    def __init__(self) -> None:
        super().__init__((), 0)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return list(maps)


def build_vision_aided(*args: Any, condition_channels: int = 0, features: str = "efficientnet-lite0") -> Discriminator:
    """Build projected+pixel with its heads straight on the features of each tap, without the random mixing.

    Kumari et al., "Ensembling Off-the-shelf Models for GAN Training" (CVPR 2022), whose heads see features as they
    are; Projected GANs mix them so that no head looks at some channels alone.
    """
    net = _build_projected(*args, condition_channels=condition_channels, features=features)
    net.mixing = Unmixed()
    images = 2 if condition_channels else 1
    for head, channels in zip(net.heads, net.features.channels, strict=True):
        assert isinstance(head, nn.Sequential)
        head[0] = nn.Conv2d(images * channels, head[0].out_channels, 1)
    return net


def build_upsampled(*args: Any, condition_channels: int = 0, features: str = "efficientnet-lite0") -> Discriminator:
    """Build projected+pixel whose feature network sees images at twice their size, so that each map has four times the area.

    The authors' code enlarges small images to 224 px (Sauer et al., NeurIPS 2021), as the feature network was trained on.
    """
    net = _build_projected(*args, condition_channels=condition_channels, features=features)
    upsample_input(net.features)
    net.minimum = net.features.minimum
    return net


def _build_projected(*args: Any, **settings: Any) -> ProjectedDiscriminator:
    net = networks.DISCRIMINATORS["projected+pixel"](*args, **settings)
    assert isinstance(net, ProjectedDiscriminator)
    return net


def upsample_input(features: FeatureNetwork) -> None:
    """Make a feature network enlarge its images twice, bilinearly, before its first layer; in place."""
    features.stages[0] = nn.Sequential(_bilinear(), features.stages[0])
    features.strides = tuple(stride // 2 for stride in features.strides)
    features.minimum = max(features.strides)


def build_bilinear(name: str, *args: Any) -> Generator:
    """Build a U-Net of resize-convolutions by name, with bilinear instead of nearest upsampling in its last step.

    Repeated pixels make faint stripes that the last convolutions have to take away (Odena et al., Distill 2016).
    """
    build = networks.find(name)
    assert build is not None
    net = build(*args)
    layers = net.model[0]
    assert isinstance(layers, ResizeUnet) and net.receptive_radius is not None
    layers.last_up[1] = _bilinear()
    net.receptive_radius += 1  # a pixel sees what the repeated pixels beside it do
    return net


def _bilinear() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)


GENERATORS: dict[str, Callable[..., Generator]] = {
    f"{name}_bilinear": partial(build_bilinear, name)
    for name in ("resize_unet_3levels_2blocks", "resize_unet_4levels_2blocks_2last")
}
DISCRIMINATORS: dict[str, Callable[..., Discriminator]] = {
    "vision_aided+pixel": build_vision_aided,
    "projected_x2+pixel": build_upsampled,
}
