"""Validation: metrics of the model on a fixed set while it is trained; the best model so far is kept beside the newest."""

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from translate import atomic
from translate.errors import TranslateError
from translate.run_folder import BEST_MODEL, VALIDATED_MODEL
from translate.text import format_number
from translate.training.ema import EMA


class ValidationDeferred(Exception):
    """Validation broken off because the training is asked to stop; it runs when the training resumes."""


class ValidationMetrics(Protocol):
    """Metrics of models on the validation set."""

    best_by: str
    """Metric that decides which model is the best."""
    higher_is_better: bool
    """True if larger values of that metric are better."""

    def __call__(self, model: Path, is_stopping: Callable[[], bool]) -> dict[str, float]:
        """Return the metrics of the model in a folder, by name; further results are written into the folder.

        Raises ValidationDeferred soon after `is_stopping` returns True, TranslateError where metrics cannot be computed.
        """
        ...


class Validation:
    """Validation of a training: metrics of the raw and the averaged networks, the best model, and early stopping.

    `patience`: validations in a row without a better model after which the training should stop; None: it never should.
    """

    def __init__(
        self,
        measure: ValidationMetrics,
        folder: Path,
        write_model: Callable[[Path], None],
        ema: EMA,
        patience: int | None,
        say: Callable[[str], None],
    ) -> None:
        self.measure, self.folder, self.write_model, self.ema = measure, folder, write_model, ema
        self.patience, self.say = patience, say
        self.best: float | None = None
        self.best_at = self.misses = 0
        self.is_deferred = False
        """True if a validation is due, because a signal deferred it."""
        self._warned: set[str] = set()

    @property
    def should_stop(self) -> bool:
        """True once `patience` validations in a row have found no better model."""
        return self.patience is not None and self.misses >= self.patience

    def state(self) -> dict[str, Any]:
        """Return the state for the checkpoint: the best value, when it was reached, and validations since then."""
        best = {"best": self.best, "best_at": self.best_at, "misses": self.misses}
        return {"chosen": self.measure.best_by, **best, "due": self.is_deferred}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; the search for the best begins anew if it is empty or another metric decides."""
        known = state.get("chosen") == self.measure.best_by
        self.best = state["best"] if known else None
        self.best_at, self.misses = (state["best_at"], state["misses"]) if known else (0, 0)
        self.is_deferred = state.get("due", False)

    def __call__(self, images_seen: int, is_stopping: Callable[[], bool] = lambda: False) -> dict[str, float]:
        """Return the metrics by "val/name" and, of averaged networks, "val_ema/name", and the seconds that they took.

        Deferred, without metrics, where the training is asked to stop meanwhile. Metrics that cannot be computed are warned of
        once and left out.
        """
        begun = time.monotonic()
        model = self.folder / VALIDATED_MODEL
        self.is_deferred = True
        try:
            metrics = self._measure(model, "val", is_stopping)
            if self.ema:
                with self.ema.swapped_in():
                    metrics |= self._measure(model, "val_ema", is_stopping)
            self._keep_if_best(model, metrics, images_seen)
            self.is_deferred = False
        except ValidationDeferred:
            metrics = {}
        except (TranslateError, OSError) as e:
            self._warn(f"warning: no validation after {images_seen} images: {e}")
            metrics, self.is_deferred = {}, False
        finally:
            shutil.rmtree(model, ignore_errors=True)
        return metrics | {"time/validation_seconds": time.monotonic() - begun}

    def _measure(self, model: Path, group: str, is_stopping: Callable[[], bool]) -> dict[str, float]:
        """Return the metrics of the method's networks as they are; their model stays in the folder `model`."""
        shutil.rmtree(model, ignore_errors=True)
        model.mkdir()
        self.write_model(model)
        return {f"{group}/{name}": value for name, value in self.measure(model, is_stopping).items()}

    def _keep_if_best(self, model: Path, metrics: Mapping[str, float], images_seen: int) -> None:
        """Keep the model that was measured last, the averaged one where EMA is on, if it is the best so far."""
        group = "val_ema" if self.ema else "val"
        value = metrics[f"{group}/{self.measure.best_by}"]
        is_best = self.best is None or (value > self.best if self.measure.higher_is_better else value < self.best)
        if is_best:
            self.best, self.best_at, self.misses = value, images_seen, 0
            atomic.replace_folder(self.folder / BEST_MODEL, lambda folder: _copy(model, folder))
        else:
            self.misses += 1
        best = "the best so far" if is_best else f"the best was {format_number(self.best or 0)} after {self.best_at}"
        self.say(f"validation after {images_seen} images: {self.measure.best_by} {format_number(value)}, {best}")

    def _warn(self, line: str) -> None:
        kind = line.partition("images: ")[2]
        if kind not in self._warned:
            self._warned.add(kind)
            self.say(line)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)
