"""Tests of resizing decoded images."""

import numpy as np
import pytest
from PIL import Image

from translate import images

from .arrays import H, W, bytes_of


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_keeps_a_constant_image_and_its_channels(channels):
    out = images.resize(np.full((7, 9, channels), 93, np.uint8), 4, 20)
    assert out.shape == (4, 20, channels)
    assert (out == 93).all()


def test_resize_is_pillow_s_bicubic_filter_and_leaves_equal_sizes_alone():
    pixels = bytes_of(3)
    expected = np.asarray(Image.fromarray(pixels).resize((9, 3), Image.Resampling.BICUBIC))
    assert np.array_equal(images.resize(pixels, 3, 9), expected)
    assert images.resize(pixels, H, W) is pixels
