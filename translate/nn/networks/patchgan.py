"""PatchGAN and pixel discriminators (pix2pix, sec. 3.2.2 and 6.1.2), with the layer names of the reference implementation."""

from torch import Tensor, nn

from translate.nn.base import Discriminator, FeatureDiscriminator
from translate.nn.blocks import conv_uses_bias, doubling_widths, downsample_conv, downsampling_layers, norm_layer


class PatchDiscriminator(FeatureDiscriminator):
    """PatchGAN: `layers` downsamplings, then two 4×4 convolutions of stride 1 (pix2pix, sec. 3.2.2 and 6.1.2).

    Each logit judges a patch; with 3 layers it is of 70×70 pixels.
    """

    def __init__(self, in_channels: int, width: int = 64, norm: str = "instance", layers: int = 3) -> None:
        super().__init__()
        self.minimum = 3 * 2**layers  # the two last convolutions just make one logit of 3×3
        *widths, last = doubling_widths(width, layers + 1)
        bias = conv_uses_bias(norm)
        self.model = nn.Sequential(
            downsample_conv(in_channels, width, bias=True),
            nn.LeakyReLU(0.2),
            *downsampling_layers(widths, norm, bias=bias),
            nn.Conv2d(widths[-1], last, 4, 1, 1, bias=bias),
            norm_layer(norm, last),
            nn.LeakyReLU(0.2),
            nn.Conv2d(last, 1, 4, 1, 1),
        )


class PixelDiscriminator(Discriminator):
    """PixelGAN: 1×1 convolutions, so each logit judges one pixel (pix2pix, sec. 6.1.2)."""

    minimum = 2  # an instance norm needs more than one pixel

    def __init__(self, in_channels: int, width: int = 64, norm: str = "instance") -> None:
        super().__init__()
        bias = conv_uses_bias(norm)
        self.net = nn.Sequential(
            nn.Conv2d(in_channels, width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            norm_layer(norm, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
