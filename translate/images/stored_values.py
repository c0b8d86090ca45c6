"""Values of an image as its file holds them: their scale, the pixels without a value, and the way to what networks take.

A scale comes from a declared range, or from the data type: unsigned integers span all of their bits, floats 0 to 1. It never
comes from the values of the one file, which only tell whether they keep to it.
"""

from dataclasses import dataclass, replace

import numpy as np

from translate.images.formats import ImageError
from translate.images.value_ranges import ValueRange, type_range

MAX_SHARE_OUTSIDE = 0.01
"""Share of values outside 0 to 1 above which floats without a declared range are refused, where a scale is required."""

UNSPECIFIED = "its last channel, of which the file does not say what it is, is left out"
"""Notice on a channel that is neither a colour nor transparency."""

_SCALED_TYPES = ("uint8", "uint16")
"""Data types that reach networks as they are; values of all others become float32."""


@dataclass(frozen=True)
class StoredValues:
    """Image upright, (H, W, C), in the data type of its file."""

    array: np.ndarray
    top: int | None = None
    """Largest value that unsigned integers can have in the file; None: the largest of their type."""
    has_alpha: bool = False
    """True if the last channel is transparency."""
    has_unspecified: bool = False
    """True if the file does not say what the last channel is, as infra-red of satellites."""
    nodata: float | None = None
    """Value that the file declares to stand for no value (NoData)."""
    notices: tuple[str, ...] = ()
    """Parts that could not be kept, one short line each."""

    @classmethod
    def from_array(cls, array: np.ndarray) -> "StoredValues":
        """Take an array (H, W) or (H, W, C); the last of 2 or 4 channels is transparency. ImageError if it is no image."""
        if array.ndim == 2:
            array = array[:, :, None]
        if array.ndim != 3 or 0 in array.shape:
            raise ImageError(f"an array of shape {array.shape} is not an image; its shape must be (H, W) or (H, W, C)")
        if array.dtype == np.bool_:
            array = array.astype(np.uint8) * 255
        if array.dtype.kind not in "iuf":
            raise ImageError(f"an array of {array.dtype} is not an image; its values must be integers or floats")
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        return cls(native, has_alpha=array.shape[2] in (2, 4))

    def for_channels(self, channels: int) -> "StoredValues":
        """Return the values for a number of channels: where all are wanted, the last is one like the others.

        Else a channel whose meaning is unknown is left out, with a notice.
        """
        if self.array.shape[2] == channels:
            return replace(self, has_alpha=False)
        if not self.has_unspecified or channels not in (1, 3):
            return self
        return replace(self, array=self.array[:, :, :-1], has_unspecified=False, notices=(*self.notices, UNSPECIFIED))

    @property
    def colours(self) -> np.ndarray:
        """Channels without transparency."""
        return self.array[:, :, :-1] if self.has_alpha else self.array

    @property
    def type_range(self) -> ValueRange | None:
        """Range of the values by their type; None for signed and 64-bit integers, whose type says nothing of their scale."""
        return type_range(self.array.dtype) if self.top is None else (0, self.top)

    def empty_pixels(self) -> np.ndarray | None:
        """Mark the pixels (H, W) without a value: all channels NoData, or one not a number; None if there are none."""
        colours = self.colours
        mask = np.zeros(colours.shape[:2], bool)
        if self.nodata is not None and not np.isnan(self.nodata):
            mask |= _equals(colours, self.nodata).all(axis=2)
        if colours.dtype.kind == "f":
            mask |= np.isnan(colours).any(axis=2)
        return mask if mask.any() else None

    def scaled(self, declared: ValueRange | None, empty: np.ndarray | None, *, require_scale: bool) -> "ScaledValues":
        """Return all channels as networks take them; see `ScaledValues`. ImageError, with `require_scale`, if none is known."""
        if declared is not None:
            return _keep_values(self, declared, empty)
        scale = self.type_range
        if scale is None:
            return _scale_by_bits(self, empty, require_scale)
        return _scale_by_type(self, scale, empty, require_scale)


@dataclass(frozen=True)
class ScaledValues:
    """Channels as networks take them: uint8 or uint16 of their full range, float32 from 0 to 1, or numbers of a declared range.

    Pixels without a value are in the middle of the range.
    """

    array: np.ndarray
    """Channels (H, W, C), transparency included."""
    range: ValueRange
    """Values that black and white stand for, in the array."""
    notices: tuple[str, ...] = ()


def _keep_values(stored: StoredValues, declared: ValueRange, empty: np.ndarray | None) -> ScaledValues:
    """Keep the numbers, of which those outside the range are clipped later."""
    array, (low, high) = stored.array, declared
    whole = array.dtype.name in _SCALED_TYPES
    notices = _outside_notices(stored.colours, declared, empty)
    array = array.copy() if whole else array.astype(np.float32)
    if not whole:
        np.nan_to_num(array, copy=False, nan=low, posinf=high, neginf=low)
    return ScaledValues(_fill(array, stored, empty, (low + high) / 2), declared, notices)


def _scale_by_type(
    stored: StoredValues, scale: ValueRange, empty: np.ndarray | None, require_scale: bool
) -> ScaledValues:
    """Scale unsigned integers and floats to the full range of uint8, uint16 or float32."""
    array, top = stored.array, scale[1]
    if array.dtype.kind == "f":
        share = _share_outside(stored.colours, scale, empty)
        if require_scale and share > MAX_SHARE_OUTSIDE:
            raise ImageError(_undeclared("floats count as 0 to 1, and many of its values lie outside"))
        notices = _outside_notices(stored.colours, scale, empty)
        finite = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=1.0, neginf=0.0)
        array = np.clip(finite, 0, 1).astype(np.float32)
        return ScaledValues(_fill(array, stored, empty, 0.5), (0, 1), notices)
    if top > 65535:
        array = (array / top).astype(np.float32)
        return ScaledValues(_fill(array, stored, empty, 0.5), (0, 1))
    full = 255 if top <= 255 else 65535
    kind = np.uint8 if full == 255 else np.uint16
    array = array.astype(kind) if top == full else np.round(array * (full / top)).astype(kind)
    return ScaledValues(_fill(array, stored, empty, full / 2), (0, full))


def _scale_by_bits(stored: StoredValues, empty: np.ndarray | None, require_scale: bool) -> ScaledValues:
    """Scale signed or 64-bit integers by the least and the greatest number that their type holds, with a notice."""
    limits = np.iinfo(stored.array.dtype)
    kind = f"{limits.bits}-bit {'signed ' if limits.kind == 'i' else ''}integers"
    if require_scale:
        raise ImageError(_undeclared(f"{kind} have no scale of their own"))
    low, high = float(limits.min), float(limits.max)
    array = ((stored.array.astype(np.float64) - low) / (high - low)).astype(np.float32)
    notice = f"{kind} are scaled from {limits.min} to {limits.max}, all that the type holds; declare their range"
    return ScaledValues(_fill(array, stored, empty, 0.5), (0, 1), (notice,))


def _undeclared(what: str) -> str:
    return f"{what}; declare their range: --input-range LOW:HIGH in conversion, --range-a and --range-b in training"


def _fill(array: np.ndarray, stored: StoredValues, empty: np.ndarray | None, value: float) -> np.ndarray:
    """Set the colours of pixels without a value."""
    if empty is not None:
        colours = array[:, :, :-1] if stored.has_alpha else array
        colours[empty] = value if array.dtype.kind == "f" else np.clip(round(value), 0, np.iinfo(array.dtype).max)
    return array


def _equals(array: np.ndarray, value: float) -> np.ndarray:
    """Compare with a number that was written as text: floats in their own precision."""
    if array.dtype.kind == "f":
        return array == array.dtype.type(value)
    limits = np.iinfo(array.dtype)
    whole = float(value).is_integer() and limits.min <= value <= limits.max
    return array == int(value) if whole else np.zeros(array.shape, bool)


def _share_outside(colours: np.ndarray, scale: ValueRange, empty: np.ndarray | None) -> float:
    """Return the share of values outside a range among the pixels that have a value."""
    values = colours if empty is None else colours[~empty]
    return float(((values < scale[0]) | (values > scale[1])).mean()) if values.size else 0.0


def _outside_notices(colours: np.ndarray, scale: ValueRange, empty: np.ndarray | None) -> tuple[str, ...]:
    is_outside = _share_outside(colours, scale, empty) > 0
    return (f"values outside {scale[0]:g} to {scale[1]:g} are clipped",) if is_outside else ()


# Pixels without a value in an output.


def nodata_for(declared: float | None, dtype: np.dtype) -> float | None:
    """Return the value that stands for no value in an output of a type: the declared one if it holds it, else NaN of floats.

    None where integers do not hold it.
    """
    if dtype.kind == "f":
        if declared is None or np.isnan(declared) or abs(declared) > float(np.finfo(dtype).max):
            return float("nan")
        return declared
    limits = np.iinfo(dtype)
    is_held = declared is not None and float(declared).is_integer() and limits.min <= declared <= limits.max
    return declared if is_held else None


def put_nodata(pixels: np.ndarray, empty: np.ndarray | None, value: float | None) -> np.ndarray:
    """Return pixels (H, W, C) with `value` where `empty`, and nowhere else: other pixels that equal it move by one step.

    Without a value, as of types that hold no NoData, empty pixels are 0.
    """
    result = pixels.copy()
    if value is not None and not np.isnan(value):
        taken = _equals(result, value).all(axis=2)
        if taken.any():
            result[taken] = _neighbour(value, pixels.dtype)
    if empty is not None:
        result[empty] = 0 if value is None else value
    return result


def _neighbour(value: float, dtype: np.dtype) -> float:
    """Return the next value of a type, away from its upper end."""
    if dtype.kind == "f":
        return float(np.nextafter(dtype.type(value), dtype.type(np.inf)))
    return value + 1 if value < np.iinfo(dtype).max else value - 1
