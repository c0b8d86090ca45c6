"""Generator that colours images and keeps their lightness: a network for a* and b*, and L* from the image itself."""

import torch
from torch import Tensor

from translate.nn.base import Generator
from translate.nn.lab import image_to_lab, lab_to_image, lightness

AB_SCALE = 110.0
"""Value of a* and b* that the network's 1 stands for; those of sRGB are within −108 and 99."""


class Colorizer(Generator):
    """Images (N, 3, H, W) in [-1, 1] → colour images of the same lightness L* in each pixel.

    net: network from L*, (N, 1, H, W) with 0 to 100 as −1 to 1, to a* and b*, (N, 2, H, W) in units of AB_SCALE. Colours
    beyond the gamut of sRGB are shrunk towards grey.
    """

    reference_names = False

    def __init__(self, net: Generator) -> None:
        super().__init__()
        self.net = net
        self.multiple_of, self.minimum, self.receptive_radius = net.multiple_of, net.minimum, net.receptive_radius
        self.computes_in_windows = net.computes_in_windows

    def forward(self, x: Tensor) -> Tensor:
        return self.add_lightness(x, self.predict_ab(x))

    def predict_ab(self, x: Tensor) -> Tensor:
        """Return a* and b* (N, 2, H, W), in units of AB_SCALE, for images x (N, 3, H, W) in [-1, 1]."""
        light = lightness(x) / 50 - 1
        return self.net(light.to(x.dtype))

    @staticmethod
    def add_lightness(x: Tensor, ab: Tensor) -> Tensor:
        """Return images (N, 3, H, W) with the lightness of x and the colours ab, in units of AB_SCALE."""
        wide = torch.promote_types(ab.dtype, torch.float32)
        return lab_to_image(lightness(x), AB_SCALE * ab.to(wide))


def scaled_ab(image: Tensor) -> Tensor:
    """Return a* and b* (N, 2, H, W) of images (N, 3, H, W) in [-1, 1], in units of AB_SCALE."""
    return image_to_lab(image)[1] / AB_SCALE
