"""U-Net generator (pix2pix, sec. 3.2.1 and 6.1.1), with the layer names of the reference implementation."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from translate.nn.base import Generator
from translate.nn.blocks import Dropout, conv_uses_bias, doubling_widths, downsample_conv, norm_layer, upsample_conv


def nest_levels(
    width: int, levels: int, build_level: Callable[[int, int, int, nn.Module | None], nn.Module]
) -> nn.Module:
    """Return all levels of a U-Net but the outermost one, each inside the next, built from the innermost outwards.

    width: channels after the first downsampling. build_level: function of a level's number (from 1, the outermost here), the
    channels outside and inside of it, and the level inside it (None: it is the innermost).
    """
    assert levels >= 2, "a U-Net has at least two levels"
    widths = doubling_widths(width, levels)  # after each downsampling
    inner = build_level(levels - 1, widths[-2], widths[-1], None)
    for level in range(levels - 2, 0, -1):
        inner = build_level(level, widths[level - 1], widths[level], inner)
    return inner


class UnetBlock(nn.Module):
    """Level of the U-Net around the level below: x → (x, up(below(down(x)))) along the channels."""

    def __init__(self, outer: int, inner: int, below: nn.Module | None, norm: str, dropout: bool) -> None:
        super().__init__()
        bias = conv_uses_bias(norm)
        layers: list[nn.Module] = [nn.LeakyReLU(0.2), downsample_conv(outer, inner, bias=bias)]
        if below is not None:  # the innermost map is not normalised: it may be a single pixel
            layers += [norm_layer(norm, inner), below]
        channels = inner if below is None else 2 * inner
        layers += [nn.ReLU(inplace=True), upsample_conv(channels, outer, bias=bias), norm_layer(norm, outer)]
        self.model = nn.Sequential(*layers, *([Dropout()] if dropout else []))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.model(x)], 1)


class UnetOutermost(nn.Module):
    """Outermost level of the U-Net: image → features → image, without a skip connection."""

    def __init__(self, in_channels: int, out_channels: int, width: int, below: nn.Module, norm: str) -> None:
        super().__init__()
        self.model = nn.Sequential(
            downsample_conv(in_channels, width, bias=conv_uses_bias(norm)),
            below,
            nn.ReLU(inplace=True),
            upsample_conv(2 * width, out_channels, bias=True),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class UnetGenerator(Generator):
    """U-Net generator: encoder and decoder with skip connections (pix2pix, sec. 3.2.1 and 6.1.1).

    `levels` downsamplings: 8 from 256 pixels to one. Dropout (0.5) in levels 4 and deeper, but for the innermost one.
    """

    receptive_radius = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        norm: str = "batch",
        dropout: bool = True,
        *,
        levels: int = 8,
    ) -> None:
        super().__init__()
        self.multiple_of = self.minimum = 2**levels

        def build_level(level: int, outer: int, inner: int, below: nn.Module | None) -> nn.Module:
            return UnetBlock(outer, inner, below, norm, dropout and below is not None and level >= 4)

        below = nest_levels(width, levels, build_level)
        self.model = UnetOutermost(in_channels, out_channels, width, below, norm)
