"""Frozen feature networks: modules whose weights are constants, and how a trained network becomes one."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from translate.nn.frozen import freeze


class FeatureNetwork(nn.Module):
    """Frozen network: images (N, 1 or 3, H, W) in [-1, 1], at their own size → maps (N, C, H / stride, W / stride), one a tap.

    stages: run one after another; the output of each is a tap. channels, strides: of the taps. deviations: standard deviation
    of each tap over photos; the maps are divided by it. Grey images are repeated to three channels.

    Its weights are neither parameters nor in the state dict, and copies of it share them. Gradients flow to the images. It is
    always in evaluation mode.
    """

    def __init__(
        self,
        name: str,
        stages: Iterable[nn.Module],
        channels: Sequence[int],
        strides: Sequence[int],
        deviations: Sequence[float],
    ) -> None:
        super().__init__()
        self.name = name
        self.stages = nn.ModuleList(stages)
        self.channels, self.strides, self.deviations = tuple(channels), tuple(strides), tuple(deviations)
        self.minimum = max(self.strides)
        """Smallest height and width of its images, in pixels."""
        freeze(self)
        self.to(memory_format=torch.channels_last)  # twice as fast on a CPU; the maps have this layout too

    def forward(self, x: Tensor) -> list[Tensor]:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        maps = []
        for stage, deviation in zip(self.stages, self.deviations, strict=True):
            x = stage(x)
            maps.append(x / deviation)
        return maps

    def train(self, mode: bool = True) -> Self:
        return super().train(False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        memo.update((id(weight), weight) for weight in self.buffers())  # constants: a copy has the same tensors
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        return copied


class ScaleInput(nn.Module):
    """Affine map of images (N, 3, H, W) from [-1, 1] to the values that a network was trained on: gain · x + offset.

    offset: one for all channels, or one for each.
    """

    offset: Tensor

    def __init__(self, gain: float, offset: float | Sequence[float]) -> None:
        super().__init__()
        self.gain = gain
        self.register_buffer("offset", torch.tensor(offset).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x + self.offset


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Multiply batch norms, in evaluation mode, into the convolutions before them, in place. Returns the network.

    Equal padding in front of a convolution becomes its own. Both are exact but for rounding, which is done once, from float64.
    Layers that have become needless are replaced by the identity.
    """
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for index, conv in enumerate(sequence):
            if not isinstance(conv, nn.Conv2d):
                continue
            padding = sequence[index - 1] if index else None
            if isinstance(padding, nn.ZeroPad2d) and len({*padding.padding}) == 1:
                conv.padding = (padding.padding[0], padding.padding[0])
                sequence[index - 1] = nn.Identity()
            norm = sequence[index + 1] if index + 1 < len(sequence) else None
            if isinstance(norm, nn.BatchNorm2d):
                _fold(conv, norm)
                sequence[index + 1] = nn.Identity()
    return network


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Multiply a batch norm into a convolution without a bias."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if conv.weight.is_meta:  # no values; arithmetic there, and even empty_like, would import torch's compiler or sympy
        conv.bias = nn.Parameter(torch.empty(norm.num_features, dtype=conv.weight.dtype, device="meta"))
        return
    with torch.no_grad():
        scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
        shift = norm.bias.double() - norm.running_mean.double() * scale
        conv.weight = nn.Parameter((conv.weight.double() * scale.view(-1, 1, 1, 1)).to(conv.weight.dtype))
        conv.bias = nn.Parameter(shift.to(conv.weight.dtype))
