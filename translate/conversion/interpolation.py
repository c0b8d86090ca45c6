"""Animations between generated images: the style codes go from one image to the next, and back to the first."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from translate import images
from translate.images import Frame, Picture

FRAME_MILLISECONDS = 40.0
"""Duration of a frame."""


class StyleSampler(Protocol):
    """Generator of images from style codes, as `sampling.ImageSampler`."""

    def styles(self, numbers: Sequence[int], seed: int = 0) -> Tensor:
        """Return the style codes (N, D) of images by their numbers."""
        ...

    def from_styles(self, styles: Tensor) -> Tensor:
        """Generate images (N, C, H, W) in [-1, 1] from style codes (N, D)."""
        ...


def path_of_styles(ends: Tensor, steps: int) -> Tensor:
    """Return style codes on the closed way through `ends` (K, D): (K · steps, D), straight and even between two of them."""
    share = torch.arange(steps, device=ends.device, dtype=ends.dtype)[None, :, None] / steps
    following = ends.roll(-1, 0)
    return torch.lerp(ends[:, None], following[:, None], share).flatten(0, 1)


def frames(sampler: StyleSampler, numbers: Sequence[int], seed: int, steps: int, batch_size: int) -> Iterator[Frame]:
    """Yield the frames of an animation through the images of these numbers, with `steps` from one to the next."""
    for codes in path_of_styles(sampler.styles(numbers, seed), steps).split(batch_size):
        for image in sampler.from_styles(codes):
            yield Frame(Picture(images.to_array(image, np.dtype("uint8"))), FRAME_MILLISECONDS)
