"""What worker processes do: images of the run, decoded and cut."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from translate import keyed_random
from translate.data import crop_flip, worker_pool
from translate.data.albumentations_recipe import AlbumentationsRecipe as Albumentations
from translate.data.image_store import common_depth, convert_depth
from translate.data.preprocessing import Preprocessing, load_image, load_pair, read_plain_jpeg
from translate.data.sampler import Sampler, augmentation_keys, label_tensor
from translate.data.split import ImageRef, Split
from translate.errors import DataError, UsageError
from translate.images import ImageError

CHUNK = 16
"""Images that a worker is asked for at a time, at least: handing them over costs about as much as decoding a small one."""

ImageNumbers = Tensor
"""The run's image numbers (N,)."""
Sample = dict[str, Tensor]
"""Domain → image; `label` → that of image a, () or (K,), where there are labels."""
SkippedFiles = dict[Path, str]


class StreamDataset:
    """Image n of the run: domain → (C, H, W) cut, at its own depth, and its label; nothing where no file of a domain can be
    read.

    A file that cannot be read is replaced by the next that can; a pair is used whole or not at all.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        order: Sampler,
        domains: tuple[str, ...],
        albumentations: Albumentations | None = None,
        keep_encoded: bool = False,
    ) -> None:
        self.split, self.preprocessing, self.sampler = split, preprocessing, order
        self.domains, self.albumentations = domains, albumentations
        self.keep_encoded = keep_encoded
        """JPEG files are only read, (length,) uint8, and nothing is cut: a device does that (`nvjpeg.Finisher`)."""
        self.labels = label_tensor(split)

    def load_batch(self, numbers: list[int]) -> list[tuple[Sample, SkippedFiles]]:
        """Images of the run, and what was skipped for each."""
        places = zip(*(indices.tolist() for indices in self.sampler.indices(torch.tensor(numbers))), strict=True)
        found = [self._found(a, b, n, self.keep_encoded) for (a, b), n in zip(places, numbers, strict=True)]
        if not self.keep_encoded and all(images for images, _ in found):
            self.crop_and_flip([images for images, _ in found], numbers)
        return found

    def load_uncropped(self, n: int) -> tuple[Sample, SkippedFiles]:
        """Image n of the run decoded at load size, not cut."""
        return self._found(*self.sampler(n), n, False)

    def _found(self, a: int, b: int, n: int, keep_encoded: bool) -> tuple[Sample, SkippedFiles]:
        if keep_encoded and (read := self._contents(a, b)) is not None:
            return read | self._label(a), {}
        skipped: SkippedFiles = {}
        if self.split.paired:
            shown, found = self._pair(a, skipped)
        else:
            shown, found = self._next_good("a", a, skipped)
            if found and self.split.b:
                _, other = self._next_good("b", b, skipped)
                found = found | other if other else {}
        return (self._changed(found, n) | self._label(shown) if found else {}), skipped

    def _label(self, shown: int) -> Sample:
        """Of the image of a that is shown."""
        return {} if self.labels is None else {"label": self.labels[shown].clone()}

    def _next_good(self, name: str, start: int, skipped: SkippedFiles) -> tuple[int, Sample]:
        """Place of the first image from `start` on that can be read, and the image."""
        refs = self.refs(name)
        for place in _ring(start, len(refs)):
            image = load_image(refs[place], self.preprocessing, "ab".index(name))
            if isinstance(image, Tensor):
                return place, {name: image}
            skipped[refs[place].path] = str(image)
        return start, {}

    def _pair(self, start: int, skipped: SkippedFiles) -> tuple[int, Sample]:
        """Place of the first pair from `start` on that can be read, and its images."""
        for place in _ring(start, len(self.split.a)):
            refs = self.split.a[place], self.split.b[place]
            images = load_pair(*refs, self.preprocessing)
            bad = {
                ref.path: str(image) for ref, image in zip(refs, images, strict=True) if isinstance(image, ImageError)
            }
            if not bad:
                return place, dict(zip("ab", images, strict=True))  # type: ignore[arg-type]
            skipped.update(bad)
        return start, {}

    def refs(self, name: str) -> tuple[ImageRef, ...]:
        """The images of a domain."""
        return self.split.a if name == "a" else self.split.b

    def _contents(self, a: int, b: int) -> Sample | None:
        """What the files hold; None unless all are JPEG that any decoder sees alike."""
        found = {}
        for side, name in enumerate(self.domains):
            ref = self.refs(name)[a if name == "a" else b]
            data = read_plain_jpeg(ref.path, self.preprocessing.reading(side))
            if data is None:
                return None
            found[name] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return found

    def _changed(self, found: Sample, n: int) -> Sample:
        """What a recipe of albumentations makes of them: both sides of a pair alike."""
        if self.albumentations is None:
            return found
        arrays = {name: np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for name, image in found.items()}
        groups = [arrays] if self.split.paired else [{name: array} for name, array in arrays.items()]
        changed: dict[str, np.ndarray] = {}
        for group in groups:
            changed |= self.albumentations(
                group, keyed_random.derive_key(self.sampler.seed, "albumentations", "+".join(group), n)
            )
        least = self.preprocessing.random_crop_size or 1
        for name, array in changed.items():
            if min(array.shape[:2]) < least:
                raise UsageError(
                    f"{self.albumentations.path}: leaves {array.shape[1]}×{array.shape[0]} pixels of an image of {name}, "
                    f"less than the crop of {least}"
                )
        return {name: torch.from_numpy(np.array(array)).permute(2, 0, 1) for name, array in changed.items()}

    def crop_and_flip(self, found: list[Sample], numbers: Sequence[int]) -> None:
        """The random crops and flips of images of the run, in place."""
        key, size = (
            augmentation_keys(self.sampler.seed, torch.tensor(list(numbers))),
            self.preprocessing.random_crop_size,
        )
        for name in self.domains:
            heights, widths = (torch.tensor([images[name].shape[axis] for images in found]) for axis in (1, 2))
            drawn_as = "pair" if self.split.paired else name
            cuts = crop_flip.draw_cuts(key, drawn_as, heights, widths, size, self.preprocessing.flip).as_lists()
            for images, where in zip(found, cuts, strict=True):
                images[name] = crop_flip.crop_and_flip(images[name], *where, size)


def _ring(start: int, count: int) -> Iterator[int]:
    """All places, from one on round."""
    return ((start + i) % count for i in range(count))


Handed = tuple[list[Sample] | dict[str, Tensor], SkippedFiles]
"""What a worker hands over: images, stacked where they can be, and all that was skipped."""


def _gathered(taken: list[tuple[Sample, SkippedFiles]]) -> tuple[list[Sample], SkippedFiles]:
    return [found for found, _ in taken], {path: why for _, more in taken for path, why in more.items()}


def _answer(dataset: StreamDataset, numbers: list[int]) -> Handed:
    """In a worker: one tensor for each domain where images are alike, since every tensor handed over has its price."""
    found, skipped = _gathered(dataset.load_batch(numbers))
    columns = {name: [images[name] for images in found if images] for name in found[0]}
    alike = all(len({(image.shape, image.dtype) for image in column}) == 1 for column in columns.values())
    if not columns or not all(found) or not alike:
        return found, skipped
    return {name: torch.stack(column) for name, column in columns.items()}, skipped


def _unstacked(handed: list[Sample] | dict[str, Tensor]) -> list[Sample]:
    if isinstance(handed, list):
        return handed
    rows = zip(*(column.unbind() for column in handed.values()), strict=True)
    return [dict(zip(handed, row, strict=True)) for row in rows]


def iterate_chunks(
    dataset: StreamDataset, blocks: Iterable[Tensor], batch_size: int, workers: int
) -> Iterator[tuple[list[Sample], SkippedFiles]]:
    """Images of the run in its order, some steps at a time, and what was skipped on the way.

    DataError where a worker dies, and where a domain has no file left that can be read.
    """
    size = batch_size * max(1, CHUNK // batch_size)
    asked = (chunk.tolist() for block in blocks for chunk in block.flatten().split(size))
    if workers == 0:
        for numbers in asked:
            yield require_complete(*_gathered(dataset.load_batch(numbers)))
        return
    for handed, skipped in worker_pool.map_in_order(partial(_answer, dataset), asked, workers):
        yield require_complete(_unstacked(handed), skipped)


def require_complete(found: list[Sample], skipped: SkippedFiles) -> tuple[list[Sample], SkippedFiles]:
    """Both as they are; DataError where a domain had no image to give."""
    if not all(found):
        raise DataError(
            f"none of the images of a domain can be read any more, among them {str(next(iter(skipped)))!r}; is the folder "
            f"still there?"
        )
    return found, skipped


def check_same_size(images: list[Tensor]) -> None:
    """DataError where images are not of one size."""
    if len({image.shape for image in images}) > 1:
        sizes = " and ".join(sorted({f"{image.shape[2]}×{image.shape[1]}" for image in images})[:2])
        raise DataError(
            f"images of {sizes} pixels do not fit into one batch; use --batch-size 1, or a --preprocess that cuts"
        )


def stack_images(images: list[Tensor], declared: bool, dtype: torch.dtype) -> Tensor:
    """(N, C, H, W) of a depth that holds all of the images, for a training in `dtype`."""
    check_same_size(images)
    depth = common_depth(images, dtype)
    return torch.stack([convert_depth(image, depth, declared) for image in images])
