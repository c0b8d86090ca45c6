"""What every generator and every discriminator declares: the classes that the rows of GENERATORS and DISCRIMINATORS extend."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from translate.nn.blocks import ResnetBlock
from translate.nn.gradient_checkpointing import checkpoint_layers
from translate.nn.init import normal_


class GeneratorStages(NamedTuple):
    """The layers of a generator that is a chain, cut where its maps are smallest."""

    encoder: list[nn.Module]
    blocks: list[ResnetBlock]
    decoder: list[nn.Module]


class Generator(nn.Module):
    """What every generator declares."""

    multiple_of: int
    minimum: int
    receptive_radius: int | None
    model: nn.Module
    initialise: Callable[..., Any] = staticmethod(normal_)
    """Fills its initial weights: of the network and a key."""
    gradient_checkpointing = False
    """Whether training computes inner maps again in the backward pass instead of keeping them."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.gradient_checkpointing and self.training and torch.is_grad_enabled()):
            return self.model(x)
        for segment in self.segments:
            x = checkpoint_layers(segment, x)
        return x

    @property
    def segments(self) -> Sequence[Sequence[nn.Module]]:
        """Its layers in the runs between which maps are kept where `gradient_checkpointing`: here all of them at once, which leaves no
        map of one update to the next, and is the least where skip connections lead across any cut."""
        return [[self.model]]

    @property
    def stages(self) -> GeneratorStages | None:
        """Its layers by stage; None: it is no chain around residual blocks."""
        return None


class Discriminator(nn.Module):
    """What every discriminator declares."""

    minimum: int
    fixed_size: int | None = None
    """The one size that it takes; None: any from `minimum` up."""
    initialise: Callable[..., Any] = staticmethod(normal_)
    """Fills its initial weights: of the network and a key."""


MATCHED_LAYERS = 3
"""Maps that are looked at, at most: as many as DiscoGAN's at 64 pixels and PatchGAN's of three layers have."""


class FeatureDiscriminator(Discriminator):
    """A chain of convolutions, norms but behind the first, and leaky ReLUs."""

    model: nn.Sequential

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def features_and_logits(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """What the last three normed layers give after their activation, (N, C, H, W) each, and the logits.

        There are fewer where the chain is that short.
        """
        maps = []
        for layer in self.model:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                maps.append(x)
        return maps[1:][-MATCHED_LAYERS:], x
