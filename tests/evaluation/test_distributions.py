"""Tests of distances between feature distributions, by hand and on real photos."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from translate import images
from translate.demo import data_folder
from translate.errors import DataError, UsageError
from translate.evaluation import distributions, extractors
from translate.evaluation.distributions import fid, inception_score, kid, kid_of_subsets, precision_recall
from translate.evaluation.input_checks import sort_rows

TWO_SETS = [fid, kid, precision_recall]


def normal(count, dimensions=8, shift=0.0, scale=1.0, seed=0):
    return shift + scale * np.random.default_rng(seed).standard_normal((count, dimensions))


def column(*values):
    return np.array(values, dtype=float)[:, None]


def value(metric, *args, **options):
    return next(iter(metric(*args, **options).values())).value


def of_moments(mean, deviations):
    """2 D points of exactly this mean and, dividing by N − 1, exactly this diagonal covariance."""
    points = np.diag(deviations) * math.sqrt((2 * len(mean) - 1) / 2)
    return np.concatenate([mean + points, mean - points])


def test_fid_of_two_gaussians_by_hand():
    """Diagonal covariances commute: |μ₁ − μ₂|² + Σ (σ₁ − σ₂)²."""
    x = of_moments(np.array([1.0, 2.0, 3.0]), [1.0, 2.0, 0.5])
    y = of_moments(np.array([1.0, 0.0, 7.0]), [3.0, 2.0, 1.0])
    assert value(fid, x, y) == pytest.approx(4 + 16 + (2**2 + 0 + 0.5**2), rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(200, 150), (6, 5), (6, 150)])
def test_fid_is_the_trace_of_the_root_of_the_product(n, m):
    """From the eigenvalues of Σ₁Σ₂ of full and of lacking rank, which our function never forms."""
    mix = np.random.default_rng(1).standard_normal((8, 8))
    x, y = normal(n) @ mix, normal(m, shift=0.3, seed=1)
    sigma_x, sigma_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(sigma_x @ sigma_y).astype(complex)).real.sum()
    shift = x.mean(axis=0) - y.mean(axis=0)
    expected = shift @ shift + np.trace(sigma_x) + np.trace(sigma_y) - 2 * roots
    assert value(fid, x, y) == pytest.approx(expected, rel=1e-6)


def test_fid_of_a_set_with_itself_is_0_and_rotations_change_nothing():
    x, y = normal(50), normal(60, shift=0.5, seed=1)
    rotation = np.linalg.qr(normal(8, seed=2))[0]
    assert value(fid, x, x) == pytest.approx(0, abs=1e-12)
    assert value(fid, x @ rotation, y @ rotation) == pytest.approx(value(fid, x, y), rel=1e-10)


def test_kid_by_hand():
    """D = 1, k = (xy + 1)³. Within x: 1; within y: 8; across: (6 · 1 + 3 · 8) / 9; 1 + 8 − 2 · 30/9 = 7/3."""
    assert value(kid, column(0, 0, 1), column(1, 1, 1)) == pytest.approx(7 / 3, rel=1e-12)


def test_the_kernel_divides_by_the_number_of_features():
    """(2/2 + 1)³ = 8 within y, 1 within x and across: 1 + 8 − 2."""
    assert value(kid, np.zeros((3, 2)), np.ones((3, 2))) == pytest.approx(7, rel=1e-12)


def test_the_error_of_kid_is_that_of_leaving_each_image_out():
    x, y = sort_rows(normal(7)), sort_rows(normal(9, shift=0.2, seed=1))
    variance = 0
    for left in (x, y):
        without = [
            value(kid, *(np.delete(rows, i, axis=0) if rows is left else rows for rows in (x, y)))
            for i in range(len(left))
        ]
        variance += (len(left) - 1) / len(left) * np.square(np.array(without) - np.mean(without)).sum()
    assert kid(x, y)["kid"].error == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_kid_of_two_halves_of_one_domain_is_0_within_its_errors():
    """In 95 of 100 draws it should lie within two; the jackknife may be too large, not too small."""
    ratios = []
    for seed in range(100):
        estimate = kid(normal(40, seed=2 * seed), normal(40, seed=2 * seed + 1))["kid"]
        ratios.append(estimate.value / estimate.error)
    assert np.mean(np.abs(ratios) < 2) >= 0.93
    assert abs(np.mean(ratios)) < 0.25  # unbiased: below 0 as often as above
    assert 0.5 < np.std(ratios) < 1.1


def test_subsets_have_the_mean_of_all_pairs():
    """Over all pairs of subsets of 3 of 5 the mean of the unbiased estimate is that of the whole: exactly."""
    x, y = normal(5), normal(5, shift=0.5, seed=1)
    threes = np.array(list(itertools.combinations(range(5), 3)))
    pairs = np.array(list(itertools.product(threes, threes)))
    mean = kid_of_subsets(x, y, pairs[:, 0], pairs[:, 1]).mean()
    assert mean == pytest.approx(value(kid, x, y), rel=1e-10)


def test_both_estimates_of_kid_agree_within_their_errors():
    x, y = normal(400), normal(300, shift=0.2, seed=1)
    whole, parts = kid(x, y)["kid"], kid(x, y, subset_size=100)["kid"]
    assert parts.value == pytest.approx(whole.value, abs=2 * parts.error)
    assert parts.error == pytest.approx(whole.error, rel=0.5)
    assert kid(x, y, 1, subset_size=100) != kid(x, y, subset_size=100)


@pytest.mark.parametrize("size", [1, 20, 21])
def test_a_subset_is_smaller_than_both_sets(size):
    with pytest.raises(UsageError, match=f"subsets of {size} from 20 images"):
        kid(normal(20), normal(30), subset_size=size)


def test_inception_score_by_hand():
    """Two images, p = (0.8, 0.2) and its mirror: exp(0.8 ln 1.6 + 0.2 ln 0.4). Sure and varied: K. All alike: 1."""
    expected = math.exp(0.8 * math.log(1.6) + 0.2 * math.log(0.4))
    assert value(inception_score, np.log([[0.8, 0.2], [0.2, 0.8]]), splits=1) == pytest.approx(expected, rel=1e-12)
    assert value(inception_score, 1000 * np.eye(7), splits=1) == pytest.approx(7, rel=1e-9)
    assert value(inception_score, np.ones((30, 7))) == pytest.approx(1, rel=1e-12)


def test_inception_score_of_parts_is_their_mean_and_its_error_their_spread():
    """Eight sure images of two classes in two parts: each part's score is exp of its entropy."""
    logits = 1000 * np.eye(2)[[0, 0, 0, 1, 1, 1, 1, 1]]
    scores = []
    for part in np.split(distributions.shuffle_rows(sort_rows(logits), 0).argmax(axis=1), 2):
        p = np.bincount(part, minlength=2) / 4
        scores.append(math.exp(-sum(q * math.log(q) for q in p if q)))
    estimate = inception_score(logits, splits=2)["inception_score"]
    assert estimate.value == pytest.approx(np.mean(scores))
    assert estimate.error == pytest.approx(abs(scores[0] - scores[1]) / 2 / math.sqrt(2))
    assert inception_score(logits, splits=1)["inception_score"].error is None


def test_precision_and_recall_by_hand():
    """k = 1. Real 0, 1, 10 reach 1, 1 and 9 far; of 0.5, 2.5 and 30 the first two lie there. Those reach 2, 2 and 27.5 far."""
    figures = precision_recall(column(0, 1, 10), column(0.5, 2.5, 30), k=1)
    assert figures["precision"].value == pytest.approx(2 / 3)
    assert figures["recall"].value == 1


def test_a_border_counts_as_inside():
    """Real 0, 2, 4, 6 with k = 3 reach 6, 4, 4 and 6 far: 12 lies at the very end of the last one's reach, 12.1 beyond."""
    figures = precision_recall(column(0, 2, 4, 6), column(12, 12.1, 12.1, 12.1))
    assert figures["precision"].value == 1 / 4


def test_few_images_are_precise_and_recall_little():
    x = normal(60, 2)
    figures = precision_recall(x, 1e-3 * normal(60, 2, seed=1))
    assert figures["precision"].value == 1
    assert figures["recall"].value < 0.1
    swapped = precision_recall(1e-3 * normal(60, 2, seed=1), x)
    assert (swapped["precision"].value, swapped["recall"].value) == (figures["recall"].value, 1)


@pytest.mark.parametrize("metric", TWO_SETS)
def test_worse_for_a_set_that_lies_farther_off(metric):
    x = normal(80)
    figures = [value(metric, x, normal(80, shift=shift, seed=1)) for shift in (0, 0.5, 1, 2)]
    assert figures == sorted(figures, reverse=metric is precision_recall)


@pytest.mark.parametrize(("metric", "options"), [*((metric, {}) for metric in TWO_SETS), (kid, {"subset_size": 10})])
def test_order_and_kind_of_array_play_no_part(metric, options):
    x, y = normal(30), normal(25, shift=0.5, seed=1)
    x[:3] = x[3]  # equal images, and equal first features
    x[:20, 0] = 0
    shuffled = [np.random.default_rng(5).permutation(rows) for rows in (x, y)]
    assert metric(*shuffled, **options) == metric(x, y, **options)
    assert metric(torch.from_numpy(x), torch.from_numpy(y), **options) == metric(x, y, **options)
    assert inception_score(shuffled[0]) == inception_score(x)


@pytest.mark.parametrize(("metric", "least"), [(fid, 2), (kid, 3), (precision_recall, 4), (inception_score, 10)])
def test_too_few_images_are_refused_with_the_smallest_number(metric, least):
    sets = [normal(least)] if metric is inception_score else [normal(least), normal(30)]
    metric(*sets)
    sets[0] = sets[0][1:]
    with pytest.raises(DataError, match=f"{metric.__name__}: {least - 1} (real )?images; it needs at least {least}"):
        metric(*sets)


@pytest.mark.parametrize("metric", TWO_SETS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_features_that_are_not_finite_are_refused(metric, bad):
    y = normal(30)
    y[12, 3] = y[17, 0] = bad
    with pytest.raises(DataError, match=rf"{metric.__name__}: .* 2 of 30 translated images .* not finite.* image 13"):
        metric(normal(30), y)


@pytest.mark.parametrize("metric", TWO_SETS)
def test_features_of_two_extractors_are_refused(metric):
    with pytest.raises(ValueError, match="8 and of 9"):
        metric(normal(30), normal(30, 9))


def test_large_sets_are_processed_in_blocks(monkeypatch):
    x, y = normal(30), normal(25, shift=0.5, seed=1)
    whole = [metric(x, y) for metric in (kid, precision_recall)]
    monkeypatch.setattr(distributions, "BLOCK", 7)
    for figures, again in zip(whole, [metric(x, y) for metric in (kid, precision_recall)], strict=True):
        for key, estimate in figures.items():
            assert again[key].value == pytest.approx(estimate.value, rel=1e-10)


def test_fid_is_torch_fidelity_s():
    theirs = pytest.importorskip("torch_fidelity.metric_fid")
    for n, m, dimensions in [(300, 250, 64), (40, 50, 128)]:
        x = np.abs(normal(n, dimensions))
        y = np.abs(normal(m, dimensions, shift=0.1, scale=1.1, seed=1))
        statistics = [theirs.fid_features_to_statistics(torch.from_numpy(rows)) for rows in (x, y)]
        expected = theirs.fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
        assert value(fid, x, y) == pytest.approx(expected, abs=1e-4)


def test_kid_of_the_same_subsets_is_torch_fidelity_s():
    theirs = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = np.abs(normal(60, 32)), np.abs(normal(50, 32, shift=0.2, seed=1))
    expected = theirs.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=10, kid_subset_size=20, verbose=False, rng_seed=3
    )
    draw = np.random.RandomState(3)
    rows = [(draw.choice(60, 20, replace=False), draw.choice(50, 20, replace=False)) for _ in range(10)]
    values = kid_of_subsets(x, y, *map(np.stack, zip(*rows, strict=True)))
    assert values.mean() == pytest.approx(expected["kernel_inception_distance_mean"], abs=1e-10)
    assert values.std() == pytest.approx(expected["kernel_inception_distance_std"], abs=1e-10)


def test_inception_score_is_torch_fidelity_s():
    theirs = pytest.importorskip("torch_fidelity.metric_isc")
    logits = normal(97, 10, scale=3)
    ordered = torch.from_numpy(distributions.shuffle_rows(sort_rows(logits), 0))
    expected = theirs.isc_features_to_metric(ordered, shuffle=False)
    estimate = inception_score(logits)["inception_score"]
    assert estimate.value == pytest.approx(expected["inception_score_mean"], abs=1e-10)
    assert estimate.error * math.sqrt(10) == pytest.approx(expected["inception_score_std"], abs=1e-10)


def test_precision_and_recall_are_torch_fidelity_s():
    theirs = pytest.importorskip("torch_fidelity.metric_prc")
    x, y = normal(60, 4), normal(50, 4, shift=0.5, seed=1)
    expected = theirs.calculate_precision_recall_full(torch.from_numpy(y), torch.from_numpy(x))
    figures = precision_recall(x, y)
    assert [figures[key].value for key in ("precision", "recall")] == pytest.approx(list(expected), abs=1e-6)


# Real photos.


FeaturesFn = Callable[[list[np.ndarray]], np.ndarray]


@pytest.fixture(scope="module")
def features_of() -> FeaturesFn:
    """Compute features of EfficientNet-Lite0."""
    extractor = extractors.load_extractor("efficientnet-lite0")
    return lambda pictures: extractor(pictures).features


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    return [images.read(path).pixels for path in images.list_images(data_folder() / "earth_season" / "trainA")][:160]


@pytest.mark.slow
def test_two_halves_of_one_domain_have_a_kid_of_zero(features_of: FeaturesFn, photos: list[np.ndarray]) -> None:
    """Drawn at random: within two standard errors of 0. Summer and winter are not."""
    rows = features_of(photos)[np.random.default_rng(0).permutation(len(photos))]
    alike = kid(rows[::2], rows[1::2])["kid"]
    assert alike.error is not None
    assert abs(alike.value) < 2 * alike.error
    winter = [images.read(path).pixels for path in images.list_images(data_folder() / "earth_season" / "trainB")][:80]
    unlike = kid(rows[::2], features_of(winter))["kid"]
    assert unlike.value > 5 * (unlike.error or 0)


def _blurred(pixels: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _noisy(pixels: np.ndarray, spread: float) -> np.ndarray:
    drawn = np.random.default_rng(int(pixels.sum())).normal(0, spread, pixels.shape)
    return np.clip(pixels + drawn, 0, 255).round().astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(("degrade", "levels"), [(_blurred, (0.7, 1.5, 3.0)), (_noisy, (8.0, 24.0, 72.0))])
def test_kid_grows_with_degradation(
    features_of: FeaturesFn,
    photos: list[np.ndarray],
    degrade: Callable[[np.ndarray, float], np.ndarray],
    levels: tuple[float, ...],
) -> None:
    """One half of the photos, degraded more and more, against the other half."""
    real, rest = features_of(photos[::2]), photos[1::2]
    values = [
        kid(real, features_of([degrade(photo, level) for photo in rest]))["kid"].value for level in (0.0, *levels)
    ]
    assert values == sorted(values)
    assert values[-1] > 10 * abs(values[0])
