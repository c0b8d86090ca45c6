"""Colour maps between Gaussians of pixels: known maps are found again, and the target's Gaussian is what comes out."""

import pytest
import torch

from translate.nn.colour_map import VARIANCE_FLOOR, PixelStatistics, describe_colour_map, optimal_transport_map

from ..helpers import random_tensor

IDENTITY = torch.eye(3, dtype=torch.float64)
WIDE = (0.0, 100.0)
"""Limits that clamp nothing here."""


def statistics(x):
    return PixelStatistics(x.shape[1]).add(x)


def gaussian(mean, covariance):
    """Statistics of a Gaussian that nobody has sampled."""
    made = PixelStatistics(len(mean))
    made.count, made.mean, made._products = 1, *(torch.tensor(x, dtype=torch.float64) for x in (mean, covariance))
    return made


def without_floor(covariance):
    """The covariance that is the given one after `VARIANCE_FLOOR` has been added."""
    return (torch.tensor(covariance, dtype=torch.float64) - VARIANCE_FLOOR * torch.eye(len(covariance))).tolist()


# Statistics.


def test_statistics_are_those_of_all_pixels():
    x = random_tensor(4, 3, 5, 7) + torch.tensor([0.0, 100, -3])[:, None, None]
    x[:, 1] += x[:, 0]
    pixels = x.transpose(0, 1).flatten(1)
    one, parts = statistics(x), statistics(x[:1]).add(x[1:3]).add(x[3:])
    for found in (one, parts, statistics(x[:3]).merge(statistics(x[3:]))):
        assert found.count == 4 * 5 * 7
        torch.testing.assert_close(found.mean, pixels.mean(1))
        torch.testing.assert_close(found.covariance, torch.cov(pixels, correction=0))


def test_statistics_of_a_large_mean_lose_nothing():
    """In float32 the square of the mean, 1e8, would swallow the variance."""
    x = (random_tensor(2, 1, 8, 8) + 1e4).float()
    expected = x.double().var(correction=0)
    torch.testing.assert_close(statistics(x[:1]).add(x[1:]).covariance[0, 0], expected, rtol=1e-9, atol=0)


def test_statistics_of_nothing_change_nothing():
    x = random_tensor(1, 2, 3, 3)
    found = PixelStatistics(2).merge(PixelStatistics(2)).add(x[:0]).add(x).add(x[:0])
    assert found.count == 9
    torch.testing.assert_close(found.mean, x.mean((0, 2, 3)))


# Maps.


def test_a_domain_is_mapped_to_itself_by_the_identity():
    own = statistics(random_tensor(1, 3, 9, 9))
    matrix, bias = optimal_transport_map(own, own)
    torch.testing.assert_close(matrix, IDENTITY, rtol=0, atol=1e-12)
    torch.testing.assert_close(bias, torch.zeros(3).double(), rtol=0, atol=1e-12)


def test_a_contrast_and_a_shift_of_each_channel_are_found_again():
    """Of a diagonal map the covariances are T Σ T; 1e-4 beside variances of 1 to 4 moves a factor by less than 1e-4."""
    scale, shift = torch.tensor([0.5, 1.2, 0.8]).double(), torch.tensor([0.3, -0.2, 0]).double()
    a = gaussian([0.1, 0.2, -0.3], torch.diag(torch.tensor([1.0, 2, 4])).tolist())
    b = gaussian((scale * a.mean + shift).tolist(), torch.diag(scale.square() * torch.tensor([1.0, 2, 4])).tolist())
    matrix, bias = optimal_transport_map(a, b)
    torch.testing.assert_close(matrix, torch.diag(scale), rtol=0, atol=3e-4)
    torch.testing.assert_close(bias, shift, rtol=0, atol=3e-4)


def test_a_mixture_of_channels_is_found_again():
    """A symmetric positive T is the optimal map from Σ to T Σ T, whatever Σ is."""
    mixture = torch.tensor([[0.9, 0.2, 0], [0.2, 0.7, -0.1], [0, -0.1, 1.1]]).double()
    covariance = torch.tensor([[1.0, 0.5, 0.1], [0.5, 2, 0.3], [0.1, 0.3, 0.5]]).double()
    a = gaussian([0.0] * 3, without_floor(covariance.tolist()))
    b = gaussian([0.0] * 3, without_floor((mixture @ covariance @ mixture).tolist()))
    matrix, bias = optimal_transport_map(a, b, WIDE)
    torch.testing.assert_close(matrix, mixture, rtol=0, atol=1e-9)
    assert not bias.any()


def test_what_comes_out_has_the_target_s_mean_and_covariance():
    """With the floor on both sides; of any number of channels."""
    x, y = random_tensor(2, 5, 8, 8), 0.2 * random_tensor(2, 5, 8, 8, seed=1) + 0.4
    x[:, 1] += 0.7 * x[:, 0]
    y[:, 2] -= 0.5 * y[:, 4]
    a, b = statistics(x), statistics(y)
    matrix, bias = optimal_transport_map(a, b, WIDE)
    floor = VARIANCE_FLOOR * torch.eye(5)
    torch.testing.assert_close(matrix @ (a.covariance + floor) @ matrix.T, b.covariance + floor)
    torch.testing.assert_close(matrix @ a.mean + bias, b.mean)
    torch.testing.assert_close(matrix, matrix.T)


@pytest.mark.parametrize(("variance", "factor"), [(0.36, 0.6), (4.0, 1.25), (0.0001, 0.25)])
def test_grey_images_have_the_ratio_of_their_deviations_within_the_limits(variance, factor):
    a, b = gaussian([0.5], without_floor([[1.0]])), gaussian([-0.1], without_floor([[variance]]))
    matrix, bias = optimal_transport_map(a, b)
    torch.testing.assert_close(matrix, torch.tensor([[factor]]).double())
    torch.testing.assert_close(bias, torch.tensor([-0.1 - factor * 0.5]).double())


def test_singular_values_are_clamped_and_the_means_still_meet():
    """Contrasts 0.1, 1 and 3 along axes that are no channels become 0.25, 1 and 1.25 along the same axes."""
    axes, _ = torch.linalg.qr(random_tensor(1, 1, 3, 3)[0, 0])
    contrast = axes @ torch.diag(torch.tensor([0.1, 1.0, 3.0]).double()) @ axes.T
    a = gaussian([0.1, 0.2, 0.3], without_floor(IDENTITY.tolist()))
    b = gaussian([0.5, -0.5, 0.0], without_floor((contrast @ contrast).tolist()))
    matrix, bias = optimal_transport_map(a, b)
    expected = axes @ torch.diag(torch.tensor([0.25, 1.0, 1.25]).double()) @ axes.T
    torch.testing.assert_close(matrix, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(matrix @ a.mean + bias, b.mean)


def test_domains_of_one_colour_have_a_map():
    a, b = statistics(torch.full((1, 3, 4, 4), -0.5)), statistics(torch.full((1, 3, 4, 4), 0.25))
    matrix, bias = optimal_transport_map(a, b)
    torch.testing.assert_close(matrix, IDENTITY)
    torch.testing.assert_close(bias, torch.full((3,), 0.75).double())


# Description.


def test_a_map_is_described_by_mean_colours_and_contrasts():
    """−1 is level 0, 0 is 127.5, 0.6 is 204; half the deviation is a contrast of 50 %."""
    a = gaussian([0.6, -1.0, 0.2], torch.diag(torch.tensor([0.1, 0.2, 0.3])).tolist())
    line = describe_colour_map(
        torch.diag(torch.tensor([0.5, 1.0, 1.25])).double(), torch.tensor([-0.5, 0.4, 0]).double(), a
    )
    assert line == "mean colour (204, 0, 153) → (102, 51, 159), contrast 50 %, 100 %, 125 %"


def test_a_map_of_grey_images_is_described_too():
    line = describe_colour_map(torch.tensor([[1.2]]).double(), torch.tensor([0.2]).double(), gaussian([0.0], [[1.0]]))
    assert line == "mean colour (128) → (153), contrast 120 %"


def test_statistics_of_batches_are_those_of_all_their_images():
    first, second = (torch.rand(n, 3, 4, 5, generator=torch.Generator().manual_seed(n)) for n in (2, 3))
    apart, together = PixelStatistics.of([first, second]), PixelStatistics.of(iter([torch.cat([first, second])]))
    torch.testing.assert_close(apart.mean, together.mean)
    torch.testing.assert_close(apart.covariance, together.covariance)
