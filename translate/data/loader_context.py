"""Parts shared by the three tiers: files and settings, buffers for batches, copies to the device."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from translate import images
from translate.data.albumentations_recipe import AlbumentationsRecipe
from translate.data.preprocessing import Preprocessing, load_group
from translate.data.sampler import LABELS, BatchSampler, Sampler
from translate.data.split import ImageRef, Split
from translate.errors import DataError
from translate.images import ImageError
from translate.runtime import devices, transfer

RING_SIZE = 3
"""Buffers in which batches are built, in turn: one in use, one on its way to the device, one being filled."""

Batch = dict[str, Tensor]
"""Images `a` and `b`, (N, C, H, W) each, and `label` where the images of a have one."""
NumberedBatch = tuple[Tensor, Batch]
"""The run's image numbers (N,) and the batch."""


@dataclass
class LoaderContext:
    """Files of a loader, their preprocessing and sampling, and the device to which batches go."""

    split: Split
    preprocessing: Preprocessing
    sampler: Sampler
    batch_sampler: BatchSampler
    device: torch.device
    dtype: torch.dtype
    say: Callable[[str], None]
    workers: int = 2
    albumentations: AlbumentationsRecipe | None = None
    strict: bool = False
    """Raise DataError at the first file that cannot be read."""
    skipped: dict[Path, str] = field(default_factory=dict)
    """Files that cannot be read, and the reasons."""

    def declared_range(self, domain: str) -> images.ValueRange | None:
        """Return the declared value range of a domain, None where none was declared."""
        return self.preprocessing.value_ranges["ab".index(domain)]

    def value_range(self, domain: str, depth: torch.dtype) -> images.ValueRange | None:
        """Range of stored values of a depth, None where it is that of `images.FULL_RANGES`."""
        return self.declared_range(domain) or ((0, 1) if depth == torch.float64 else None)

    def load_group(self, domains: tuple[str, ...], index: int) -> tuple[Tensor | ImageError, ...]:
        """Load both sides of a pair, or one image of one domain, at load size."""
        return load_group(self.split, domains, index, self.preprocessing)

    def skip(self, path: Path, reason: str) -> None:
        """Record a file that cannot be read, and report it once; DataError where `strict`."""
        if path in self.skipped:
            return
        if self.strict:
            raise DataError(f"{str(path)!r}: {reason}; fix or remove it, or leave out --strict")
        self.skipped[path] = reason
        self.say(f"skipped {str(path)!r}: {reason}; the next image takes its place until it is fixed or removed")

    def skip_unreadable(self, refs: Sequence[ImageRef], loaded: Sequence[Tensor | ImageError]) -> bool:
        """Skip the images that could not be read; return whether all were read."""
        for ref, image in zip(refs, loaded, strict=True):
            if isinstance(image, ImageError):
                self.skip(ref.path, str(image))
        return all(isinstance(image, Tensor) for image in loaded)

    def require_readable(self, any_readable: bool, refs: Sequence[ImageRef]) -> None:
        """Raise DataError where none of the images can be used."""
        if not any_readable:
            folder = os.path.commonpath([ref.path.parent for ref in refs])
            raise DataError(f"{folder!r}: none of its {len(refs)} images can be used; put readable images there")


class BatchSource(Protocol):
    """Source of batches: one of the tiers."""

    def batches(self, start: int) -> Iterator[NumberedBatch]:
        """Yield batches from image `start` of the run on, without end."""
        ...


class BufferRing:
    """Ring of buffers for batches, reused in turn: touching new memory costs more than filling it."""

    def __init__(self, batch_size: int, dtype: torch.dtype) -> None:
        self.batch_size, self.dtype = batch_size, dtype
        self.rings: dict[tuple[str, tuple[int, ...]], itertools.cycle[Tensor]] = {}

    def next(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a buffer (N, *shape) to fill; it is returned again after RING_SIZE − 1 others of its name and shape."""
        if (name, shape) not in self.rings:
            if len(self.rings) >= 8:  # whole images of many sizes
                self.rings.clear()
            buffers = [torch.empty(self.batch_size, *shape, dtype=self.dtype) for _ in range(RING_SIZE)]
            self.rings[name, shape] = itertools.cycle(buffers)
        return next(self.rings[name, shape])


def prefetch_to_device(context: LoaderContext, stored: Iterable[NumberedBatch]) -> Iterator[NumberedBatch]:
    """Copy batches from the host, as they are stored, and normalise them on the device; copies run one step ahead."""
    sender = transfer.BatchTransfer(context.device, RING_SIZE)
    waiting = None
    for numbers, batch in stored:
        sent = numbers, sender.send(batch)
        if waiting is not None:
            yield waiting[0], _normalised(context, sender.receive(waiting[1]))
        waiting = sent


def prefetch_on_stream(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Build batches on a CUDA device on a stream of their own, each while the one before it is in use."""
    stream = devices.new_stream(device)
    stream.wait_stream(devices.current_stream(device))  # the stored images may still be on their way

    def build() -> tuple[Batch, devices.Event]:
        with devices.on_stream(stream):
            batch, done = next(batches), devices.new_event()
            done.record()
        return batch, done

    waiting = build()
    while True:
        (batch, done), waiting = waiting, build()
        transfer.wait_for(batch, done, device)
        yield batch


def _normalised(context: LoaderContext, batch: Batch) -> Batch:
    return {
        name: x if name in LABELS.values() else images.normalize(x, context.dtype, context.value_range(name, x.dtype))
        for name, x in batch.items()
    }
