"""The colouring generator: lightness of the image, colours of its network, and what it declares of itself."""

import pytest
import torch

from translate.nn.lab import image_to_lab, lightness
from translate.nn.networks.colorizer import AB_SCALE, Colorizer, scaled_ab

from ...helpers import random_tensor, small_generator


class Fixed(torch.nn.Module):
    """A network that gives one a* and b*, and keeps what it is given."""

    multiple_of, minimum, receptive_radius, computes_in_windows = 4, 8, 3, True

    def forward(self, x):
        self.given = x
        return torch.tensor([0.1, -0.2], dtype=x.dtype).view(1, 2, 1, 1).expand(len(x), 2, *x.shape[2:])


def test_colours_are_the_networks_and_lightness_the_images():
    """The middle of the range of L*, where the colour (11, −22) is in the gamut; the network is given L*/50 − 1."""
    net, image = Fixed(), 0.3 * random_tensor(2, 3, 8, 8)
    light, ab = image_to_lab(Colorizer(net)(image))
    torch.testing.assert_close(light, lightness(image), rtol=0, atol=1e-9)
    torch.testing.assert_close(ab[:, 0], torch.full_like(ab[:, 0], 11.0), rtol=0, atol=1e-6)
    torch.testing.assert_close(ab[:, 1], torch.full_like(ab[:, 1], -22.0), rtol=0, atol=1e-6)
    torch.testing.assert_close(net.given, lightness(image) / 50 - 1)


def test_the_unit_of_the_colours():
    image = random_tensor(1, 3, 4, 4)
    torch.testing.assert_close(AB_SCALE * scaled_ab(image), image_to_lab(image)[1])


def test_it_declares_what_its_network_does():
    net = Fixed()
    colorizer = Colorizer(net)
    for name in ("multiple_of", "minimum", "receptive_radius", "computes_in_windows"):
        assert getattr(colorizer, name) == getattr(net, name)
    assert colorizer.stages is None
    assert not Colorizer(small_generator("resnet_3blocks")).computes_in_windows


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_lightness(dtype):
    """The network computes in half precision, the colours in single: L* is that of the image as it was given."""
    image = random_tensor(1, 3, 8, 8).to(dtype)
    output = Colorizer(Fixed())(image)
    assert output.dtype == torch.float32
    assert (lightness(output) - lightness(image)).abs().max() < 1e-3
