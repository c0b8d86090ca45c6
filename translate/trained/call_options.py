"""Options of a translator, and the kinds of images that it takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image
from torch import Tensor

from translate.trained.label_images import LabelImage

AnyImage = Image.Image | str | Path | np.ndarray | Tensor
"""Kinds of images that a translator takes, and gives back; a path gives a Pillow image."""


class TranslateOptions(TypedDict, total=False):
    """Options of a call of a translator."""

    seed: int
    sample: int
    style: AnyImage | None
    pixels: str
    instances: LabelImage | Sequence[LabelImage] | None
