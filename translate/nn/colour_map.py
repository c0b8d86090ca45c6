"""Linear map between the colours of two domains: optimal transport between the Gaussians of their pixels."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PixelStatistics:
    """Mean (C,) and covariance (C, C) of the pixels of some images, float64."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, batches: Iterable[Tensor]) -> "PixelStatistics":
        """Accumulate the statistics of batches (N, C, H, W) in [-1, 1]."""
        count, total, squares = 0, torch.zeros(1), torch.zeros(1)
        for batch in batches:
            pixels = batch.double().transpose(0, 1).flatten(1)
            count += pixels.shape[1]
            total, squares = total + pixels.sum(dim=1), squares + pixels @ pixels.T
        mean = total / count
        return cls(mean, squares / count - torch.outer(mean, mean))


def _root(matrix: Tensor, power: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0) ** power @ vectors.T


def optimal_transport_map(
    source: PixelStatistics, target: PixelStatistics, limits: tuple[float, float] = (0.25, 1.25)
) -> tuple[Tensor, Tensor]:
    """Return the matrix T (C, C) and bias (C,) of y = T x + bias, in [-1, 1], with T's singular values in `limits`."""
    eye = 1e-4 * torch.eye(len(source.mean), dtype=torch.float64)
    root, inverse = (_root(source.covariance + eye, power) for power in (0.5, -0.5))
    matrix = inverse @ _root(root @ (target.covariance + eye) @ root, 0.5) @ inverse
    u, s, vh = torch.linalg.svd(matrix)
    matrix = u * s.clamp(*limits) @ vh
    return matrix, target.mean - matrix @ source.mean
