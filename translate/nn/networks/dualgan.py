"""Networks of DualGAN (Yi et al., "DualGAN: Unsupervised Dual Learning for Image-to-Image Translation", ICCV 2017), as in
the authors' TensorFlow code: 3×3 and 5×5 kernels, borders padded unevenly, norms that learn a scale and a shift."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn.base import Discriminator, Generator
from translate.nn.blocks import AffineInstanceNorm2d, Dropout, doubling_widths, norm_layer
from translate.nn.init import truncated_normal_
from translate.nn.networks.unet import nest_levels

MAX_DOWNSAMPLINGS = 5
"""Downsamplings of the discriminators, fewer for small crops."""

NORM_EPS = 1e-6
"""Term added to the variance in DualGAN's norms."""


class SameConv2d(nn.Conv2d):
    """Convolution of stride 2 with TensorFlow's "SAME" padding: half the size, rounded up; more zeros come after than before.

    For an even size and a 3×3 kernel that is no row before and one after, for 5×5 one and two. The attribute `padding` is the
    even padding that gives the same size, for code that computes sizes from it.
    """

    def __init__(self, cin: int, cout: int, kernel: int = 3) -> None:
        super().__init__(cin, cout, kernel, 2, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = self._border(x.shape[2])
        left, right = self._border(x.shape[3])
        return F.conv2d(F.pad(x, (left, right, top, bottom)), self.weight, self.bias, self.stride)

    def _border(self, length: int) -> tuple[int, int]:
        """Return the numbers of zeros before and after."""
        missing = self.kernel_size[0] - 2 if length % 2 == 0 else self.kernel_size[0] - 1
        return missing // 2, missing - missing // 2


class SameConvTranspose2d(nn.ConvTranspose2d):
    """Transposed convolution that doubles the size: the gradient of `SameConv2d` on a map of that size, as in TensorFlow."""

    def __init__(self, cin: int, cout: int, kernel: int = 3) -> None:
        super().__init__(cin, cout, kernel, 2, kernel // 2, output_padding=1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        before = (self.kernel_size[0] - 2) // 2
        return F.conv_transpose2d(x, self.weight, self.bias, self.stride, before)[:, :, :-1, :-1]


def dualgan_norm_layer(norm: str, channels: int) -> nn.Module:
    """Return a new norm; "instance" has a scale and a shift, and is what the authors' code calls batch_norm."""
    return AffineInstanceNorm2d(channels, NORM_EPS) if norm == "instance" else norm_layer(norm, channels)


class DualBlock(nn.Module):
    """Level of DualGAN's U-Net around the level below: x → (up(below(down(x))), x) along the channels."""

    def __init__(self, outer: int, inner: int, below: nn.Module | None, norm: str, dropout: bool) -> None:
        super().__init__()
        # No batch norm of the innermost map: one pixel of one image is no batch.
        innermost = [] if below is None and norm == "batch" else [dualgan_norm_layer(norm, inner)]
        self.model = nn.Sequential(
            nn.LeakyReLU(0.2),
            SameConv2d(outer, inner),
            *innermost,
            *([] if below is None else [below]),
            nn.ReLU(),
            SameConvTranspose2d(inner if below is None else 2 * inner, outer),
            dualgan_norm_layer(norm, outer),
            *([Dropout()] if dropout else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.model(x), x], 1)


class DualOutermost(nn.Module):
    """Outermost level, with the only 5×5 kernels: image → features → image, without a skip connection or norm."""

    def __init__(self, in_channels: int, out_channels: int, width: int, below: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(
            SameConv2d(in_channels, width, 5),
            below,
            nn.ReLU(),
            SameConvTranspose2d(2 * width, out_channels, 5),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class DualGenerator(Generator):
    """U-Net of DualGAN (sec. 3.3) with `levels` downsamplings: 8 from 256 pixels to one.

    Dropout (0.5) in the levels − 5 innermost blocks: three for 256 pixels. Where the innermost map is one pixel, its norm gives
    the same constant for every image; in images larger than the training's it does not.
    """

    receptive_radius = None
    initialise = staticmethod(truncated_normal_)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        norm: str = "instance",
        dropout: bool = False,
        *,
        levels: int = 8,
    ) -> None:
        super().__init__()
        self.multiple_of = self.minimum = 2**levels

        def build_level(level: int, outer: int, inner: int, below: nn.Module | None) -> nn.Module:
            return DualBlock(outer, inner, below, norm, dropout and level >= 5)

        self.model = DualOutermost(in_channels, out_channels, width, nest_levels(width, levels, build_level))


class _DualDiscriminator(Discriminator):
    """Shared part of DualGAN's discriminators: convolutions of stride 2, 5×5 and then 3×3, each but the first with a norm."""

    initialise = staticmethod(truncated_normal_)

    def __init__(self, in_channels: int, width: int, norm: str, crop_size: int) -> None:
        super().__init__()
        # A norm of a single pixel gives a constant: so there are fewer downsamplings where five would go below 4×4.
        crop_size = max(8, crop_size)
        downsamplings = min(MAX_DOWNSAMPLINGS, crop_size.bit_length() - 3)
        self.minimum = 4 * 2**downsamplings
        widths = doubling_widths(width, downsamplings)
        modules: list[nn.Module] = [SameConv2d(in_channels, width, 5), nn.LeakyReLU(0.2)]
        for cin, cout in pairwise(widths):
            modules += [SameConv2d(cin, cout), dualgan_norm_layer(norm, cout), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*modules)
        self.crop_size = crop_size
        self.channels, self.side = widths[-1], -(-crop_size // 2**downsamplings)  # of the last map


class DualPatchDiscriminator(_DualDiscriminator):
    """PatchGAN of DualGAN, one logit for each patch of 129×129 pixels: "patchgan" in the authors' code.

    ValueError for images smaller than `minimum` pixels a side.
    """

    def __init__(self, in_channels: int, width: int = 64, norm: str = "instance", crop_size: int = 256) -> None:
        super().__init__(in_channels, width, norm, crop_size)
        self.last = SameConv2d(self.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < self.minimum:
            raise ValueError(
                f"{x.shape[2]}×{x.shape[3]} pixels are too small: the dualgan_patch discriminator needs {self.minimum} a side"
            )
        return self.last(self.model(x))


class DualImageDiscriminator(_DualDiscriminator):
    """Discriminator with one logit an image, by a linear layer: "globalgan" in the authors' code, and their default.

    It takes images of `crop_size` only. ValueError for others.
    """

    def __init__(self, in_channels: int, width: int = 64, norm: str = "instance", crop_size: int = 256) -> None:
        super().__init__(in_channels, width, norm, crop_size)
        self.minimum = self.fixed_size = self.crop_size
        self.last = nn.Linear(self.channels * self.side**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (self.fixed_size, self.fixed_size):
            raise ValueError(
                f"{x.shape[2]}×{x.shape[3]} pixels are too small or too large: the dualgan discriminator takes images of "
                f"{self.fixed_size} a side"
            )
        return self.last(self.model(x).flatten(1))[:, :, None, None]
