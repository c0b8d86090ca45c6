"""Inputs that a method makes of photos, which are then the true outputs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from translate import images
from translate.evaluation.image_sets import ImageSet

MADE_FORMAT = "8 bits, made of the photos"
"""Format of inputs that are made, for the protocol."""


@dataclass(frozen=True)
class InputMaker:
    """Rule by which a method makes inputs of photos, applied to sets of images."""

    make_input: Callable[[Tensor, Tensor], Tensor]
    """Function of a photo (1, C, H, W) in [-1, 1] and its key (1,) that gives the input (1, C, h, w)."""
    copy_input: Callable[[Tensor], Tensor]
    """Function of an input that gives it as an image of the photo's size (1, C, H, W)."""
    multiple: int
    """Number of pixels of which the height and width of a photo are multiples."""
    key_of: Callable[[np.ndarray], int]
    """Function of pixels (H, W, C) uint8 that gives the key of a photo."""
    device: torch.device
    description: str
    """Text that is the same for rules that make the same inputs."""

    def fit(self, photos: ImageSet) -> ImageSet:
        """Return photos cropped at the right and the bottom to sizes of which inputs are made."""

        def fitted(photo: Tensor) -> Tensor:
            height, width = (length // self.multiple * self.multiple for length in photo.shape[1:])
            return photo[:, :height, :width].contiguous()

        return replace(photos, stored=tuple(map(fitted, photos.stored)))

    def make(self, photos: ImageSet) -> ImageSet:
        """Return the inputs of photos that fit, in 8 bits."""
        made = []
        for i, pixels in enumerate(photos):
            key = torch.tensor([self.key_of(pixels[0].permute(1, 2, 0).numpy())], device=self.device)
            made.append(_quantized(self.make_input(photos.normalized(i).to(self.device), key)))
        return ImageSet(photos.names, tuple(made), formats=MADE_FORMAT)

    def copy(self, inputs: ImageSet) -> ImageSet:
        """Return inputs as images of the photos' size: what copying an input means."""
        copied = (_quantized(self.copy_input(inputs.normalized(i).to(self.device))) for i in range(len(inputs)))
        return ImageSet(inputs.names, tuple(copied), formats="8 bits, lossless")

    def make_copies(self, photos: ImageSet) -> ImageSet:
        """Return the inputs of photos as images of their size."""
        return self.copy(self.make(self.fit(photos)))


def _quantized(x: Tensor) -> Tensor:
    return images.quantize(x[0].cpu())
