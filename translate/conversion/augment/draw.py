"""Choice of the images that are translated, and of the domain of each translation: a keyed draw, balanced over the classes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from translate import keyed_random
from translate.conversion.augment.labelled_set import LabelledImage
from translate.conversion.output_paths import Item, plan_outputs
from translate.errors import DataError
from translate.text import printable

TRANSLATED = "-translated"
"""End of the stem of a translation."""


class PlannedTranslation(NamedTuple):
    """Translation that is to be made."""

    item: Item
    to: str
    """Target domain."""


def draw_order(images: Sequence[LabelledImage], seed: int) -> list[LabelledImage]:
    """Return the images in the order in which they are chosen, a pure function of their paths and classes and of the seed.

    Each class is in an order of its own, and image i of its n stands at (i + ½) / n of the whole: so the first images of the
    order, however many, are of each class in its share of the set, to within one.
    """
    classes: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in sorted(images, key=lambda image: image.path):
        classes[image.label].append(image)
    placed = []
    for number, (label, members) in enumerate(sorted(classes.items())):
        order = keyed_random.permutation(len(members), seed, "augment", label).tolist()
        placed += [((place + 0.5) / len(members), number, members[index]) for place, index in enumerate(order)]
    return [image for _, _, image in sorted(placed, key=lambda each: each[:2])]


def plan_translations(
    images: Sequence[LabelledImage], ratio: float, seed: int, targets: Sequence[str], fmt: str
) -> list[PlannedTranslation]:
    """Return round(ratio · N) translations of N images, sorted by image.

    Each image has as many as the others, or one more if it comes early in the order of the draw. An image's translations are to
    the domains in turn, and the images begin with each of them in turn.
    """
    total = round(ratio * len(images))
    order = draw_order(images, seed)
    planned = []
    for rank, image in enumerate(order):
        count = total // len(order) + (rank < total % len(order))
        for sample in range(count):
            item = Item(image.path, translation_path(image.path, sample, fmt), sample)
            planned.append(PlannedTranslation(item, targets[(rank + sample) % len(targets)]))
    return sorted(planned, key=lambda each: (each.item.input, each.item.sample))


def translation_path(path: str, sample: int, fmt: str) -> str:
    """Return the path of a translation: cat/1.jpg → cat/1-translated.jpg, the next ones cat/1-translated-1.jpg and so on."""
    (plain,) = plan_outputs([path], fmt, {})
    pure = PurePosixPath(plain.output)
    number = f"-{sample}" if sample else ""
    return pure.with_name(f"{pure.stem}{TRANSLATED}{number}{pure.suffix}").as_posix()


def check_names(planned: Sequence[PlannedTranslation], taken: Mapping[str, str]) -> None:
    """Raise DataError where a translation would have the name of a file of the set, or of another translation.

    taken: path in the augmented set, in the form in which its file system compares names → file of the set.
    """
    holders = dict(taken)
    for item, _ in planned:
        if (holder := holders.setdefault(item.output, item.input)) != item.input or item.output in taken:
            raise DataError(
                f"{printable(holder)}: the translation of {printable(item.input)} would have the same name, "
                f"{printable(item.output)}; rename one of them, or use --format keep"
            )
