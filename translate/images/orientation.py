"""EXIF orientations 1 to 8: Pillow images and arrays turned upright by one table.

Source: CIPA DC-008 (Exif 3.0), section 4.6.5, tag Orientation.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image


class _Turn(NamedTuple):
    """Turn that brings stored pixels upright."""

    method: Image.Transpose
    """The turn as Pillow names it."""
    swap_axes: bool
    """For arrays: swap rows and columns first,"""
    flip_rows: bool
    """then reverse the order of rows"""
    flip_columns: bool
    """and of columns."""


_TURNS = {
    2: _Turn(Image.Transpose.FLIP_LEFT_RIGHT, False, False, True),
    3: _Turn(Image.Transpose.ROTATE_180, False, True, True),
    4: _Turn(Image.Transpose.FLIP_TOP_BOTTOM, False, True, False),
    5: _Turn(Image.Transpose.TRANSPOSE, True, False, False),
    6: _Turn(Image.Transpose.ROTATE_270, True, False, True),
    7: _Turn(Image.Transpose.TRANSVERSE, True, True, True),
    8: _Turn(Image.Transpose.ROTATE_90, True, True, False),
}
"""Orientation → turn; orientation 1 and unknown ones are upright."""


def apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image upright, given its orientation (1 to 8). Pillow opens TIFF files upright, so they stay as they are."""
    turn = _TURNS.get(orientation)
    return image if turn is None or image.format == "TIFF" else image.transpose(turn.method)


def orient_array(array: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels (H, W) or (H, W, C) upright, given their orientation (1 to 8)."""
    turn = _TURNS.get(orientation)
    if turn is None:
        return array
    if turn.swap_axes:
        array = np.swapaxes(array, 0, 1)
    if turn.flip_rows:
        array = array[::-1]
    return array[:, ::-1] if turn.flip_columns else array
