"""Networks of BicycleGAN (Zhu et al., "Toward Multimodal Image-to-Image Translation", NeurIPS 2017, sec. 3.4 and 4; the rest as
in the authors' code): a U-Net that takes a latent code, an encoder of codes, and a discriminator of several scales.

All convolutions have a bias. Initial weights are Xavier's with a gain of 0.02, as in the authors' code.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from translate.nn.base import Discriminator, Generator
from translate.nn.blocks import Dropout, downsample_conv, halve, norm_layer, upsample_conv
from translate.nn.gradient_checkpointing import checkpoint_layers
from translate.nn.init import xavier_
from translate.nn.networks.patchgan import PatchDiscriminator
from translate.nn.networks.unet import nest_levels

Z_AT = ("all", "input")
"""Places where a generator takes its latent code: in front of every downsampling, or beside the image alone."""

MAX_LEVELS = 8
"""Downsamplings of the generator, at most: 256 pixels become one."""

SCALES = 2
"""Scales of the discriminator."""


def _with_planes(x: Tensor, z: Tensor) -> Tensor:
    """Return x (N, C, H, W) and a plane for each number of the codes z (N, Z), along the channels."""
    planes = z[:, :, None, None].expand(-1, -1, *x.shape[2:]).to(x.dtype)
    return torch.cat([x, planes.contiguous(memory_format=torch.channels_last)], 1)


class LatentUnetBlock(nn.Module):
    """Level of the U-Net around the level below: x, z → (x, up(below(down(x, z), z))) along the channels.

    latent: numbers of z that are put in front of its downsampling; 0: z is only handed on.
    """

    def __init__(self, outer: int, inner: int, latent: int, below: nn.Module | None, norm: str, dropout: bool) -> None:
        super().__init__()
        self.latent, self.below = latent, below
        self.down = nn.Sequential(nn.LeakyReLU(0.2), downsample_conv(outer + latent, inner, bias=True))
        if below is not None:  # the innermost map is not normalised: it may be a single pixel
            self.down.append(norm_layer(norm, inner))
        channels = inner if below is None else 2 * inner
        self.up = nn.Sequential(nn.ReLU(), upsample_conv(channels, outer, bias=True), norm_layer(norm, outer))
        if dropout:
            self.up.append(Dropout())

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        y = self.down(_with_planes(x, z) if self.latent else x)
        if self.below is not None:
            y = self.below(y, z)
        return torch.cat([x, self.up(y)], 1)


class BicycleGenerator(Generator):
    """U-Net of pix2pix that also takes a latent code: images (N, C, H, W) and codes (N, latent) → images (N, C', H, W).

    z_at: "all" concatenates the code, repeated over the map, to the input of every downsampling, also the innermost; "input" to
    the image alone (sec. 4, "injecting the latent code"). `levels` downsamplings. Dropout (0.5) in levels 4 and deeper, but for
    the innermost one.
    """

    receptive_radius = None
    initialise = staticmethod(xavier_)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        norm: str = "instance",
        dropout: bool = True,
        *,
        levels: int = MAX_LEVELS,
        latent: int = 8,
        z_at: str = "all",
    ) -> None:
        super().__init__()
        self.multiple_of = self.minimum = 2**levels
        self.latent = latent
        inner_latent = latent if z_at == "all" else 0

        def build_level(level: int, outer: int, inner: int, below: nn.Module | None) -> nn.Module:
            with_dropout = dropout and below is not None and level >= 4
            return LatentUnetBlock(outer, inner, inner_latent, below, norm, with_dropout)

        self.first = downsample_conv(in_channels + latent, width, bias=True)
        self.below = nest_levels(width, levels, build_level)
        self.last = nn.Sequential(nn.ReLU(), upsample_conv(2 * width, out_channels, bias=True), nn.Tanh())

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Translate images; without codes by those of zeros, the mean of their distribution."""
        if z is None:
            z = x.new_zeros(x.shape[0], self.latent)
        if not (self.gradient_checkpointing and self.training and torch.is_grad_enabled()):
            return self._translate(x, z)
        return checkpoint_layers([_Joint(self, z.shape[1])], _with_planes(x, z))

    def _translate(self, x: Tensor, z: Tensor) -> Tensor:
        return self.last(self.below(self.first(_with_planes(x, z)), z))


class _Joint(nn.Module):
    """Generator as a function of one tensor, images with the planes of their codes, as gradient checkpointing takes it."""

    def __init__(self, generator: BicycleGenerator, latent: int) -> None:
        super().__init__()
        self.generator, self.latent = generator, latent

    def forward(self, x: Tensor) -> Tensor:
        return self.generator._translate(x[:, : -self.latent], x[:, -self.latent :, 0, 0])


class CodeBesideImage(Generator):
    """Generator of images that takes a latent code as planes beside the image: images (N, C, H, W) and codes (N, latent).

    network: generator of images of C + latent channels. Its norms must not remove what is constant over an image, or the codes
    are lost: batch norm, with the statistics of training, and no instance norm.
    """

    reference_names = False

    def __init__(self, network: Generator, latent: int) -> None:
        super().__init__()
        self.network, self.latent = network, latent
        self.multiple_of, self.minimum, self.receptive_radius = (
            network.multiple_of, network.minimum, network.receptive_radius,
        )  # fmt: skip

    @staticmethod
    def initialise(net: nn.Module, *key: int | str) -> nn.Module:
        assert isinstance(net, CodeBesideImage)
        net.network.initialise(net.network, *key)
        return net

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Translate images; without codes by those of zeros, the mean of their distribution."""
        if z is None:
            z = x.new_zeros(x.shape[0], self.latent)
        self.network.gradient_checkpointing = self.gradient_checkpointing
        return cast(Tensor, self.network(_with_planes(x, z)))


class EncoderBlock(nn.Module):
    """Residual block that halves the size, activations first: norm, leaky ReLU, 3×3, norm, leaky ReLU, 3×3, mean of 2×2 pixels.

    The shortcut is the mean of 2×2 pixels and a 1×1 convolution: (N, C, H, W) → (N, C', H/2, W/2).
    """

    def __init__(self, cin: int, cout: int, norm: str) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            norm_layer(norm, cin),
            nn.LeakyReLU(0.2),
            nn.Conv2d(cin, cin, 3, padding=1),
            norm_layer(norm, cin),
            nn.LeakyReLU(0.2),
            nn.Conv2d(cin, cout, 3, padding=1),
            nn.AvgPool2d(2),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(cin, cout, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)


class LatentEncoder(nn.Module):
    """Encoder of latent codes: images (N, C, H, W) → mean and log variance of their codes, (N, latent) each.

    A 4×4 convolution of stride 2 and `halvings` − 1 residual blocks, to maps of 8×8 pixels for the size that it was trained at;
    their mean goes to two linear layers. So other sizes can be encoded as well. Widths grow to four times the first.
    """

    def __init__(
        self, in_channels: int, latent: int = 8, width: int = 64, norm: str = "instance", halvings: int = 5
    ) -> None:
        super().__init__()
        widths = [width * min(4, n) for n in range(1, halvings + 1)]
        blocks = [EncoderBlock(cin, cout, norm) for cin, cout in pairwise(widths)]
        self.model = nn.Sequential(downsample_conv(in_channels, width, bias=True), *blocks, nn.LeakyReLU(0.2))
        self.mean = nn.Linear(widths[-1], latent)
        self.log_variance = nn.Linear(widths[-1], latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model(x).mean((2, 3))
        return self.mean(features), self.log_variance(features)


def encoder_halvings(crop_size: int) -> int:
    """Return the halvings of the encoder for a crop size: to maps of 8 pixels a side, or up to 15; at least two."""
    return max(2, crop_size.bit_length() - 1 - 3)


class MultiscaleDiscriminator(Discriminator):
    """PatchGANs of the image and of its half size, the second of half the width: images → a list of logits, one map a scale.

    `layers` downsamplings each. The image is halved by means of 3×3 pixels, at the border of those that there are.
    """

    initialise = staticmethod(xavier_)

    def __init__(self, in_channels: int, width: int = 64, norm: str = "instance", layers: int = 3) -> None:
        super().__init__()
        self.minimum = minimum_crop(layers)
        self.scales = nn.ModuleList(
            PatchDiscriminator(in_channels, max(1, width // 2**scale), norm, layers) for scale in range(SCALES)
        )

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        logits = []
        for scale, network in enumerate(self.scales):
            if scale:
                x = halve(x)
            logits.append(network(x))
        return logits


def minimum_crop(layers: int) -> int:
    """Return the smallest side that the discriminator takes: the PatchGAN of the last scale just makes one logit of 3×3."""
    return (3 * 2**layers - 1) * 2 ** (SCALES - 1) + 1
