"""Tests of `translate.evaluation.paired`."""

import hashlib
import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from translate.errors import DataError, ModelError, UsageError
from translate.evaluation import paired
from translate.evaluation.paired import l1, ms_ssim, psnr, psnr_y, ssim, ssim_y
from translate.nn.pretrained import PublishedWeights

from .photos import random_pixels, smooth_images

METRICS = [l1, psnr, ssim, ms_ssim]


def constant(value, side=2):
    return torch.full((1, 3, side, side), value, dtype=torch.uint8)


@pytest.mark.parametrize(("x", "y", "distance"), [(0, 255, 255), (255, 0, 255), (10, 7, 3), (7, 10, 3), (9, 9, 0)])
def test_l1_by_hand(x, y, distance):
    """Differences below zero do not wrap around, as they would in bytes."""
    assert l1(constant(x), constant(y)) == distance


def test_l1_is_the_mean_over_all_values_of_each_pair():
    x, y = torch.zeros(2, 3, 2, 2, dtype=torch.uint8), torch.zeros(2, 3, 2, 2, dtype=torch.uint8)
    x[0, :, 0, 0] = torch.tensor([12, 0, 24])
    assert l1(x, y).tolist() == [(12 + 24) / 12, 0]


@pytest.mark.parametrize(
    ("x", "y", "decibels"),
    [(0, 255, 0.0), (255, 0, 0.0), (0, 1, 20 * math.log10(255)), (100, 50, 20 * math.log10(5.1))],
)
def test_psnr_by_hand(x, y, decibels):
    """10 log₁₀(255² / d²) = 20 log₁₀(255 / d) for a constant difference d."""
    assert float(psnr(constant(x), constant(y))) == pytest.approx(decibels)


def test_psnr_of_equal_images_is_infinite():
    assert psnr(random_pixels(2, 3, 4, 5), random_pixels(2, 3, 4, 5)).tolist() == [math.inf, math.inf]


def test_metrics_of_luma_are_those_of_papers_on_super_resolution():
    """By scikit-image on luma by the formula of BT.601 in 8 bits, in float, without the borders."""
    x = random_pixels(1, 3, 24, 31)
    y = (x.int() + random_pixels(1, 3, 24, 31, seed=1) // 8).clamp(0, 255).byte()
    a, b = (16 + (side[0].double() / 255).permute(1, 2, 0).numpy() @ [65.481, 128.553, 24.966] for side in (x, y))
    a, b = (side[4:-4, 4:-4] for side in (a, b))
    assert float(psnr_y(x, y, 4)) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-9)
    expected = structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert float(ssim_y(x, y, 4)) == pytest.approx(expected, abs=1e-6)


def test_luma_of_white_is_235_and_that_of_black_is_16():
    assert float(psnr_y(constant(255, 4), constant(0, 4), 1)) == pytest.approx(20 * math.log10(255 / 219))


def test_what_differs_in_the_border_alone_does_not_count():
    x, y = (torch.zeros(1, 3, 19, 19, dtype=torch.uint8) for _ in range(2))
    y[:, :, :4] = y[:, :, :, -4:] = 255
    assert psnr_y(x, y, 4).tolist() == [math.inf]
    assert ssim_y(x, y, 4).tolist() == [1.0]
    assert psnr_y(x, y, 3).tolist() != [math.inf]
    with pytest.raises(DataError, match=r"ssim_y: .* at least 21"):
        ssim_y(x, y, 5)


@pytest.mark.parametrize("shape", [(2, 3, 20, 31), (1, 1, 11, 11), (1, 3, 12, 40)])
def test_psnr_and_ssim_are_scikit_image_s(shape):
    x, y = (
        random_pixels(*shape),
        (random_pixels(*shape).int() + random_pixels(*shape, seed=1) // 4).clamp(0, 255).byte(),
    )
    for own_psnr, own_ssim, a, b in zip(psnr(x, y), ssim(x, y), x.numpy(), y.numpy(), strict=True):
        assert float(own_psnr) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), rel=1e-12)
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
        expected = np.mean(
            [structural_similarity(*map(np.float64, pair), **options) for pair in zip(a, b, strict=True)]
        )
        assert float(own_ssim) == pytest.approx(expected, abs=1e-10)


def test_ssim_of_constant_images_is_their_luminance():
    """No variance: (2ab + C1) / (a² + b² + C1), with C1 = (0.01 · 255)²."""
    a, b, c1 = 60, 200, 2.55**2
    luminance = (2 * a * b + c1) / (a**2 + b**2 + c1)
    assert float(ssim(constant(a, 16), constant(b, 16))) == pytest.approx(luminance, abs=1e-9)
    assert float(ms_ssim(constant(a, 176), constant(b, 176))) == pytest.approx(luminance**0.1333, abs=1e-9)


def test_ms_ssim_is_scikit_image_s_similarities_scale_by_scale():
    """With a vast K1 the luminance is 1 and scikit-image's SSIM is the contrast and structure that finer scales take."""
    x, y = smooth_images(1, 180, 6)[:, :1], smooth_images(1, 180, 6, seed=1)[:, :1]
    y = (0.8 * x + 0.2 * y).byte()
    options = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 255}
    a, b, expected = x[0, 0].double().numpy(), y[0, 0].double().numpy(), 1.0
    for scale, exponent in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
        expected *= structural_similarity(a, b, K1=0.01 if scale == 4 else 1e7, **options) ** exponent
        a, b = (s[: s.shape[0] // 2 * 2, : s.shape[1] // 2 * 2] for s in (a, b))
        a, b = (s.reshape(s.shape[0] // 2, 2, s.shape[1] // 2, 2).mean(axis=(1, 3)) for s in (a, b))
    assert 0.5 < expected < 0.99
    assert float(ms_ssim(x, y)) == pytest.approx(expected, abs=1e-8)


def test_opposed_structures_count_as_0():
    x = smooth_images(1, 176, 6)
    assert float(ms_ssim(x, 255 - x)) == 0


@pytest.mark.parametrize("metric", METRICS)
def test_symmetric_best_for_equal_images_and_worse_for_more_noise(metric):
    x = random_pixels(1, 3, 176, 176) // 2 + 64
    near, far = (x + random_pixels(1, 3, 176, 176, seed=1) % top for top in (4, 40))
    torch.testing.assert_close(metric(x, near), metric(near, x), rtol=1e-12, atol=0)
    best = {l1: 0, psnr: math.inf, ssim: 1, ms_ssim: 1}[metric]
    assert float(metric(x, x)) == pytest.approx(best)
    worse = metric(x, far) - metric(x, near)
    assert worse > 0 if metric is l1 else worse < 0


@pytest.mark.parametrize("metric", METRICS)
def test_a_batch_gives_what_singles_give(metric):
    x, y = smooth_images(3, 176, 6), smooth_images(3, 176, 6, seed=1)
    singles = [metric(a[None], b[None]) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(metric(x, y), torch.cat(singles), rtol=1e-12, atol=1e-12)
    assert metric(x, y).dtype == torch.float64


@pytest.mark.parametrize("metric", METRICS)
def test_floats_are_the_images_that_a_file_would_hold(metric):
    x, y = smooth_images(1, 176, 6), smooth_images(1, 176, 6, seed=1)
    as_floats = [(side.float() + 0.3) / 127.5 - 1 for side in (x, y)]
    assert metric(*as_floats) == metric(x, y)


@pytest.mark.parametrize("metric", METRICS)
def test_images_of_different_shapes_are_refused_not_broadcast(metric):
    with pytest.raises(DataError, match=r"\(1, 3, 180, 180\) and \(1, 1, 180, 180\)"):
        metric(random_pixels(1, 3, 180, 180), random_pixels(1, 1, 180, 180))


@pytest.mark.parametrize("metric", METRICS)
def test_values_that_are_not_finite_are_refused(metric):
    x = torch.zeros(1, 3, 176, 176)
    with pytest.raises(DataError, match="not finite"):
        metric(x, x / 0)


@pytest.mark.parametrize(("metric", "least"), [(ssim, 11), (ms_ssim, 176)])
def test_too_small_images_are_refused_with_the_smallest_size(metric, least):
    metric(random_pixels(1, 3, least, least + 1), random_pixels(1, 3, least, least + 1))
    with pytest.raises(
        DataError, match=f"{metric.__name__}: images of {least + 9}×{least - 1} pixels; .*at least {least}"
    ):
        metric(random_pixels(1, 3, least - 1, least + 9), random_pixels(1, 3, least - 1, least + 9))


@pytest.fixture
def squeezenet(tmp_path, monkeypatch):
    """Write random weights for LPIPS's smallest backbone that pass for the published file."""
    pytest.importorskip("lpips")
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    path = tmp_path / "squeezenet.pth"
    torch.save(squeezenet1_1().state_dict(), path)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    weights = PublishedWeights(f"squeezenet-{digits}.pth", 5, digits, "here")
    monkeypatch.setitem(paired.LPIPS_BACKBONES, "squeeze", paired.LpipsBackbone(weights, 17))
    return path


def test_lpips_is_equation_1_of_its_paper(squeezenet):
    """Σ over layers of the spatial mean of w · (unit features' difference)², here from torchvision's own network."""
    import lpips
    from torchvision.models import squeezenet1_1

    judge = paired.load_lpips(squeezenet, net="squeeze")
    assert judge.name == "squeeze"
    assert judge.sha256 == hashlib.sha256(squeezenet.read_bytes()).hexdigest()
    linear = torch.load(Path(lpips.__file__).parent / "weights/v0.1/squeeze.pth", map_location="cpu")
    features = squeezenet1_1().eval().requires_grad_(False)
    features.load_state_dict(torch.load(squeezenet, weights_only=True))
    x, y = smooth_images(2, 40, 6), smooth_images(2, 40, 6, seed=1)
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    a, b = ((side / 127.5 - 1 - shift.view(-1, 1, 1)) / scale.view(-1, 1, 1) for side in (x, y))
    total, layer = torch.zeros(2), 0
    for place, module in enumerate(features.features):
        a, b = module(a), module(b)
        if place in (1, 4, 7, 9, 10, 11, 12):
            difference = (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square()
            total += (linear[f"lin{layer}.model.1.weight"] * difference).sum(dim=1).mean(dim=(1, 2))
            layer += 1
    torch.testing.assert_close(judge(x, y).float(), total, rtol=1e-4, atol=1e-7)
    assert judge(x, x).tolist() == [0, 0]
    with pytest.raises(DataError, match="at least 17"):
        judge(x[..., :16], y[..., :16])
    with pytest.raises(UsageError, match="1 channels"):
        judge(x[:, :1], y[:, :1])


def test_lpips_without_its_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(UsageError, match=r"image-translate\[metrics\]"):
        paired.load_lpips()


def test_lpips_without_its_weights_says_what_to_put_where(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lpips", types.ModuleType("lpips"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        paired.load_lpips()
    for part in (str(tmp_path), "alexnet-owt-7be5be79.pth", "244 MB", "SHA-256 7be5be79"):
        assert part in str(caught.value)


def test_lpips_with_other_weights_shows_their_hash(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lpips", types.ModuleType("lpips"))
    (tmp_path / "other.pth").write_bytes(b"other")
    with pytest.raises(ModelError, match=hashlib.sha256(b"other").hexdigest()):
        paired.load_lpips(tmp_path / "other.pth")
