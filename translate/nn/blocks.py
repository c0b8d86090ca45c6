"""The DCGAN-style blocks that all networks share (Radford et al., 2015): strided convolutions, norms, no pooling.

Convolutions in front of an instance norm carry a bias and all others do not, as in the reference implementation.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random
from translate.nn import sync_batch_norm
from translate.nn.fast_conv import Conv3x3, is_channels_last


def instance_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Each channel of each image of x (N, C, H, W) to mean 0 and variance 1, then times weight plus bias, both (C,).

    Where a gradient is recorded it is a group norm with one channel a group, because the gradient of torch's instance norm
    is wrong on the CPU for one image and a channels_last gradient (torch 2.15). Elsewhere it is the instance norm, whose
    last bits are those of the reference implementation; but not where channels lie last in the CPU's memory, for which
    torch has a slow one only.
    """
    if torch.is_grad_enabled():
        return F.group_norm(x, x.shape[1], weight, bias, eps)
    if x.device.type == "cpu" and is_channels_last(x):
        return _normalise_pixels(x.permute(0, 2, 3, 1), weight, bias, eps).permute(0, 3, 1, 2)
    return F.instance_norm(x, weight=weight, bias=bias, eps=eps)


def _normalise_pixels(pixels: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """The same for pixels (N, H, W, C); in float32 at least."""
    wide = pixels.to(torch.promote_types(pixels.dtype, torch.float32))
    centred = wide - wide.mean((1, 2), keepdim=True)
    scale = (centred.square().mean((1, 2), keepdim=True) + eps).rsqrt()
    made = centred.mul_(scale if weight is None else scale * weight)
    return (made if bias is None else made.add_(bias)).to(pixels.dtype)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batches of all processes; in evaluation over each image on its own, unless `norm_statistics` is
    "running".

    pix2pix (sec. 3.2) translates with the statistics of the test batch, which in its protocol is one image. Taking them
    image by image keeps that for any batch size: a batch of N gives what N singles give.
    """

    norm_statistics = "sample"

    def forward(self, x: Tensor) -> Tensor:
        if self.training and sync_batch_norm.is_distributed():
            return sync_batch_norm.distributed_batch_norm(self, x)
        if self.training or self.norm_statistics == "running":
            return super().forward(x)
        return instance_norm(x, self.weight, self.bias, self.eps)


class InstanceNorm2d(nn.Module):
    """Each channel of each image to mean 0 and variance 1 (Ulyanov et al., 2016); no parameters, no running statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return instance_norm(x)

    def extra_repr(self) -> str:
        return f"{self.channels}"


class AffineInstanceNorm2d(InstanceNorm2d):
    """Instance norm with a learned scale and shift for each channel, by each image's own statistics always.

    A map of a single pixel is its own mean: what is left of it is the shift, whatever the image.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] * x.shape[3] == 1:  # torch's norms refuse it
            return (x - x) * self.weight[:, None, None] + self.bias[:, None, None]
        return instance_norm(x, self.weight, self.bias, self.eps)


def uses_map_statistics(norm: nn.Module) -> bool:
    """Whether a module divides, in evaluation, by statistics of the whole map that it is given."""
    if isinstance(norm, BatchNorm2d):
        return norm.norm_statistics == "sample"
    return isinstance(norm, InstanceNorm2d)


NORMS: dict[str, type[nn.Module]] = {"batch": BatchNorm2d, "instance": InstanceNorm2d, "none": nn.Identity}


def norm_layer(name: str, channels: int) -> nn.Module:
    """The norm called `name`; "none" is a module that does nothing, so that later layers keep their places."""
    return nn.Identity() if name == "none" else NORMS[name](channels)


def conv_uses_bias(norm: str) -> bool:
    """Whether a convolution in front of this norm carries a bias."""
    return norm == "instance"


class Dropout(nn.Module):
    """Dropout in training; in evaluation nothing, or the same random mask each time when keys are set.

    `keyed_dropout` sets the keys: one for each image, so that the mask depends on nothing else in the batch. `active_at_test` off
    leaves the masks out all the same.
    """

    active_at_test = True

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p
        self.key: Tensor | None = None
        self.name = "dropout"

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return F.dropout(x, self.p)
        return self.apply_keyed_mask(x, x.shape[1:])

    def apply_keyed_mask(self, x: Tensor, whole: Sequence[int], part: Sequence[range] | None = None) -> Tensor:
        """What the keys do in evaluation to x, which is a part (the range on each axis) of maps of shape `whole` (C, H, W)."""
        if self.key is None or not self.active_at_test:
            return x
        kept = keyed_random.uniform(self.key, self.name, *whole, part=part) >= self.p
        return x * (kept.to(x.dtype) / (1 - self.p))

    def extra_repr(self) -> str:
        return f"p={self.p}"


@contextmanager
def keyed_dropout(net: nn.Module, key: Tensor | None) -> Iterator[None]:
    """Within the block every dropout of `net` that is in evaluation draws its mask from `key` (N,); None: no dropout."""
    layers = [module for module in net.modules() if isinstance(module, Dropout)]
    for index, layer in enumerate(layers):
        layer.key, layer.name = key, f"dropout {index}"
    try:
        yield
    finally:
        for layer in layers:
            layer.key = None


def set_test_time_behaviour(net: nn.Module, norm_statistics: str, dropout: bool = True) -> None:
    """How `net` behaves in evaluation: what batch norms divide by ("sample" or "running"), and whether keyed dropout acts."""
    for module in net.modules():
        if isinstance(module, BatchNorm2d):
            module.norm_statistics = norm_statistics
        elif isinstance(module, Dropout):
            module.active_at_test = dropout


def conv_norm_relu(cin: int, cout: int, norm: str, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    """Convolution, norm and ReLU, as three neighbours in a network's list."""
    bias = conv_uses_bias(norm)
    if (kernel, stride) == (3, 1):
        conv: nn.Module = Conv3x3(cin, cout, padding=padding, bias=bias)
    else:
        conv = nn.Conv2d(cin, cout, kernel, stride, padding, bias=bias)
    return [conv, norm_layer(norm, cout), nn.ReLU(inplace=True)]


class ResnetBlock(nn.Module):
    """x + conv(relu(conv(x))), 3×3 with reflection padding (Johnson et al., 2016): (N, C, H, W) → the same."""

    def __init__(self, channels: int, norm: str, dropout: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            *conv_norm_relu(channels, channels, norm, 3),
            *([Dropout()] if dropout else []),
            nn.ReflectionPad2d(1),
            Conv3x3(channels, channels, bias=conv_uses_bias(norm)),
            norm_layer(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


def downsample_conv(cin: int, cout: int, *, bias: bool) -> nn.Conv2d:
    """Half the size: 4×4 convolution of stride 2."""
    return nn.Conv2d(cin, cout, 4, 2, 1, bias=bias)


def upsample_conv(cin: int, cout: int, *, bias: bool) -> nn.ConvTranspose2d:
    """Twice the size: 4×4 transposed convolution of stride 2."""
    return nn.ConvTranspose2d(cin, cout, 4, 2, 1, bias=bias)
