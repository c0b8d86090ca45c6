"""Loader of training batches, from one of three tiers, all of which give the same batches.

`resident`: images are decoded once into the device's memory; `ram`: once into the host's; `stream`: each time, by workers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from translate import images
from translate.data import batch_augment
from translate.data.albumentations_recipe import AlbumentationsRecipe
from translate.data.in_memory import InMemorySource
from translate.data.loader_context import Batch, BatchSource, LoaderContext, prefetch_on_stream
from translate.data.preprocessing import Preprocessing, estimate_bytes, load_image, load_pair, target_size
from translate.data.sampler import LABELS, BatchSampler, Sampler, augmentation_keys, label_tensor, labelled_domains
from translate.data.split import Split, evenly_spaced
from translate.data.streaming import StreamingSource
from translate.errors import UsageError
from translate.images import ImageError, LabelFormat
from translate.runtime import memory, transfer
from translate.text import join_names, memory_size

TIERS = ("resident", "ram", "stream")
HEADERS_READ = 32
"""Files of each domain from whose headers the memory of all is estimated."""


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """Options of a loader; `tier`, `workers` and `strict` do not change its batches."""

    batch_size: int
    """Images of each domain that this process takes in a step."""
    seed: int
    """Seed of all draws."""
    rank: int = 0
    """Number of this process; the union of all processes' batches is what one process would take."""
    world_size: int = 1
    """Number of processes."""
    tier: str = "auto"
    """One of TIERS, or "auto" for the first that fits into memory."""
    workers: int = 2
    """Worker processes of the `stream` tier; 0: the main process loads."""
    sampling: str = "reference"
    """"reference", or "permute-both": see `Sampler`."""
    augmentations: tuple[str, ...] = ()
    """Rows of `BATCH_AUGMENTATIONS`."""
    albumentations: AlbumentationsRecipe | None = None
    strict: bool = False
    """Raise DataError at the first file that cannot be read."""
    title: str = "data"
    """First word of the line that says what the loader has."""


def fits_in_memory(size: int, free: int) -> bool:
    """Return whether images of `size` bytes are kept in memory of which `free` bytes are free: in half of it at most."""
    return size <= free // 2


def choose_tier(size: int, free: int, free_host: int) -> str:
    """Choose the tier for images of `size` bytes, by the free bytes of the device and of the host."""
    if fits_in_memory(size, free):
        return "resident"
    return "ram" if fits_in_memory(size, free_host) else "stream"


class Loader:
    """Loader of batches {"a", "b"} of (N, C, crop, crop) in [-1, 1] on the device.

    Where the images of a are labelled, `label` is int64 (N,), numbers of domains or classes, or float32 (N, K), attributes; so
    is `label_b` of the references of `Split.references`.
    On the CPU the memory of a batch is reused once `loader_context.RING_SIZE` − 1 more have been taken.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        options: LoaderOptions,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        say: Callable[[str], None] = print,
    ) -> None:
        """Choose the tier and read the images that it keeps.

        Raise DataError where a domain has no readable image, and UsageError where the options need the `stream` tier.
        """
        sampler = Sampler(split, options.seed, options.sampling)
        batch_sampler = BatchSampler(sampler, options.batch_size, options.rank, options.world_size)
        self.options = options
        self.context = LoaderContext(
            split, preprocessing, sampler, batch_sampler, device, dtype, say, options.workers, options.albumentations,
            options.strict,
        )  # fmt: skip
        self.bytes_needed = self._estimate_bytes()
        self.tier = self._choose_tier() if options.tier == "auto" else options.tier
        if self.tier != "stream" and self._needs_stream():
            raise UsageError(f"--loader {self.tier}: {self._needs_stream()} works with --loader stream only")
        say(self._describe())
        self._source: BatchSource = (
            StreamingSource(self.context)
            if self.tier == "stream"
            else InMemorySource(self.context, on_device=self.tier == "resident")
        )

    def _estimate_bytes(self) -> int:
        """Estimate the bytes of all images from the headers of some of them."""
        total = 0
        for side, domain in enumerate(self.context.split.stored_domains):
            refs = self.context.split.refs(domain)
            chosen = [refs[i] for i in evenly_spaced(len(refs), HEADERS_READ)]
            sizes = [estimate_bytes(ref, self.context.preprocessing, side) for ref in chosen]
            known = [size for size in sizes if size]
            total += len(refs) * sum(known) // max(len(known), 1)
        return total

    def _needs_stream(self) -> str:
        """Flag that does not work with images that were decoded beforehand; empty where there is none."""
        if self.options.albumentations is not None:
            return "--albumentations"
        return "--decoder nvjpeg" if self.context.preprocessing.decoder == "nvjpeg" else ""

    def _choose_tier(self) -> str:
        if self._needs_stream():
            return "stream"
        device, host = self.context.device, torch.device("cpu")
        free = memory.free_memory(device)
        return choose_tier(self.bytes_needed, free, free if device == host else memory.free_memory(host))

    def _describe(self) -> str:
        split, title = self.context.split, self.options.title
        each = [
            (len(split.refs(domain)), f" of domain {domain}" if len(split.stored_domains) > 1 else "")
            for domain in split.stored_domains
        ]
        counts = " and ".join(f"{count} images{which}" for count, which in each)
        if split.label_names:
            counts += f" ({join_names(split.label_names, 8)})"
        size = memory_size(self.bytes_needed)
        if self.tier == "stream":
            return f"{title}: {counts}, streamed by {self.options.workers} workers; decoded they would take {size}"
        where = "host memory" if self.tier == "ram" else f"memory ({self.context.device.type})"
        return f"{title}: {counts}, decoded once into {size} of {where}, {self.tier}"

    @property
    def skipped(self) -> int:
        """Number of files that could not be read so far."""
        return len(self.context.skipped)

    def batches(self, start: int) -> Iterator[Batch]:
        """Yield batches from image `start` of the run on, without end."""
        augmented = self._augmented_batches(start)
        if self.tier == "resident" and self.context.device.type == "cuda":
            return prefetch_on_stream(augmented, self.context.device)
        return augmented

    def _augmented_batches(self, start: int) -> Iterator[Batch]:
        labels = self.context.preprocessing.labels
        for numbers, batch in self._source.batches(start):
            augmented = self._augment(numbers, batch) if self.options.augmentations else batch
            yield with_one_hot(augmented, labels)

    def _augment(self, numbers: Tensor, batch: Batch) -> Batch:
        key = transfer.to_device_async(augmentation_keys(self.context.sampler.seed, numbers), self.context.device)
        split = self.context.split
        return batch | {
            domain: batch_augment.apply_augmentations(
                batch[domain],
                key,
                split.draw_name(domain),
                self.options.augmentations,
                label_maps=domain == "a" and self.context.preprocessing.labels is not None,
            )
            for domain in split.domains
        }


def with_one_hot(batch: Batch, labels: LabelFormat | None) -> Batch:
    """Return a batch whose images of a, if they are label maps in [-1, 1] as `images.normalize` gives them, are one-hot."""
    return batch if labels is None else batch | {"a": labels.one_hot(batch["a"])}


def fixed_batch(
    split: Split, preprocessing: Preprocessing, count: int, device: torch.device, dtype: torch.dtype
) -> Batch:
    """Batch of the same images each time: at most `count`, evenly spaced over the split and its labels, centre-cropped.

    A file that cannot be read is shown as white, and keeps its label.
    """
    count = min([count, len(split.a), *([len(split.b)] if split.b else [])])
    if preprocessing.random_crop_size is None:
        count = 1  # images of other sizes would not fit beside it
    chosen = split.subsample(count)
    rows = list(_load_rows(chosen, preprocessing))
    labels = label_tensor(chosen)
    batch = {} if labels is None else {LABELS[domain]: labels.to(device) for domain in labelled_domains(chosen)}
    for side, domain in enumerate(chosen.domains):
        batch[domain] = torch.stack([_displayed(row, side, preprocessing, dtype) for row in rows]).to(device)
    return with_one_hot(batch, preprocessing.labels)


def preparation_batches(
    split: Split, preprocessing: Preprocessing, count: int, device: torch.device, dtype: torch.dtype
) -> Iterator[Batch]:
    """Yield batches of one centre-cropped image of each domain: at most `count`, evenly spaced over the split.

    Where a domain has fewer images, there are as many batches as it has. Files that cannot be read are left out.
    """
    count = min([count, len(split.a), *([len(split.b)] if split.b else [])])
    for row in _load_rows(split.subsample(count), preprocessing):
        if all(isinstance(image, Tensor) for image in row):
            batch = {
                domain: _displayed(row, side, preprocessing, dtype)[None].to(device)
                for side, domain in enumerate(split.domains)
            }
            yield with_one_hot(batch, preprocessing.labels)


def _load_rows(split: Split, preprocessing: Preprocessing) -> Iterator[tuple[Tensor | ImageError, ...]]:
    """Yield the images of each index of a split, of which all domains have as many, or why they cannot be read."""
    for refs in zip(*(split.refs(domain) for domain in split.domains), strict=True):
        if split.paired:
            a, b = refs
            yield load_pair(a, b, preprocessing)
        else:
            yield tuple(load_image(ref, preprocessing, side) for side, ref in enumerate(refs))


def _displayed(
    row: tuple[Tensor | ImageError, ...], side: int, preprocessing: Preprocessing, dtype: torch.dtype
) -> Tensor:
    """Centre crop in [-1, 1] of one of the images of a row; white, of its partner's size, where it cannot be read.

    A label map that cannot be read is of class 0.
    """
    image = row[side]
    if isinstance(image, Tensor):
        cropped = _centre_crop(image, preprocessing.random_crop_size)
        return images.normalize(cropped, dtype, preprocessing.value_ranges[side])
    readable = [other for other in row if isinstance(other, Tensor)]
    unknown = torch.empty(1, preprocessing.load_size, preprocessing.load_size)
    size = readable[0].shape[1:] if readable else target_size(unknown, preprocessing)
    level = -1 if side == 0 and preprocessing.labels is not None else 1
    white = torch.full((preprocessing.channels[side], *size), level, dtype=dtype)
    return _centre_crop(white, preprocessing.random_crop_size)


def _centre_crop(image: Tensor, size: int | None) -> Tensor:
    if size is None:
        return image
    top, left = (image.shape[1] - size) // 2, (image.shape[2] - size) // 2
    return image[:, top : top + size, left : left + size]
