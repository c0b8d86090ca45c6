"""Sets of images to evaluate: read in one way, in 8 bits, with a fingerprint of their pixels."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from translate import images
from translate.data.preprocessing import Preprocessing, load_image
from translate.data.split import ImageRef
from translate.errors import DataError
from translate.images import LabelFormat, ValueRange

ImageArray = TypeVar("ImageArray", Tensor, np.ndarray)

RESIZE_FILTER = "Pillow bicubic, antialiased"
"""Filter of `ReadOptions.size`, for the protocol."""


@dataclass(frozen=True)
class ReadOptions:
    """Options of reading image files for an evaluation."""

    size: int | None = None
    """Side of the square that images are resized to; None: no resizing."""
    channels: int = 3
    """Number of channels."""
    value_range: ValueRange | None = None
    """Stored values that −1 and 1 stand for, if they were declared."""
    labels: LabelFormat | None = None
    """Format of the files, if they are label maps; `channels` are then those that networks get."""

    def preprocessing(self) -> Preprocessing:
        """Return the preprocessing of the training path that reads images so."""
        size, preprocess = (self.size, "resize_and_crop") if self.size else (1, "none")
        ranges = (self.value_range, self.value_range)
        channels = self.channels, self.channels
        return Preprocessing(size, size, False, channels, preprocess, ranges, multiple_of=1, labels=self.labels)


@dataclass(frozen=True)
class ImageSet:
    """Images in memory with their names. Iterating yields them in 8 bits, (1, C, H, W) uint8 each."""

    names: tuple[str, ...]
    """Paths of the files below their folder."""
    stored: tuple[Tensor, ...]
    """Images (C, H, W), uint8, or uint16 or float32 if the file is deeper."""
    value_range: ValueRange | None = None
    """Stored values that −1 and 1 stand for, if they were declared."""
    formats: str = "pixels"
    """Numbers of files by format, as "120 jpg, 3 png"."""
    labels: LabelFormat | None = None
    """Format of the images, if they are stored label maps."""

    def __len__(self) -> int:
        return len(self.stored)

    def normalized(self, i: int) -> Tensor:
        """Return image i as a model takes it: (1, C, H, W) float32 in [-1, 1]; label maps are one-hot."""
        if self.labels is not None:
            return self.labels.one_hot(self.stored[i][None])
        return images.normalize(self.stored[i], torch.float32, self.value_range)[None]

    def all_normalized(self) -> Tensor:
        """Return all images, which are of one size, as a model takes them: (N, C, H, W) float32 in [-1, 1]."""
        return torch.cat([self.normalized(i) for i in range(len(self))])

    def pixels(self, i: int) -> Tensor:
        """Return image i in 8 bits: (1, C, H, W) uint8; label maps in the colours of their classes."""
        if self.labels is not None:
            return self.labels.colours_of(self.stored[i][None])
        plain = self.stored[i].dtype == torch.uint8 and self.value_range is None
        return self.stored[i][None] if plain else images.quantize(self.normalized(i))

    def __iter__(self) -> Iterator[Tensor]:
        return (self.pixels(i) for i in range(len(self)))

    def stack(self, metric: str) -> Tensor:
        """Return all images in 8 bits: (N, C, H, W) uint8. DataError, which names the metric, for images of different sizes."""
        first = self.stored[0].shape
        for name, image in zip(self.names, self.stored, strict=True):
            if image.shape != first:
                raise DataError(
                    f"{metric}: {name!r} has {_size(image.shape)} pixels, but {self.names[0]!r} has {_size(first)}; "
                    f"use --size N to resize all images to N×N"
                )
        return torch.cat(list(self))

    def sha256(self) -> str:
        """Return the SHA-256 of the pixels in 8 bits; it does not depend on names, order and file format."""
        digests = sorted(hashlib.sha256(f"{tuple(x.shape)}".encode() + x.numpy().tobytes()).digest() for x in self)
        return hashlib.sha256(b"".join(digests)).hexdigest()


def read_image_set(refs: Sequence[ImageRef], root: Path, options: ReadOptions) -> ImageSet:
    """Read some files below a folder. DataError, which names the file, if one cannot be read: metrics are of whole sets."""
    preprocessing, loaded = options.preprocessing(), []
    for ref in refs:
        image = load_image(ref, preprocessing, 0)
        if isinstance(image, images.ImageError):
            raise DataError(f"{str(ref.path)!r}: {image}; fix or remove it: metrics are computed on the whole set")
        loaded.append(image.contiguous())
    names = tuple(ref.path.relative_to(root).as_posix() for ref in refs)
    return ImageSet(names, tuple(loaded), options.value_range, _formats(refs), options.labels)


def list_images(folder: Path) -> tuple[ImageRef, ...]:
    """Return the images of a folder and its subfolders. DataError if there are none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of images")
    paths = images.list_images(folder)
    if not paths:
        raise DataError(f"{folder}: no images in it; readable: {images.READABLE_FORMATS}")
    return tuple(map(ImageRef, paths))


def batch_by_size(arrays: Iterable[ImageArray], batch_size: int) -> Iterator[list[ImageArray]]:
    """Yield lists of at most `batch_size` successive images of one shape, in their order."""
    for _, group in groupby(arrays, key=lambda array: tuple(array.shape)):
        while batch := list(islice(group, batch_size)):
            yield batch


def _formats(refs: Sequence[ImageRef]) -> str:
    """Return the numbers of files by format, as "120 jpg, 3 png"; jpeg and jfif count as jpg, tif as tiff."""
    counts = Counter(images.format_of(ref.path) for ref in refs)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _size(shape: torch.Size) -> str:
    return f"{shape[2]}×{shape[1]}"
