"""Tests of `translate.evaluation.artefacts`."""

import math

import pytest
import torch
import torch.nn.functional as F
from skimage.color import rgb2lab

from translate.errors import DataError
from translate.evaluation.artefacts import checkerboard, colour, log_checkerboard, nyquist_energy

from .photos import random_pixels


def wave(rows, columns, height=32, width=48):
    """Return a cosine with these numbers of periods down and across."""
    down, across = torch.arange(height, dtype=torch.float64) / height, torch.arange(width, dtype=torch.float64) / width
    return torch.cos(2 * math.pi * (rows * down[:, None] + columns * across))[None, None]


@pytest.mark.parametrize(("rows", "columns"), [(16, 24), (16, 0), (0, 24)])
@pytest.mark.parametrize("amplitude", [1.0, 7.0])
def test_a_checkerboard_of_amplitude_a_has_energy_a_squared(rows, columns, amplitude):
    """A checkerboard of single pixels, of rows and of columns: cos πn = ± 1."""
    assert float(nyquist_energy(100 + amplitude * wave(rows, columns))) == pytest.approx(amplitude**2, rel=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (1, 1), (13, 20), (8, 12)])
def test_lower_frequencies_have_none(rows, columns):
    """Not even those that end two steps below Nyquist's: the window spreads them by one."""
    assert float(nyquist_energy(wave(rows, columns))) < 1e-20


def test_energy_of_white_noise_is_its_share_of_the_spectrum():
    """Three rows of 64 and three columns of 64 overlap in nine places: (192 + 192 − 9) / 4096 of the variance."""
    x = torch.randn(200, 1, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(nyquist_energy(x).mean()) == pytest.approx(375 / 4096, rel=0.02)


def test_odd_sides_have_two_rows_nearest_to_nyquist_s():
    x = torch.randn(200, 1, 33, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(nyquist_energy(x).mean()) == pytest.approx((66 + 66 - 4) / 33**2, rel=0.03)


def test_the_index_by_hand():
    """Real images hold a checkerboard of amplitude 2, translations one of 6 on other content: 36 / 4."""
    content = 20 * wave(2, 3)
    real = (100 + content + 2 * wave(16, 24)).expand(3, 3, 32, 48).float() / 127.5 - 1
    fake = (90 - content + 6 * wave(16, 24)).expand(2, 3, 32, 48).float() / 127.5 - 1
    estimate = checkerboard(real, fake)["checkerboard"]
    assert estimate.value == pytest.approx(9, rel=0.1)  # rounded to 8 bits
    assert estimate.error == pytest.approx(0, abs=1e-9)  # all images of a set are alike


def test_1_for_real_images_less_for_blur_more_for_patterns():
    x = random_pixels(6, 3, 32, 32)
    assert checkerboard(x, x.flip(0))["checkerboard"].value == pytest.approx(1)
    assert checkerboard(x, F.avg_pool2d(x.float(), 3, 1, 1).byte())["checkerboard"].value < 0.2
    stepped = F.interpolate(random_pixels(6, 3, 16, 16).float(), scale_factor=2).byte()
    smooth = F.interpolate(random_pixels(6, 3, 16, 16).float(), scale_factor=2, mode="bilinear").byte()
    assert checkerboard(smooth, stepped)["checkerboard"].value > 3


def test_the_logarithm_counts_patterns_and_blur_alike():
    """|log r| of the ratio r: the same for r and 1 / r, 0 for equal sets, finite where nothing fine is left."""
    x = random_pixels(6, 3, 32, 32)
    y = F.avg_pool2d(x.float(), 3, 1, 1).byte()
    ratio, distance = checkerboard(x, y)["checkerboard"].value, log_checkerboard(x, y)["log_checkerboard"]
    assert distance.value == pytest.approx(-math.log(ratio), rel=1e-9)
    assert log_checkerboard(y, x)["log_checkerboard"].value == pytest.approx(distance.value, rel=1e-9)
    assert log_checkerboard(x, x)["log_checkerboard"].value == 0
    flat = log_checkerboard(x, torch.zeros_like(x))["log_checkerboard"]
    assert math.isfinite(flat.value)
    assert all(map(math.isfinite, flat.interval))


def test_order_plays_no_part():
    x, y = random_pixels(9, 3, 16, 16), random_pixels(8, 3, 16, 16, seed=1)
    for metric in (checkerboard, log_checkerboard, colour):
        assert metric(x.flip(0), y.roll(5, 0)) == metric(x, y)


def test_white_lies_100_from_black_and_grey_is_evenly_coloured():
    black, white = torch.zeros(3, 3, 4, 4, dtype=torch.uint8), torch.full((2, 3, 6, 5), 255, dtype=torch.uint8)
    figures = colour(black, white)
    assert figures["colour_shift"].value == pytest.approx(100, abs=0.01)
    assert figures["colour_spread"].value == pytest.approx(0, abs=0.01)
    half = torch.cat([torch.zeros(2, 1, 4, 2), torch.ones(2, 1, 4, 2)], dim=3) * 2 - 1
    figures = colour(black, half)  # half 0, half 100: mean 50, deviation 50
    assert figures["colour_shift"].value == pytest.approx(50, abs=0.01)
    assert figures["colour_spread"].value == pytest.approx(50, abs=0.01)


def test_colours_are_scikit_image_s():
    x, y = random_pixels(3, 3, 8, 8), random_pixels(4, 3, 8, 8, seed=1) // 2
    a, b = (torch.from_numpy(rgb2lab(side.permute(0, 2, 3, 1).numpy())).reshape(-1, 3) for side in (x, y))
    figures = colour(x, y)
    assert figures["colour_shift"].value == pytest.approx(float((a.mean(0) - b.mean(0)).norm()), abs=0.01)
    spread = float((a.std(0, correction=0) - b.std(0, correction=0)).norm())
    assert figures["colour_spread"].value == pytest.approx(spread, abs=0.01)


def test_unsuitable_images_are_refused():
    x = random_pixels(2, 3, 16, 16)
    with pytest.raises(DataError, match=r"\(3, 16, 16\) and \(1, 16, 16\)"):
        checkerboard(x, x[:, :1])
    with pytest.raises(DataError, match="no fine structure"):
        checkerboard(torch.zeros_like(x), x)
    with pytest.raises(DataError, match="at least 16"):
        checkerboard(x[..., :15], x[..., :15])
    with pytest.raises(DataError, match="translated images of 4 channels"):
        colour(x, random_pixels(2, 4, 16, 16))
    for metric in (checkerboard, log_checkerboard, colour):
        with pytest.raises(DataError, match="1 real images; it needs at least 2"):
            metric(x[:1], x)
