"""Detection of losses, gradients and weights that are not finite, on the device and without waiting for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_NEVER = 2**62


@dataclass(frozen=True)
class Divergence:
    """Divergence of a training: the first step with numbers that were not finite."""

    step: int
    """Number of the step, counted from 1."""
    images: int
    """Training images seen before it."""
    names: tuple[str, ...]
    """Names of the losses (update/name), gradients or weights."""

    def __str__(self) -> str:
        return f"{', '.join(self.names)} was not finite in step {self.step} (after {self.images} images)"


class NonFiniteTracker:
    """Record of the images that had been seen when each number was first not finite, kept on the device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._first: dict[tuple[str, ...], Tensor] = {}

    def record(self, names: Sequence[str], values: Tensor, images: float | Tensor) -> None:
        """Record which of the values (len(names),) are not finite after so many images, which may be a 0-dim tensor."""
        key = tuple(names)
        if key not in self._first:
            self._first[key] = torch.full((len(key),), _NEVER, device=self.device)
        seen = torch.where(torch.isfinite(values), _NEVER, images)
        torch.minimum(self._first[key], seen, out=self._first[key])  # in place: a graph that is replayed writes to it

    def first(self) -> tuple[int, tuple[str, ...]] | None:
        """Return the images before the first step with numbers that were not finite, and their names; None without.

        Waits for the device.
        """
        if not self._first:
            return None
        seen = torch.cat(list(self._first.values())).tolist()
        first = min(seen)
        if first == _NEVER:
            return None
        names = (name for key in self._first for name in key)
        return first, tuple(name for name, images in zip(names, seen, strict=True) if images == first)

    def reset(self) -> None:
        """Forget all that was seen, as after the return to a checkpoint."""
        self._first.clear()


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Return True if all numbers of the floating-point tensors, on one device, are finite. Waits for the device."""
    floating = [x for x in tensors if x.is_floating_point() and x.numel()]
    return not floating or bool(torch.isfinite(torch.nn.utils.get_total_norm(floating, float("inf"))))
