"""BMP files whose channels lie in bit fields of any width, of which Pillow reads the usual ones alone.

Source: Microsoft, "BITMAPV4HEADER structure": bV4V4Compression BI_BITFIELDS, and its masks.
"""

import struct
from pathlib import Path

import numpy as np

from translate.images.formats import ImageError, check_size

_BIT_FIELDS, _ALPHA_BIT_FIELDS = 3, 6
_MASKS_AT, _ALPHA_HEADER = 54, 56
"""Offset of the masks; size of the smallest header that holds a mask of alpha."""


def read_bit_fields(path: Path, max_pixels: int) -> np.ndarray | None:
    """Read the pixels (H, W, 3 or 4) of a BMP file with bit fields; None for other files.

    uint8, or uint16 where a channel has more than 8 bits: each channel is scaled to the whole range. ImageError for damaged
    files and above `max_pixels`.
    """
    with open(path, "rb") as file:
        head = file.read(_MASKS_AT + 16).ljust(_MASKS_AT + 16, b"\0")
        header_size, width, height, _, bits, compression = struct.unpack_from("<IiiHHI", head, 14)
        if head[:2] != b"BM" or compression not in (_BIT_FIELDS, _ALPHA_BIT_FIELDS) or bits not in (16, 32):
            return None
        if width <= 0 or height == 0:
            raise ImageError(f"damaged image: {width}×{height} pixels")
        check_size(abs(height), width, max_pixels)
        has_alpha = header_size >= _ALPHA_HEADER or compression == _ALPHA_BIT_FIELDS
        masks = struct.unpack_from("<4I" if has_alpha else "<3I", head, _MASKS_AT)
        stride = -(-width * bits // 32) * 4
        file.seek(struct.unpack_from("<I", head, 10)[0])
        data = file.read(stride * abs(height))
    if len(data) < stride * abs(height):
        raise ImageError("damaged image: it ends early")
    rows = np.frombuffer(data, np.uint8).reshape(abs(height), stride)[:, : width * bits // 8]
    values = rows.view("<u4" if bits == 32 else "<u2").astype(np.uint32)[:: -1 if height > 0 else 1]
    fields = masks if masks[-1] else masks[:3]
    depth = np.uint16 if any(mask.bit_count() > 8 for mask in fields) else np.uint8
    return np.stack([_scaled(values, mask, depth) for mask in fields], axis=2)


def _scaled(values: np.ndarray, mask: int, depth: type[np.unsignedinteger]) -> np.ndarray:
    """Return one channel, scaled to the range of `depth`; a channel without bits is black."""
    if mask == 0:
        return np.zeros(values.shape, depth)
    shift = (mask & -mask).bit_length() - 1
    field = (values & np.uint32(mask)) >> np.uint32(shift)
    return np.round(field * (np.iinfo(depth).max / (mask >> shift))).astype(depth)
