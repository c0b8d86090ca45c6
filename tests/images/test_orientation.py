"""Tests of the table of EXIF orientations."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from translate.images.orientation import apply_orientation, orient_array

from .arrays import bytes_of


@pytest.mark.parametrize("orientation", range(10))
def test_images_and_arrays_are_turned_as_pillow_does(orientation):
    pixels = bytes_of(3)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(np.asarray(apply_orientation(image, orientation)), expected)
    assert np.array_equal(orient_array(pixels, orientation), expected)
    assert np.array_equal(orient_array(pixels[:, :, 0], orientation), expected[:, :, 0])


def test_tiff_is_opened_upright():
    image = Image.fromarray(bytes_of(3))
    image.format = "TIFF"
    assert apply_orientation(image, 6) is image
