"""Tests of `translate.evaluation.uncertainty`."""

import math

import numpy as np
import pytest
import torch

from translate.evaluation.uncertainty import Estimate, bootstrap, estimate_from_halves, mean_interval, random_halves


def test_the_mean_and_its_bootstrap_error():
    """The bootstrap's error of a mean is known in closed form, √(variance / n); a normal sample's interval is ± 1.96 of it."""
    values = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    estimate = mean_interval(values)
    error = float(values.std(correction=0)) / math.sqrt(400)
    assert estimate.value == pytest.approx(float(values.mean()), abs=1e-12)
    assert estimate.error == pytest.approx(error, rel=0.08)
    low, high = estimate.interval
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert low < estimate.value < high


def test_two_values_are_resampled_in_the_four_ways_there_are():
    """0 and 1: means 0, ½, ½, 1, whose deviation is √⅛."""
    assert mean_interval(np.array([0.0, 1.0]), resamples=4000).error == pytest.approx(math.sqrt(1 / 8), rel=0.05)


def test_order_plays_no_part_and_the_seed_does():
    values = torch.rand(37, generator=torch.Generator().manual_seed(1))
    assert mean_interval(values.flip(0)) == mean_interval(values)
    assert mean_interval(values, seed=1) != mean_interval(values)


@pytest.mark.parametrize("values", [[3.0], [math.inf, 3.0]])
def test_one_image_or_an_infinite_mean_has_no_error(values):
    assert mean_interval(torch.tensor(values)) == Estimate(np.mean(values))


def test_sets_are_resampled_on_their_own():
    """The variance of a difference of means is the sum of their variances."""
    draw = torch.Generator().manual_seed(0)
    x, y = (torch.randn(300, 1, dtype=torch.float64, generator=draw) for _ in range(2))
    error = bootstrap(lambda x, y: (x - y)[..., 0], x, y).error
    assert error == pytest.approx(math.sqrt((x.var() + y.var()) / 300), rel=0.08)
    assert bootstrap(lambda x, y: (x - y)[..., 0], x, x).error > 0.9 * error  # not the same draws for both


@pytest.mark.parametrize("count", [200, 201])
def test_halves_give_the_error_of_a_mean(count):
    """The mean of m of n values varies by s²/n · (n − m)/m, so that the factor m/(n − m) leaves s²/n."""
    values = np.random.default_rng(0).standard_normal(count)
    means = [values[rows].mean() for rows, _ in random_halves(count, 10, 0, 600)]
    error = estimate_from_halves(float(values.mean()), means, count).error
    assert error == pytest.approx(values.std(ddof=1) / math.sqrt(count), rel=0.08)


def test_halves_are_drawn_without_replacement_and_few_images_have_none():
    for x, y in random_halves(9, 6, 0, 5):
        assert len(set(x)) == 4
        assert len(set(y)) == 3
    assert random_halves(3, 100, 0, 5) == []
    assert estimate_from_halves(1.0, [], 3) == Estimate(1.0)
