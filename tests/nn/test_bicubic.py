"""Bicubic resizing against Pillow's, which the papers' images and the copies of an evaluation are made with."""

import numpy as np
import pytest
import torch
from PIL import Image

from translate.nn.bicubic import enlarge, resize_bicubic

from ..helpers import smooth_image


@pytest.mark.parametrize(("height", "width"), [(10, 13), (20, 26), (160, 208), (17, 90)])
def test_values_are_those_of_pillow(height, width):
    """In floats, where Pillow rounds nothing in between: float32 has 24 bits."""
    plane = np.random.default_rng(0).random((40, 52), dtype=np.float32)
    expected = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
    found = resize_bicubic(torch.from_numpy(plane)[None, None], height, width)[0, 0].numpy()
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("factor", [2, 4])
def test_photos_are_reduced_as_by_pillow_in_8_bits(factor):
    """Pillow rounds after the rows and again after the columns: half a level each, and overshoots of the first are lost."""
    image = smooth_image(3, 48, 64)
    expected = np.asarray(image.resize((64 // factor, 48 // factor), Image.Resampling.BICUBIC), np.float64)
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].double()
    found = resize_bicubic(x, 48 // factor, 64 // factor)[0].permute(1, 2, 0).numpy().clip(0, 255)
    assert np.abs(found - expected).max() <= 1.5


def test_an_enlargement_follows_straight_lines():
    """Keys' kernel interpolates polynomials of the second degree exactly, and averages of both sides keep the places."""
    x = torch.arange(12, dtype=torch.float64).expand(1, 1, 9, 12) * 2
    found = enlarge(x, 4)[0, 0, 20, 12:36]
    torch.testing.assert_close(found, (torch.arange(12, 36, dtype=torch.float64) + 0.5) / 2 - 1)
    assert enlarge(x, 1) is x


def test_half_precision_is_filtered_in_float32():
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(enlarge(x, 2), enlarge(x.float(), 2).bfloat16())
