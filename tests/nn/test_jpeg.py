"""JPEG on the device against the files that Pillow writes and reads."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from translate.nn.jpeg import JpegCompression

from ..helpers import smooth_image


def photo(seed, mode="RGB", size=(70, 52)):
    """A smooth image with noise, so that coefficients of all frequencies are there."""
    pixels = np.asarray(smooth_image(seed, size[1], size[0]), np.float64)
    noise = np.random.default_rng(seed).normal(0, 12, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).convert(mode)


def by_pillow(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file), np.float64)


def by_torch(image, quality):
    array = np.array(image, np.float64).reshape(image.height, image.width, -1) / 255
    x = torch.from_numpy(array).permute(2, 0, 1)[None]
    decoded = JpegCompression().double()(x, torch.tensor([float(quality)]))
    return decoded[0].permute(1, 2, 0).numpy().reshape(np.shape(image)) * 255


@pytest.mark.parametrize("quality", [30, 60, 95])
def test_grey_images_are_those_of_pillow(quality):
    """Its transform has integers: a coefficient in the middle between two steps may go either way, and one step is one step."""
    image = photo(0, "L")
    difference = np.abs(by_torch(image, quality) - by_pillow(image, quality))
    assert difference.mean() < 0.5
    assert np.quantile(difference, 0.99) <= 5


@pytest.mark.parametrize("quality", [30, 60, 95])
def test_colour_images_lose_what_those_of_pillow_lose(quality):
    """Roundings of half a level, and coefficients between two steps, go either way; what the quality loses is as much."""
    image = photo(1)
    given, own, expected = np.asarray(image, np.float64), by_torch(image, quality), by_pillow(image, quality)
    assert np.abs(own - expected).mean() < 1.5
    assert np.abs(own - given).mean() == pytest.approx(np.abs(expected - given).mean(), rel=0.01)


def test_each_image_has_its_own_quality():
    x = torch.from_numpy(np.array(photo(2), np.float32)).permute(2, 0, 1)[None] / 255
    codec = JpegCompression()
    both = codec(torch.cat([x, x]), torch.tensor([30.0, 90.0]))
    assert torch.equal(both[:1], codec(x, torch.tensor([30.0])))
    error = (both - x).abs().mean((1, 2, 3))
    assert error[0] > error[1]


def test_a_flat_image_of_a_whole_step_stays():
    """Grey 128 is the zero of all coefficients, in any size and quality."""
    for size in ((1, 1), (7, 9), (16, 16)):
        x = torch.full((1, 3, *size), 128 / 255)
        torch.testing.assert_close(JpegCompression()(x, torch.tensor([10.0])), x, rtol=0, atol=1e-6)


def test_gradients_pass_where_it_rounds():
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    JpegCompression()(x, torch.tensor([50.0])).sum().backward()
    assert x.grad.abs().min() > 0


def test_it_has_no_weights_and_no_state():
    codec = JpegCompression()
    assert not list(codec.parameters())
    assert not codec.state_dict()
