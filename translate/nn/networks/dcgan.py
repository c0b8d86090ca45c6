"""Networks of DCGAN (Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks", ICLR 2016, sec. 3 and fig. 1), and virtual batch norm for the generator.

Images are squares of 4 · 2^k pixels. Between them and maps of 4×4 there are k downsamplings or upsamplings; the maps next to
the images have `width` channels, and each step inwards twice as many, up to 8 times. At 64 pixels and width 128 this is fig. 1.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from translate.nn.base import Discriminator
from translate.nn.blocks import doubling_widths, downsample_conv, downsampling_layers, norm_layer, upsample_conv
from translate.nn.gradient_checkpointing import checkpoint_layers

INNERMOST_SIZE = 4
"""Side of the innermost maps, in pixels."""
MIN_SIZE = 32
"""Side of the smallest images, in pixels."""


def layer_widths(size: int, width: int) -> list[int]:
    """Return the channels of the maps of half an image's side, a quarter, and so on to 4×4."""
    return doubling_widths(width, (size // INNERMOST_SIZE).bit_length() - 1)


class VirtualBatchNorm2d(nn.BatchNorm2d):
    """Batch norm by a fixed reference batch and the image itself (Salimans et al., "Improved Techniques for Training GANs",
    2016, sec. 3.5): (M + N, C, H, W), the M images of the reference batch first, → the same shape.

    Each of the N is normalised by the mean and the mean square of those M and itself, (M · reference + own) / (M + 1); the M
    by their own only. So an image depends on no other of its batch, in training as in evaluation.
    """

    couples_images = ""

    def __init__(self, features: int, references: int) -> None:
        super().__init__(features, track_running_stats=False)
        self.references = references

    def forward(self, x: Tensor) -> Tensor:
        m = self.references
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        var, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)  # of each image
        mean_of_all = mean[:m].mean(0, keepdim=True)
        var_of_all = var[:m].mean(0, keepdim=True) + (mean[:m] - mean_of_all).square().mean(0, keepdim=True)
        # Mean square less squared mean, without the digits that this difference would lose.
        share, offset = 1 / (m + 1), mean[m:] - mean_of_all
        own_mean = mean_of_all + share * offset
        own_var = (1 - share) * var_of_all + share * var[m:] + share * (1 - share) * offset.square()
        mean = torch.cat([mean_of_all.expand_as(mean[:m]), own_mean])
        var = torch.cat([var_of_all.expand_as(var[:m]), own_var])
        scale = (var + self.eps).rsqrt() * self.weight[:, None, None]
        return ((wide - mean) * scale + self.bias[:, None, None]).to(x.dtype)


class DCGANGenerator(nn.Module):
    """DCGAN's generator: codes (N, code_size) → images (N, out_channels, size, size) in [-1, 1] (sec. 3, fig. 1).

    `norm`: a row of `blocks.NORMS`. With `reference`, codes (M, code_size) of a reference batch, norms are virtual batch norms
    instead; the reference batch is in the state dict.
    """

    gradient_checkpointing = False
    """True: training computes inner maps again in the backward pass instead of keeping them."""
    reference: Tensor | None

    def __init__(
        self,
        code_size: int,
        out_channels: int,
        size: int,
        width: int = 128,
        norm: str = "batch",
        reference: Tensor | None = None,
    ) -> None:
        super().__init__()
        references = 0 if reference is None else len(reference)
        self.register_buffer("reference", reference)

        def normalised(features: int) -> Iterator[nn.Module]:
            yield VirtualBatchNorm2d(features, references) if references else norm_layer(norm, features)
            yield nn.ReLU(inplace=True)

        bias = _conv_uses_bias("virtual" if references else norm)
        widths = layer_widths(size, width)[::-1]
        self.project = nn.ConvTranspose2d(code_size, widths[0], INNERMOST_SIZE, bias=bias)
        layers = [*normalised(widths[0])]
        for cin, cout in pairwise(widths):
            layers += [upsample_conv(cin, cout, bias=bias), *normalised(cout)]
        self.model = nn.Sequential(*layers, upsample_conv(widths[-1], out_channels, bias=True), nn.Tanh())

    def forward(self, code: Tensor) -> Tensor:
        if self.reference is None:
            return self._generate(code)
        return self._generate(torch.cat([self.reference, code]))[len(self.reference) :]

    def _generate(self, code: Tensor) -> Tensor:
        x = code.to(self.project.weight.dtype)[:, :, None, None]
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint_layers([self.project, self.model], x)
        return self.model(self.project(x))


class DCGANDiscriminator(Discriminator):
    """DCGAN's discriminator: images (N, in_channels, size, size) → logits (N, 1, 1, 1), by downsamplings to 4×4 (sec. 3)."""

    def __init__(self, in_channels: int, size: int, width: int = 128, norm: str = "batch") -> None:
        super().__init__()
        self.minimum = size
        widths = layer_widths(size, width)
        self.model = nn.Sequential(
            downsample_conv(in_channels, widths[0], bias=True),
            nn.LeakyReLU(0.2),
            *downsampling_layers(widths, norm, bias=_conv_uses_bias(norm)),
            nn.Conv2d(widths[-1], 1, INNERMOST_SIZE),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def _conv_uses_bias(norm: str) -> bool:
    """Return whether a convolution in front of a norm has a bias: only without a norm, which would subtract it again.

    Another rule than `blocks.conv_uses_bias` on purpose: that one follows the reference implementation of CycleGAN and pix2pix.
    """
    return norm == "none"
