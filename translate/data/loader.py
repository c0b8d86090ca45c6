"""Batches for training, from one of three places: `resident`, decoded once into the device's memory; `ram`, decoded once into
the host's; `stream`, decoded each time by worker processes. All give the same batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from translate import images
from translate.data import batch_augment
from translate.data.albumentations_recipe import AlbumentationsRecipe as Albumentations
from translate.data.in_memory import InMemorySource
from translate.data.loader_context import Batch, BatchSource, LoaderContext, prefetch_on_stream
from translate.data.preprocessing import Preprocessing, estimate_bytes, load_image, load_pair, target_size
from translate.data.sampler import BatchSampler, Sampler, augmentation_keys, label_tensor
from translate.data.split import Split
from translate.data.streaming import StreamingSource
from translate.errors import UsageError
from translate.images import ImageError
from translate.runtime import memory, transfer
from translate.text import join_names, memory_size

TIERS = ("resident", "ram", "stream")
PROBED = 32
"""Files of each domain whose headers tell how much memory all of them need."""


@dataclass(frozen=True)
class LoaderOptions:
    """How a loader works; `augmentations`, `albumentations` and `sampling` alone change what it gives."""

    tier: str = "auto"
    workers: int = 2
    sampling: str = "reference"
    augmentations: tuple[str, ...] = ()
    albumentations: Albumentations | None = None
    strict: bool = False
    """DataError at the first file that cannot be read."""


class Loader:
    """Yields batches {"a", "b"} of (N, C, crop, crop) in [-1, 1] on the device, from image `start` on, without end.

    Where the images of a are labelled, `label` is int64 (N,), numbers of domains or classes, or float32 (N, K), attributes.
    `rank` and `world_size`: this process takes its share of every step; the union over processes is what one would see. On the
    CPU the memory of a batch is used again when `context.RING` − 1 more have been taken.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        rank: int = 0,
        world_size: int = 1,
        options: LoaderOptions = LoaderOptions(),
        say: Callable[[str], None] = print,
    ) -> None:
        order = Sampler(split, seed, options.sampling)
        self.options = options
        self.context = LoaderContext(
            split, preprocessing, order, BatchSampler(order, batch_size, rank, world_size), device, dtype, say, options.workers,
            options.albumentations, options.strict,
        )  # fmt: skip
        self.bytes_needed = self._measure()
        self.tier = self._choose() if options.tier == "auto" else options.tier
        if self.tier != "stream" and self._only_streams():
            raise UsageError(f"--loader {self.tier}: {self._only_streams()} works with --loader stream only")
        say(self._describe())
        self._from: BatchSource = (
            StreamingSource(self.context)
            if self.tier == "stream"
            else InMemorySource(self.context, on_device=self.tier == "resident")
        )

    def _measure(self) -> int:
        """Bytes that all images need, from the headers of some of them."""
        total = 0
        for side, name in enumerate(self.context.domains):
            refs = self.context.refs(name)
            count = min(PROBED, len(refs))
            sizes = [
                estimate_bytes(refs[i * len(refs) // count], self.context.preprocessing, side) for i in range(count)
            ]
            known = [size for size in sizes if size]
            total += len(refs) * sum(known) // max(len(known), 1)
        return total

    def _only_streams(self) -> str:
        """What cannot work on images that were decoded beforehand."""
        if self.options.albumentations is not None:
            return "--albumentations"
        return "--decoder nvjpeg" if self.context.preprocessing.decoder == "nvjpeg" else ""

    def _choose(self) -> str:
        if self._only_streams():
            return "stream"
        device = self.context.device
        if self.bytes_needed <= memory.free_memory(device) // 2:
            return "resident"
        if device.type != "cpu" and self.bytes_needed <= memory.free_memory(torch.device("cpu")) // 2:
            return "ram"
        return "stream"

    def _describe(self) -> str:
        source = self.context
        each = [(len(source.refs(name)), f" of domain {name}" if source.split.b else "") for name in source.domains]
        counts = " and ".join(f"{count} images{which}" for count, which in each)
        if source.split.labels:
            counts += f" ({join_names(source.split.label_names, 8)})"
        size = memory_size(self.bytes_needed)
        if self.tier == "stream":
            return f"data: {counts}, streamed by {self.options.workers} workers; decoded they would take {size}"
        where = "host memory" if self.tier == "ram" else f"memory ({source.device.type})"
        return f"data: {counts}, decoded once into {size} of {where}, {self.tier}"

    @property
    def skipped(self) -> int:
        """How many files could not be read so far."""
        return len(self.context.skipped)

    def batches(self, start: int) -> Iterator[Batch]:
        """Batches from image `start` of the run on."""
        finished = self._finished(start)
        if self.tier == "resident" and self.context.device.type == "cuda":
            return prefetch_on_stream(finished, self.context.device)
        return finished

    def _finished(self, start: int) -> Iterator[Batch]:
        for numbers, batch in self._from.batches(start):
            yield self._with_effects(numbers, batch) if self.options.augmentations else batch

    def _with_effects(self, numbers: Tensor, batch: Batch) -> Batch:
        key = transfer.to_device_async(augmentation_keys(self.context.sampler.seed, numbers), self.context.device)
        return batch | {
            name: batch_augment.apply_augmentations(
                batch[name], key, self.context.draw_name(name), self.options.augmentations
            )
            for name in self.context.domains
        }


def fixed_batch(
    split: Split, preprocessing: Preprocessing, count: int, device: torch.device, dtype: torch.dtype
) -> Batch:
    """The same images each time, `count` at most, evenly spread over the split and its labels; the middle of each.

    White stands for a file that cannot be read; it keeps its label.
    """
    count = min([count, len(split.a), *([len(split.b)] if split.b else [])])
    if preprocessing.random_crop_size is None:
        count = 1  # images of other sizes would not fit beside it
    shown = split.subsample(count)
    sides = {name: refs for name, refs in (("a", shown.a), ("b", shown.b)) if refs}
    chosen = list(zip(*sides.values(), strict=True))
    rows: list[tuple[Tensor | ImageError, ...]]
    if split.paired:
        rows = [load_pair(a, b, preprocessing) for a, b in chosen]
    else:
        rows = [tuple(load_image(ref, preprocessing, side) for side, ref in enumerate(refs)) for refs in chosen]
    known = label_tensor(shown)
    batch = {} if known is None else {"label": known.to(device)}
    for side, name in enumerate(sides):
        batch[name] = torch.stack([_shown(row, side, preprocessing, dtype) for row in rows]).to(device)
    return batch


def _shown(
    loaded: tuple[Tensor | ImageError, ...], side: int, preprocessing: Preprocessing, dtype: torch.dtype
) -> Tensor:
    """The middle of one of the images that stand beside each other, in [-1, 1]."""
    image = loaded[side]
    if isinstance(image, Tensor):
        return images.normalize(_middle(image, preprocessing.random_crop_size), dtype, preprocessing.value_ranges[side])
    readable = [other for other in loaded if isinstance(other, Tensor)]
    unknown = torch.empty(1, preprocessing.load_size, preprocessing.load_size)
    size = readable[0].shape[1:] if readable else target_size(unknown, preprocessing)
    return _middle(torch.ones(preprocessing.channels[side], *size, dtype=dtype), preprocessing.random_crop_size)


def _middle(image: Tensor, size: int | None) -> Tensor:
    if size is None:
        return image
    top, left = (image.shape[1] - size) // 2, (image.shape[2] - size) // 2
    return image[:, top : top + size, left : left + size]
