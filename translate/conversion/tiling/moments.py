"""Moments: mean and variance of every channel of a map that arrives in parts."""

import torch
from torch import Tensor


class Moments:
    """Accumulator of count, mean and sum of squared deviations of each channel, in float64.

    Each part is centred on its own mean before it is squared, and parts are merged by the formula of Chan, Golub and LeVeque
    ("Algorithms for computing the sample variance", 1983, eq. 2.1): a sum of squares less the square of the sum would
    cancel where a mean is large beside its deviation.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        """Mean, (C,)."""
        self.squares: Tensor | None = None
        """Sum of squared deviations from the mean, (C,)."""

    def add(self, x: Tensor) -> None:
        """Add a part, (1, C, h, w), which is overwritten."""
        count, mean, squares = _moments_of(x)
        if self.mean is None or self.squares is None:
            self.count, self.mean, self.squares = count, mean, squares
            return
        total, apart = self.count + count, mean - self.mean
        self.squares = self.squares + squares + apart.square() * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total

    def result(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance of each channel, (C,), on the device of `like` and at least in float32."""
        assert self.mean is not None and self.squares is not None, "the map has been seen"
        dtype = torch.promote_types(like.dtype, torch.float32)
        return self.mean.to(like.device, dtype), (self.squares / self.count).to(like.device, dtype)


def _moments_of(x: Tensor) -> tuple[int, Tensor, Tensor]:
    """Return count, mean and squared deviations of a part.

    Sums of rows are short enough for the type of x; all that follows is in float64.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    count = x.shape[2] * x.shape[3]
    shift = (_sums(x) / count).to(x.dtype)
    centred = x.sub_(shift.to(x.device).view(1, -1, 1, 1))
    left = _sums(centred) / count  # what the rounding of the shift has left
    squares = _sums(centred.square_()) - count * left.square()
    return count, shift.double() + left, squares


def _sums(x: Tensor) -> Tensor:
    """Return the sum of each channel, (C,) float64, on the host: not every device has float64."""
    return x.sum(3).cpu().double().sum((0, 2))
