"""Networks of semi-supervised GANs: convolutional ones for images of 32 pixels, fully connected ones for small grey images.

Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016; layers and widths are those of the authors' code.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random
from translate.nn.base import Discriminator
from translate.nn.blocks import BatchNorm2d, is_channels_last
from translate.nn.gradient_checkpointing import checkpoint_layers
from translate.nn.sync_batch_norm import is_distributed
from translate.nn.weight_norm import WeightNormConv2d, WeightNormDoubling, WeightNormLinear

NOISE_SIZE = 100
"""Numbers from U(0, 1) that an image is generated from."""
CONV_SIZE = 32
"""Side in pixels of the images of the convolutional networks."""


class ShiftedBatchNorm(BatchNorm2d):
    """Batch norm with a shift and without a scale: (N, C) or (N, C, H, W) → the same.

    Of a single (1, C), which is its own mean, the output is the shift.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False)
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] == 1 and x.ndim == 2 and not is_distributed():  # torch's norms refuse it
            return (x - x) + self.shift
        maps = x if x.ndim == 4 else x[:, :, None, None]
        return (super().forward(maps) + self.shift[:, None, None]).view_as(x)


class SGANGenerator(nn.Module):
    """Base of the generators: noise (N, NOISE_SIZE) → images (N, C, size, size) in [-1, 1]."""

    gradient_checkpointing = False
    """True: training computes inner maps again in the backward pass instead of keeping them."""

    @property
    def checkpoints(self) -> bool:
        """True where a forward pass is to keep no inner maps."""
        return self.gradient_checkpointing and self.training and torch.is_grad_enabled()


class ConvGenerator(SGANGenerator):
    """A linear layer to 4×4 maps and three transposed convolutions; `width`: channels of the last hidden maps."""

    def __init__(self, out_channels: int, size: int, width: int = 128) -> None:
        super().__init__()
        assert size == CONV_SIZE, "the config is checked"
        self.first = nn.Linear(NOISE_SIZE, 4 * width * 16, bias=False)
        self.first_norm = ShiftedBatchNorm(4 * width * 16)
        layers: list[nn.Module] = []
        for cin, cout in pairwise((4 * width, 2 * width, width)):
            conv = nn.ConvTranspose2d(cin, cout, 5, 2, 2, output_padding=1, bias=False)
            layers += [conv, ShiftedBatchNorm(cout), nn.ReLU()]
        self.model = nn.Sequential(*layers, WeightNormDoubling(width, out_channels), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        x = F.relu(self.first_norm(self.first(z.to(self.first.weight.dtype)))).unflatten(1, (-1, 4, 4))
        if is_channels_last(self.model.get_parameter("0.weight")):
            x = x.contiguous(memory_format=torch.channels_last)
        return checkpoint_layers([self.model], x) if self.checkpoints else self.model(x)


class DenseGenerator(SGANGenerator):
    """Two hidden layers of `width` numbers, softplus, and a sigmoid of the pixels, which is stretched to [-1, 1].

    It keeps its inner values, which are few, also where `gradient_checkpointing` is set.
    """

    def __init__(self, out_channels: int, size: int, width: int = 500) -> None:
        super().__init__()
        self.shape = out_channels, size, size
        self.first, self.second = nn.Linear(NOISE_SIZE, width, bias=False), nn.Linear(width, width, bias=False)
        self.norms = nn.ModuleList((ShiftedBatchNorm(width), ShiftedBatchNorm(width)))
        self.last = nn.Linear(width, out_channels * size**2)

    def forward(self, z: Tensor) -> Tensor:
        x = z.to(self.first.weight.dtype)
        for layer, norm in zip((self.first, self.second), self.norms, strict=True):
            x = F.softplus(norm(layer(x)))
        # The last weights are normalised too, at length 1.
        weight = self.last.weight / self.last.weight.norm(dim=1, keepdim=True)
        return 2 * torch.sigmoid(F.linear(x, weight, self.last.bias)).unflatten(1, self.shape) - 1


class SGANClassifier(Discriminator):
    """Base of the classifiers: images (N, C, size, size) → features (N, D) and logits (N, K).

    In training they are given keys (N,), which decide the noise and the dropout of each image.
    """

    def features_and_logits(self, x: Tensor, key: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the features that are matched, and the logits of the classes; no noise without keys."""
        raise NotImplementedError

    def forward(self, x: Tensor, key: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.features_and_logits(x, key)


class ConvClassifier(SGANClassifier):
    """Nine convolutions with weight norm and leaky ReLU 0.2, dropout, and a mean over places; `width` channels, then twice."""

    def __init__(self, in_channels: int, classes: int, size: int, width: int = 96) -> None:
        super().__init__()
        self.minimum = self.fixed_size = CONV_SIZE
        assert size == CONV_SIZE, "the config is checked"
        wide = 2 * width
        rows: list[tuple[int, int, int, int, int]] = [  # inputs, outputs, kernel, stride, padding
            (in_channels, width, 3, 1, 1), (width, width, 3, 1, 1), (width, width, 3, 2, 1),
            (width, wide, 3, 1, 1), (wide, wide, 3, 1, 1), (wide, wide, 3, 2, 1),
            (wide, wide, 3, 1, 0), (wide, wide, 1, 1, 0), (wide, wide, 1, 1, 0),
        ]  # fmt: skip
        self.layers = nn.ModuleList(WeightNormConv2d(*row) for row in rows)
        self.last = WeightNormLinear(wide, classes, train_length=True)

    def features_and_logits(self, x: Tensor, key: Tensor | None = None) -> tuple[Tensor, Tensor]:
        for number, layer in enumerate(self.layers):
            if number % 3 == 0:
                x = dropout(x, key, 0.2 if number == 0 else 0.5, f"dropout {number}")
            x = F.leaky_relu(layer(x), 0.2)
        features = x.mean((2, 3))
        return features, self.last(features)


class DenseClassifier(SGANClassifier):
    """Five hidden layers of `width`, a half, and three times a quarter of it, with weight norm, ReLU and Gaussian noise.

    The noise has a standard deviation of 0.3 before the first layer, whose inputs are in [0, 1], and 0.5 before the others.
    """

    def __init__(self, in_channels: int, classes: int, size: int, width: int = 1000) -> None:
        super().__init__()
        self.minimum = self.fixed_size = size
        widths = [in_channels * size**2, width, max(1, width // 2), *[max(1, width // 4)] * 3]
        self.layers = nn.ModuleList(WeightNormLinear(cin, cout) for cin, cout in pairwise(widths))
        self.last = WeightNormLinear(widths[-1], classes, train_length=True)

    def features_and_logits(self, x: Tensor, key: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = (x.flatten(1) + 1) / 2
        for number, layer in enumerate(self.layers):
            x = F.relu(layer(add_noise(x, key, 0.5 if number else 0.3, f"noise {number}")))
        return x, self.last(add_noise(x, key, 0.5, "noise last"))


def add_noise(x: Tensor, key: Tensor | None, std: float, name: str) -> Tensor:
    """Add noise from N(0, std²) to x (N, …), which keys (N,) decide; none without keys."""
    return x if key is None else x + std * keyed_random.normal(key, name, *x.shape[1:]).to(x.dtype)


def dropout(x: Tensor, key: Tensor | None, p: float, name: str) -> Tensor:
    """Set values of x (N, …) to zero with probability p, as keys (N,) decide, and divide by 1 − p; not without keys."""
    if key is None:
        return x
    return x * ((keyed_random.uniform(key, name, *x.shape[1:]) >= p).to(x.dtype) / (1 - p))


NETWORKS: dict[str, tuple[Any, Any]] = {
    "conv": (ConvGenerator, ConvClassifier),
    "dense": (DenseGenerator, DenseClassifier),
}
"""Generator and classifier by the setting `networks`."""
