"""Arrays and tensors that a caller gives to a translator: checks of shapes and values, and the way back to the same kind."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from translate import images
from translate.errors import UsageError

TOLERANCE = 0.05
"""Share of the range by which values may lie beyond its ends, as resampling with bicubic or Lanczos filters makes them."""

FULL_RANGES = {"uint8": 255, "uint16": 65535}
"""Types of integers whose full range counts as black to white, with its end."""


@dataclass(frozen=True)
class ArrayBatch:
    """Images of an array, as a translator takes them."""

    pixels: list[np.ndarray]
    """Arrays (H, W, C) uint8, uint16 or float32, of the channels of the model."""
    alphas: list[np.ndarray | None]
    """Alpha (H, W) of each, where the array has one channel more than colours or grey."""
    ndim: int
    dtype: np.dtype

    def restore(self, results: list[np.ndarray], scale: int = 1) -> np.ndarray:
        """Return the translations, (H, W, C) each and larger by `scale`, in the layout of the array that was given."""
        alphas = [fit_alpha(alpha, pixels.shape, scale) for pixels, alpha in zip(results, self.alphas, strict=True)]
        found = [self._restored(pixels, alpha) for pixels, alpha in zip(results, alphas, strict=True)]
        return np.stack(found) if self.ndim == 4 else found[0]

    def _restored(self, pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
        if pixels.dtype.kind == self.dtype.kind == "f":
            pixels = pixels.astype(self.dtype)
        if alpha is not None:
            pixels = np.concatenate([pixels, alpha[:, :, None].astype(pixels.dtype)], axis=2)
        return pixels[:, :, 0] if self.ndim == 2 and pixels.shape[2] == 1 else pixels


def fit_alpha(alpha: np.ndarray | None, shape: tuple[int, ...], scale: int = 1) -> np.ndarray | None:
    """Fit the transparency or a mask (H, W) of an input to its output, whose shape begins with its height and width.

    It is repeated for a row of images, or enlarged by `scale` for super-resolution: masks by repeating their pixels.
    """
    if alpha is None:
        return None
    if scale == 1:
        return np.tile(alpha, (1, shape[1] // alpha.shape[1]))
    if alpha.dtype == np.bool_:
        return alpha.repeat(scale, 0).repeat(scale, 1)
    enlarged = images.resize(alpha[:, :, None], shape[0], shape[1])[:, :, 0]
    return np.clip(enlarged, alpha.min(), alpha.max())


def prepare_array(array: np.ndarray, channels: int, declared: images.ValueRange | None) -> ArrayBatch:
    """Check an array (H, W), (H, W, C) or (N, H, W, C), and divide it into images of so many channels.

    Values are uint8 or uint16 over their full range, or floats from 0 to 1; for a domain with a `declared` range of stored
    values they are such values. Grey becomes colour and colour grey, and alpha is set aside. UsageError names the shape, type
    or range that was found, and those that are possible.
    """
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise UsageError(f"an array of shape {array.shape}; give {_shapes(channels)}")
    if array.dtype.name not in FULL_RANGES and array.dtype.kind != "f":
        raise UsageError(
            f"an array of {array.dtype}{_span(array)}; give uint8 (0 to 255), uint16 (0 to 65535) or floats from 0 to 1"
        )
    values = array.astype(np.float32 if array.dtype.kind == "f" else array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "f":
        _check_floats(array, declared)
        values = values if declared else values.clip(0, 1)
    stack = values if array.ndim == 4 else values[None] if array.ndim == 3 else values[None, :, :, None]
    pairs = [_split_alpha(image, channels, declared is not None, array.shape) for image in stack]
    return ArrayBatch([pixels for pixels, _ in pairs], [alpha for _, alpha in pairs], array.ndim, array.dtype)


def _check_floats(array: np.ndarray, declared: images.ValueRange | None) -> None:
    low, high = float(array.min()), float(array.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UsageError(f"an array of {array.dtype} that holds NaN or infinite values; replace them first")
    if declared or (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        return
    if low >= -1 - 2 * TOLERANCE and high <= 1 + 2 * TOLERANCE:
        remedy = "if they are from -1 to 1, give (array + 1) / 2"
    elif low >= -TOLERANCE * 255 and high <= (1 + TOLERANCE) * 255:
        remedy = "if they are from 0 to 255, give array / 255, or uint8"
    else:
        remedy = "scale them, or give uint8 or uint16"
    raise UsageError(f"an array of {array.dtype}{_span(array)}; this model takes floats from 0 to 1: {remedy}")


def _split_alpha(
    image: np.ndarray, channels: int, declared: bool, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return an image (H, W, C) with the channels of the model, and its alpha (H, W)."""
    given = image.shape[2]
    if given == channels:
        return np.ascontiguousarray(image), None
    if declared or channels not in (1, 3) or given not in (1, 2, 3, 4):
        raise UsageError(f"an array of shape {shape}; give {_shapes(channels)}")
    picture = images.from_array(image, channels, deep=True)
    return picture.pixels, image[:, :, -1] if given in (2, 4) else None


def _shapes(channels: int) -> str:
    return f"(H, W, {channels}) or (N, H, W, {channels})"


def check_tensor(x: Tensor, channels: int) -> None:
    """Check a tensor: floats (N, C, H, W) from -1 to 1, but for TOLERANCE. UsageError names what was found, and the remedy."""
    if x.ndim != 4 or x.shape[1] != channels:
        raise UsageError(f"a tensor of shape {tuple(x.shape)}; this model takes (N, {channels}, H, W)")
    if 0 in x.shape:
        raise UsageError(f"a tensor of shape {tuple(x.shape)} holds no image")
    wanted = "this model takes floats from -1 to 1"
    kind = str(x.dtype).removeprefix("torch.")
    if x.is_complex() or x.dtype == torch.bool:
        raise UsageError(f"a tensor of {kind}; {wanted}")
    low, high = (float(end) for end in x.aminmax())
    if not x.is_floating_point():
        raise UsageError(f"a tensor of {kind} with values from {low:g} to {high:g}; {wanted}: x / 127.5 - 1 for uint8")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UsageError(f"a tensor of {kind} that holds NaN or infinite values; replace them first")
    if max(-low, high) > 1 + 2 * TOLERANCE:
        remedy = "if they are from 0 to 255, give x / 127.5 - 1" if low >= 0 else "scale them"
        raise UsageError(f"a tensor of {kind} with values from {low:g} to {high:g}; {wanted}: {remedy}")


def _span(array: np.ndarray) -> str:
    return f" with values from {array.min():g} to {array.max():g}" if array.dtype.kind in "iuf" else ""
