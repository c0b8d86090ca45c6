"""Tests of the checks that metrics make of their inputs."""

import numpy as np
import pytest
import torch

from translate.errors import DataError
from translate.evaluation import input_checks


def test_floating_point_images_are_rounded_to_8_bits():
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0]).view(1, 1, 2, 2)
    assert input_checks.to_uint8_batch(x, "l1").flatten().tolist() == [0, 0, 128, 255]
    assert input_checks.to_levels(x, "l1").dtype == torch.float64


def test_images_that_cannot_be_measured_are_refused():
    with pytest.raises(ValueError, match=r"l1: images of shape \(3, 2, 2\)"):
        input_checks.to_uint8_batch(torch.zeros(3, 2, 2), "l1")
    with pytest.raises(DataError, match=r"l1: .*not finite"):
        input_checks.to_uint8_batch(torch.full((1, 1, 2, 2), torch.nan), "l1")
    with pytest.raises(DataError, match="ssim: images of 20×10 pixels"):
        input_checks.check_side(torch.zeros(1, 3, 10, 20), 11, "ssim")


def test_features_are_checked_and_sorted():
    assert input_checks.check_features(np.array([[2.0, 1.0], [1.0, 3.0]]), 2, "kid").tolist() == [[1, 3], [2, 1]]
    with pytest.raises(DataError, match="kid: 1 real images; it needs at least 2"):
        input_checks.check_features(np.zeros((1, 4)), 2, "kid", "real")
    with pytest.raises(DataError, match="kid: the features of 1 of 2 images are not finite, first those of image 2"):
        input_checks.check_features(np.array([[0.0], [np.inf]]), 2, "kid")


def test_keys_depend_on_pixels_alone():
    images = torch.randint(0, 256, (3, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    keys = input_checks.content_keys(images)
    assert keys.unique().numel() == 3
    assert input_checks.content_keys(images.flip(0)).tolist() == keys.flip(0).tolist()
