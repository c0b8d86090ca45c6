"""Data set of the `stream` tier: images of the run, decoded and cropped by worker processes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from translate import keyed_random
from translate.data import crop_flip, worker_pool
from translate.data.albumentations_recipe import AlbumentationsRecipe
from translate.data.image_store import common_depth, convert_depth
from translate.data.preprocessing import Preprocessing, load_group, read_plain_jpeg
from translate.data.sampler import LABELS, Sampler, augmentation_keys, label_tensor, labelled_domains
from translate.data.split import Split, next_readable
from translate.errors import DataError, UsageError
from translate.images import ImageError

CHUNK = 16
"""Images that a worker is asked for at a time, at least: each transfer costs about as much as decoding a small image."""

ImageNumbers = Tensor
"""The run's image numbers (N,)."""
Sample = dict[str, Tensor]
"""Domain → image (C, H, W); `label` → label of image a, () or (K,), where there are labels; `label_b` that of a reference."""
SkippedFiles = dict[Path, str]
"""File that cannot be read → the reason."""


class StreamDataset:
    """Data set of the images of a run by their number: domain → (C, H, W) cropped, at its own depth, and the label.

    A file that cannot be read is replaced by the next that can; a pair is used whole or not at all. A sample is empty where no
    file of a domain can be read.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        sampler: Sampler,
        albumentations: AlbumentationsRecipe | None = None,
        keep_encoded: bool = False,
    ) -> None:
        self.split, self.preprocessing, self.sampler = split, preprocessing, sampler
        self.albumentations = albumentations
        self.keep_encoded = keep_encoded
        """JPEG files are read but not decoded, (length,) uint8, and nothing is cropped: `nvjpeg.NvjpegDecoder` does both."""
        self.labels = label_tensor(split)

    def load_batch(self, numbers: list[int]) -> list[tuple[Sample, SkippedFiles]]:
        """Load images of the run, each with the files that were skipped for it."""
        indices = zip(*(of.tolist() for of in self.sampler.indices(torch.tensor(numbers))), strict=True)
        loaded = [self._load(a, b, n, self.keep_encoded) for (a, b), n in zip(indices, numbers, strict=True)]
        if not self.keep_encoded and all(sample for sample, _ in loaded):
            self.crop_and_flip([sample for sample, _ in loaded], numbers)
        return loaded

    def load_uncropped(self, n: int) -> tuple[Sample, SkippedFiles]:
        """Load image n of the run, decoded at load size but not cropped."""
        return self._load(*self.sampler(n), n, False)

    def _load(self, a: int, b: int, n: int, keep_encoded: bool) -> tuple[Sample, SkippedFiles]:
        if keep_encoded and (encoded := self._read_encoded(a, b)) is not None:
            return encoded | self._labels({"a": a, "b": b}), {}
        skipped: SkippedFiles = {}
        sample: Sample = {}
        shown: dict[str, int] = {}
        for domains in self.split.domain_groups:
            index, loaded = self._load_readable(domains, a if "a" in domains else b, skipped)
            if index is None:
                return {}, skipped
            shown |= dict.fromkeys(domains, index)
            sample |= loaded
        return self._augmented(sample, n) | self._labels(shown), skipped

    def _labels(self, shown: Mapping[str, int]) -> Sample:
        """Labels of the images of these indices by domain; empty where images have none."""
        if self.labels is None:
            return {}
        return {LABELS[domain]: self.labels[shown[domain]].clone() for domain in labelled_domains(self.split)}

    def _load_readable(self, domains: tuple[str, ...], start: int, skipped: SkippedFiles) -> tuple[int | None, Sample]:
        """Load the first readable image or pair from index `start` on, and return its index; None where there is none."""
        loaded: Sample = {}

        def is_readable(index: int) -> bool:
            found = dict(zip(domains, load_group(self.split, domains, index, self.preprocessing), strict=True))
            reasons = {
                self.split.refs(domain)[index].path: str(image)
                for domain, image in found.items()
                if isinstance(image, ImageError)
            }
            skipped.update(reasons)
            loaded.update({domain: image for domain, image in found.items() if isinstance(image, Tensor)})
            return not reasons

        index = next_readable(start, len(self.split.refs(domains[0])), is_readable)
        return index, loaded

    def _read_encoded(self, a: int, b: int) -> Sample | None:
        """Read the files' contents; None unless all are JPEG that every decoder shows alike."""
        contents = {}
        for side, domain in enumerate(self.split.domains):
            ref = self.split.refs(domain)[a if domain == "a" else b]
            data = read_plain_jpeg(ref.path, self.preprocessing.reading(side))
            if data is None:
                return None
            contents[domain] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return contents

    def _augmented(self, sample: Sample, n: int) -> Sample:
        """Apply the albumentations recipe, to both sides of a pair alike; UsageError where the result is too small."""
        if self.albumentations is None:
            return sample
        arrays = {domain: np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for domain, image in sample.items()}
        augmented: dict[str, np.ndarray] = {}
        for domains in self.split.domain_groups:
            key = keyed_random.derive_key(self.sampler.seed, "albumentations", "+".join(domains), n)
            label_maps = domains[:1] if self.preprocessing.labels is not None else ()
            augmented |= self.albumentations({domain: arrays[domain] for domain in domains}, key, label_maps)
        min_size = self.preprocessing.random_crop_size or 1
        for domain, array in augmented.items():
            if min(array.shape[:2]) < min_size:
                raise UsageError(
                    f"{self.albumentations.path}: leaves {array.shape[1]}×{array.shape[0]} pixels of an image of {domain}, "
                    f"less than the crop of {min_size}; use a smaller --crop-size, or change the recipe"
                )
        return {domain: torch.from_numpy(np.array(array)).permute(2, 0, 1) for domain, array in augmented.items()}

    def crop_and_flip(self, samples: list[Sample], numbers: Sequence[int]) -> None:
        """Apply the random crops and flips of images of the run, in place."""
        key = augmentation_keys(self.sampler.seed, torch.tensor(list(numbers)))
        size = self.preprocessing.random_crop_size
        for domain in self.split.domains:
            heights, widths = (torch.tensor([sample[domain].shape[axis] for sample in samples]) for axis in (1, 2))
            name = self.split.draw_name(domain)
            cuts = crop_flip.draw_cuts(key, name, heights, widths, size, self.preprocessing.flip).as_lists()
            for sample, cut in zip(samples, cuts, strict=True):
                sample[domain] = crop_flip.crop_and_flip(sample[domain], *cut, size)


Transferred = tuple[list[Sample] | dict[str, Tensor], SkippedFiles]
"""Answer of a worker: samples, stacked where they can be, and all files that were skipped."""


def _merge_skipped(loaded: list[tuple[Sample, SkippedFiles]]) -> tuple[list[Sample], SkippedFiles]:
    return [sample for sample, _ in loaded], {path: why for _, skipped in loaded for path, why in skipped.items()}


def _answer(dataset: StreamDataset, numbers: list[int]) -> Transferred:
    """Load images in a worker: one tensor a domain where images are alike, since each tensor that is sent has its cost."""
    samples, skipped = _merge_skipped(dataset.load_batch(numbers))
    columns = {name: [sample[name] for sample in samples if sample] for name in samples[0]}
    alike = all(len({(image.shape, image.dtype) for image in column}) == 1 for column in columns.values())
    if not columns or not all(samples) or not alike:
        return samples, skipped
    return {name: torch.stack(column) for name, column in columns.items()}, skipped


def _unstacked(samples: list[Sample] | dict[str, Tensor]) -> list[Sample]:
    if isinstance(samples, list):
        return samples
    rows = zip(*(column.unbind() for column in samples.values()), strict=True)
    return [dict(zip(samples, row, strict=True)) for row in rows]


def iterate_chunks(
    dataset: StreamDataset,
    blocks: Iterable[Tensor],
    batch_size: int,
    workers: int,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[tuple[list[Sample], SkippedFiles]]:
    """Yield samples of the run in order, those of some steps at a time, and the files that were skipped.

    Raise DataError where a worker dies, or a domain has no file left that can be read.
    """
    size = batch_size * max(1, CHUNK // batch_size)
    chunks = (chunk.tolist() for block in blocks for chunk in block.flatten().split(size))
    if workers == 0:
        for numbers in chunks:
            yield require_complete(*_merge_skipped(dataset.load_batch(numbers)))
        return
    for samples, skipped in worker_pool.map_in_order(partial(_answer, dataset), chunks, workers, say):
        yield require_complete(_unstacked(samples), skipped)


def require_complete(samples: list[Sample], skipped: SkippedFiles) -> tuple[list[Sample], SkippedFiles]:
    """Return both as they are; DataError where a sample is empty, since a domain has no readable image."""
    if not all(samples):
        raise DataError(
            f"none of the images of a domain can be read any more, among them {str(next(iter(skipped)))!r}; is the folder "
            f"still there?"
        )
    return samples, skipped


def check_same_size(images: list[Tensor]) -> None:
    """Raise DataError where images (C, H, W) are not of one size."""
    if len({image.shape for image in images}) > 1:
        sizes = " and ".join(sorted({f"{image.shape[2]}×{image.shape[1]}" for image in images})[:2])
        raise DataError(
            f"images of {sizes} pixels do not fit into one batch; use --batch-size 1, or a --preprocess that crops"
        )


def stack_images(images: list[Tensor], declared: bool, dtype: torch.dtype) -> Tensor:
    """Stack images to (N, C, H, W), of a depth that holds all of them for a training in `dtype`."""
    check_same_size(images)
    depth = common_depth(images, dtype)
    return torch.stack([convert_depth(image, depth, declared) for image in images])
