"""U-Net generator (pix2pix, sec. 3.2.1 and 6.1.1), with the layer names of the reference implementation."""

import torch
from torch import Tensor, nn

from translate.nn.base import Generator
from translate.nn.blocks import Dropout, conv_uses_bias, downsample_conv, norm_layer, upsample_conv


class UnetBlock(nn.Module):
    """One level of the U-Net around the level below: x → (x, up(below(down(x)))) along the channels."""

    def __init__(self, outer: int, inner: int, below: nn.Module | None, norm: str, dropout: bool) -> None:
        super().__init__()
        bias = conv_uses_bias(norm)
        layers: list[nn.Module] = [nn.LeakyReLU(0.2), downsample_conv(outer, inner, bias=bias)]
        if below is not None:  # the innermost level is not normalised: it may be a single pixel
            layers += [norm_layer(norm, inner), below]
        width = inner if below is None else 2 * inner
        layers += [nn.ReLU(inplace=True), upsample_conv(width, outer, bias=bias), norm_layer(norm, outer)]
        self.model = nn.Sequential(*layers, *([Dropout()] if dropout else []))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.model(x)], 1)


class UnetOutermost(nn.Module):
    """The outermost level: image → features → image, without a skip connection."""

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
    """Encoder and decoder with skip connections (pix2pix, sec. 3.2.1 and 6.1.1).

    `levels` halvings: 8 for 256 pixels down to one. Dropout (0.5) on the levels − 5 blocks inside the innermost but one.
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
        widths = [width * min(2**level, 8) for level in range(levels)]  # after each halving
        block: nn.Module | None = None
        for level in range(levels - 1, 0, -1):
            inner = level == levels - 1
            block = UnetBlock(widths[level - 1], widths[level], block, norm, dropout and not inner and level >= 4)
        assert block is not None, "a U-Net has at least two levels"
        self.model = UnetOutermost(in_channels, out_channels, width, block, norm)
