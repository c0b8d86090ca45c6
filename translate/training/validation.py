"""Measuring the model on a fixed set while it is trained; the best one so far is kept beside the newest."""

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
    """The training is asked to stop: the rest of a measurement is left until it goes on."""


class ValidationMetrics(Protocol):
    """Figures of models on the validation set."""

    best_by: str
    """The figure that decides which is the best."""
    higher_is_better: bool
    """Whether more of it is better."""

    def __call__(self, model: Path, is_stopping: Callable[[], bool]) -> dict[str, float]:
        """Figures of the model in a folder, by name; what else is to be kept of it is written there.

        Raises PutOffError soon after `is_stopping`, TranslateError where they cannot be had.
        """
        ...


class Validation:
    """Measures the model as it is, raw and averaged, and keeps the best as it would be exported.

    `patience`: how many measurements in a row may be no better than the best before the training should end; None: any.
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
        """Whether a measurement was put off."""
        self._warned: set[str] = set()

    @property
    def should_stop(self) -> bool:
        """Whether it has been patient long enough."""
        return self.patience is not None and self.misses >= self.patience

    def state(self) -> dict[str, Any]:
        """Which model was the best, and since when; part of the checkpoint."""
        found = {"best": self.best, "best_at": self.best_at, "misses": self.misses}
        return {"chosen": self.measure.best_by, **found, "due": self.is_deferred}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The reverse of `state`; with nothing in it, or another figure that decides, the search begins anew."""
        known = state.get("chosen") == self.measure.best_by
        self.best = state["best"] if known else None
        self.best_at, self.misses = (state["best_at"], state["misses"]) if known else (0, 0)
        self.is_deferred = state.get("due", False)

    def __call__(self, images_seen: int, is_stopping: Callable[[], bool] = lambda: False) -> dict[str, float]:
        """The figures of now, by "val/name" and, of averaged weights, "val_ema/name"; and the seconds that it took.

        Put off, without figures, where the training is asked to stop meanwhile.
        """
        begun = time.monotonic()
        place = self.folder / VALIDATED_MODEL
        self.is_deferred = True
        try:
            figures = self._measured(place, "val", is_stopping)
            if self.ema:
                with self.ema.swapped_in():
                    figures |= self._measured(place, "val_ema", is_stopping)
            self._keep_if_best(place, figures, images_seen)
            self.is_deferred = False
        except ValidationDeferred:
            figures = {}
        except (TranslateError, OSError) as e:
            self._warn(f"warning: no validation after {images_seen} images: {e}")
            figures, self.is_deferred = {}, False
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return figures | {"time/validation_seconds": time.monotonic() - begun}

    def _measured(self, place: Path, room: str, is_stopping: Callable[[], bool]) -> dict[str, float]:
        """Figures of the method's networks as they are; their model stays in `place`."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        self.write_model(place)
        return {f"{room}/{name}": value for name, value in self.measure(place, is_stopping).items()}

    def _keep_if_best(self, place: Path, figures: Mapping[str, float], images_seen: int) -> None:
        """What was measured last, the averages if there are any, is what would be exported."""
        room = "val_ema" if self.ema else "val"
        value = figures[f"{room}/{self.measure.best_by}"]
        is_best = self.best is None or (value > self.best if self.measure.higher_is_better else value < self.best)
        if is_best:
            self.best, self.best_at, self.misses = value, images_seen, 0
            atomic.replace_folder(self.folder / BEST_MODEL, lambda new: _copy(place, new))
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
