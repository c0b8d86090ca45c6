"""Tests of `translate.evaluation.faithfulness`."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.filters import sobel_h, sobel_v

from translate.errors import DataError
from translate.evaluation.faithfulness import _blurred, cycle_psnr, edge_correlation, hidden_signal, jpeg_round_trip
from translate.evaluation.paired import psnr

from .photos import random_pixels, smooth_images


def test_an_image_agrees_with_itself_its_negative_and_its_half():
    x = random_pixels(2, 3, 20, 30) // 2 * 2
    for y in (x, 255 - x, x // 2, x.float() / 127.5 - 1):
        assert edge_correlation(x, y).tolist() == pytest.approx([1, 1], abs=1e-12)


def test_it_is_pearson_s_of_scikit_image_s_sobel():
    x, y = random_pixels(2, 3, 20, 31), random_pixels(2, 1, 20, 31, seed=1)
    for own, a, b in zip(edge_correlation(x, y), x.double().mean(dim=1).numpy(), y[:, 0].double().numpy(), strict=True):
        edges = [np.hypot(sobel_h(side), sobel_v(side))[1:-1, 1:-1].ravel() for side in (a, b)]
        assert float(own) == pytest.approx(np.corrcoef(*edges)[0, 1], abs=1e-12)


def test_edges_in_other_places_are_opposed():
    """One vertical edge each, elsewhere: where one is bright the other is 0. n places, k of them edge: −k / (n − k)."""
    x, y = torch.zeros(2, 1, 1, 12, 22, dtype=torch.uint8).unbind(0)
    x[..., 6:] = 255
    y[..., 16:] = 255
    assert float(edge_correlation(x, y)) == pytest.approx(-2 / 18, rel=1e-12)


def test_images_without_edges():
    """A flat image and an even slope have none: nothing agrees with an image that has some, all with each other."""
    flat, slope = torch.full((1, 1, 9, 9), 7, dtype=torch.uint8), torch.arange(9).byte().expand(1, 1, 9, 9)
    assert edge_correlation(flat, random_pixels(1, 1, 9, 9)) == 0
    assert edge_correlation(random_pixels(1, 1, 9, 9), slope) == 0
    assert edge_correlation(flat, slope) == 1


def test_different_sizes_and_tiny_images_are_refused():
    with pytest.raises(DataError, match=r"edge_correlation: .*\(1, 3, 8, 8\) and \(1, 3, 8, 9\)"):
        edge_correlation(random_pixels(1, 3, 8, 8), random_pixels(1, 3, 8, 9))
    with pytest.raises(DataError, match="at least 3"):
        edge_correlation(random_pixels(1, 3, 2, 8), random_pixels(1, 3, 2, 8))


def test_a_batch_gives_what_singles_give():
    x, y = smooth_images(3, 24, 5), smooth_images(3, 24, 5, seed=1)
    singles = [edge_correlation(a[None], b[None]) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(edge_correlation(x, y), torch.cat(singles), rtol=1e-12, atol=1e-12)
    whole = cycle_psnr(x, lambda x: x * 0.7, lambda x: x / 0.7)
    parts = [cycle_psnr(image[None], lambda x: x * 0.7, lambda x: x / 0.7) for image in x]
    for key, values in whole.items():
        torch.testing.assert_close(values, torch.cat([part[key] for part in parts]))


def test_a_cycle_that_returns_each_image_is_infinitely_good_until_it_is_saved():
    """Negatives there and back: what is lost is what JPEG loses of the negative, as Pillow encodes it."""
    x = smooth_images(2, 24, 5)
    figures = cycle_psnr(x, lambda x: -x, lambda x: -x)
    assert figures["cycle_psnr"].tolist() == [math.inf, math.inf]
    saved = []
    for image in (255 - x).permute(0, 2, 3, 1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=90, subsampling=2)
        saved.append(255 - torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1))
    torch.testing.assert_close(figures["cycle_psnr_jpeg90"], psnr(x, torch.stack(saved)), rtol=1e-9, atol=0)


def test_a_cycle_that_hides_its_input_is_found_out():
    """A translator that paints everything grey and hides its input in the four lowest bits, and one that reads them back."""

    def hide(x):
        return (112 + torch.div((x + 1) * 127.5, 16).floor()) / 127.5 - 1

    def reveal(y):
        return ((y + 1) * 127.5).round().remainder(16) * 16 / 127.5 - 1

    figures = cycle_psnr(random_pixels(2, 3, 32, 32), hide, reveal)
    assert figures["cycle_psnr"].min() > 25
    assert figures["cycle_psnr_jpeg90"].max() < 15


def test_the_translated_image_is_rounded_to_8_bits():
    """An input squeezed into a tenth of a level comes back as one value."""
    x = smooth_images(1, 16, 5)
    figures = cycle_psnr(x, lambda x: x / 2550, lambda x: x * 2550)
    assert figures["cycle_psnr"] < 15


def test_jpeg_keeps_grey_images_grey_and_refuses_other_channels():
    grey = smooth_images(2, 16, 5)[:, :1]
    assert jpeg_round_trip(grey).shape == grey.shape
    assert psnr(jpeg_round_trip(grey), grey).min() > 35
    with pytest.raises(DataError, match="4 channels"):
        jpeg_round_trip(random_pixels(1, 4, 8, 8))


def test_what_is_hidden_is_lost_and_what_is_seen_is_not():
    """An input in the lowest bits of a grey image is gone with any change; a way back that ignores the output loses nothing."""
    x = random_pixels(2, 1, 16, 16)

    def hide(x):
        return ((128 // 16 * 16 + (x + 1) * 127.5 // 16) / 127.5) - 1

    def find(y):
        return ((y + 1) * 127.5 % 16 * 16 / 127.5) - 1

    hidden = hidden_signal(x, hide, find)
    assert all((values > 6).all() for values in hidden.values())
    seen = hidden_signal(x, lambda x: x, lambda y: 0 * y)
    assert all(values.tolist() == [0, 0] for values in seen.values())


def test_a_copy_loses_exactly_the_noise_and_nothing_without_a_change():
    """Both ways copy, and the way back errs by 8: noise of σ = 4 raises the mean square error from 64 to 64 + 16."""
    x = (random_pixels(1, 3, 64, 64).float() * 0.5 + 64).to(torch.uint8)
    offset = 8 * torch.ones(1)  # an error of 8 on the way back, so that the perfect reconstruction is finite
    values = hidden_signal(x, lambda x: x, lambda y: y + offset * 2 / 255)
    expected = 10 * math.log10((64 + 16) / 64)
    assert values["hidden_signal_noise"].item() == pytest.approx(expected, abs=0.15)


def test_a_blur_keeps_flat_images_and_their_size():
    flat = torch.full((1, 3, 9, 7), 77, dtype=torch.uint8)
    assert _blurred(flat, 1.0).equal(flat)
    point = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    point[..., 4, 4] = 255
    weights = np.exp(-(np.arange(-3, 4) ** 2) / 2)
    weights /= weights.sum()
    expected = np.round(255 * np.outer(weights, weights))
    assert np.array_equal(_blurred(point, 1.0)[0, 0, 1:8, 1:8].numpy(), expected)
