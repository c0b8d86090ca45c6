"""Tiers `resident` and `ram`: every image is decoded once, and kept on the device or on the host."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from translate import images
from translate.data import crop_flip
from translate.data.crop_flip import Cuts
from translate.data.image_store import ImageStore, decode_all
from translate.data.loader_context import Batch, BufferRing, LoaderContext, NumberedBatch, prefetch_to_device
from translate.data.sampler import augmentation_keys, label_tensor
from translate.data.stream_dataset import check_same_size


@dataclass(frozen=True)
class _Step:
    """What one step takes: for each domain where its images lie in the store and how they are cut."""

    numbers: Tensor
    place: dict[str, Tensor]
    cuts: dict[str, Cuts]
    labels: Batch
    """`label` of each image, if it has one."""


class InMemorySource:
    """All images of a source, decoded."""

    def __init__(self, source: LoaderContext, on_device: bool) -> None:
        self.context, self.on_device = source, on_device
        self.stores: dict[str, ImageStore] = {}
        self.place: dict[str, Tensor] = {}
        """Index of a file → place in the store of it, or of the next that can be read."""
        self.labels = label_tensor(source.split)
        """Index of a file of a → label of it, or of the next that can be read."""
        for names in [source.domains] if source.split.paired else [(name,) for name in source.domains]:
            self._fill(names)

    def _fill(self, names: tuple[str, ...]) -> None:
        """Decodes one domain, or both sides of pairs."""
        source = self.context
        refs = [source.refs(name) for name in names]
        found = decode_all(len(refs[0]), lambda i: source.decode(names, i), source.say, "images")
        good = [source.skip_unreadable([side[i] for side in refs], loaded) for i, loaded in enumerate(found)]
        source.require_readable(any(good), refs[0])
        shown = torch.tensor(next_readable(good))
        place = (torch.tensor(good).cumsum(0) - 1)[shown]
        if "a" in names and self.labels is not None:
            self.labels = self.labels[shown]
        columns = [[loaded[side] for loaded, ok in zip(found, good, strict=True) if ok] for side in range(len(names))]
        found.clear()
        for name, column in zip(names, columns, strict=True):
            store = ImageStore(column, source.declared_range(name) is not None, source.dtype)  # type: ignore[arg-type]
            if self.on_device:
                store.to(source.device)
            elif source.device.type == "cuda":
                store.pin()
            self.stores[name], self.place[name] = store, place

    def batches(self, start: int) -> Iterator[NumberedBatch]:
        """From image `start` of the run on, without end."""
        if self.context.device.type == "cpu":
            return self._sliced(start)
        return self._gathered(start) if self.on_device else prefetch_to_device(self.context, self.crop_on_host(start))

    def _plan(self, start: int, device: torch.device | None = None) -> Iterator[_Step]:
        """Steps from image `start` on, planned a block at a time; on the device if one is given, by one copy a block."""
        source, preprocessing = self.context, self.context.preprocessing
        size = source.batch_sampler.batch_size
        for block in source.batch_sampler.blocks_from(start):
            numbers = block.flatten()
            key = augmentation_keys(source.sampler.seed, numbers)
            indices = dict(zip("ab", source.sampler.indices(numbers), strict=True))
            label = {} if self.labels is None else {"label": self.labels[indices["a"]].to(device, non_blocking=True)}
            place, cuts = {}, {}
            for name in source.domains:
                store, at = self.stores[name], self.place[name][indices[name]]
                drawn = crop_flip.draw_cuts(
                    key,
                    source.draw_name(name),
                    store.heights[at],
                    store.widths[at],
                    preprocessing.random_crop_size,
                    preprocessing.flip,
                )
                place[name] = at if device is None else at.to(device, non_blocking=True)
                cuts[name] = drawn if device is None else drawn.to(device)
            for k in range(len(block)):
                part = slice(k * size, (k + 1) * size)
                yield _Step(
                    block[k],
                    {name: x[part] for name, x in place.items()},
                    {name: x.part(part.start, part.stop) for name, x in cuts.items()},
                    {name: x[part] for name, x in label.items()},
                )

    def _size_of(self, step: _Step, name: str) -> tuple[int, int]:
        """Height and width of the images of a step that is planned on the host."""
        if self.context.preprocessing.random_crop_size is not None:
            return self.context.preprocessing.random_crop_size, self.context.preprocessing.random_crop_size
        found = [self.stores[name].image(i) for i in step.place[name].tolist()]
        check_same_size(found)
        return found[0].shape[1], found[0].shape[2]

    def _sliced(self, start: int) -> Iterator[NumberedBatch]:
        """On the CPU: slices into buffers that are used in turn."""
        buffers = BufferRing(self.context.batch_sampler.batch_size, self.context.dtype)
        for step in self._plan(start):
            batch = dict(step.labels)
            for name, store in self.stores.items():
                out = buffers.next(name, (store.channels, *self._size_of(step, name)))
                stored = [store.image(i) for i in step.place[name].tolist()]
                values = self.context.values(name, store.data.dtype)
                batch[name] = crop_flip.crop_into(stored, step.cuts[name].as_lists(), out, values)
            yield step.numbers, batch

    def _gathered(self, start: int) -> Iterator[NumberedBatch]:
        """On a device that holds the images: one gather for each domain, planned without the host."""
        geometry = {
            name: [x.to(self.context.device) for x in (store.offsets, store.heights, store.widths)]
            for name, store in self.stores.items()
            if not store.uniform
        }
        cut = self.context.preprocessing.random_crop_size is not None
        on_host: Iterator[_Step | None] = itertools.repeat(None) if cut else self._plan(start)
        for step, known in zip(self._plan(start, self.context.device), on_host, strict=False):  # both are endless
            batch = dict(step.labels)
            for name, store in self.stores.items():
                place, cuts, size = step.place[name], step.cuts[name], self._size_of(known or step, name)
                if store.uniform:
                    stored = crop_flip.gather_crops(store.data, place, cuts, *size)
                else:
                    offsets, heights, widths = (x[place] for x in geometry[name])
                    stored = crop_flip.gather_flat_crops(
                        store.data, offsets, heights, widths, store.channels, cuts, *size
                    )
                batch[name] = images.normalize(stored, self.context.dtype, self.context.values(name, stored.dtype))
            yield step.numbers, batch

    def crop_on_host(self, start: int) -> Iterator[NumberedBatch]:
        """Batches as they are stored."""
        for step in self._plan(start):
            batch = dict(step.labels)
            for name, store in self.stores.items():
                self._size_of(step, name)
                cuts = zip(step.place[name].tolist(), step.cuts[name].as_lists(), strict=True)
                batch[name] = torch.stack(
                    [
                        crop_flip.crop_and_flip(store.image(i), *where, self.context.preprocessing.random_crop_size)
                        for i, where in cuts
                    ]
                )
            yield step.numbers, batch


def next_readable(good: list[bool]) -> list[int]:
    """For each element its own index if it is good, else that of the next good one; the list is a ring."""
    index = good.index(True)
    out = [0] * len(good)
    for i in reversed(range(len(good))):
        index = i if good[i] else index
        out[i] = index
    return out
