"""Feature maps that are too large for the device: in main memory, or in memory-mapped files of a scratch folder."""

import errno
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from translate import atomic
from translate.conversion.tiling.partial_layers import Region, Size
from translate.errors import StorageError, UsageError
from translate.text import file_size, memory_size

_ZEROS = 1 << 24  # bytes written at a time where the system cannot reserve


class DoesNotFitError(UsageError):
    """Error: an image is too large for the memory with this model and these settings."""


def allocate_array(folder: Path | None, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Allocate an array without initialising it: in a file of `folder` that has no name, or in main memory (None).

    All bytes of the file are reserved here, because the process dies if the disk is full when mapped memory is written. The
    file vanishes with the array. StorageError if the folder has no room or cannot be written; DoesNotFitError if main memory
    has no room.
    """
    count = math.prod(shape) * dtype.itemsize
    if folder is None:
        try:
            return np.empty(shape, dtype)
        except MemoryError:
            raise DoesNotFitError(f"{memory_size(count)} do not fit into memory; give --scratch FOLDER") from None
    try:
        with tempfile.TemporaryFile(prefix=atomic.TEMPORARY_PREFIX, dir=folder) as file:
            _fill(file, count)
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as e:
        raise StorageError(
            f"{folder}: cannot hold {file_size(count)} of scratch: {e.strerror}; make room or use another folder"
        ) from e


def _fill(file: IO[bytes], count: int) -> None:
    """Reserve `count` bytes of a file on the disk."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, count)
            return
        except OSError as e:
            if e.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot reserve
                raise
    for start in range(0, count, _ZEROS):
        file.write(bytes(min(_ZEROS, count - start)))
    file.flush()


class FeatureMap:
    """Map (1, C, H, W) of float32 or float64 on the host, read and written in part; parts are on `device`.

    Stored as (H, C, W), so that a strip of rows is one piece of the file.
    """

    def __init__(self, values: Tensor, device: torch.device) -> None:
        self.values, self.device = values, device
        height, self.channels, width = values.shape
        self.size: Size = height, width

    def read(self, region: Region) -> Tensor:
        """Return a copy of a region, (1, C, h, w)."""
        rows, columns = region
        part = self.values[rows.start : rows.stop, :, columns.start : columns.stop].transpose(0, 1)
        return part.clone(memory_format=torch.contiguous_format)[None].to(self.device)

    def write(self, region: Region, x: Tensor) -> None:
        """Write a region, (1, C, h, w)."""
        rows, columns = region
        part = self.values[rows.start : rows.stop, :, columns.start : columns.stop]
        part.copy_(x[0].transpose(0, 1))


FeatureMapFactory = Callable[[int, Size], FeatureMap]
"""Allocates a map of the given channels and size."""


def feature_map_factory(folder: Path | None, dtype: torch.dtype, device: torch.device) -> FeatureMapFactory:
    """Return a factory of maps in a folder, or in main memory (None), whose parts are on `device`."""
    depth = torch.empty(0, dtype=dtype).numpy().dtype

    def make(channels: int, size: Size) -> FeatureMap:
        return FeatureMap(torch.from_numpy(allocate_array(folder, (size[0], channels, size[1]), depth)), device)

    return make


class ReadAhead:
    """Reader of a map from top to bottom, while the rows above are overwritten.

    It calls `read` once for each row, in order, then `settle` with the new rows, which may now be overwritten. Rows that a
    request shares with the one before it are kept. A request may be repeated, or repeated smaller.
    """

    def __init__(
        self, read: Callable[[Region], Tensor], settle: Callable[[Region, Tensor], None] | None = None
    ) -> None:
        self.read, self.settle = read, settle
        self.held: Tensor | None = None
        self.rows = range(0)

    def __call__(self, wanted: Region) -> Tensor:
        """Return rows of the whole width, (1, C, h, w); none of them above the first row of the request before."""
        rows, columns = wanted
        if rows.stop > self.rows.stop:
            self._advance(rows, columns)
        assert self.held is not None
        return self.held[:, :, rows.start - self.rows.start : rows.stop - self.rows.start]

    def _advance(self, rows: range, columns: range) -> None:
        new = Region(range(self.rows.stop, rows.stop), columns)
        x = self.read(new)
        kept = max(rows.start, self.rows.start)
        held = x if self.held is None else torch.cat([self.held[:, :, kept - self.rows.start :], x], 2)
        if self.settle:
            self.settle(new, x)
        self.held, self.rows = held, range(kept, rows.stop)  # last, so that a failure above can be tried again
