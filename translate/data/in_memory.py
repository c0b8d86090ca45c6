"""Tiers `resident` and `ram`: every image is decoded once, and kept on the device or on the host."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from translate import images
from translate.data import crop_flip
from translate.data.crop_flip import Cuts, FlatImages
from translate.data.image_store import ImageStore, decode_all
from translate.data.loader_context import Batch, BufferRing, LoaderContext, NumberedBatch, prefetch_to_device
from translate.data.sampler import LABELS, augmentation_keys, label_tensor, labelled_domains
from translate.data.split import next_readable
from translate.data.stream_dataset import check_same_size


@dataclass(frozen=True)
class _Step:
    """Plan of one step: for each domain, the indices of its images in the store and their crops and flips."""

    numbers: Tensor
    store_index: dict[str, Tensor]
    cuts: dict[str, Cuts]
    labels: Batch
    """`label` of the images, and `label_b` of references, where they have one."""


class InMemorySource:
    """Source of batches from images that were all decoded beforehand."""

    def __init__(self, context: LoaderContext, on_device: bool) -> None:
        """Decode all images; DataError where a domain has none that can be read."""
        self.context, self.on_device = context, on_device
        self.stores: dict[str, ImageStore] = {}
        self.store_index: dict[str, Tensor] = {}
        """Index of a file → index in the store of its image, or of the next readable one."""
        self.labels = label_tensor(context.split)
        """Index of a file of a → label of its image, or of the next readable one."""
        for domains in context.split.domain_groups:
            if set(domains) <= set(context.split.stored_domains):
                self._fill(domains)
        for domain in context.split.domains:  # references are images of a
            self.stores.setdefault(domain, self.stores["a"])
            self.store_index.setdefault(domain, self.store_index["a"])

    def _fill(self, domains: tuple[str, ...]) -> None:
        """Decode the images of one domain, or both sides of pairs, into their stores."""
        context = self.context
        refs = [context.split.refs(domain) for domain in domains]
        loaded = decode_all(len(refs[0]), lambda i: context.load_group(domains, i), context.say, "images")
        readable = [context.skip_unreadable([side[i] for side in refs], group) for i, group in enumerate(loaded)]
        context.require_readable(any(readable), refs[0])
        shown = torch.tensor(readable_substitutes(readable))
        store_index = (torch.tensor(readable).cumsum(0) - 1)[shown]
        if "a" in domains and self.labels is not None:
            self.labels = self.labels[shown]
        columns = [[group[side] for group, ok in zip(loaded, readable, strict=True) if ok] for side in range(len(refs))]
        loaded.clear()
        for domain, column in zip(domains, columns, strict=True):
            declared = context.declared_range(domain) is not None
            store = ImageStore(column, declared, context.dtype)  # type: ignore[arg-type]
            if self.on_device:
                store.to(context.device)
            elif context.device.type == "cuda":
                store.pin()
            self.stores[domain], self.store_index[domain] = store, store_index

    def batches(self, start: int) -> Iterator[NumberedBatch]:
        """Yield batches from image `start` of the run on, without end."""
        if self.context.device.type == "cpu":
            return self._sliced(start)
        return self._gathered(start) if self.on_device else prefetch_to_device(self.context, self.crop_on_host(start))

    def _plan(self, start: int, device: torch.device | None = None) -> Iterator[_Step]:
        """Plan steps from image `start` on, a block at a time; on the device if one is given, by one copy a block."""
        context, preprocessing = self.context, self.context.preprocessing
        size = context.batch_sampler.batch_size
        for block in context.batch_sampler.blocks_from(start):
            numbers = block.flatten()
            key = augmentation_keys(context.sampler.seed, numbers)
            indices = dict(zip("ab", context.sampler.indices(numbers), strict=True))
            labels = (
                {}
                if self.labels is None
                else {
                    LABELS[domain]: self.labels[indices[domain]].to(device, non_blocking=True)
                    for domain in labelled_domains(context.split)
                }
            )
            store_index, cuts = {}, {}
            for domain in context.split.domains:
                store, index = self.stores[domain], self.store_index[domain][indices[domain]]
                drawn = crop_flip.draw_cuts(
                    key, context.split.draw_name(domain), store.heights[index], store.widths[index],
                    preprocessing.random_crop_size, preprocessing.flip,
                )  # fmt: skip
                store_index[domain] = index if device is None else index.to(device, non_blocking=True)
                cuts[domain] = drawn if device is None else drawn.to(device)
            for k in range(len(block)):
                part = slice(k * size, (k + 1) * size)
                yield _Step(
                    block[k],
                    {domain: x[part] for domain, x in store_index.items()},
                    {domain: x.part(part.start, part.stop) for domain, x in cuts.items()},
                    {name: x[part] for name, x in labels.items()},
                )

    def _size_of(self, step: _Step, domain: str) -> tuple[int, int]:
        """Height and width of the images of a step that is planned on the host."""
        if self.context.preprocessing.random_crop_size is not None:
            return self.context.preprocessing.random_crop_size, self.context.preprocessing.random_crop_size
        stored = [self.stores[domain].image(i) for i in step.store_index[domain].tolist()]
        check_same_size(stored)
        return stored[0].shape[1], stored[0].shape[2]

    def _sliced(self, start: int) -> Iterator[NumberedBatch]:
        """Yield batches on the CPU, cropped by slices into buffers that are reused in turn."""
        buffers = BufferRing(self.context.batch_sampler.batch_size, self.context.dtype)
        for step in self._plan(start):
            batch = dict(step.labels)
            for domain, store in self.stores.items():
                out = buffers.next(domain, (store.channels, *self._size_of(step, domain)))
                stored = [store.image(i) for i in step.store_index[domain].tolist()]
                value_range = self.context.value_range(domain, store.data.dtype)
                batch[domain] = crop_flip.crop_into(stored, step.cuts[domain].as_lists(), out, value_range)
            yield step.numbers, batch

    def _gathered(self, start: int) -> Iterator[NumberedBatch]:
        """Yield batches on the device that holds the images: one gather for each domain, without waiting for the host."""
        geometry = {
            domain: [x.to(self.context.device) for x in (store.offsets, store.heights, store.widths)]
            for domain, store in self.stores.items()
            if not store.uniform
        }
        cropped = self.context.preprocessing.random_crop_size is not None
        on_host: Iterator[_Step | None] = itertools.repeat(None) if cropped else self._plan(start)
        for step, host_step in zip(self._plan(start, self.context.device), on_host, strict=False):  # both are endless
            batch = dict(step.labels)
            for domain, store in self.stores.items():
                index, cuts, size = (
                    step.store_index[domain],
                    step.cuts[domain],
                    self._size_of(host_step or step, domain),
                )
                if store.uniform:
                    stored = crop_flip.gather_crops(store.data, index, cuts, *size)
                else:
                    flat = FlatImages(store.data, store.channels, *(x[index] for x in geometry[domain]))
                    stored = crop_flip.gather_flat_crops(flat, cuts, *size)
                value_range = self.context.value_range(domain, stored.dtype)
                batch[domain] = images.normalize(stored, self.context.dtype, value_range)
            yield step.numbers, batch

    def crop_on_host(self, start: int) -> Iterator[NumberedBatch]:
        """Yield cropped batches on the host, as they are stored."""
        size = self.context.preprocessing.random_crop_size
        for step in self._plan(start):
            batch = dict(step.labels)
            for domain, store in self.stores.items():
                self._size_of(step, domain)
                cuts = zip(step.store_index[domain].tolist(), step.cuts[domain].as_lists(), strict=True)
                batch[domain] = torch.stack([crop_flip.crop_and_flip(store.image(i), *cut, size) for i, cut in cuts])
            yield step.numbers, batch


def readable_substitutes(readable: Sequence[bool]) -> list[int]:
    """Index of the image that is used for each image: its own, or that of the next readable one, in a ring.

    At least one image must be readable.
    """
    used: list[int] = []
    while len(used) < len(readable):
        index = next_readable(len(used), len(readable), readable.__getitem__)
        assert index is not None
        end = index + 1 if index >= len(used) else len(readable)  # smaller: the ring went round
        used += [index] * (end - len(used))
    return used
