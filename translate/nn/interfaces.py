"""What every generator and every discriminator declares: the classes that the rows of GENERATORS and DISCRIMINATORS extend."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from translate.nn.blocks import ResnetBlock
from translate.nn.init import normal_
from translate.nn.recompute import recomputed


class Stages(NamedTuple):
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
    recomputes = False
    """Whether training computes inner maps again in the backward pass instead of keeping them."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.recomputes and self.training and torch.is_grad_enabled()):
            return self.model(x)
        for segment in self.segments:
            x = recomputed(segment, x)
        return x

    @property
    def segments(self) -> Sequence[Sequence[nn.Module]]:
        """Its layers in the runs between which maps are kept where `recomputes`: here all of them at once, which leaves no
        map of one update to the next, and is the least where skip connections lead across any cut."""
        return [[self.model]]

    @property
    def stages(self) -> Stages | None:
        """Its layers by stage; None: it is no chain around residual blocks."""
        return None


class Discriminator(nn.Module):
    """What every discriminator declares."""

    minimum: int
    only: int | None = None
    """The one size that it takes; None: any from `minimum` up."""
    initialise: Callable[..., Any] = staticmethod(normal_)
    """Fills its initial weights: of the network and a key."""
