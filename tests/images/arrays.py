"""Arrays of pixels for tests of images."""

import numpy as np

H, W = 5, 6
"""Height and width of most test images."""


def integers(shape, top=255, seed=0):
    return np.random.default_rng(seed).integers(0, top + 1, shape)


def bytes_of(channels):
    return integers((H, W, channels)).astype(np.uint8)


def smooth(height, width, channels=3):
    """Colours that change slowly, so that lossy formats keep them."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    return np.stack([255 * x, 255 * y, 255 * (1 - x)][:channels], axis=2).round().astype(np.uint8)


def as_rgb(grey):
    return np.repeat(np.asarray(grey, dtype=float)[:, :, None], 3, axis=2)


BYTES = integers((H, W, 3)).astype(np.uint8)
