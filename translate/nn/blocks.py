"""Building blocks that the networks share: convolutions with stride, norms, keyed dropout; no pooling (DCGAN, sec. 3).

Convolutions in front of an instance norm have a bias and all others have none, as in the reference implementation.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random
from translate.nn import sync_batch_norm


def is_channels_last(x: Tensor) -> bool:
    """Return whether the channels of x (N, C, H, W) lie last in memory, and x is contiguous only so."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def instance_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Normalise each channel of each image of x (N, C, H, W) to mean 0 and variance 1, then scale by weight and add bias, (C,).

    Where a gradient is recorded it is a group norm with one channel a group, because the gradient of torch's instance norm
    is wrong on the CPU for one image and a channels_last gradient (torch 2.15). Elsewhere it is torch's instance norm, whose
    last bits are those of the reference implementation; but for channels_last tensors on the CPU, where torch's is slow, it
    is a formula of its own.
    """
    if torch.is_grad_enabled():
        return F.group_norm(x, x.shape[1], weight, bias, eps)
    if x.device.type == "cpu" and is_channels_last(x):
        return _normalise_pixels(x.permute(0, 2, 3, 1), weight, bias, eps).permute(0, 3, 1, 2)
    return F.instance_norm(x, weight=weight, bias=bias, eps=eps)


def _normalise_pixels(pixels: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Instance norm of pixels (N, H, W, C), computed in float32 at least."""
    wide = pixels.to(torch.promote_types(pixels.dtype, torch.float32))
    centred = wide - wide.mean((1, 2), keepdim=True)
    scale = (centred.square().mean((1, 2), keepdim=True) + eps).rsqrt()
    scaled = centred.mul_(scale if weight is None else scale * weight)
    return (scaled if bias is None else scaled.add_(bias)).to(pixels.dtype)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batches of all processes in training, over each image by itself in evaluation.

    pix2pix (sec. 3.2) translates with the statistics of the test batch, which in its protocol is one image. Statistics of
    each image keep that for any batch size: a batch of N gives what N single images give.
    """

    couples_images = "batch norm"
    norm_statistics = "sample"
    """Statistics that evaluation normalises by: "sample", each image's own, or "running"."""
    synchronised = True
    """False: training normalises by the batch of this process alone."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.synchronised and sync_batch_norm.is_distributed():
            return sync_batch_norm.distributed_batch_norm(self, x)
        if self.training or self.norm_statistics == "running":
            return super().forward(x)
        return instance_norm(x, self.weight, self.bias, self.eps)


class InstanceNorm2d(nn.Module):
    """Instance norm (Ulyanov et al., 2016) without parameters and running statistics: (N, C, H, W) → the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return instance_norm(x)

    def extra_repr(self) -> str:
        return f"{self.channels}"


class AffineInstanceNorm2d(InstanceNorm2d):
    """Instance norm with a learned scale and shift for each channel, by each image's own statistics in evaluation too.

    A map of a single pixel is its own mean, so the output is the shift, whatever the image.
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


class FrozenStatistics:
    """Context in which batch norms normalise as in training, but leave their running statistics and counts as they are.

    By momentum 0, not by switching statistics off: tensors that are kept for a backward pass are the same as outside. It may be
    entered several times, one after another.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        modules = (module for layer in layers for module in layer.modules())
        self.norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]

    def __enter__(self) -> None:
        self.before = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *error: object) -> None:
        for norm, (momentum, count) in zip(self.norms, self.before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def uses_map_statistics(norm: nn.Module) -> bool:
    """Return whether a norm, in evaluation, divides by statistics of the whole map that it is given."""
    if isinstance(norm, BatchNorm2d):
        return norm.norm_statistics == "sample"
    return isinstance(norm, InstanceNorm2d)


def coupling_in(net: nn.Module) -> str:
    """Return why, in training, outputs of a network for one image depend on the others of its batch; empty if they do not.

    A layer of which that is true says so by an attribute `couples_images`: the reason, or True. torch's batch norms need none.
    """
    for module in net.modules():
        is_batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        reason = getattr(module, "couples_images", "batch norm" if is_batch_norm else "")
        if reason:
            return reason if isinstance(reason, str) else type(module).__name__
    return ""


NORMS: dict[str, type[nn.Module]] = {"batch": BatchNorm2d, "instance": InstanceNorm2d, "none": nn.Identity}


def norm_layer(name: str, channels: int) -> nn.Module:
    """Return a new norm of the row `name` of NORMS; "none" is an identity, so that later layers keep their indices."""
    return nn.Identity() if name == "none" else NORMS[name](channels)


def conv_uses_bias(norm: str) -> bool:
    """Return whether a convolution in front of this norm has a bias, in networks that follow the reference implementation.

    DCGAN's networks have another rule on purpose: `networks.dcgan._conv_uses_bias`.
    """
    return norm == "instance"


class Dropout(nn.Module):
    """Dropout of probability p in training; in evaluation the identity, or a mask that is a function of keys.

    `keyed_dropout` sets the keys, one for each image, so that an image's mask depends on nothing else in the batch.
    """

    active_at_test = True
    """False leaves the masks out in evaluation, keys or not."""

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
        """Apply the mask of the keys to x, which is a part (a range on each axis) of maps of shape `whole` (C, H, W)."""
        if self.key is None or not self.active_at_test:
            return x
        kept = keyed_random.uniform(self.key, self.name, *whole, part=part) >= self.p
        return x * (kept.to(x.dtype) / (1 - self.p))

    def extra_repr(self) -> str:
        return f"p={self.p}"


@contextmanager
def keyed_dropout(net: nn.Module, key: Tensor | None) -> Iterator[None]:
    """Context in which every dropout layer of `net` in evaluation draws its mask from `key` (N,); None: no dropout."""
    layers = [module for module in net.modules() if isinstance(module, Dropout)]
    for index, layer in enumerate(layers):
        layer.key, layer.name = key, f"dropout {index}"
    try:
        yield
    finally:
        for layer in layers:
            layer.key = None


def set_test_time_behaviour(net: nn.Module, norm_statistics: str, dropout: bool = True) -> None:
    """Set how `net` evaluates: statistics of its batch norms ("sample" or "running"), and whether keyed dropout is active."""
    for module in net.modules():
        if isinstance(module, BatchNorm2d):
            module.norm_statistics = norm_statistics
        elif isinstance(module, Dropout):
            module.active_at_test = dropout


def conv_norm_relu(cin: int, cout: int, norm: str, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    """Return a convolution, its norm and a ReLU, as three successive layers."""
    conv = nn.Conv2d(cin, cout, kernel, stride, padding, bias=conv_uses_bias(norm))
    return [conv, norm_layer(norm, cout), nn.ReLU(inplace=True)]


class ResnetBlock(nn.Module):
    """Residual block x + conv(relu(conv(x))), 3×3 with reflection padding (Johnson et al., 2016): (N, C, H, W) → the same."""

    def __init__(self, channels: int, norm: str, dropout: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            *conv_norm_relu(channels, channels, norm, 3),
            *([Dropout()] if dropout else []),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=conv_uses_bias(norm)),
            norm_layer(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


def halve(x: Tensor) -> Tensor:
    """Halve images (N, C, H, W), sides rounded up, by the mean of 3×3 pixels; at a border of those that there are."""
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


def downsample_conv(cin: int, cout: int, *, bias: bool) -> nn.Conv2d:
    """Return a 4×4 convolution of stride 2, which halves the size."""
    return nn.Conv2d(cin, cout, 4, 2, 1, bias=bias)


def upsample_conv(cin: int, cout: int, *, bias: bool) -> nn.ConvTranspose2d:
    """Return a 4×4 transposed convolution of stride 2, which doubles the size."""
    return nn.ConvTranspose2d(cin, cout, 4, 2, 1, bias=bias)


def doubling_widths(width: int, count: int, max_factor: int = 8) -> list[int]:
    """Return the channels of `count` successive maps: `width`, then twice as many each time, up to `max_factor` widths."""
    return [width * min(2**n, max_factor) for n in range(count)]


def downsampling_layers(widths: Sequence[int], norm: str, *, bias: bool) -> list[nn.Module]:
    """Return layers that halve the size from each of the widths to the next: convolution, norm and leaky ReLU (0.2)."""
    layers: list[nn.Module] = []
    for cin, cout in pairwise(widths):
        layers += [downsample_conv(cin, cout, bias=bias), norm_layer(norm, cout), nn.LeakyReLU(0.2)]
    return layers
