"""Images on their way into and out of a network: padding, keys of their noise, finite values, rows of outputs."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from translate import keyed_random
from translate.errors import NonFiniteError
from translate.runtime.precision import Precision


def check_finite(output: Tensor, precision: Precision) -> None:
    """Raise NonFiniteError, with a remedy, if the output of a network holds NaN or infinite values."""
    if torch.isfinite(output).all():
        return
    remedy = (
        "use --precision fp32, whose numbers reach further"
        if precision.compute is not None
        else "its weights are damaged or its training has diverged: use an earlier checkpoint"
    )
    raise NonFiniteError(f"the network's output is not finite (it holds NaN or infinite values); {remedy}")


def concatenate_images(picture: Tensor, results: Sequence[Tensor]) -> Tensor:
    """Return the only output (C, H, W), or the input and several outputs side by side (C, H, W · (1 + outputs))."""
    return results[0] if len(results) == 1 else torch.cat([picture, *results], dim=2)


def tile_alpha(alpha: np.ndarray | None, width: int) -> np.ndarray | None:
    """Repeat the transparency or a mask (H, W) of an image for a row of images of the given total width."""
    return None if alpha is None else np.tile(alpha, (1, width // alpha.shape[1]))


def pixel_key(pixels: np.ndarray, seed: int, sample: int = 0) -> int:
    """Derive the key of an image's noise from its pixels, the seed and the sample number."""
    digest = hashlib.sha256()
    for top in range(0, len(pixels), 64):  # strip by strip: a copy of the whole may not fit
        digest.update(np.ascontiguousarray(pixels[top : top + 64]).data)
    return keyed_random.derive_key(seed, sample, int.from_bytes(digest.digest()[:8], "little"))


def padded_length(length: int, multiple_of: int, minimum: int) -> int:
    """Return the height or width that a length is padded to by a size rule."""
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
