"""Smoothing of a translated video against flicker, and the measure of flicker.

A network translates each frame by itself, so small changes of the input (noise, compression) may give visible changes of the
output, also where nothing moves. An exponential blend of successive outputs removes them. As in the temporal accumulation of
real-time rendering (Yang, Liu and Salvi, 2020, "A Survey of Temporal Antialiasing Techniques"), the weight of the past falls
with the change of the input, so that what moves is not smeared.
"""

from dataclasses import dataclass

import numpy as np

CHANGE_SCALE = 8 / 255
"""Change of the input, of its range, at which the weight of the past has fallen to 1/e."""
CHANGE_WINDOW = 5
"""Side in pixels of the window over which changes are averaged, since the noise of single pixels is no motion."""
STATIC_CHANGE = 2 / 255
"""Largest change of the input, of its range, at pixels where output changes count as flicker."""


def input_change(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Return the change between two frames (H, W, C) of one type: (H, W) float32 of its range, the largest of the channels."""
    scale = np.float32(1 / np.iinfo(now.dtype).max)
    difference = np.abs(now.astype(np.float32) - before.astype(np.float32))
    return difference.max(axis=2) * scale


@dataclass
class TemporalBlend:
    """Exponential blend of the outputs of a video, guided by the change of its inputs.

    s_t = w · s_(t−1) + (1 − w) · y_t with w = strength · exp(−d / CHANGE_SCALE), where d is the change of the input around a
    pixel.
    """

    strength: float
    """Weight of the past where nothing changes: from 0, no blend, to below 1."""
    source: np.ndarray | None = None
    """Last input (H, W, C)."""
    blended: np.ndarray | None = None
    """Last result, (H', W', C') float32 in the values of the outputs."""

    def __call__(self, source: np.ndarray, output: np.ndarray) -> np.ndarray:
        """Return an output blended with those before it, in its own type; its size may be a multiple of the input's."""
        import cv2  # only where there are videos

        values = output.astype(np.float32)
        if self.source is not None and self.blended is not None:
            change = cv2.blur(input_change(self.source, source), (CHANGE_WINDOW, CHANGE_WINDOW))
            weight = np.float32(self.strength) * np.exp(-change / np.float32(CHANGE_SCALE))
            if weight.shape != output.shape[:2]:
                weight = cv2.resize(weight, output.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            values += weight[:, :, None] * (self.blended - values)
        self.source, self.blended = source, values
        return np.rint(values).astype(output.dtype)


@dataclass
class Flicker:
    """Mean change of the output between successive frames at pixels where the input does not change, of the output's range."""

    total: float = 0.0
    pixels: int = 0
    _last: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, source: np.ndarray, output: np.ndarray) -> None:
        """Take account of the next input and output (H, W, C); the sizes of outputs may be multiples of those of inputs."""
        if self._last is not None:
            static = input_change(self._last[0], source) <= STATIC_CHANGE
            if static.shape != output.shape[:2]:
                import cv2

                size = output.shape[1::-1]
                static = cv2.resize(static.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
            scale = 1 / np.iinfo(output.dtype).max
            change = np.abs(output.astype(np.float32) - self._last[1].astype(np.float32)).mean(axis=2)
            self.total += float(change[static].sum(dtype=np.float64)) * scale
            self.pixels += int(static.sum())
        self._last = source, output

    @property
    def value(self) -> float | None:
        """Flicker of all that was added; None if no pixel stood still."""
        return self.total / self.pixels if self.pixels else None
