"""PatchGAN and pixel discriminators (pix2pix, sec. 3.2.2 and 6.1.2), with the layer names of the reference implementation."""

from torch import Tensor, nn

from translate.nn.base import Discriminator, FeatureDiscriminator
from translate.nn.blocks import conv_uses_bias, downsample_conv, norm_layer


class PatchDiscriminator(FeatureDiscriminator):
    """`layers` halvings, then two 4×4 convolutions of stride 1 (pix2pix, sec. 3.2.2): 3 layers judge 70×70 patches."""

    def __init__(self, in_channels: int, width: int = 64, norm: str = "instance", layers: int = 3) -> None:
        super().__init__()
        self.minimum = 3 * 2**layers  # what is left, 3×3, just gives the two last convolutions one logit
        widths = [width * min(2**n, 8) for n in range(layers + 1)]
        modules: list[nn.Module] = [downsample_conv(in_channels, width, bias=True), nn.LeakyReLU(0.2)]
        for n in range(1, layers + 1):
            stride = 2 if n < layers else 1
            conv = nn.Conv2d(widths[n - 1], widths[n], 4, stride, 1, bias=conv_uses_bias(norm))
            modules += [conv, norm_layer(norm, widths[n]), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*modules, nn.Conv2d(widths[-1], 1, 4, 1, 1))


class PixelDiscriminator(Discriminator):
    """1×1 convolutions: every pixel is judged on its own (pix2pix, sec. 6.1.2)."""

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
