"""The images that figures are about: read alike, in 8 bits, with a fingerprint of what they show."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from translate import images
from translate.data.layouts import relative_stem
from translate.data.preprocessing import Preprocessing, load_image
from translate.data.split import ImageRef
from translate.errors import DataError
from translate.images import ValueRange

RESIZE_FILTER = "Pillow bicubic, antialiased"


@dataclass(frozen=True)
class ReadOptions:
    """How files are read."""

    size: int | None = None
    """Images are resized to this square; None: they stay as they are."""
    channels: int = 3
    values: ValueRange | None = None
    """The stored values that −1 and 1 stand for, where they were declared."""

    def preprocessing(self) -> Preprocessing:
        size, preprocess = (self.size, "resize_and_crop") if self.size else (1, "none")
        return Preprocessing(
            size, size, False, (self.channels, self.channels), preprocess, (self.values, self.values), multiple_of=1
        )


@dataclass(frozen=True)
class ImageSet:
    """Images in the order of their names."""

    names: tuple[str, ...]
    stored: tuple[Tensor, ...]
    """(C, H, W) each, uint8, or uint16 or float32 if the file is deeper."""
    values: ValueRange | None = None
    formats: str = "pixels"
    """Of the files, as "120 jpg, 3 png"."""

    def __len__(self) -> int:
        return len(self.stored)

    def normalized(self, i: int) -> Tensor:
        """Image i as a model takes it: (1, C, H, W) float32 in [-1, 1]."""
        return images.normalize(self.stored[i], torch.float32, self.values)[None]

    def pixels(self, i: int) -> Tensor:
        """Image i in 8 bits: (1, C, H, W) uint8."""
        plain = self.stored[i].dtype == torch.uint8 and self.values is None
        return self.stored[i][None] if plain else images.quantize(self.normalized(i))

    def __iter__(self) -> Iterator[Tensor]:
        return (self.pixels(i) for i in range(len(self)))

    def stack(self, metric: str) -> Tensor:
        """All in 8 bits: (N, C, H, W) uint8. DataError where they are of unlike sizes."""
        first = self.stored[0].shape
        for name, image in zip(self.names, self.stored, strict=True):
            if image.shape != first:
                raise DataError(
                    f"{metric}: {name!r} has {_size(image.shape)} pixels, but {self.names[0]!r} has {_size(first)}; "
                    f"--size N resizes all to N×N"
                )
        return torch.cat(list(self))

    def sha256(self) -> str:
        """Of what the images show, in 8 bits: independent of their names, order and file format."""
        digests = sorted(hashlib.sha256(f"{tuple(x.shape)}".encode() + x.numpy().tobytes()).digest() for x in self)
        return hashlib.sha256(b"".join(digests)).hexdigest()


def read_image_set(refs: Sequence[ImageRef], root: Path, way: ReadOptions) -> ImageSet:
    """The images of some files below a folder. DataError names one that cannot be read: a figure is of the whole set."""
    recipe, loaded = way.preprocessing(), []
    for ref in refs:
        image = load_image(ref, recipe, 0)
        if isinstance(image, images.ImageError):
            raise DataError(f"{str(ref.path)!r}: {image}; mend or remove it: figures are of the whole set")
        loaded.append(image.contiguous())
    names = tuple(ref.path.relative_to(root).as_posix() for ref in refs)
    return ImageSet(names, tuple(loaded), way.values, _formats(refs))


def list_images(folder: Path) -> tuple[ImageRef, ...]:
    """The images of a folder and its subfolders; DataError if there are none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one that holds images")
    found = images.list_images(folder)
    if not found:
        raise DataError(f"{folder}: no images in it; readable: {', '.join(sorted(images.READABLE_EXTENSIONS))}")
    return tuple(map(ImageRef, found))


def match_by_name(
    fake: Sequence[ImageRef], real: Sequence[ImageRef], folders: tuple[Path, Path]
) -> list[ImageRef] | None:
    """For each fake the real image of the same relative path without extension; None unless all have just one."""
    stems = [[relative_stem(ref.path, root) for ref in refs] for refs, root in zip((fake, real), folders, strict=True)]
    if sorted(stems[0]) != sorted(stems[1]) or len(set(stems[1])) < len(real):
        return None
    by_stem = dict(zip(stems[1], real, strict=True))
    return [by_stem[stem] for stem in stems[0]]


def _formats(refs: Sequence[ImageRef]) -> str:
    """As "120 jpg, 3 png"; jpeg is jpg, tif is tiff."""
    counts = Counter(images.ALIASES.get(images.extension(ref.path), images.extension(ref.path)) for ref in refs)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _size(shape: torch.Size) -> str:
    return f"{shape[2]}×{shape[1]}"
