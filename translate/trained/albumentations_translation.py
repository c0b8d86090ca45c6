"""Translation as a transform of albumentations."""

import os
from pathlib import Path
from typing import Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else it asks the network for its newest version

import numpy as np
from albumentations.core.transforms_interface import (  # type: ignore[import-untyped]
    BaseTransformInitSchema,
    ImageOnlyTransform,
)

from translate.trained.translator import Translator, load

SAMPLES = 1 << 31
"""Numbers of samples that are drawn from, for models with noise."""


class AlbumentationsTranslation(ImageOnlyTransform):
    """Transform that translates an image (H, W, C), uint8 or float32 in [0, 1], with probability `p`; all else stays.

    Args:
        model: A Translator, or what `translate.load` takes, loaded on `device`.
        to: Target domain.
        p: Probability of a translation, 0 to 1.
    """

    class InitSchema(BaseTransformInitSchema):
        """Arguments, as albumentations checks them."""

        model: Any
        to: str
        device: str

    def __init__(self, model: str | Path | Translator, to: str = "b", device: str = "cpu", p: float = 0.5) -> None:
        super().__init__(p=p)
        self.translator = model if isinstance(model, Translator) else load(model, device=device, convolution="direct")
        self.translator.check_target(to)
        self.model, self.to, self.device = self.translator.name, to, device

    def get_params(self) -> dict[str, Any]:
        """Draw the number of the sample, for models with noise."""
        return {"sample": self.py_random.randrange(SAMPLES) if self.translator.has_noise(self.to) else 0}

    def apply(self, img: np.ndarray, sample: int = 0, **params: Any) -> np.ndarray:
        """Translate an image."""
        return self.translator(img, self.to, sample=sample)
