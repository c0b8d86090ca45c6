"""What the three places that batches come from have in common."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from translate import images
from translate.data.albumentations_recipe import AlbumentationsRecipe as Albumentations
from translate.data.preprocessing import Preprocessing, load_image, load_pair
from translate.data.sampler import BatchSampler, Sampler
from translate.data.split import ImageRef, Split
from translate.errors import DataError
from translate.images import ImageError
from translate.runtime import transfer

RING_SIZE = 3
"""Buffers that batches are built in, in turn: one is in use, one on its way to the device, one being filled."""

Batch = dict[str, Tensor]
"""Images of `a` and `b`, and `label` where the images of a have some."""
NumberedBatch = tuple[Tensor, Batch]
"""The run's image numbers (N,) and the batch."""


@dataclass
class LoaderContext:
    """Files, how they are prepared, and for which process."""

    split: Split
    preprocessing: Preprocessing
    sampler: Sampler
    batch_sampler: BatchSampler
    device: torch.device
    dtype: torch.dtype
    say: Callable[[str], None]
    workers: int = 2
    albumentations: Albumentations | None = None
    strict: bool = False
    """DataError at the first file that cannot be read."""
    skipped: dict[Path, str] = field(default_factory=dict)
    """Files that cannot be read, and why."""

    @property
    def domains(self) -> tuple[str, ...]:
        return ("a", "b") if self.split.b else ("a",)

    def refs(self, name: str) -> tuple[ImageRef, ...]:
        return self.split.a if name == "a" else self.split.b

    def declared_range(self, name: str) -> images.ValueRange | None:
        """Declared values of a domain."""
        return self.preprocessing.value_ranges["ab".index(name)]

    def values(self, name: str, depth: torch.dtype) -> images.ValueRange | None:
        """What stored values of a depth mean where that is not what `images.FULL` says."""
        return self.declared_range(name) or ((0, 1) if depth == torch.float64 else None)

    def draw_name(self, name: str) -> str:
        """Of a domain's random draws: the two sides of a pair share theirs."""
        return "pair" if self.split.paired else name

    def decode(self, names: Sequence[str], index: int) -> tuple[Tensor | ImageError, ...]:
        """Both sides of a pair, or one image of one domain, at load size."""
        if self.split.paired:
            return load_pair(self.split.a[index], self.split.b[index], self.preprocessing)
        return (load_image(self.refs(names[0])[index], self.preprocessing, "ab".index(names[0])),)

    def skip(self, path: Path, reason: str) -> None:
        """Notes a file that cannot be read, and says so once."""
        if path in self.skipped:
            return
        if self.strict:
            raise DataError(f"{str(path)!r}: {reason}; mend or remove it, or leave out --strict")
        self.skipped[path] = reason
        self.say(f"skipped {str(path)!r}: {reason}; the next image takes its place until it is mended or removed")

    def skip_unreadable(self, refs: Sequence[ImageRef], loaded: Sequence[Tensor | ImageError]) -> bool:
        """Whether all were read; those that were not are skipped."""
        for ref, image in zip(refs, loaded, strict=True):
            if isinstance(image, ImageError):
                self.skip(ref.path, str(image))
        return all(isinstance(image, Tensor) for image in loaded)

    def require_readable(self, found: bool, refs: Sequence[ImageRef]) -> None:
        """DataError where none of the images can be used."""
        if not found:
            folder = os.path.commonpath([ref.path.parent for ref in refs])
            raise DataError(f"{folder!r}: none of its {len(refs)} images can be used; put readable images there")


class BatchSource(Protocol):
    """A place that batches come from."""

    def batches(self, start: int) -> Iterator[NumberedBatch]:
        """From image `start` of the run on, without end."""
        ...


class BufferRing:
    """Memory for batches, used in turn: touching new memory costs more than filling it."""

    def __init__(self, batch_size: int, dtype: torch.dtype) -> None:
        self.batch_size, self.dtype = batch_size, dtype
        self.rings: dict[tuple[str, tuple[int, ...]], itertools.cycle[Tensor]] = {}

    def next(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """(N, *shape) to be filled; it is given out again after RING − 1 others of the kind."""
        if (name, shape) not in self.rings:
            if len(self.rings) >= 8:  # images of many sizes, with --preprocess none
                self.rings.clear()
            made = [torch.empty(self.batch_size, *shape, dtype=self.dtype) for _ in range(RING_SIZE)]
            self.rings[name, shape] = itertools.cycle(made)
        return next(self.rings[name, shape])


def prefetch_to_device(source: LoaderContext, stored: Iterable[NumberedBatch]) -> Iterator[NumberedBatch]:
    """Batches as they are stored, on the host → normalised on the device; copies run one step ahead of their use."""
    sender = transfer.BatchTransfer(source.device, RING_SIZE)
    waiting = None
    for numbers, batch in stored:
        sent = numbers, sender.send(batch)
        if waiting is not None:
            yield waiting[0], _normalised(source, sender.receive(waiting[1]))
        waiting = sent


def prefetch_on_stream(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Batches that are made on a CUDA device: on a stream of its own, each while the one before it is in use."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))  # the stored images may still be on their way

    def make() -> tuple[Batch, torch.cuda.Event]:
        with torch.cuda.stream(stream):
            made, done = next(batches), torch.cuda.Event()
            done.record()
        return made, done

    waiting = make()
    while True:
        (batch, done), waiting = waiting, make()
        transfer.wait_for(batch, done, device)
        yield batch


def _normalised(source: LoaderContext, batch: Batch) -> Batch:
    return {
        name: x if name == "label" else images.normalize(x, source.dtype, source.values(name, x.dtype))
        for name, x in batch.items()
    }
