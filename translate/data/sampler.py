"""Sampling of images and of augmentation keys: pure functions of the seed and the image number.

Image n of a run is element n mod L of epoch n div L, where an epoch is L = max(|A|, |B|) images. A (and B, if paired) follows
a permutation of each epoch; in unpaired data B is drawn uniformly, as in the reference, or follows a permutation of its own.
So a sampler has no state to save, and the numbers of workers and processes change nothing.

With references (`Split.references`) A and B are drawn from one label as often as from another, however many images it has:
first a label, then one of its images. Images 2n and 2n + 1 of the run have references of one label.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from translate import keyed_random
from translate.data.split import Split

PLANNED_IMAGES = 4096
"""Images whose draws are made together."""


class Sampler:
    """Sampler of image indices: maps the image numbers of a run to indices into A and into B."""

    def __init__(self, split: Split, seed: int, sampling: str = "reference") -> None:
        """Set up the draws; with `sampling` "permute-both" unpaired B follows a permutation, with "reference" it does not."""
        self.split, self.seed, self.sampling = split, seed, sampling
        self._cached: dict[str, tuple[tuple[int, ...], Tensor]] = {}
        groups = split.indices_by_label().values() if split.references else ()
        self._by_label = torch.tensor([index for group in groups for index in group], dtype=torch.int64)
        """Indices into A, label after label, where they are drawn by label."""
        self._label_sizes = torch.tensor([len(group) for group in groups], dtype=torch.int64)

    def _permutations(self, name: str, epochs: Tensor) -> Tensor:
        """Permutations (E, L) of some epochs; cached, because making one for a large set takes as long as sorting it."""
        asked = tuple(epochs.tolist())
        if name not in self._cached or self._cached[name][0] != asked:
            draws = keyed_random.bits(keyed_random.fold_in(epochs, self.seed, name), "permutation", len(self.split))
            self._cached[name] = asked, draws.argsort(dim=1, stable=True)
        return self._cached[name][1]

    def reseed(self, seed: int) -> None:
        """Change the seed, for batches that are requested from now on."""
        self.seed = seed
        self._cached.clear()

    def files(self, numbers: Tensor) -> list[Path]:
        """List the files from which images of the run come, each once."""
        a, b = (indices.tolist() for indices in self.indices(numbers))
        split = self.split
        refs = [ref for i, j in zip(a, b, strict=True) for ref in (split.a[i], *split.b[j : j + 1])]
        return list(dict.fromkeys(ref.path for ref in refs))

    def __call__(self, n: int) -> tuple[int, int]:
        """Return the index into A and the index into B of image n of the run."""
        a, b = self.indices(torch.tensor([n]))
        return int(a), int(b)

    def indices(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return indices into A and into B of images of the run, int64 (N,) each; those into B are 0 where B is empty."""
        if self.split.references:
            label_keys = keyed_random.fold_in(numbers.div(2, rounding_mode="floor"), self.seed, "label b")
            b = self._of_label(label_keys, keyed_random.fold_in(numbers, self.seed, "b"))
            of_a = (keyed_random.fold_in(numbers, self.seed, name) for name in ("label a", "a"))
            return self._of_label(*of_a), b
        a = self._by_permutation(numbers, "order", len(self.split.a))
        if self.split.paired:
            return a, a
        count = len(self.split.b)
        if self.sampling == "permute-both" and count:
            return a, self._by_permutation(numbers, "order b", count)
        return a, (_fraction(keyed_random.fold_in(numbers, self.seed, "b")) * count).to(torch.int64)

    def _of_label(self, label_key: Tensor, key: Tensor) -> Tensor:
        """Return the index of an image of each label that label_key (N,) draws; key (N,) draws the image."""
        label = (_fraction(label_key) * len(self._label_sizes)).to(torch.int64)
        first = self._label_sizes.cumsum(0) - self._label_sizes
        return self._by_label[first[label] + (_fraction(key) * self._label_sizes[label]).to(torch.int64)]

    def _by_permutation(self, numbers: Tensor, name: str, count: int) -> Tensor:
        length = len(self.split)
        epochs, row = numbers.div(length, rounding_mode="floor").unique(return_inverse=True)
        return self._permutations(name, epochs)[row, numbers % length] % count


def _fraction(bits: Tensor) -> Tensor:
    """Return uniform float64 (N,) in [0, 1), multiples of 2^-53, from random int64 (N,)."""
    return ((bits >> 11) & ((1 << 53) - 1)).to(torch.float64) / (1 << 53)


LABELS = {"a": "label", "b": "label_b"}
"""Name in a batch of the labels of a domain's images; only references have labels in b."""


def labelled_domains(split: Split) -> tuple[str, ...]:
    """Return the domains whose images have labels."""
    if not split.labels:
        return ()
    return ("a", "b") if split.references else ("a",)


def label_tensor(split: Split) -> Tensor | None:
    """Labels of the images of a: int64 (|A|,), of domains or classes, or (|A|, T), tokens of captions; float32 (|A|, K),
    attributes; None without labels."""
    if not split.labels:
        return None
    first = split.labels[0]
    is_whole = isinstance(first if isinstance(first, int) else first[0], int)
    return torch.tensor(split.labels, dtype=torch.int64 if is_whole else torch.float32)


def augmentation_keys(seed: int, numbers: Tensor) -> Tensor:
    """Keys (N,) of the images' random crops, flips and augmentations."""
    return keyed_random.image_keys(keyed_random.derive_key(seed, "augment"), numbers)


@dataclass(frozen=True)
class BatchSampler:
    """Sampler of batches: image numbers of one process's steps, in blocks, since draws for many steps at once cost least."""

    sampler: Sampler
    batch_size: int
    rank: int = 0
    world_size: int = 1

    @property
    def steps_per_block(self) -> int:
        """Steps in a block: those of about PLANNED_IMAGES images."""
        return max(1, PLANNED_IMAGES // (self.batch_size * self.world_size))

    def image_numbers(self, step_start: int, steps: int = 1) -> Tensor:
        """Image numbers that this process takes in `steps` steps from image `step_start` of the run on: (steps, batch)."""
        of_all = torch.arange(step_start, step_start + steps * self.batch_size * self.world_size)
        return of_all.view(steps, self.world_size, self.batch_size)[:, self.rank]

    def blocks_from(self, start: int) -> Iterator[Tensor]:
        """Yield blocks of image numbers (steps, batch) from image `start` of the run on, without end."""
        while True:
            yield self.image_numbers(start, self.steps_per_block)
            start += self.steps_per_block * self.batch_size * self.world_size
