"""What worker processes do: images of the run, decoded and cut."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from translate import noise
from translate.data import augment, pool
from translate.data.decode import Recipe, load, load_pair, plain_jpeg
from translate.data.order import Order, key_of_draws, labels
from translate.data.recipes import Recipe as Albumentations
from translate.data.split import Ref, Split
from translate.data.store import common_depth, deepen
from translate.errors import DataError, UsageError
from translate.images import ImageError

CHUNK = 16
"""Images that a worker is asked for at a time, at least: handing them over costs about as much as decoding a small one."""

Numbers = Tensor
"""The run's image numbers (N,)."""
Found = dict[str, Tensor]
"""Domain → image; `label` → that of image a, () or (K,), where there are labels."""
Skipped = dict[Path, str]


class Images:
    """Image n of the run: domain → (C, H, W) cut, at its own depth, and its label; nothing where no file of a domain can be
    read.

    A file that cannot be read is replaced by the next that can; a pair is used whole or not at all.
    """

    def __init__(
        self,
        split: Split,
        recipe: Recipe,
        order: Order,
        domains: tuple[str, ...],
        albumentations: Albumentations | None = None,
        contents: bool = False,
    ) -> None:
        self.split, self.recipe, self.order = split, recipe, order
        self.domains, self.albumentations = domains, albumentations
        self.contents = contents
        """JPEG files are only read, (length,) uint8, and nothing is cut: a device does that (`nvjpeg.Finisher`)."""
        self.labels = labels(split)

    def take(self, numbers: list[int]) -> list[tuple[Found, Skipped]]:
        """Images of the run, and what was skipped for each."""
        places = zip(*(indices.tolist() for indices in self.order.of(torch.tensor(numbers))), strict=True)
        found = [self._found(a, b, n, self.contents) for (a, b), n in zip(places, numbers, strict=True)]
        if not self.contents and all(images for images, _ in found):
            self.cut([images for images, _ in found], numbers)
        return found

    def load(self, n: int) -> tuple[Found, Skipped]:
        """Image n of the run decoded at load size, not cut."""
        return self._found(*self.order(n), n, False)

    def _found(self, a: int, b: int, n: int, contents: bool) -> tuple[Found, Skipped]:
        if contents and (read := self._contents(a, b)) is not None:
            return read | self._label(a), {}
        skipped: Skipped = {}
        if self.split.paired:
            shown, found = self._pair(a, skipped)
        else:
            shown, found = self._next_good("a", a, skipped)
            if found and self.split.b:
                _, other = self._next_good("b", b, skipped)
                found = found | other if other else {}
        return (self._changed(found, n) | self._label(shown) if found else {}), skipped

    def _label(self, shown: int) -> Found:
        """Of the image of a that is shown."""
        return {} if self.labels is None else {"label": self.labels[shown].clone()}

    def _next_good(self, name: str, start: int, skipped: Skipped) -> tuple[int, Found]:
        """Place of the first image from `start` on that can be read, and the image."""
        refs = self.refs(name)
        for place in _ring(start, len(refs)):
            image = load(refs[place], self.recipe, "ab".index(name))
            if isinstance(image, Tensor):
                return place, {name: image}
            skipped[refs[place].path] = str(image)
        return start, {}

    def _pair(self, start: int, skipped: Skipped) -> tuple[int, Found]:
        """Place of the first pair from `start` on that can be read, and its images."""
        for place in _ring(start, len(self.split.a)):
            refs = self.split.a[place], self.split.b[place]
            images = load_pair(*refs, self.recipe)
            bad = {
                ref.path: str(image) for ref, image in zip(refs, images, strict=True) if isinstance(image, ImageError)
            }
            if not bad:
                return place, dict(zip("ab", images, strict=True))  # type: ignore[arg-type]
            skipped.update(bad)
        return start, {}

    def refs(self, name: str) -> tuple[Ref, ...]:
        """The images of a domain."""
        return self.split.a if name == "a" else self.split.b

    def _contents(self, a: int, b: int) -> Found | None:
        """What the files hold; None unless all are JPEG that any decoder sees alike."""
        found = {}
        for side, name in enumerate(self.domains):
            ref = self.refs(name)[a if name == "a" else b]
            data = plain_jpeg(ref.path, self.recipe.reading(side))
            if data is None:
                return None
            found[name] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return found

    def _changed(self, found: Found, n: int) -> Found:
        """What a recipe of albumentations makes of them: both sides of a pair alike."""
        if self.albumentations is None:
            return found
        arrays = {name: np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for name, image in found.items()}
        groups = [arrays] if self.split.paired else [{name: array} for name, array in arrays.items()]
        changed: dict[str, np.ndarray] = {}
        for group in groups:
            changed |= self.albumentations(group, noise.mix(self.order.seed, "albumentations", "+".join(group), n))
        least = self.recipe.cut_size or 1
        for name, array in changed.items():
            if min(array.shape[:2]) < least:
                raise UsageError(
                    f"{self.albumentations.path}: leaves {array.shape[1]}×{array.shape[0]} pixels of an image of {name}, "
                    f"less than the crop of {least}"
                )
        return {name: torch.from_numpy(np.array(array)).permute(2, 0, 1) for name, array in changed.items()}

    def cut(self, found: list[Found], numbers: Sequence[int]) -> None:
        """The random crops and flips of images of the run, in place."""
        key, size = key_of_draws(self.order.seed, torch.tensor(list(numbers))), self.recipe.cut_size
        for name in self.domains:
            heights, widths = (torch.tensor([images[name].shape[axis] for images in found]) for axis in (1, 2))
            drawn_as = "pair" if self.split.paired else name
            cuts = augment.draw(key, drawn_as, heights, widths, size, self.recipe.flip).as_lists()
            for images, where in zip(found, cuts, strict=True):
                images[name] = augment.cut(images[name], *where, size)


def _ring(start: int, count: int) -> Iterator[int]:
    """All places, from one on round."""
    return ((start + i) % count for i in range(count))


Handed = tuple[list[Found] | dict[str, Tensor], Skipped]
"""What a worker hands over: images, stacked where they can be, and all that was skipped."""


def _gathered(taken: list[tuple[Found, Skipped]]) -> tuple[list[Found], Skipped]:
    return [found for found, _ in taken], {path: why for _, more in taken for path, why in more.items()}


def _answer(dataset: Images, numbers: list[int]) -> Handed:
    """In a worker: one tensor for each domain where images are alike, since every tensor handed over has its price."""
    found, skipped = _gathered(dataset.take(numbers))
    columns = {name: [images[name] for images in found if images] for name in found[0]}
    alike = all(len({(image.shape, image.dtype) for image in column}) == 1 for column in columns.values())
    if not columns or not all(found) or not alike:
        return found, skipped
    return {name: torch.stack(column) for name, column in columns.items()}, skipped


def _unstacked(handed: list[Found] | dict[str, Tensor]) -> list[Found]:
    if isinstance(handed, list):
        return handed
    rows = zip(*(column.unbind() for column in handed.values()), strict=True)
    return [dict(zip(handed, row, strict=True)) for row in rows]


def chunks(
    dataset: Images, blocks: Iterable[Tensor], batch_size: int, workers: int
) -> Iterator[tuple[list[Found], Skipped]]:
    """Images of the run in its order, some steps at a time, and what was skipped on the way.

    DataError where a worker dies, and where a domain has no file left that can be read.
    """
    size = batch_size * max(1, CHUNK // batch_size)
    asked = (chunk.tolist() for block in blocks for chunk in block.flatten().split(size))
    if workers == 0:
        for numbers in asked:
            yield checked(*_gathered(dataset.take(numbers)))
        return
    for handed, skipped in pool.in_order(partial(_answer, dataset), asked, workers):
        yield checked(_unstacked(handed), skipped)


def checked(found: list[Found], skipped: Skipped) -> tuple[list[Found], Skipped]:
    """Both as they are; DataError where a domain had no image to give."""
    if not all(found):
        raise DataError(
            f"none of the images of a domain can be read any more, among them {str(next(iter(skipped)))!r}; is the folder "
            f"still there?"
        )
    return found, skipped


def check_sizes(images: list[Tensor]) -> None:
    """DataError where images are not of one size."""
    if len({image.shape for image in images}) > 1:
        sizes = " and ".join(sorted({f"{image.shape[2]}×{image.shape[1]}" for image in images})[:2])
        raise DataError(
            f"images of {sizes} pixels do not fit into one batch; use --batch-size 1, or a --preprocess that cuts"
        )


def stack(images: list[Tensor], declared: bool, dtype: torch.dtype) -> Tensor:
    """(N, C, H, W) of a depth that holds all of the images, for a training in `dtype`."""
    check_sizes(images)
    depth = common_depth(images, dtype)
    return torch.stack([deepen(image, depth, declared) for image in images])
