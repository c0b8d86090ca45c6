"""Which images a step sees and how they are cut: pure functions of seed and image number.

Image n of a run is element n mod L of epoch n div L, where an epoch is L = max(|A|, |B|) images. A (and B, if paired) follows
a permutation of each epoch; in unpaired data B is drawn uniformly, as in the reference, or follows a permutation of its own.
So there is nothing to save or replay, and neither workers nor processes change anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from translate import keyed_random
from translate.data.split import Split

PLANNED = 4096


class Sampler:
    """Which images element n of the run is."""

    def __init__(self, split: Split, seed: int, sampling: str = "reference") -> None:
        self.split, self.seed, self.sampling = split, seed, sampling
        self._kept: dict[str, tuple[tuple[int, ...], Tensor]] = {}

    def _permutations(self, name: str, epochs: Tensor) -> Tensor:
        """The permutations (E, L) of some epochs; kept, because making one of a large set takes as long as sorting it."""
        wanted = tuple(epochs.tolist())
        if name not in self._kept or self._kept[name][0] != wanted:
            draws = keyed_random.bits(keyed_random.fold_in(epochs, self.seed, name), "permutation", len(self.split))
            self._kept[name] = wanted, draws.argsort(dim=1, stable=True)
        return self._kept[name][1]

    def reseed(self, seed: int) -> None:
        """Other draws from here on, of batches that are asked for from now on."""
        self.seed = seed
        self._kept.clear()

    def files(self, numbers: Tensor) -> list[Path]:
        """The files that images of the run come from, each once."""
        a, b = (indices.tolist() for indices in self.indices(numbers))
        split = self.split
        refs = [ref for i, j in zip(a, b, strict=True) for ref in (split.a[i], *split.b[j : j + 1])]
        return list(dict.fromkeys(ref.path for ref in refs))

    def __call__(self, n: int) -> tuple[int, int]:
        """Index into A and index into B of image n of the run."""
        a, b = self.indices(torch.tensor([n]))
        return int(a), int(b)

    def indices(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Indices into A and into B of many images of the run, int64 (N,); those into B are 0 where there is none."""
        a = self._by_permutation(numbers, "order", len(self.split.a))
        if self.split.paired:
            return a, a
        count = len(self.split.b)
        if self.sampling == "permute-both" and count:
            return a, self._by_permutation(numbers, "order b", count)
        share = ((keyed_random.fold_in(numbers, self.seed, "b") >> 11) & ((1 << 53) - 1)).to(torch.float64) / (1 << 53)
        return a, (share * count).to(torch.int64)

    def _by_permutation(self, numbers: Tensor, name: str, count: int) -> Tensor:
        length = len(self.split)
        epochs, row = numbers.div(length, rounding_mode="floor").unique(return_inverse=True)
        return self._permutations(name, epochs)[row, numbers % length] % count


def label_tensor(split: Split) -> Tensor | None:
    """Of the images of a: int64 (|A|,), numbers of domains or classes, or float32 (|A|, K), attributes; None without any."""
    if not split.labels:
        return None
    return torch.tensor(split.labels, dtype=torch.int64 if isinstance(split.labels[0], int) else torch.float32)


def augmentation_keys(seed: int, numbers: Tensor) -> Tensor:
    """The keys (N,) of the images' crops and flips."""
    return keyed_random.image_keys(keyed_random.derive_key(seed, "augment"), numbers)


@dataclass(frozen=True)
class BatchSampler:
    """The steps of one process, in blocks: planning many at a time costs next to nothing for each."""

    sampler: Sampler
    batch_size: int
    rank: int = 0
    world_size: int = 1

    @property
    def steps_per_block(self) -> int:
        """Steps that are planned together: of about PLANNED images."""
        return max(1, PLANNED // (self.batch_size * self.world_size))

    def image_numbers(self, step_start: int, steps: int = 1) -> Tensor:
        """The run's image numbers that this process takes of `steps` steps from image `step_start` on: (steps, batch)."""
        whole = torch.arange(step_start, step_start + steps * self.batch_size * self.world_size)
        return whole.view(steps, self.world_size, self.batch_size)[:, self.rank]

    def blocks_from(self, start: int) -> Iterator[Tensor]:
        """Blocks of numbers (steps, batch), without end."""
        while True:
            yield self.image_numbers(start, self.steps_per_block)
            start += self.steps_per_block * self.batch_size * self.world_size
