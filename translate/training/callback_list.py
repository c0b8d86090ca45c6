"""Callbacks of a training: each is called where it is due, and an exception in it does not end the training."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from translate.callbacks import TrainingCallback
from translate.errors import Interrupted, UsageError
from translate.text import one_line
from translate.training.engine import Engine

HOOKS = tuple(name for name in vars(TrainingCallback) if name.startswith("on_"))
"""Methods of a callback."""


class CallbackList:
    """Callbacks of a training, called in their order. They get copies, so nothing of the training depends on them."""

    def __init__(self, callbacks: Sequence[Any] = (), say: Callable[[str], None] = lambda line: None) -> None:
        self.callbacks, self.say = tuple(callbacks), say
        self._reported: set[tuple[int, str]] = set()

    def call(self, hook: str, value: Any) -> None:
        """Call a method of all callbacks that have it. An exception is reported once, and raised if the callback is strict."""
        for number, callback in enumerate(self.callbacks):
            try:
                if (function := getattr(callback, hook, None)) is not None:
                    function(copy.deepcopy(value))
            except Exception as e:
                if getattr(callback, "strict", False):
                    raise
                self._report(number, f"{type(callback).__name__}.{hook}", e)

    def _report(self, number: int, name: str, error: Exception) -> None:
        """Say once of each method that it fails."""
        if (number, name) in self._reported:
            return
        self._reported.add((number, name))
        text = one_line(error)
        what = text if text == type(error).__name__ else f"{type(error).__name__}: {text}"
        self.say(f"warning: {name} failed ({what}); training continues, strict = True in the callback would end it")

    def end(self, images: int, planned: int, outcome: str) -> None:
        """Call `on_end`."""
        self.call("on_end", {"images": images, "planned": planned, "outcome": outcome})

    @contextmanager
    def calling_at_end(self, engine: Engine, stops_early: Callable[[], bool]) -> Iterator[None]:
        """Call `on_end` however the training ends; an exception has another outcome, and is never hidden by one of `on_end`."""
        planned = engine.schedule.planned
        try:
            yield
        except BaseException as e:
            outcome = "interrupted" if isinstance(e, Interrupted | KeyboardInterrupt) else "failed"
            try:
                self.end(engine.images, planned, outcome)
            except Exception as other:  # of a strict callback
                self.say(f"warning: on_end failed too ({one_line(other)})")
            raise
        self.end(engine.images, planned, "stopped early" if stops_early() else "finished")


def check_callbacks(callbacks: Sequence[Any]) -> None:
    """Raise UsageError for an object without any of the methods, and for a class in the place of its object."""
    for callback in callbacks:
        if isinstance(callback, type):
            raise UsageError(f"callbacks: {callback.__name__} is a class; give an object of it, {callback.__name__}()")
        if not any(callable(getattr(callback, hook, None)) for hook in HOOKS):
            raise UsageError(f"callbacks: {callback!r} has none of the methods {', '.join(HOOKS)}")
