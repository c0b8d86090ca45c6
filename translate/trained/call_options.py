"""Options of a translator, and the kinds of images that it takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image
from torch import Tensor

from translate import config
from translate.errors import UsageError
from translate.trained.label_images import LabelImage

AnyImage = Image.Image | str | Path | np.ndarray | Tensor
"""Kinds of images that a translator takes, and gives back; a path gives a Pillow image."""

RUNTIMES = ("torch", "onnx")
"""Libraries that can compute the images of a trained model."""


class TranslateOptions(TypedDict, total=False):
    """Options of a call of a translator."""

    seed: int
    sample: int
    style: AnyImage | None
    pixels: str
    instances: LabelImage | Sequence[LabelImage] | None


def parse_dropout(value: str | bool | None) -> bool | None:
    """Convert "on" and "off" to a bool; UsageError for other texts."""
    if value is None or isinstance(value, bool):
        return value
    if value not in config.ON_OFF:
        raise UsageError(f"--dropout {value}: must be on or off")
    return config.ON_OFF[value]


def check_runtime(runtime: str) -> None:
    """Raise UsageError if images cannot be computed by a library of this name."""
    if runtime not in RUNTIMES:
        raise UsageError(f"--runtime {runtime}: unknown; possible: {', '.join(RUNTIMES)}")
