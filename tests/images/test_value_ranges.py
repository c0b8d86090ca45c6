"""Tests of the mapping of stored values to [-1, 1] and back."""

import numpy as np
import pytest
import torch

from translate import images

from .arrays import bytes_of


def test_all_values_survive_the_way_to_minus_one_and_one_and_back():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    x = images.to_tensor(pixels)
    assert x.shape == (3, 16, 16)
    assert x.dtype == torch.float32
    assert (x.min(), x.max()) == (-1, 1)
    assert np.array_equal(images.to_uint8_array(x), pixels)
    assert torch.equal(images.quantize(x), torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_range_is_linear_and_symmetric(dtype):
    x = images.normalize(torch.arange(256, dtype=torch.uint8), dtype)
    assert x.dtype == dtype
    torch.testing.assert_close(x, torch.linspace(-1, 1, 256, dtype=dtype))
    torch.testing.assert_close(x.flip(0), -x)


@pytest.mark.parametrize(
    ("value", "integer"),
    [(-1.0, 0), (1.0, 255), (-1.5, 0), (7.0, 255), (0.5 / 127.5 - 1 + 1e-4, 1), (0.5 / 127.5 - 1 - 1e-4, 0)],
)
def test_values_are_rounded_to_the_nearest_and_clipped(value, integer):
    assert images.quantize(torch.tensor([value])).tolist() == [integer]


def test_channels_keep_their_places():
    pixels = bytes_of(3)
    x = images.to_tensor(pixels)
    for row, column, channel in [(0, 1, 2), (4, 0, 0), (3, 5, 1)]:
        assert x[channel, row, column] == pytest.approx(pixels[row, column, channel] / 127.5 - 1, abs=1e-6)


def test_the_tensor_does_not_share_the_pixels_memory():
    pixels = bytes_of(3)
    x = images.to_tensor(pixels)
    before = x.clone()
    pixels[:] = 0
    assert torch.equal(x, before)
