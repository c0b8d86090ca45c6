"""Tests of `translate.evaluation.swd`."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import wasserstein_distance

from translate.errors import DataError
from translate.evaluation import input_checks
from translate.evaluation.swd import (
    _distances,
    _draw_patches,
    _laplacian,
    _levels,
    _upsample,
    sliced_wasserstein,
    wasserstein_1d,
)


def photos(count, height=40, width=None, seed=0, cells=10):
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, cells, cells, generator=draw)
    fine = torch.rand(count, 3, height, width or height, generator=draw)
    smooth = F.interpolate(coarse, fine.shape[-2:], mode="bicubic").clamp(0, 1)
    return ((0.8 * smooth + 0.2 * fine) * 127).byte()


@pytest.mark.parametrize(
    ("x", "y", "distance"),
    [
        ([0, 1], [0.5, 2], (0.5 + 1) / 2),
        ([0, 1], [0, 0.5, 1], 1 / 6),  # they differ, by one half, between 1/3 and 2/3 of the way
        ([3], [0, 1, 2], 2),
        ([0, 1], [0, 0, 1, 1], 0),
    ],
)
def test_wasserstein_of_samples_by_hand(x, y, distance):
    assert wasserstein_1d(np.array([x], dtype=float), np.array([y], dtype=float)) == pytest.approx(distance, abs=1e-12)


def test_wasserstein_is_scipy_s_for_samples_of_different_sizes():
    draw = np.random.default_rng(0)
    x, y = np.sort(draw.standard_normal((3, 40))), np.sort(draw.standard_normal((3, 63)))
    assert wasserstein_1d(x, y) == pytest.approx(
        np.mean([wasserstein_distance(*rows) for rows in zip(x, y, strict=True)])
    )


def test_patches_of_one_value_have_one_direction():
    """On a line all directions are ± 1, and the distance is the mean difference of sorted values."""
    x, y = torch.rand(6, 4, 1).numpy(), torch.rand(6, 4, 1).numpy() + 0.3
    expected = np.abs(np.sort(x.ravel()) - np.sort(y.ravel())).mean()
    assert _distances(x, y, 0, 0, 0) == pytest.approx([expected], rel=1e-6)


def test_a_shift_is_seen_under_the_mean_angle():
    """All patches moved by d in F dimensions: the mean of |d · direction| is |d| times E|u₁| on the sphere, 1/2 for F = 3."""
    x = np.zeros((2, 5, 3), dtype=np.float32)
    y = x + np.array([3, 0, 4], dtype=np.float32)
    assert _distances(x, y, 0, 0, 0)[0] == pytest.approx(5 / 2, rel=0.05)


@pytest.mark.parametrize("size", [(64, 64), (33, 47)])
def test_the_levels_of_the_pyramid_add_up_to_the_image(size):
    images = photos(2, *size)
    levels = _levels(*size)
    image = _laplacian(images, len(levels) - 1)
    for level in reversed(range(len(levels) - 1)):
        detail = _laplacian(images, level)
        image = detail + _upsample(image, detail.shape[-2:])
    torch.testing.assert_close(image, images.float(), rtol=0, atol=1e-3)


def test_a_level_lacks_what_the_coarser_one_holds():
    """Nothing is left of an image of one value; the last level is the image itself, halved."""
    even = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
    assert _laplacian(even, 0).abs().max() < 1e-4
    torch.testing.assert_close(_laplacian(even, 2), torch.full((1, 3, 16, 16), 100.0))


@pytest.mark.parametrize(
    ("size", "levels"), [((32, 90), [32, 16]), ((47, 33), [33, 17]), ((128, 128), [128, 64, 32, 16])]
)
def test_each_level_has_a_value_and_swd_is_their_mean(size, levels):
    figures = sliced_wasserstein(photos(2, *size), photos(3, *size, seed=1), halves=0)
    assert list(figures) == ["swd", *(f"swd_{pixels}" for pixels in levels)]
    assert figures["swd"].value == pytest.approx(np.mean([figures[f"swd_{pixels}"].value for pixels in levels]))


def test_patches_lie_anywhere_inside_the_image():
    """Every pixel is reached, the corners too: 128 patches are drawn of each of 60 copies of a 9×9 image of its places."""
    places = torch.arange(81.0).view(1, 1, 9, 9).expand(60, 1, 9, 9)
    patches = _draw_patches(places, torch.arange(60))
    assert patches.shape == (60, 128, 1, 49)
    assert set(patches.flatten().tolist()) == set(range(81))
    corner = patches[..., :1]
    whole = (torch.arange(7)[:, None] * 9 + torch.arange(7)).flatten()
    assert torch.equal(patches, corner + whole)


def test_equal_sets_are_at_0_and_order_plays_no_part():
    x, y = photos(6, 32), photos(5, 32, seed=1)
    assert all(estimate.value == 0 for estimate in sliced_wasserstein(x, x.flip(0), halves=0).values())
    assert sliced_wasserstein(x.flip(0), y.roll(2, 0)) == sliced_wasserstein(x, y)
    assert sliced_wasserstein(x, y, seed=1) != sliced_wasserstein(x, y)


def test_brightness_and_contrast_of_a_whole_set_are_scaled_away(monkeypatch):
    """To nothing, once the same patches of both sets are looked at."""
    monkeypatch.setattr(input_checks, "content_keys", lambda pixels: torch.arange(len(pixels)))
    x, y = photos(6), photos(6, seed=1)
    scaled = sliced_wasserstein(x, 2 * x + 1, halves=0)
    assert max(estimate.value for estimate in scaled.values()) < 1e-4
    assert sliced_wasserstein(x, y, halves=0)["swd"].value > 0.05


@pytest.mark.slow
def test_it_grows_with_noise_and_sees_the_scale_of_a_change():
    x, other = photos(10, 64), photos(10, 64, seed=1)
    draw = torch.Generator().manual_seed(0)
    strength = [(other + torch.randint(0, top, x.shape, generator=draw)).byte() for top in (1, 30, 120)]
    figures = [sliced_wasserstein(x, y, halves=0) for y in strength]
    means = [row["swd"].value for row in figures]
    assert means == sorted(means)
    coarser = photos(10, 64, seed=2, cells=4)  # other shapes under the same fine noise
    assert sliced_wasserstein(x, coarser, halves=0)["swd_16"].value > 1.5 * figures[0]["swd_16"].value


@pytest.mark.slow
def test_its_error_is_about_what_other_images_would_change():
    pairs = [(photos(8, 32, seed=2 * n), photos(8, 32, seed=2 * n + 1)) for n in range(6)]
    estimates = [sliced_wasserstein(x, y)["swd"] for x, y in pairs]
    spread = np.std([estimate.value for estimate in estimates], ddof=1)
    assert spread / 2 < np.mean([estimate.error for estimate in estimates]) < spread * 4


def test_sets_of_one_flat_colour_have_a_distance():
    flat = torch.full((4, 3, 32, 32), 7, dtype=torch.uint8)
    assert sliced_wasserstein(photos(4, 32), flat)["swd"].value > 0.3
    assert sliced_wasserstein(flat, flat)["swd"].value == 0


def test_unsuitable_images_are_refused():
    x = photos(3)
    with pytest.raises(DataError, match="swd: images of 90×31 pixels; it needs sides of at least 32"):
        sliced_wasserstein(photos(3, 31, 90), photos(3, 31, 90))
    with pytest.raises(DataError, match="3×40×40 and translated ones of 3×40×44"):
        sliced_wasserstein(x, photos(3, 40, 44))
    with pytest.raises(DataError, match="swd: 1 translated images; it needs at least 2"):
        sliced_wasserstein(x, x[:1])
    with pytest.raises(DataError, match="not finite"):
        sliced_wasserstein(x, x / torch.zeros(()))
