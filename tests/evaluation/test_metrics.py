import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from translate.evaluation.metrics import l1, psnr


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def constant(value):
    return np.full((2, 2, 3), value, np.uint8)


@pytest.mark.parametrize(("x", "y", "distance"), [(0, 255, 255), (255, 0, 255), (10, 7, 3), (7, 10, 3), (9, 9, 0)])
def test_l1_by_hand(x, y, distance):
    """Differences below zero do not wrap around, as they would in bytes."""
    assert l1(constant(x), constant(y)) == distance


def test_l1_is_the_mean_over_all_values():
    x, y = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    x[0, 0] = (12, 0, 24)
    assert l1(x, y) == (12 + 24) / 12


@pytest.mark.parametrize(
    ("x", "y", "decibels"),
    [(0, 255, 0.0), (255, 0, 0.0), (0, 1, 20 * math.log10(255)), (100, 50, 20 * math.log10(5.1))],
)
def test_psnr_by_hand(x, y, decibels):
    """10 log₁₀(255² / d²) = 20 log₁₀(255 / d) for a constant difference d."""
    assert psnr(constant(x), constant(y)) == pytest.approx(decibels)


def test_psnr_of_equal_images_is_infinite():
    assert psnr(noise(4, 5, 3), noise(4, 5, 3)) == math.inf


@pytest.mark.parametrize("shape", [(8, 9, 3), (8, 9, 1), (2, 8, 9, 3)])
def test_psnr_is_scikit_image_s(shape):
    x, y = noise(*shape), noise(*shape, seed=1)
    assert psnr(x, y) == pytest.approx(peak_signal_noise_ratio(x, y, data_range=255), rel=1e-12)


@pytest.mark.parametrize("metric", [l1, psnr])
def test_metrics_are_symmetric_and_worse_for_more_noise(metric):
    x = noise(16, 16, 3) // 2 + 64
    near, far = (x + noise(16, 16, 3, seed=1) % top for top in (4, 40))
    assert metric(x, near) == metric(near, x)
    worse = metric(x, far) - metric(x, near)
    assert worse > 0 if metric is l1 else worse < 0


@pytest.mark.parametrize("metric", [l1, psnr])
def test_images_of_unlike_shapes_are_refused_not_broadcast(metric):
    with pytest.raises(ValueError, match=r"\(4, 4, 3\) and \(1, 4, 3\)"):
        metric(noise(4, 4, 3), noise(1, 4, 3))
