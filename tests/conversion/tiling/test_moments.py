"""Moments of a map that is seen in parts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from translate.conversion.tiling.moments import Moments

Draw = Callable[..., np.ndarray]
Build = Callable[..., Path]


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (3e4, 1), (-2e-3, 1e-6)])
def test_moments_of_parts_are_those_of_the_whole(mean: float, deviation: float) -> None:
    """A sum of squares in float32 has no digit left of a variance of 1 about 3e4."""
    rng = np.random.default_rng(0)
    x = (mean + deviation * rng.standard_normal((2, 90, 70)) + deviation * np.arange(70)).astype(np.float32)
    moments = Moments()
    for rows in (slice(0, 1), slice(1, 40), slice(40, 90)):
        for columns in (slice(0, 33), slice(33, 70)):
            moments.add(torch.from_numpy(x[None, :, rows, columns].copy()))
    exact = x.astype(np.float64)
    got_mean, got_variance = moments.result(torch.empty(0, dtype=torch.float64))
    np.testing.assert_allclose(got_mean, exact.mean((1, 2)), rtol=0, atol=1e-7 * deviation * 70)
    np.testing.assert_allclose(got_variance, exact.var((1, 2)), rtol=1e-6)


def test_moments_of_one_value() -> None:
    moments = Moments()
    moments.add(torch.full((1, 1, 1, 1), 0.1))
    mean, variance = moments.result(torch.empty(0))
    assert (mean.item(), variance.item()) == (pytest.approx(0.1), 0)
