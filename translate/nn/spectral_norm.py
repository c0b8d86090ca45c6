"""Spectral norm: layers whose weight is divided by its largest singular value (Miyato et al., "Spectral Normalization for
Generative Adversarial Networks", ICLR 2018, alg. 1)."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random

FIRST_ITERATIONS = 15
"""Power iterations for the initial weights, so that evaluation before the first step has a good estimate, too."""


def without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which singular values are computed in the precision of the weights; meta tensors have no autocast."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


class SpectralWeight(nn.Module):
    """Mixin of layers whose weight, as a matrix (outputs, inputs), is divided by an estimate of its largest singular value.

    The estimate is u · W v, of the singular vectors in the buffers `u` and `v`, which `iterate_power_method` improves.
    Gradients flow through the weight in both places (eq. 12).
    """

    weight: Tensor
    u: Tensor
    v: Tensor

    def register_vectors(self) -> None:
        """Add the buffers of the singular vectors, once the layer has its weight."""
        outputs, inputs = self.weight.flatten(1).shape
        self.register_buffer("u", torch.full((outputs,), outputs**-0.5))
        self.register_buffer("v", torch.full((inputs,), inputs**-0.5))

    @torch.no_grad()
    def iterate(self) -> None:
        """Do one power iteration."""
        matrix = self.weight.flatten(1)
        self.v.copy_(F.normalize(matrix.T @ self.u, dim=0, eps=1e-12))
        self.u.copy_(F.normalize(matrix @ self.v, dim=0, eps=1e-12))

    def normalised_weight(self) -> Tensor:
        """Return the weight divided by the estimate, in its own shape."""
        with without_autocast(self.weight.device):
            # Copies, since the vectors change in place while the graph of this pass may still be needed.
            sigma = self.u.clone() @ (self.weight.flatten(1) @ self.v.clone())
            return self.weight / sigma


class SpectralConv2d(SpectralWeight, nn.Conv2d):
    """Convolution with spectral norm, of its weight as a matrix (C', C · kernel area)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding, bias=bias)
        self.register_vectors()

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.normalised_weight(), self.bias)


class SpectralLinear(SpectralWeight, nn.Linear):
    """Linear layer with spectral norm: (N, in_features) → (N, out_features)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.register_vectors()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalised_weight(), self.bias)


def iterate_power_method(net: nn.Module) -> None:
    """Do one power iteration in every layer with spectral norm: once for each forward pass in training.

    Not in the layers' own forward pass: gradient checkpointing repeats that.
    """
    with without_autocast(next(net.parameters()).device):
        for module in net.modules():
            if isinstance(module, SpectralWeight):
                module.iterate()


def with_spectral_norm(initialise: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Return an initialisation that also draws the singular vectors, as a function of the key, and lets them converge."""

    def fill(net: nn.Module, *key: int | str) -> nn.Module:
        initialise(net, *key)
        generator = torch.Generator().manual_seed(keyed_random.derive_key(*key, "spectral norm"))
        for module in net.modules():
            if not isinstance(module, SpectralWeight) or module.weight.is_meta:
                continue
            module.u.copy_(F.normalize(torch.empty(module.u.shape).normal_(generator=generator), dim=0))
            for _ in range(FIRST_ITERATIONS):
                module.iterate()
        return net

    return fill
