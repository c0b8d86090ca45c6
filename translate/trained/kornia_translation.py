"""Translation as a transform of kornia."""

from pathlib import Path
from typing import Any

import torch
from kornia.augmentation import IntensityAugmentationBase2D
from torch import Tensor

from translate.trained.augmented import translate_batch
from translate.trained.translator import Translator, load

SAMPLES = 1 << 31
"""Numbers of samples that are drawn from, for models with noise."""


class KorniaTranslation(IntensityAugmentationBase2D):
    """Module that translates each image of a batch (B, C, H, W) in [0, 1] with probability `p`, on the device of the model.

    In an AugmentationSequential, masks, boxes and keypoints stay as they are. No gradient flows through a translation. Torch's
    generator draws which images are translated and, for a model with noise, its numbers.

    Args:
        model: A Translator, or what `translate.load` takes, loaded on `device`.
        p: Probability of a translation, 0 to 1.
        to: Target domain.
    """

    def __init__(
        self, model: str | Path | Translator, p: float = 0.5, to: str = "b", device: str = "auto", keepdim: bool = False
    ) -> None:
        super().__init__(p=p, keepdim=keepdim)
        self.translator = model if isinstance(model, Translator) else load(model, device=device)
        self.translator.check_target(to)
        self.to_domain = to

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw the number of the sample of each image, for models with noise."""
        if not self.translator.has_noise(self.to_domain):
            return {}
        return {"sample": torch.randint(SAMPLES, (batch_shape[0],))}

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """Translate the images that were chosen."""
        if "sample" not in params:
            return translate_batch(self.translator, input.detach(), self.to_domain)
        numbers = params["sample"].tolist()
        parts = [
            translate_batch(self.translator, image[None], self.to_domain, sample=number)
            for image, number in zip(input.detach(), numbers, strict=True)
        ]
        return torch.cat(parts)
