"""The training loop: steps, and between them what has to be done every so many images or minutes."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from translate import images, runtime
from translate.errors import Interrupted
from translate.methods.base import Batch
from translate.training import checkpoint
from translate.training.engine import Engine, split_batch
from translate.training.log import Log

CHECKPOINT_SECONDS = 300.0
"""Longest time between checkpoints where `--save-every` is not given."""


@dataclass(frozen=True)
class Cadence:
    """After how many images each thing is done; None: with each checkpoint, and checkpoints by the clock."""

    log_every: int
    save_every: int | None
    sample_every: int | None


def passed(before: int, now: int, every: int | None) -> bool:
    """Whether a multiple of `every` was reached on the way from `before` to `now`."""
    return every is not None and now // every > before // every


def train(
    engine: Engine,
    batches: Iterator[Batch],
    folder: Path,
    *,
    accumulate: int,
    cadence: Cadence,
    sample: Batch,
    write_model: Callable[[Path], None],
    extra_state: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    """Steps until the plan is fulfilled or a signal comes; then, and every so often, saves the whole state.

    `sample` is the fixed batch of the sample grids, `write_model` fills the model folder, `extra_state` goes into every
    checkpoint. Raises Interrupted after a clean save, DivergedError where losses are no longer finite.
    """
    first = runtime.rank() == 0
    quiet: Callable[[str], None] = say if first else lambda _: None
    log = Log(folder, engine.images, quiet) if first else None
    planned = engine.schedule.planned
    started = last_save = time.monotonic()
    waited = 0.0
    saved_at = shown_at = engine.images
    since_log = engine.images
    means = Means()

    def save() -> None:
        nonlocal last_save, saved_at
        engine.check_finite()
        state = engine.state()
        if first:
            checkpoint.save(folder, {**state, **extra_state})
            checkpoint.replace_folder(folder / "model", write_model)
        last_save, saved_at = time.monotonic(), engine.images

    def show() -> None:
        nonlocal shown_at
        if log is not None:
            log.grid(engine.images, images.grid(preview(engine, sample)))
        shown_at = engine.images

    if log is not None and engine.images == 0:
        log.text("config", "\n".join(f"    {line}" for line in (folder / "config.toml").read_text().splitlines()))
        show()
    try:
        with runtime.stop_on_signal() as stop:
            while not engine.finished:
                asked = time.monotonic()
                batch = next(batches)
                waited += time.monotonic() - asked
                before = engine.images
                means.add(engine.step(split_batch(batch, accumulate)))
                now = engine.images
                if passed(before, now, cadence.log_every) or engine.finished:
                    engine.check_finite()
                    values = {f"loss/{name}": value for name, value in means.read().items()}
                    values |= {f"lr/{name}": rate for name, rate in engine.rates().items()}
                    values["epoch"] = engine.clock.epoch
                    seconds = time.monotonic() - started
                    values["time/images_per_second"] = (now - since_log) / max(seconds, 1e-9)
                    values["time/data_wait"] = waited / max(seconds, 1e-9)
                    if log is not None:
                        log.scalars(now, values)
                        log.console(now, planned, values)
                    started, waited, since_log = time.monotonic(), 0.0, now
                elif engine.device.type == "cpu":
                    engine.check_finite()  # costs nothing where there is no device to wait for
                due = int(time.monotonic() - last_save > CHECKPOINT_SECONDS) if cadence.save_every is None else 0
                agreed = runtime.agree(2 * stop.signal + due)  # all processes save, and stop, at the same step
                saves = passed(before, now, cadence.save_every) or bool(agreed)
                if passed(before, now, cadence.sample_every) or (saves and cadence.sample_every is None):
                    show()
                if saves:
                    save()
                if agreed > 1:
                    message = f"stopped at {now} of {planned} images; the same command goes on from there"
                    raise Interrupted(message, agreed // 2)
            if shown_at != engine.images:
                show()
            if saved_at != engine.images or not (folder / "model").is_dir():
                save()
    finally:
        if log is not None:
            log.close()
    quiet(f"trained on {engine.images} images; model in {folder / 'model'}")


class Means:
    """The mean of each loss over the steps that had it, kept on the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()

    def add(self, losses: dict[str, Tensor]) -> None:
        for name, loss in losses.items():
            self._sums[name] = self._sums[name] + loss if name in self._sums else loss
        self._counts.update(losses.keys())

    def read(self) -> dict[str, float]:
        """The means since the last call, by one copy from the device."""
        sums = torch.stack(list(self._sums.values())).tolist()
        means = {name: total / self._counts[name] for name, total in zip(self._sums, sums, strict=True)}
        self._sums.clear()
        self._counts.clear()
        return means


def preview(engine: Engine, sample: Batch) -> dict[str, Tensor]:
    """The method's columns of sample images, in evaluation mode; leaves no trace in the training."""
    method = engine.method
    keys = torch.arange(len(next(iter(sample.values()))), device=engine.device)
    method.eval()
    try:
        with torch.no_grad(), engine.precision.autocast(engine.device):
            return method.preview({**sample, "key": keys})
    finally:
        method.train()
