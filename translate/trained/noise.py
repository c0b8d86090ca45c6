"""Noise of conversions: its keys, and whether a network has any."""

import hashlib

import numpy as np
from torch import nn

from translate import keyed_random
from translate.nn.blocks import Dropout


def pixel_key(pixels: np.ndarray, seed: int, sample: int = 0) -> int:
    """Derive the key of an image's noise from its pixels, the seed and the sample number."""
    digest = hashlib.sha256()
    for top in range(0, len(pixels), 64):  # strip by strip: a copy of the whole may not fit
        digest.update(np.ascontiguousarray(pixels[top : top + 64]).data)
    return keyed_random.derive_key(seed, sample, int.from_bytes(digest.digest()[:8], "little"))


def has_active_dropout(network: nn.Module) -> bool:
    """Return whether a network drops units in evaluation, by masks that the key of an image decides."""
    return any(isinstance(module, Dropout) and module.active_at_test for module in network.modules())
