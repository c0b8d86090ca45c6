"""Distances between images of 8 bits: (H, W, C) uint8, or more leading axes, of equal shape."""

import math

import numpy as np


def l1(x: np.ndarray, y: np.ndarray) -> float:
    """Mean absolute difference, of 255."""
    return float(np.abs(_difference(x, y)).mean())


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, peak 255; infinite for equal images."""
    mean_square = float(np.square(_difference(x, y)).mean())
    return math.inf if mean_square == 0 else 10 * math.log10(255**2 / mean_square)


def _difference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.shape != y.shape:
        raise ValueError(f"images of unlike shapes: {x.shape} and {y.shape}")
    return x.astype(np.float64) - y.astype(np.float64)
