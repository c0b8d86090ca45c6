"""Networks of SPADE (Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", CVPR 2019, sec. 3 and
appendix A; what the paper leaves open is as in the authors' code).

Their initial weights are Xavier's with a gain of 0.02, as in the authors' code.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn.base import Generator, MultiscaleFeatureDiscriminator
from translate.nn.blocks import BatchNorm2d, Dropout, InstanceNorm2d, doubling_widths, halve, norm_layer
from translate.nn.init import xavier_
from translate.nn.spectral_norm import SpectralConv2d, iterate_power_method, with_spectral_norm

SLOPE = 0.2
"""Slope of the leaky ReLUs."""
LATENT = 256
"""Numbers in the latent code of an image's style."""
USUAL_UPS, MAX_UPS = 5, 7
"""Upsamplings of the generator: by default, and at most."""
ENCODER_MAP = 4
"""Side of the encoder's last map in pixels."""
MAX_ENCODER_LAYERS = 6


class SPADENorm(nn.Module):
    """Spatially-adaptive normalisation: a norm without parameters, then a scale and a shift for each pixel from the label map.

    x (N, C, H, W), label map (N, L, H', W') of any size → (N, C, H, W) (eq. 1 and 2, with the scale as 1 + γ).
    """

    def __init__(self, channels: int, label_channels: int, hidden: int, norm: str) -> None:
        super().__init__()
        self.norm = BatchNorm2d(channels, affine=False) if norm == "batch" else norm_layer(norm, channels)
        self.shared = nn.Sequential(nn.Conv2d(label_channels, hidden, 3, padding=1), nn.ReLU())
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        hidden = self.shared(F.interpolate(labels, size=x.shape[2:], mode="nearest"))
        return self.norm(x) * (1 + self.gamma(hidden)) + self.beta(hidden)


class SPADEBlock(nn.Module):
    """Residual block of two SPADEs, each before a leaky ReLU and a 3×3 convolution (fig. 4); a third where channels change."""

    def __init__(self, cin: int, cout: int, label_channels: int, hidden: int, norm: str, dropout: bool) -> None:
        super().__init__()
        middle = min(cin, cout)
        self.norm_0 = SPADENorm(cin, label_channels, hidden, norm)
        self.conv_0 = SpectralConv2d(cin, middle, 3, padding=1)
        self.dropout = Dropout() if dropout else nn.Identity()
        self.norm_1 = SPADENorm(middle, label_channels, hidden, norm)
        self.conv_1 = SpectralConv2d(middle, cout, 3, padding=1)
        self.norm_s = SPADENorm(cin, label_channels, hidden, norm) if cin != cout else None
        self.conv_s = SpectralConv2d(cin, cout, 1, bias=False) if cin != cout else None

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        y = self.dropout(self.conv_0(F.leaky_relu(self.norm_0(x, labels), SLOPE)))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, labels), SLOPE))
        if self.norm_s is None or self.conv_s is None:
            return x + y
        return self.conv_s(self.norm_s(x, labels)) + y


class SPADELayers(nn.Module):
    """Layers of the generator before its tanh: a first map at a fraction of the size, then residual blocks and upsamplings.

    The map doubles before all blocks but the first and the third; with fewer upsamplings than USUAL_UPS the first ones are left
    out, with more the third block, and then a last one of half the width, has its own.
    """

    def __init__(self, label_channels: int, out_channels: int, width: int, norm: str, dropout: bool, ups: int) -> None:
        super().__init__()
        self.ups = ups
        widths = [16, 16, 16, 16, 8, 4, 2, 1]
        channels = [width * factor for factor in widths] + ([max(1, width // 2)] if ups == MAX_UPS else [])
        hidden = 2 * width
        self.first = nn.Conv2d(label_channels, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            SPADEBlock(cin, cout, label_channels, hidden, norm, dropout) for cin, cout in pairwise(channels)
        )
        usual = [False, True, False, True, True, True, True]
        if ups <= USUAL_UPS:
            left_out = USUAL_UPS - ups
            skipped = [i for i, doubles in enumerate(usual) if doubles][:left_out]
            self.doubles = [doubles and i not in skipped for i, doubles in enumerate(usual)]
        else:
            self.doubles = [False, True, True, True, True, True, True] + [True] * (ups == MAX_UPS)
        self.last = nn.Conv2d(channels[-1], out_channels, 3, padding=1)
        self.latent: nn.Linear | None = None
        self.latent_side = 0

    def use_latent(self, side: int) -> None:
        """Make the first map, of `side` pixels a side, from a latent code instead of the label map."""
        self.latent = nn.Linear(LATENT, self.first.out_channels * side**2)
        self.latent_side, self.first = side, nn.Identity()  # type: ignore[assignment]

    def forward(self, labels: Tensor, z: Tensor | None = None) -> Tensor:
        height, width = (side // 2**self.ups for side in labels.shape[2:])
        if self.latent is None:
            x = self.first(F.interpolate(labels, size=(height, width), mode="nearest"))
        else:
            z = labels.new_zeros(labels.shape[0], LATENT) if z is None else z
            x = self.latent(z).view(labels.shape[0], -1, self.latent_side, self.latent_side)
            # An exporter keeps the resizing, which changes nothing at this size.
            if torch.compiler.is_exporting() or (height, width) != (self.latent_side, self.latent_side):
                x = F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
        for block, doubles in zip(self.blocks, self.doubles, strict=True):
            x = block(F.interpolate(x, scale_factor=2.0, mode="nearest") if doubles else x, labels)
        return self.last(F.leaky_relu(x, SLOPE))


class SPADEGenerator(Generator):
    """SPADE's generator (fig. 12): label maps (N, L, H, W), one-hot, → images; inputs may be images as well.

    ups: upsamplings from the first map, 1 to MAX_UPS: the authors' normal (5), more (6) and most (7), fewer for small images.
    """

    initialise = staticmethod(with_spectral_norm(xavier_))

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        norm: str = "batch",
        dropout: bool = False,
        ups: int = USUAL_UPS,
    ) -> None:
        super().__init__()
        self.multiple_of = 2**ups
        self.minimum = 2 * self.multiple_of  # norms see more than one pixel
        self.model = nn.Sequential(SPADELayers(in_channels, out_channels, width, norm, dropout, ups), nn.Tanh())
        self.receptive_radius = receptive_radius(self.layers.doubles)

    @property
    def layers(self) -> SPADELayers:
        """Layers before the tanh."""
        layers = self.model[0]  # type: ignore[index]
        assert isinstance(layers, SPADELayers)
        return layers

    def use_latent(self, crop_size: int) -> None:
        """Change the network, before its weights are drawn: it begins with a latent code (sec. 3, multi-modal synthesis).

        crop_size: side of the training images in pixels; for other sizes the first map is resized by linear interpolation.
        """
        self.layers.use_latent(crop_size // self.multiple_of)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Return the images of label maps x (N, L, H, W) and latent codes z (N, LATENT); None: the mean of all codes."""
        if self.training:
            iterate_power_method(self)
        if self.layers.latent is None:
            return super().forward(x)
        return torch.tanh(self.layers(x, z))


def receptive_radius(doubles: Sequence[bool]) -> int:
    """Return the distance in pixels of the farthest input pixel that an output pixel depends on, beside the latent code.

    doubles: for each block, whether the map doubles before it. The way back from each pixel of a cell: a 3×3 convolution
    reaches one pixel of its map, a SPADE reads the label map two pixels farther, of each cell its first pixel.
    """
    farthest, cells = 0, 2 ** sum(doubles)
    for place in range(cells):
        low, high, scale = place - 1, place + 1, 1  # before the last convolution, in pixels of the map
        for is_doubled in reversed(doubles):
            reached = (low - 4) * scale, (high + 4) * scale  # by the block's first SPADE, through both convolutions
            farthest = max(farthest, place - reached[0], reached[1] - place)
            low, high = low - 2, high + 2
            if is_doubled:
                low, high, scale = low // 2, high // 2, scale * 2
        farthest = max(farthest, place - (low - 1) * scale, (high + 1) * scale - place)  # by the first convolution
    return farthest


class SPADEPatchDiscriminator(nn.Module):
    """Discriminator of one scale: four 4×4 convolutions, the last of stride 1, spectral and instance norm; then logits."""

    def __init__(self, in_channels: int, width: int, norm: str) -> None:
        super().__init__()
        w = doubling_widths(width, 4)
        self.layers = nn.ModuleList([nn.Sequential(nn.Conv2d(in_channels, w[0], 4, 2, 2), nn.LeakyReLU(SLOPE))])
        for cin, cout, stride in ((w[0], w[1], 2), (w[1], w[2], 2), (w[2], w[3], 1)):
            normalised = InstanceNorm2d(cout) if norm != "none" else nn.Identity()
            conv = SpectralConv2d(cin, cout, 4, stride, 2, bias=norm == "none")
            self.layers.append(nn.Sequential(conv, normalised, nn.LeakyReLU(SLOPE)))
        self.last = nn.Conv2d(w[3], 1, 4, 1, 2)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the maps of the four layers and the logits (N, 1, H', W')."""
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return maps, self.last(x)


class SPADEDiscriminator(MultiscaleFeatureDiscriminator):
    """SPADE's discriminator (fig. 13): one for images of full size, and one for those of half the size.

    Its norms are instance norms, or none with norm "none".
    """

    minimum = 3  # two pixels at half the size, where the norms see more than one
    scales = 2
    initialise = staticmethod(with_spectral_norm(xavier_))

    def __init__(self, in_channels: int, width: int = 64, norm: str = "instance") -> None:
        super().__init__()
        self.model = nn.ModuleList(SPADEPatchDiscriminator(in_channels, width, norm) for _ in range(self.scales))

    def features_and_logits(self, x: Tensor) -> tuple[list[list[Tensor]], list[Tensor]]:
        if self.training:
            iterate_power_method(self)
        features, logits = [], []
        for net in self.model:
            maps, on_x = net(x)
            features.append(maps)
            logits.append(on_x)
            x = halve(x)
        return features, logits


class SPADEEncoder(nn.Module):
    """Encoder of an image's style (fig. 14): images → mean and logarithm of the variance of latent codes, (N, LATENT) each.

    Six 3×3 convolutions of stride 2 at 256 pixels, to which images are resized; fewer for smaller crops. The last map has 4×4
    pixels.
    """

    initialise = staticmethod(with_spectral_norm(xavier_))

    def __init__(self, in_channels: int, width: int = 64, crop_size: int = 256) -> None:
        super().__init__()
        count = max(1, min(MAX_ENCODER_LAYERS, crop_size.bit_length() - ENCODER_MAP.bit_length()))
        self.side = ENCODER_MAP * 2**count
        widths = [in_channels, *doubling_widths(width, count)]
        self.layers = nn.ModuleList(
            nn.Sequential(SpectralConv2d(cin, cout, 3, 2, 1, bias=False), InstanceNorm2d(cout))
            for cin, cout in pairwise(widths)
        )
        self.mean = nn.Linear(widths[-1] * ENCODER_MAP**2, LATENT)
        self.log_variance = nn.Linear(widths[-1] * ENCODER_MAP**2, LATENT)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.training:
            iterate_power_method(self)
        if x.shape[2:] != (self.side, self.side):
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
        code = x.flatten(1)
        return self.mean(code), self.log_variance(code)


def spade_generator_for(crop_size: int) -> str | None:
    """Return the name of the generator with the most upsamplings, up to the usual five, whose first map has 4×4 pixels or more.

    None if the crop size has too few factors of two.
    """
    ups = next((n for n in range(USUAL_UPS, 0, -1) if crop_size % 2**n == 0 and crop_size >= 4 * 2**n), None)
    return "spade" if ups == USUAL_UPS else None if ups is None else f"spade_{ups}ups"
