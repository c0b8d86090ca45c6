"""Micro-batches: a batch in equal parts, whose steps advance in lockstep from yield to yield."""

from collections.abc import Iterator, Sequence

import torch

from translate.methods.base import Batch, Losses, Step
from translate.runtime.precision import Precision


def split_batch(batch: Batch, parts: int) -> list[Batch]:
    """Return a batch as `parts` micro-batches of equal size."""
    chunks = {name: tensor.chunk(parts) for name, tensor in batch.items()}
    return [{name: chunk[i] for name, chunk in chunks.items()} for i in range(parts)]


def next_micro_batch_count(batch_size: int, parts: int, multiple: int, smallest: int = 1) -> int | None:
    """Return the next number of equal micro-batches that is at least twice `parts`; None if there is none.

    Each micro-batch holds a multiple of `multiple` images, and at least `smallest`.
    """
    return next((n for n in range(2 * parts, batch_size // smallest + 1) if batch_size % (n * multiple) == 0), None)


def next_losses(steps: Sequence[Step], precision: Precision, device: torch.device) -> Iterator[tuple[str, Losses]]:
    """Advance the step of each micro-batch to its next yield, one after another; empty when the steps have ended.

    Yields the update and its losses. The caller runs the backward pass before it asks for those of the next micro-batch, so
    that the activations of one micro-batch are in memory at a time. RuntimeError where the micro-batches yield different
    updates, or a step yields within `no_grad` or `autocast`.
    """
    update: str | None = None
    for number, step in enumerate(steps):
        with precision.autocast(device):
            item = next(step, None)
            _check_modes(precision, device)
        name = item[0] if item is not None else None
        if number == 0:
            update = name
        elif name != update:
            raise RuntimeError(f"micro-batches disagree on the update: {update!r} and {name!r}")
        if item is not None:
            yield item


def _check_modes(precision: Precision, device: torch.device) -> None:
    if not torch.is_grad_enabled():
        raise RuntimeError("a step must not yield within no_grad")
    if torch.is_autocast_enabled(device.type) != (precision.compute is not None):
        raise RuntimeError("a step must not yield within autocast")
