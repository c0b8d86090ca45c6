"""Standard errors and confidence intervals of metrics: bootstrap, jackknife and random halves.

Nothing here depends on the order in which images were listed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from translate import keyed_random
from translate.evaluation.input_checks import sort_rows

RESAMPLES = 1000
"""Resamples of a bootstrap."""

HALVES = 10
"""Random halves of both sets from which the error of a value is taken."""

BLOCK = 100
"""Resamples that are held in memory at a time."""


@dataclass(frozen=True)
class Estimate:
    """The value of a metric with its standard error and confidence interval."""

    value: float
    error: float | None = None
    """Standard error, in the value's unit; None where it is not known."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval; None where it is not known."""


def mean_interval(values: Tensor | np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Return the mean of one value per image, (N,), with the standard error and 95 % interval of a bootstrap.

    Error and interval are None for a single image, and where the mean is not finite (the PSNR of equal images).
    """
    column = torch.as_tensor(values).double().cpu()[:, None]
    return bootstrap(lambda means: means[..., 0], column, seed=seed, resamples=resamples)


def bootstrap(statistic: Callable[..., Tensor], *sets: Tensor, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Return a statistic of the mean rows of some sets, (N, D) each, with its standard error and percentile interval.

    Whole images are drawn with replacement from each set on its own (Efron and Tibshirani, 1993, sec. 6.2, 8.3 and 13.3).
    `statistic` takes one (..., D) tensor per set and returns (...,).
    """
    ordered = [torch.from_numpy(sort_rows(rows.double().cpu().numpy())) for rows in sets]
    value = float(statistic(*(rows.mean(dim=0) for rows in ordered)))
    if not np.isfinite(value) or min(map(len, ordered)) < 2:
        return Estimate(value)
    draws = statistic(*(_resampled_means(rows, seed, number, resamples) for number, rows in enumerate(ordered)))
    low, high = torch.quantile(draws, torch.tensor([0.025, 0.975], dtype=draws.dtype)).tolist()
    return Estimate(value, float(draws.std()), (low, high))


def _resampled_means(rows: Tensor, seed: int, number: int, resamples: int) -> Tensor:
    """Return the mean row of each resample of set `number`: (resamples, D)."""
    count = len(rows)
    means = []
    for keys in keyed_random.fold_in(torch.arange(resamples), seed, "bootstrap", number).split(BLOCK):
        drawn = (keyed_random.uniform(keys, "rows", count).double() * count).long()
        times = torch.zeros(len(keys), count, dtype=rows.dtype).scatter_add_(1, drawn, torch.ones_like(drawn).to(rows))
        means.append(times @ rows / count)
    return torch.cat(means)


def random_halves(real: int, fake: int, seed: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return `count` pairs of row indices: half the rows of each of two sets, drawn without replacement.

    The list is empty for sets of fewer than 4 rows.
    """
    if min(real, fake) < 4:
        return []
    return [(_half(real, seed, "real", number), _half(fake, seed, "fake", number)) for number in range(count)]


def _half(rows: int, seed: int, name: str, number: int) -> np.ndarray:
    return keyed_random.permutation(rows, seed, "half", name, number)[: rows // 2].numpy()


def estimate_from_halves(value: float, half_values: list[float], rows: int) -> Estimate:
    """Return the value of `rows` images as an Estimate, whose standard error comes from the values on random halves.

    The delete-d jackknife (Shao and Wu, "A general theory for jackknife variance estimation", Annals of Statistics 17,
    1989), which for halves is the plain spread. From ten halves the error is good to about a quarter; without halves it is
    None.
    """
    if not half_values:
        return Estimate(value)
    kept = rows // 2
    return Estimate(value, float(np.std(half_values)) * (kept / (rows - kept)) ** 0.5)
