"""Actions due between the steps of a training, and the numbers of images after which they are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cadence:
    """Numbers of images after which each thing is done; None: with each checkpoint, and checkpoints by the clock."""

    log_every: int
    save_every: int | None
    sample_every: int | None
    keep_every: int | None = None
    """Interval of the checkpoints that are kept, each with its model; None: only the newest are."""
    evaluate_every: int | None = None
    """Interval of the validations; None: there are none."""


def crosses_multiple(before: int, now: int, every: int | None) -> bool:
    """Return True if a multiple of `every` lies in (before, now]; False for None."""
    return every is not None and now // every > before // every


@dataclass(frozen=True)
class Due:
    """Actions due after a step; the same on all processes, but for `samples`, which the main process alone acts on."""

    divergence_check: bool
    samples: bool
    validation: bool
    log: bool
    checkpoint: bool
    stop_signal: int
    """Number of the signal that asks for the end; 0: none."""
