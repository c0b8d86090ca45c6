"""Types of the functions and objects that a caller gives to long tasks. Imports nothing of the package."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

ProgressCallback = Callable[[int, int, int], None]
"""Function of (images finished, images failed, images in all), called after each of them."""

SayCallback = Callable[[str], None]
"""Function of a line of progress or advice."""


def ignore_progress(finished: int, failed: int, total: int) -> None:
    """Do nothing: the progress callback of a caller who wants none."""


def ignore_line(line: str) -> None:
    """Do nothing: where lines go with `say=None`."""


class TrainingCallback:
    """Base class of callbacks of a training; override the methods to be called.

    Any other object with some of these methods will do. They are called in the main process alone, between steps. What they get
    is plain: numbers, texts, paths, and dictionaries of these, which are copies. An exception in one of them is reported in one
    line, and the training continues.
    """

    strict: bool = False
    """True: an exception in a method ends the training."""

    def on_step(self, images: int) -> None:
        """Take the number of training images seen, after each step."""

    def on_log(self, values: dict[str, Any]) -> None:
        """Take a log point as `stats.jsonl` has it: `images`, and scalars by name, such as "loss/g/l1"."""

    def on_sample(self, path: Path) -> None:
        """Take the path of a new sample grid."""

    def on_validation(self, metrics: dict[str, Any]) -> None:
        """Take `images`, and metrics of the validation by name, such as "val/l1"."""

    def on_end(self, result: dict[str, Any]) -> None:
        """Take `images`, `planned` and `outcome`: "finished", "stopped early", "interrupted" or "failed"."""
