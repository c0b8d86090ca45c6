"""BMP files in run-length encoding of 4 bits (RLE4), whose absolute runs of odd length Pillow misreads.

Source: Microsoft, Windows GDI, "Bitmap Compression".
"""

import struct
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from translate.images.formats import ImageError

_RLE4 = 2
"""Value of the header's field biCompression."""
_END_OF_LINE, _END_OF_BITMAP, _DELTA = 0, 1, 2
_HEADER = 14
"""Offset of the information header; the file header comes first."""


def is_rle4(path: Path) -> bool:
    """Return whether a BMP file is encoded by RLE4."""
    with open(path, "rb") as file:
        head = file.read(_HEADER + 20)
    return len(head) == _HEADER + 20 and struct.unpack_from("<HI", head, _HEADER + 14) == (4, _RLE4)


def read_rle4(path: Path) -> np.ndarray:
    """Decode a BMP file of RLE4 to (H, W, 3) uint8; pixels that no run sets have colour 0. ImageError if it ends early."""
    data = path.read_bytes()
    start, size, width, height = struct.unpack_from("<IIii", data, 10)
    (used,) = struct.unpack_from("<I", data, _HEADER + 32)
    colours = np.frombuffer(data, np.uint8, 4 * min(used or 16, 16), _HEADER + size).reshape(-1, 4)[:, 2::-1]
    palette = np.zeros((16, 3), np.uint8)
    palette[: len(colours)] = colours
    return palette[_decode(data[start:], width, height)[::-1]]  # rows are stored from the bottom up


def _decode(data: bytes, width: int, height: int) -> np.ndarray:
    """Return palette indices (height, width), the first stored row first."""
    indices = np.zeros((height, width), np.uint8)
    row = column = at = 0
    while row < height:
        if at + 2 > len(data):
            if row == height - 1 and column >= width:
                break  # all that is missing is the mark of the end
            raise ImageError("damaged image: its run-length encoding ends early")
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = list(islice(cycle((value >> 4, value & 15)), count))
        elif value == _END_OF_LINE:
            row, column, run = row + 1, 0, []
        elif value == _END_OF_BITMAP:
            break
        elif value == _DELTA:
            if at + 2 > len(data):
                raise ImageError("damaged image: its run-length encoding ends early")
            column, row, run = column + data[at], row + data[at + 1], []
            at += 2
        else:
            packed = data[at : at + (value + 1) // 2]
            run = [nibble for byte in packed for nibble in (byte >> 4, byte & 15)][:value]
            at += (len(packed) + 1) // 2 * 2  # absolute runs end on a word
        if run:
            kept = run[: max(width - column, 0)]
            indices[row, column : column + len(kept)] = kept
            column += len(run)
    return indices
