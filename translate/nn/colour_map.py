"""Linear colour map between two domains: the optimal transport between the Gaussians of their pixels, without any training.

The Gaussian of a domain has the mean and the covariance of its pixels' channels. Of all maps that carry one Gaussian to the
other, the linear one of `optimal_transport_map` moves colours least (Pitié and Kokaram, "The Linear Monge-Kantorovitch Linear
Colour Mapping for Example-Based Colour Transfer", CVMP 2007).
"""

from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-4
"""Variance that is added to each channel, so that domains of one colour or of grey images in RGB have a map, too."""


class PixelStatistics:
    """Accumulator of the number of pixels and of their channels' mean and covariance, in float64 on the host.

    Parts are centred on their own means and merged by the formula of Chan, Golub and LeVeque ("Algorithms for computing the
    sample variance", 1983, eq. 2.1), so that nothing cancels.
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64)
        """Mean, (C,)."""
        self._products = torch.zeros(channels, channels, dtype=torch.float64)

    @staticmethod
    def of(batches: Iterable[Tensor]) -> "PixelStatistics":
        """Return the statistics of batches of images (N, C, H, W), of which there is at least one."""
        remaining = iter(batches)
        first = next(remaining)
        statistics = PixelStatistics(first.shape[1]).add(first)
        for batch in remaining:
            statistics.add(batch)
        return statistics

    @property
    def covariance(self) -> Tensor:
        """Covariance of the pixels that were added, (C, C), divided by their number. Zeros before the first."""
        return self._products / max(self.count, 1)

    def add(self, images: Tensor) -> Self:
        """Add the pixels of images (N, C, H, W). Returns itself."""
        pixels = images.detach().movedim(1, 0).flatten(1).cpu().double()
        part = PixelStatistics(len(pixels))
        part.count = pixels.shape[1]
        part.mean = pixels.mean(1)
        centred = pixels - part.mean[:, None]
        part._products = centred @ centred.T
        return self.merge(part)

    def merge(self, other: "PixelStatistics") -> Self:
        """Add the pixels that another accumulator has seen. Returns itself."""
        total = self.count + other.count
        if total == self.count:
            return self
        apart = other.mean - self.mean
        self._products = self._products + other._products + apart.outer(apart) * (self.count * other.count / total)
        self.mean = self.mean + apart * (other.count / total)
        self.count = total
        return self


def optimal_transport_map(
    source: PixelStatistics, target: PixelStatistics, limits: tuple[float, float] = (0.25, 1.25)
) -> tuple[Tensor, Tensor]:
    """Return matrix (C, C) and bias (C,), in float64, of the map x → matrix · x + bias from the source's colours to the target.

    The matrix is Σa^−½ (Σa^½ Σb Σa^½)^½ Σa^−½ for the covariances Σa and Σb, and the bias carries mean to mean. The singular
    values of the matrix, its factors of contrast, are clamped to the limits: a larger factor would amplify noise and traces of
    JPEG, a smaller one would make a picture grey for good.
    """
    floor = VARIANCE_FLOOR * torch.eye(len(source.mean), dtype=torch.float64)
    a, b = source.covariance + floor, target.covariance + floor
    root = _power(a, 0.5)
    matrix = _power(a, -0.5) @ _power(root @ b @ root, 0.5) @ _power(a, -0.5)
    matrix = _clamp_eigenvalues((matrix + matrix.T) / 2, limits)
    return matrix, target.mean - matrix @ source.mean


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Return a power of a symmetric positive definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values**exponent @ vectors.T


def _clamp_eigenvalues(matrix: Tensor, limits: tuple[float, float]) -> Tensor:
    """Clamp the eigenvalues of a symmetric positive matrix, which are its singular values."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(*limits) @ vectors.T


def describe_colour_map(matrix: Tensor, bias: Tensor, source: PixelStatistics) -> str:
    """Return a line for people on what a map does to the source's colours, images being in [-1, 1].

    It has the mean colour before and after, in 0…255 as in an 8-bit file, and the contrast of each channel in per cent: the
    standard deviation after the map beside that before.
    """
    after = matrix @ source.mean + bias
    covariance = source.covariance + VARIANCE_FLOOR * torch.eye(len(bias), dtype=torch.float64)
    contrast = ((matrix @ covariance @ matrix.T).diagonal() / covariance.diagonal()).sqrt()
    factors = ", ".join(f"{100 * factor:.0f} %" for factor in contrast.tolist())
    return f"mean colour {_levels(source.mean)} → {_levels(after)}, contrast {factors}"


def _levels(colour: Tensor) -> str:
    """Format a colour (C,) in [-1, 1] as levels of 8 bits."""
    return "(" + ", ".join(f"{127.5 * (value + 1):.0f}" for value in colour.tolist()) + ")"
