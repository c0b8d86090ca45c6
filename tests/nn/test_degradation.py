"""Degradations of photos: sizes, distributions, and independence of the batch."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import signal

from translate.nn import degradation
from translate.nn.degradation import DEGRADATIONS, BicubicDegradation, RealDegradation

from ..helpers import numbered_keys, smooth_image


def photos(count=2, height=48, width=64):
    arrays = [np.array(smooth_image(seed, height, width), np.float32) for seed in range(count)]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("name", DEGRADATIONS)
def test_results_are_small_and_in_8_bits(name, factor):
    y = DEGRADATIONS[name](factor)(photos(), numbered_keys())
    assert y.shape == (2, 3, 48 // factor, 64 // factor)
    assert y.abs().max() <= 1
    levels = (y + 1) * 127.5
    assert (levels - levels.round()).abs().max() < 1e-3


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_an_image_does_not_depend_on_its_batch(name):
    degrade, x, key = DEGRADATIONS[name](4), photos(3), numbered_keys(3)
    whole = degrade(x, key)
    for i in range(3):  # to one level: products of other shapes may round otherwise
        assert (degrade(x[i : i + 1], key[i : i + 1])[0] - whole[i]).abs().max() <= 1.01 / 127.5


def test_bicubic_is_that_of_pillow_and_has_no_draws():
    degrade, x = BicubicDegradation(4), photos(1)
    expected = np.asarray(smooth_image(0, 48, 64).resize((16, 12), Image.Resampling.BICUBIC), np.float64)
    found = (degrade(x, numbered_keys(1))[0].permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(found - expected).max() <= 2  # Pillow rounds twice
    assert torch.equal(degrade(x, numbered_keys(1)), degrade(x, numbered_keys(1, seed=9)))


def test_real_is_another_one_for_each_key():
    degrade, x = RealDegradation(4), photos(1)
    first, again, other = (degrade(x, numbered_keys(1, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 0.01


def test_real_keeps_what_a_photo_shows():
    """The mean over many draws is like the reduced photo, and less like one moved by a pixel: all filters are centred."""
    x = photos(1).expand(64, -1, -1, -1)
    mean = RealDegradation(2)(x, numbered_keys(64)).mean(0)
    small = BicubicDegradation(2)(x[:1], numbered_keys(1))[0]

    def correlation(y):
        return np.corrcoef(mean[:, 2:-2, 2:-2].flatten().numpy(), y[:, 2:-2, 2:-2].flatten().numpy())[0, 1]

    moved = [correlation(small.roll(step, axis)) for step in (-1, 1) for axis in (1, 2)]
    assert correlation(small) > max(0.95, *moved)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_gradients_reach_the_photo(name):
    x = photos(1).requires_grad_()
    (DEGRADATIONS[name](4)(x, numbered_keys(1)) ** 2).mean().backward()
    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(("kind", "mode"), [(0, "area"), (1, "bilinear"), (2, "bicubic")])
@pytest.mark.parametrize(("given", "wanted"), [(12, 18), (18, 7), (10, 10)])
def test_resizing_matrices_do_what_torch_does(kind, mode, given, wanted):
    """On a canvas larger than both. Behind a border torch repeats pixels and the matrix leaves them out: inside alone."""
    x = torch.rand(1, 1, 1, given, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    canvas = F.pad(x, (0, 20 - given), value=math.nan).nan_to_num(1e3)
    length, new_length, kinds = (torch.tensor([float(n)], dtype=torch.float64) for n in (given, wanted, kind))
    matrix = degradation.resizing_matrix(20, length, 22, new_length, kinds)[0]
    found = matrix @ canvas[0, 0, 0]
    if mode == "area":  # the integral over each pixel; torch's takes whole pixels
        ends = np.linspace(0, given, wanted + 1)
        integral = np.interp(ends, np.arange(given + 1), np.concatenate([[0], np.cumsum(x[0, 0, 0].numpy())]))
        expected, inside = torch.from_numpy(np.diff(integral) * wanted / given), slice(0, wanted)
    else:
        expected, inside = F.interpolate(x, (1, wanted), mode=mode)[0, 0, 0], slice(3, wanted - 3)
    torch.testing.assert_close(found[:wanted][inside], expected[inside], rtol=0, atol=1e-12)
    torch.testing.assert_close(found[wanted:], found[wanted - 1].expand(22 - wanted))
    torch.testing.assert_close(matrix.sum(1), torch.ones(22, dtype=torch.float64))


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_gaussian_kernel_has_the_standard_deviations_and_the_angle_that_were_drawn():
    """Second moments of the kernel: those of the normal distribution, turned by 30°."""
    angle, sigma = math.pi / 6, (2.5, 1.2)
    kernel = degradation.gaussian_kernel(
        numbers(10), (numbers(sigma[0]), numbers(sigma[1])), numbers(angle), numbers(1), torch.tensor([False])
    )[0]
    line = torch.arange(-10, 11, dtype=torch.float64)
    xx, yy = (kernel * line[None, :] ** 2).sum(), (kernel * line[:, None] ** 2).sum()
    xy = (kernel * line[:, None] * line[None, :]).sum()
    cos, sin = math.cos(angle), math.sin(angle)
    expected = [
        (sigma[0] * cos) ** 2 + (sigma[1] * sin) ** 2,
        (sigma[0] * sin) ** 2 + (sigma[1] * cos) ** 2,
        (sigma[0] ** 2 - sigma[1] ** 2) * sin * cos,
    ]
    assert [float(xx), float(yy), float(xy)] == pytest.approx(expected, rel=2e-3)


def test_a_plateau_falls_slower_than_a_gaussian_and_a_small_radius_cuts():
    flat, plain = (
        degradation.gaussian_kernel(
            numbers(4), (numbers(2), numbers(2)), numbers(0), numbers(beta), torch.tensor([is_plateau])
        )[0]
        for beta, is_plateau in ((2, True), (1, False))
    )
    assert flat[10, 11] / flat[10, 10] == pytest.approx(1 / (1 + 0.25**2))
    assert plain[10, 11] / plain[10, 10] == pytest.approx(math.exp(-1 / 8))
    for kernel in (flat, plain):
        assert kernel.sum() == pytest.approx(1)
        assert kernel[5].abs().max() == 0
        assert kernel[6].abs().max() > 0


def test_a_sinc_kernel_passes_low_frequencies_and_stops_high_ones():
    """Of a cut-off of π / 2 in radians a pixel: its transform at π / 5 is about 1 and at 9 π / 10 about 0, but for ripples."""
    kernel = degradation.sinc_kernel(numbers(10), numbers(math.pi / 2))[0]
    line = torch.arange(-10, 11, dtype=torch.float64)
    low, high = ((kernel * torch.cos(frequency * line)).sum() for frequency in (math.pi / 5, 0.9 * math.pi))
    assert float(low) == pytest.approx(1, abs=0.15)
    assert float(high) == pytest.approx(0, abs=0.15)


def test_blur_filters_each_image_with_its_own_kernel():
    x = torch.rand(2, 3, 30, 33, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = numbers(1, 3), numbers(2, 1)
    kernel = degradation.gaussian_kernel(
        numbers(10, 6), sigma, numbers(0.4, -1), numbers(1, 1), torch.tensor([False] * 2)
    )
    found = degradation.blur(x, kernel)[:, :, 10:-10, 10:-10]
    for i in range(2):
        for channel in range(3):
            expected = signal.correlate2d(x[i, channel], kernel[i], mode="valid")
            np.testing.assert_allclose(found[i, channel].numpy(), expected, atol=1e-12)


def test_bf16_autocast_does_not_coarsen_it():
    x, key = photos(1), numbered_keys(1)
    plain = RealDegradation(4)(x, key)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(RealDegradation(4)(x, key), plain)
