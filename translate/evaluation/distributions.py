"""Distances between the distributions of features of translations and of real images.

Features are (N, D), one row per image, from any extractor; a value means nothing without the extractor's name and hash. All
is computed in float64 on rows in lexical order, so that neither listing order nor batches change a value. Each function
returns its values by key. DataError for too few rows, and for rows that are not finite.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from torch import Tensor

from translate import keyed_random
from translate.errors import UsageError
from translate.evaluation import input_checks
from translate.evaluation.uncertainty import HALVES, Estimate, estimate_from_halves, random_halves

FeatureMatrix = Tensor | np.ndarray
"""Features (N, D), one row per image."""

BLOCK = 2048
"""Rows of a matrix of kernel values or distances that are held in memory at a time."""


def fid(real: FeatureMatrix, fake: FeatureMatrix, seed: int = 0, *, halves: int = HALVES) -> dict[str, Estimate]:
    """Return `fid`, the Fréchet distance of two Gaussians, |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½).

    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017, eq. 6.
    At least 0, lower is closer. Only features of the Inception network of 2015 make it the FID of papers. It is too large by
    about 1/N: compare only values of equal N. At least 2 images in a set; covariances divide by N − 1. The error is that of
    random halves.
    """
    x, y = _checked_pair(real, fake, 2, "fid")
    return {"fid": _estimate_by_halves(_frechet_distance, x, y, seed, halves)}


def _frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    a, b = _covariance_factor(x), _covariance_factor(y)
    shift = x.mean(axis=0) - y.mean(axis=0)
    # The eigenvalues of Σ₁Σ₂ = AᵀA BᵀB are the squared singular values of ABᵀ: no root of a singular matrix is needed
    overlap = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return max(0.0, float(shift @ shift + np.square(a).sum() + np.square(b).sum() - 2 * overlap))


def _covariance_factor(x: np.ndarray) -> np.ndarray:
    """Return A of at most D rows with AᵀA equal to the covariance of x (N, D)."""
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    return centred if len(x) <= x.shape[1] else np.asarray(np.linalg.qr(centred, mode="r"))


def kid(
    real: FeatureMatrix, fake: FeatureMatrix, seed: int = 0, *, subset_size: int | None = None, subsets: int = 100
) -> dict[str, Estimate]:
    """Return `kid`, the unbiased squared maximum mean discrepancy under k(x, y) = (x·y / D + 1)³; lower is closer.

    Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, sec. 4. Its mean over draws does not depend on N, so that sets of
    different sizes compare; it can be below 0 when the sets are alike. It is not scaled: tables often give it × 100 or
    × 1000.

    By default the estimate from all pairs, which is what the mean over subsets tends to, with the error of a delete-one
    jackknife (Efron and Tibshirani, 1993, eq. 11.5); at least 3 images in a set. With `subset_size`: the mean over `subsets`
    pairs of random subsets of that size, as in the paper; the error counts both the draw of subsets and, by the delete-d
    jackknife (Shao and Wu, 1989, eq. 1.3), the draw of images. UsageError unless both sets are larger than a subset.
    """
    x, y = _checked_pair(real, fake, 3, "kid")
    if subset_size is None:
        return {"kid": _kid_of_all_pairs(x, y)}
    smaller = min(len(x), len(y))
    if not 2 <= subset_size < smaller:
        raise UsageError(
            f"kid: subsets of {subset_size} from {smaller} images; give a subset size of 2 to {smaller - 1}, or none for "
            "the estimate from all pairs"
        )
    values = kid_of_subsets(
        x, y, *(subset_rows(len(rows), subset_size, subsets, seed, name) for rows, name in ((x, "real"), (y, "fake")))
    )
    error = float(values.std() * np.sqrt(subset_size / (smaller - subset_size) + 1 / subsets))
    return {"kid": Estimate(float(values.mean()), error)}


def subset_rows(count: int, size: int, subsets: int, seed: int, name: str) -> np.ndarray:
    """Draw rows of a sorted set of `count`, without replacement within each subset: (subsets, size)."""
    draws = [keyed_random.permutation(count, seed, "kid", name, number)[:size].numpy() for number in range(subsets)]
    return np.stack(draws)


def kid_of_subsets(x: np.ndarray, y: np.ndarray, rows_x: np.ndarray, rows_y: np.ndarray) -> np.ndarray:
    """Return the unbiased estimate of each pair of subsets: features (N, D) and (M, D), rows (S, n) and (S, m) → (S,)."""
    return np.array([_kid_of_all_pairs(x[i], y[j], error=False).value for i, j in zip(rows_x, rows_y, strict=True)])


def _kid_of_all_pairs(x: np.ndarray, y: np.ndarray, *, error: bool = True) -> Estimate:
    """Return MMD² from all pairs (Gretton et al., JMLR 13, 2012, eq. 3), with the error of a delete-one jackknife."""
    n, m = len(x), len(y)
    within_x, within_y = _kernel_sums(x, x) - _kernel(x, x), _kernel_sums(y, y) - _kernel(y, y)
    across_x, across_y = _kernel_sums(x, y), _kernel_sums(y, x)
    total_x, total_y, total = within_x.sum(), within_y.sum(), across_x.sum()
    value = total_x / (n * (n - 1)) + total_y / (m * (m - 1)) - 2 * total / (n * m)
    if not error:
        return Estimate(float(value))
    without_x = (total_x - 2 * within_x) / ((n - 1) * (n - 2)) - 2 * (total - across_x) / ((n - 1) * m)
    without_y = (total_y - 2 * within_y) / ((m - 1) * (m - 2)) - 2 * (total - across_y) / ((m - 1) * n)
    variance = (n - 1) * without_x.var() + (m - 1) * without_y.var()
    return Estimate(float(value), float(np.sqrt(variance)))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the kernel k of each row of x with the same row of y: (N, D) twice → (N,)."""
    return (np.einsum("nd,nd->n", x, y) / x.shape[1] + 1) ** 3


def _kernel_sums(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Σⱼ k(xᵢ, yⱼ) for each row of x: (N, D) and (M, D) → (N,)."""
    return np.concatenate([((rows @ y.T / x.shape[1] + 1) ** 3).sum(axis=1) for rows in _blocks(x)])


def inception_score(logits: FeatureMatrix, seed: int = 0, *, splits: int = 10) -> dict[str, Estimate]:
    """Return `inception_score`, exp E KL(p(y|x) ‖ p(y)), as the mean over `splits` parts; higher is better.

    Salimans et al., "Improved techniques for training GANs", NeurIPS 2016, sec. 4. From 1 to the number of classes. It takes
    the classifier's logits (N, K), or log-probabilities, of the translations alone, at least one image per part. It knows
    nothing of the real images and says little for sets of a few hundred. The error is the standard deviation over parts
    divided by √splits; papers print the standard deviation.
    """
    ordered = shuffle_rows(input_checks.check_features(logits, splits, "inception_score"), seed)
    shifted = ordered - ordered.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    edges = np.arange(splits + 1) * len(log_p) // splits
    scores = [_split_score(log_p[start:stop]) for start, stop in pairwise(edges)]
    error = float(np.std(scores)) / splits**0.5 if splits > 1 else None
    return {"inception_score": Estimate(float(np.mean(scores)), error)}


def shuffle_rows(x: np.ndarray, seed: int) -> np.ndarray:
    """Return the rows of x in a random order."""
    return x[keyed_random.permutation(len(x), seed, "inception score").numpy()]


def _split_score(log_p: np.ndarray) -> float:
    top = log_p.max(axis=0)
    log_mean = np.log(np.exp(log_p - top).mean(axis=0)) + top
    return float(np.exp((np.exp(log_p) * (log_p - log_mean)).sum(axis=1).mean()))


def precision_recall(
    real: FeatureMatrix, fake: FeatureMatrix, seed: int = 0, *, k: int = 3, halves: int = HALVES
) -> dict[str, Estimate]:
    """Return `precision`, the share of translations among the real images, and `recall`, of real ones among translations.

    Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019, eq. 1 and 2: a
    point lies among a set if it is no farther from one of its points than that point's k-th nearest neighbour in the set.
    0 to 1, higher is better; more than k images in a set. Both depend on N: compare only values of equal N. Errors are those
    of random halves, where the sets are large enough.
    """
    x, y = _checked_pair(real, fake, k + 1, "precision_recall")
    halves = halves if min(len(x), len(y)) // 2 > k else 0
    return {
        "precision": _estimate_by_halves(lambda x, y: _covered_share(y, x, k), x, y, seed, halves),
        "recall": _estimate_by_halves(lambda x, y: _covered_share(x, y, k), x, y, seed, halves),
    }


def _covered_share(points: np.ndarray, others: np.ndarray, k: int) -> float:
    """Return the share of points that lie in the k-neighbourhood of one of the others."""
    # The nearest is the point itself, at distance 0
    radii = np.concatenate([np.partition(d, k, axis=1)[:, k] for d in _squared_distances(others, others)])
    covered = np.concatenate([(d <= radii).any(axis=1) for d in _squared_distances(points, others)])
    return float(covered.mean())


def _squared_distances(x: np.ndarray, y: np.ndarray) -> Iterator[np.ndarray]:
    """Yield blocks of the matrix |xᵢ − yⱼ|²: some rows of x, all of y."""
    lengths = np.square(y).sum(axis=1)
    for rows in _blocks(x):
        yield np.square(rows).sum(axis=1)[:, None] + lengths - 2 * rows @ y.T


def _blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(x), BLOCK):
        yield x[start : start + BLOCK]


def _checked_pair(real: FeatureMatrix, fake: FeatureMatrix, minimum: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
    x = input_checks.check_features(real, minimum, metric, "real")
    y = input_checks.check_features(fake, minimum, metric, "translated")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{metric}: features of {x.shape[1]} and of {y.shape[1]} values; use one extractor for both")
    return x, y


def _estimate_by_halves(
    metric: Callable[[np.ndarray, np.ndarray], float], x: np.ndarray, y: np.ndarray, seed: int, halves: int
) -> Estimate:
    """Return the metric of two sets of features, with the error of random halves."""
    half_values = [metric(x[i], y[j]) for i, j in random_halves(len(x), len(y), seed, halves)]
    return estimate_from_halves(metric(x, y), half_values, min(len(x), len(y)))
