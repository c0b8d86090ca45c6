"""Projected discriminator: small heads on frozen features of the images (Sauer et al., "Projected GANs Converge Faster",
NeurIPS 2021), and a shallow discriminator of pixels that can stand beside it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random
from translate.nn.base import Discriminator
from translate.nn.features.feature_network import FeatureNetwork
from translate.nn.init import pytorch_default_

LARGEST_SMALL_CROP = 128
"""Side in pixels of the largest crops that get the narrow heads and the shallow pixel discriminator, and the small networks of
presets."""


class RandomMixing(nn.Module):
    """Frozen random mixing of feature maps over channels and scales (Sauer et al. 2021, sec. 3.1).

    Maps (N, C, H, W) of `channels` from the largest to the smallest → as many maps (N, width, H, W). The random weights are
    buffers, so they are saved.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        for i, cin in enumerate(channels):
            self.register_buffer(f"channel_weight_{i}", torch.empty(width, cin, 1, 1))
            self.register_buffer(f"scale_weight_{i}", torch.empty(width, width, 3, 3))
        for weight in self.buffers():
            if not weight.is_meta:  # draws on the meta device would import torch's compiler
                nn.init.kaiming_normal_(weight, nonlinearity="linear")

    def draw_(self, *key: int | str) -> None:
        """Draw the weights, a function of the key on every device."""
        generator = torch.Generator().manual_seed(keyed_random.derive_key(*key, "mixing"))
        for weight in self.buffers():
            if not weight.is_meta:
                drawn = torch.empty(weight.shape)
                weight.copy_(nn.init.kaiming_normal_(drawn, nonlinearity="linear", generator=generator))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        mixed: list[Tensor] = []
        for i in reversed(range(len(maps))):
            z = F.conv2d(maps[i], self.get_buffer(f"channel_weight_{i}"))
            if mixed:
                above = F.interpolate(mixed[0], size=z.shape[2:], mode="bilinear", align_corners=False)
                z = (z + above) * 0.5**0.5
            mixed.insert(0, F.conv2d(z, self.get_buffer(f"scale_weight_{i}"), padding=1))
        return mixed


class ProjectedView(NamedTuple):
    """View of images by a projected discriminator."""

    image: Tensor
    """Images (N, C, H, W), after the condition if there is one."""
    features: tuple[Tensor, ...]
    """Maps (N, C', H', W') that the feature network has of the images, without the condition."""
    maps: tuple[Tensor, ...] | None
    """Input of the heads: mixed features of the images. None: not computed."""
    condition: tuple[Tensor, ...]
    """Mixed features of the condition, which the heads are given too; empty without one."""
    has_learnt_input: bool
    """True: the maps depend on weights that are trained."""

    def detach(self) -> "ProjectedView":
        """Return the same view without a graph. Maps that depend on trained weights are left out, to be computed again."""
        image, features, condition = self.image.detach(), *(_detached(x) for x in (self.features, self.condition))
        maps = None if self.maps is None or self.has_learnt_input else _detached(self.maps)
        return ProjectedView(image, features, maps, condition, self.has_learnt_input)


def _detached(maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(x.detach() for x in maps)


class ProjectedDiscriminator(Discriminator):
    """Heads on the randomly mixed maps of a frozen feature network, one for each tap (Sauer et al. 2021, sec. 3).

    Images (N, condition_channels + C, H, W) → a list of logits (N, 1, H', W') of the heads, from the largest maps to the
    smallest, and of the pixel discriminator if there is one. The condition is another image, as the input of a paired
    method: the heads see the features of both, without a gradient to the condition.

    features: built for this network, whose part it becomes. width: channels of the mixed maps and of the heads. pixel_width:
    channels of the pixel discriminator's first layer, 0 for none; pixel_halvings: its convolutions of stride 2, 2 or 3.

    Images of other than 1 or 3 channels go through a learnt 1×1 convolution first. No norms: the heads see features of
    deviation about 1.
    """

    def __init__(
        self,
        in_channels: int,
        features: FeatureNetwork,
        width: int = 32,
        *,
        condition_channels: int = 0,
        pixel_width: int = 0,
        pixel_halvings: int = 2,
    ) -> None:
        super().__init__()
        self.minimum = features.minimum
        self.condition_channels = condition_channels
        self.features = features
        self.mixing = RandomMixing(features.channels, width)
        self.to_colour = _to_colour(in_channels - condition_channels)
        self.condition_to_colour = _to_colour(condition_channels) if condition_channels else nn.Identity()
        inputs = 2 * width if condition_channels else width
        self.heads = nn.ModuleList(_head(inputs, width) for _ in features.channels)
        self.pixel = _pixel_discriminator(in_channels, pixel_width, pixel_halvings) if pixel_width else None

    @staticmethod
    def initialise(net: nn.Module, *key: int | str) -> nn.Module:
        """Fill the heads as PyTorch does by default, and draw the random mixing, as functions of the key. Returns `net`."""
        assert isinstance(net, ProjectedDiscriminator)
        net.mixing.draw_(*key)
        return pytorch_default_(net, *key)

    @property
    def has_learnt_input(self) -> bool:
        """True where trained weights stand in front of the features."""
        return any(isinstance(layer, nn.Conv2d) for layer in (self.to_colour, self.condition_to_colour))

    def view(self, x: Tensor, beside: ProjectedView | None = None) -> ProjectedView:
        """Return the view of images x (N, C, H, W): one pass through the features, for any number of `forward`.

        beside: view of other images with the same condition, whose features are taken from it.
        """
        condition, image = x[:, : self.condition_channels], x[:, self.condition_channels :]
        features = tuple(self.features(self.to_colour(image)))
        of_condition: tuple[Tensor, ...] = ()
        if beside is not None and not self.has_learnt_input:
            of_condition = beside.condition
        elif self.condition_channels:
            of_condition = tuple(self.mixing(self.features(self.condition_to_colour(condition.detach()))))
        return ProjectedView(x, features, tuple(self.mixing(features)), of_condition, self.has_learnt_input)

    def forward(self, view: ProjectedView | Tensor) -> list[Tensor]:
        if isinstance(view, Tensor):
            view = self.view(view)
        elif view.maps is None:
            view = self.view(view.image)
        assert view.maps is not None
        maps = (
            [torch.cat(pair, 1) for pair in zip(view.maps, view.condition, strict=True)]
            if view.condition
            else view.maps
        )
        logits = [head(x) for head, x in zip(self.heads, maps, strict=True)]
        return logits if self.pixel is None else [*logits, self.pixel(view.image)]


def _to_colour(channels: int) -> nn.Module:
    return nn.Identity() if channels in (1, 3) else nn.Conv2d(channels, 3, 1)


def _head(cin: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(cin, width, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 1, 1),
    )


def _pixel_discriminator(cin: int, width: int, halvings: int) -> nn.Sequential:
    """Build a discriminator of small patches of the image itself: three convolutions and one to the logits, without norms."""
    layers: list[nn.Module] = []
    for i in range(3):
        cout = width * 2**i
        conv = nn.Conv2d(cin, cout, 4, 2, 1) if i < halvings else nn.Conv2d(cin, cout, 3, 1, 1)
        layers += [conv, nn.LeakyReLU(0.2)]
        cin = cout
    return nn.Sequential(*layers, nn.Conv2d(cin, 1, 3, padding=1))
