"""Batches for training: each image decoded once into a uint8 store on the device, or streamed from worker processes.

The order is a pure function of seed and image number: image n of a run is element n mod L of epoch n div L, where an epoch
is L = max(|A|, |B|) images. A (and B, if paired) follows a permutation of each epoch; in unpaired data B is drawn
uniformly, as in the reference. So there is nothing to save or replay, and workers change nothing.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from translate import images, noise, runtime
from translate.data import augment
from translate.data.layouts import Ref, Split
from translate.errors import DataError


@dataclass(frozen=True)
class Recipe:
    """How images are prepared."""

    load_size: int
    crop_size: int
    flip: bool
    channels: tuple[int, int]
    """Of domain a and of domain b."""


def decode(ref: Ref, channels: int, size: int) -> Tensor | images.ImageError:
    """One image, resized to the square: (C, size, size) uint8, or why it cannot be read."""
    try:
        pixels = images.read(ref.path, channels).pixels
    except images.ImageError as e:
        return e
    if ref.half:
        middle = pixels.shape[1] // 2
        if middle == 0:
            return images.ImageError("one pixel wide: too narrow to hold A and B side by side")
        pixels = pixels[:, :middle] if ref.half == "left" else pixels[:, middle:]
    return torch.from_numpy(np.array(images.resize(pixels, size, size))).permute(2, 0, 1).contiguous()


class Order:
    """Which images element n of the run is: a pure function of seed, n and the number of images."""

    def __init__(self, split: Split, seed: int) -> None:
        self.split, self.seed = split, seed
        self._epoch, self._permutation = -1, torch.empty(0)

    def __call__(self, n: int) -> tuple[int, int]:
        """Index into A and index into B of image n of the run."""
        epoch, element = divmod(n, len(self.split))
        if epoch != self._epoch:  # kept for the epoch: it takes as long as sorting it
            self._epoch = epoch
            self._permutation = noise.permutation(len(self.split), self.seed, "order", epoch)
        place = int(self._permutation[element])
        a = place % len(self.split.a)
        if self.split.paired:
            return a, a
        share = (noise.mix(self.seed, "b", n) >> 11 & (1 << 53) - 1) / (1 << 53)
        return a, int(share * len(self.split.b)) if self.split.b else 0


def key_of_draws(seed: int, numbers: Tensor) -> Tensor:
    """The keys (N,) of the images' crops and flips."""
    return noise.keys(noise.mix(seed, "augment"), numbers)


class Loader:
    """Yields batches {"a", "b"} of (N, C, crop, crop) in [-1, 1] on the device, from image `start` on, without end.

    `rank` and `ranks`: this process takes its share of every step; the union over processes is what one would see.
    """

    def __init__(
        self,
        split: Split,
        recipe: Recipe,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        tier: str = "auto",
        workers: int = 2,
        rank: int = 0,
        ranks: int = 1,
        say: Callable[[str], None] = print,
    ) -> None:
        self.split, self.recipe, self.seed = split, recipe, seed
        self.batch_size, self.rank, self.ranks = batch_size, rank, ranks
        self.device, self.dtype, self.workers = device, dtype, workers
        self.domains = [("a", split.a, recipe.channels[0])]
        if split.b:
            self.domains.append(("b", split.b, recipe.channels[1]))
        self.tier = self._choose() if tier == "auto" else tier
        self.say = say
        self.skipped: dict[Path, str] = {}
        self.store: dict[str, Tensor] = {}
        self.usable: dict[str, Tensor] = {}
        say(self._describe())
        if self.tier == "resident":
            self._fill()
        else:
            self._probe()

    @property
    def bytes_needed(self) -> int:
        """Size of the resident store."""
        return sum(len(refs) * channels for _, refs, channels in self.domains) * self.recipe.load_size**2

    def _choose(self) -> str:
        return "resident" if self.bytes_needed <= runtime.free_memory(self.device) // 2 else "stream"

    def _describe(self) -> str:
        counts = " and ".join(f"{len(refs)} images of domain {name}" for name, refs, _ in self.domains)
        if self.tier == "resident":
            return f"data: {counts}, decoded once into {self.bytes_needed / 2**20:.0f} MiB on {self.device.type}"
        return f"data: {counts}, streamed by {self.workers} workers"

    def _skip(self, path: Path, reason: str) -> None:
        if path not in self.skipped:
            self.skipped[path] = reason
            self.say(f"skipped {str(path)!r}: {reason}; the next image takes its place until it is mended or removed")

    def _fill(self) -> None:
        """Decodes all images into the store."""
        size = self.recipe.load_size
        good: dict[str, list[bool]] = {}
        for name, refs, channels in self.domains:
            store = torch.empty(len(refs), channels, size, size, dtype=torch.uint8)
            good[name] = [False] * len(refs)
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes and resizes without holding Python's lock
                said = time.monotonic()
                for i, image in enumerate(pool.map(partial(decode, channels=channels, size=size), refs)):
                    if time.monotonic() - said > 10:
                        said = time.monotonic()
                        self.say(f"decoded {i} of {len(refs)} images of domain {name}")
                    if isinstance(image, Tensor):
                        store[i], good[name][i] = image, True
                    else:
                        self._skip(refs[i].path, str(image))
            self.store[name] = store.to(self.device)
        if self.split.paired:  # a pair is used whole or not at all
            both = [a and b for a, b in zip(good["a"], good["b"], strict=True)]
            good = {"a": both, "b": both}
        for name, refs, _ in self.domains:
            self._need_one(any(good[name]), refs)
            self.usable[name] = torch.tensor(next_good(good[name]))

    def _probe(self) -> None:
        """Streaming starts only if each domain has an image that can be read, and paired data a whole pair."""
        for domains in [self.domains] if self.split.paired else [[domain] for domain in self.domains]:
            whole = False
            for row in zip(*(refs for _, refs, _ in domains), strict=True):
                decoded = [
                    decode(ref, domain[2], self.recipe.load_size) for ref, domain in zip(row, domains, strict=True)
                ]
                for ref, image in zip(row, decoded, strict=True):
                    if not isinstance(image, Tensor):
                        self._skip(ref.path, str(image))
                whole = all(isinstance(image, Tensor) for image in decoded)
                if whole:
                    break
            self._need_one(whole, domains[0][1])

    def _need_one(self, found: bool, refs: Sequence[Ref]) -> None:
        if not found:
            folder = os.path.commonpath([ref.path.parent for ref in refs])
            raise DataError(f"{folder}: none of its {len(refs)} images can be used; put readable images there")

    def numbers(self, step_start: int) -> range:
        """The run's image numbers that this process takes of the step that starts at image `step_start`."""
        first = step_start + self.rank * self.batch_size
        return range(first, first + self.batch_size)

    def batches(self, start: int) -> Iterator[dict[str, Tensor]]:
        """Batches from image `start` of the run on."""
        starts = _count(start, self.batch_size * self.ranks)
        return self._resident(starts) if self.tier == "resident" else self._stream(starts)

    def _resident(self, starts: Iterable[int]) -> Iterator[dict[str, Tensor]]:
        order = Order(self.split, self.seed)
        for start in starts:
            numbers = self.numbers(start)
            pairs = torch.tensor([order(n) for n in numbers]).T
            indices = {
                name: self.usable[name][pairs["ab".index(name)]].to(self.device, non_blocking=True)
                for name, _, _ in self.domains
            }
            yield self._finish(self.store, indices, numbers)

    def _stream(self, starts: Iterable[int]) -> Iterator[dict[str, Tensor]]:
        batches = DataLoader(
            _Stream(self.split, self.domains, self.recipe.load_size, self.seed),
            batch_sampler=_Numbers(self, starts),
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            collate_fn=_collate,
            multiprocessing_context="spawn" if self.workers else None,  # forking a process with threads may hang
        )
        for numbers, found, skipped in batches:
            for path, reason in skipped.items():
                self._skip(path, reason)
            stored = {name: image.to(self.device, non_blocking=True) for name, image in found.items()}
            whole = torch.arange(len(numbers), device=self.device)
            yield self._finish(stored, dict.fromkeys(stored, whole), numbers)

    def _finish(
        self, stored: dict[str, Tensor], indices: dict[str, Tensor], numbers: Sequence[int]
    ) -> dict[str, Tensor]:
        key = key_of_draws(self.seed, torch.tensor(list(numbers))).to(self.device)
        recipe = self.recipe
        return {
            name: augment.crop_flip_normalise(
                stored[name], indices[name], key, "pair" if self.split.paired else name,
                recipe.crop_size, recipe.flip, self.dtype,
            )
            for name, _, _ in self.domains
        }  # fmt: skip


def next_good(good: Sequence[bool]) -> list[int]:
    """For each element its own index if it is good, else that of the next good one; the list is a ring."""
    index = good.index(True)
    out = [0] * len(good)
    for i in reversed(range(len(good))):
        index = i if good[i] else index
        out[i] = index
    return out


def fixed_batch(
    split: Split, recipe: Recipe, count: int, device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """The same images each time, `count` at most, evenly spread over the split; the middle of each."""
    batch = {}
    domains = [("a", split.a, recipe.channels[0]), ("b", split.b, recipe.channels[1])]
    count = min([count, *(len(refs) for _, refs, _ in domains if refs)])
    for name, refs, channels in domains:
        spread = [refs[i * len(refs) // count] for i in range(count)] if refs else []
        decoded = [decode(ref, channels, recipe.load_size) for ref in spread]
        blank = torch.full((channels, recipe.load_size, recipe.load_size), 255, dtype=torch.uint8)
        stored = [image if isinstance(image, Tensor) else blank for image in decoded]
        if stored:
            index = torch.arange(count, device=device)
            batch[name] = augment.centre(torch.stack(stored).to(device), index, recipe.crop_size, dtype)
    return batch


def _count(start: int, step: int) -> Iterator[int]:
    while True:
        yield start
        start += step


class _Numbers:
    """The batch sampler: the image numbers of each batch."""

    def __init__(self, loader: Loader, starts: Iterable[int]) -> None:
        self.loader, self.starts = loader, starts

    def __iter__(self) -> Iterator[list[int]]:
        return (list(self.loader.numbers(start)) for start in self.starts)


Item = tuple[int, dict[str, Tensor], dict[Path, str]]


class _Stream(Dataset[Item]):
    """Decodes image n of the run in a worker. One that cannot be read is replaced by the next that can."""

    def __init__(self, split: Split, domains: list[tuple[str, tuple[Ref, ...], int]], size: int, seed: int) -> None:
        self.order, self.domains, self.size = Order(split, seed), domains, size

    def __getitem__(self, n: int) -> Item:
        indices = dict(zip("ab", self.order(n), strict=True))
        found: dict[str, Tensor] = {}
        skipped: dict[Path, str] = {}
        while len(found) < len(self.domains):
            for name, refs, channels in self.domains:
                ref = refs[indices[name]]
                image = decode(ref, channels, self.size)
                if isinstance(image, Tensor):
                    found.setdefault(name, image)
                    continue
                skipped[ref.path] = str(image)
                if self.order.split.paired:  # a pair is used whole or not at all
                    found.clear()
                    indices = {side: (i + 1) % len(refs) for side, i in indices.items()}
                    break
                indices[name] = (indices[name] + 1) % len(refs)
        return n, found, skipped


def _collate(items: list[Item]) -> tuple[list[int], dict[str, Tensor], dict[Path, str]]:
    found = {name: torch.stack([found[name] for _, found, _ in items]) for name in items[0][1]}
    return [n for n, _, _ in items], found, {path: why for _, _, skipped in items for path, why in skipped.items()}
