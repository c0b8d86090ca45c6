"""Conditional batch norm, and standing statistics of batch norms for the generation of images.

De Vries et al., "Modulating early visual processing by language", NeurIPS 2017, sec. 3.2; Brock, Donahue and Simonyan, "Large
Scale GAN Training for High Fidelity Natural Image Synthesis", ICLR 2019, appendix C.1 (standing statistics).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from translate.nn.blocks import BatchNorm2d


class ConditionalBatchNorm2d(BatchNorm2d):
    """Batch norm whose scale and shift are linear functions of a condition (N, conditions): scale 1 + gain(y), shift(y).

    linear: class of the two layers, without bias. Statistics are those of `BatchNorm2d`: of all processes in training.
    """

    def __init__(self, channels: int, conditions: int, linear: Callable[..., nn.Module] = nn.Linear) -> None:
        super().__init__(channels, affine=False)
        self.gain = linear(conditions, channels, bias=False)
        self.shift = linear(conditions, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:  # type: ignore[override]
        scale, shift = (layer(condition)[:, :, None, None] for layer in (self.gain, self.shift))
        return super().forward(x) * (1 + scale) + shift


@torch.no_grad()
def set_standing_statistics(net: nn.Module, passes: Iterable[Callable[[], Any]]) -> None:
    """Replace the running statistics of the batch norms of a network by their means over some forward passes.

    Each pass normalises by the statistics of its own batch, and of this process alone; the network is in evaluation mode
    before and afterwards.
    """
    norms = [module for module in net.modules() if isinstance(module, BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training = None, True  # the mean of all batches
        norm.synchronised = False
    try:
        for run in passes:
            run()
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum, norm.training, norm.synchronised = momentum, False, True
