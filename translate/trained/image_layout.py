"""Layout of images for a network and after it: padding to the size rule, and rows of several outputs."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def concatenate_images(picture: Tensor, results: Sequence[Tensor]) -> Tensor:
    """Return the only output (C, H, W), or the input and several outputs side by side (C, H, W · (1 + outputs))."""
    return results[0] if len(results) == 1 else torch.cat([picture, *results], dim=2)


def padded_length(length: int, multiple_of: int, minimum: int) -> int:
    """Return the length that a side of an image is padded to by the size rule."""
    return -(-max(length, minimum) // multiple_of) * multiple_of


def pad_to_size_rule(x: Tensor, multiple_of: int, minimum: int) -> Tensor:
    """Pad (C, H, W) at the right and the bottom up to the size rule.

    By reflection, or by the edge pixels where the padding is larger than the image.
    """
    for axis in (1, 2):
        length = x.shape[axis]
        extra = padded_length(length, multiple_of, minimum) - length
        if extra:
            mode = "reflect" if extra < length else "replicate"
            x = F.pad(x, [0, extra] if axis == 2 else [0, 0, 0, extra], mode=mode)
    return x
