"""Weight norm: layers whose weights have a direction and a length for each output (Salimans and Kingma, "Weight Normalization",
NeurIPS 2016), with initial lengths and biases that are taken from data (sec. 3)."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WeightNorm(nn.Module):
    """Mixin of layers with the weight g · V / ‖V‖ for each output, V being their `weight` and g their `length`.

    g is trained only if `train_length`; else it is a buffer, as it was initialised.
    """

    weight: Tensor
    bias: Any
    length: Tensor
    output_axis = 0
    """Axis of the weight that belongs to the outputs."""
    initial_std: float | None = None
    """While lengths and biases are taken from data: standard deviation that outputs get; else None."""

    def add_length(self, train_length: bool) -> None:
        """Add the lengths, 1 each, once the layer has its weight."""
        length = torch.ones(self.weight.shape[self.output_axis])
        if train_length:
            self.length = nn.Parameter(length)
        else:
            self.register_buffer("length", length)
        self.std = 0.1 if train_length else 1.0  # the last layers begin with small outputs, as in the authors' code

    def normalised_weight(self) -> Tensor:
        """Return the weight, in the shape of V."""
        others = [axis for axis in range(self.weight.ndim) if axis != self.output_axis]
        shape = [-1 if axis == self.output_axis else 1 for axis in range(self.weight.ndim)]
        return self.weight * (self.length.view(shape) / torch.linalg.vector_norm(self.weight, dim=others, keepdim=True))

    def fitted(self, y: Tensor) -> Tensor:
        """Return outputs y (N, C, …); while `initial_std` is set, by new lengths and biases that give them that deviation."""
        if self.initial_std is None:
            return y
        axes = [axis for axis in range(y.ndim) if axis != 1]
        mean = y.mean(axes)
        scale = self.initial_std * self.std / (y.var(axes, correction=0) + 1e-8).sqrt()
        self.length.mul_(scale)
        self.bias.copy_((self.bias - mean) * scale)
        shape = [-1 if axis == 1 else 1 for axis in range(y.ndim)]
        return (y - mean.view(shape)) * scale.view(shape)


class WeightNormLinear(WeightNorm, nn.Linear):
    """Linear layer with weight norm."""

    def __init__(self, cin: int, cout: int, train_length: bool = False) -> None:
        super().__init__(cin, cout)
        self.add_length(train_length)

    def forward(self, x: Tensor) -> Tensor:
        return self.fitted(F.linear(x, self.normalised_weight(), self.bias))


class WeightNormConv2d(WeightNorm, nn.Conv2d):
    """Convolution with weight norm."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(cin, cout, kernel, stride, padding)
        self.add_length(train_length=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fitted(self._conv_forward(x, self.normalised_weight(), self.bias))


class WeightNormDoubling(WeightNorm, nn.ConvTranspose2d):
    """Transposed 5×5 convolution with weight norm and trained lengths, which doubles the size."""

    output_axis = 1

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(cin, cout, 5, 2, 2, output_padding=1)
        self.add_length(train_length=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.fitted(F.conv_transpose2d(x, self.normalised_weight(), self.bias, 2, 2, 1))


@torch.no_grad()
def initialise_from_data(net: nn.Module, run: Callable[[], Any]) -> None:
    """Take lengths and biases of a network from one forward pass `run`, layer by layer; the network is in evaluation mode."""
    layers = [module for module in net.modules() if isinstance(module, WeightNorm)]
    for layer in layers:
        layer.initial_std = 1.0
    try:
        run()
    finally:
        for layer in layers:
            layer.initial_std = None
