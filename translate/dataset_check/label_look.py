"""Images that look like label maps: few values, as of classes, in files that keep values.

Smooth photos of low contrast have few values, too. What sets label maps apart is where values meet: regions of one value are
large, and any class may lie beside any other. In a smooth image a value meets those next to it, since an intensity that changes
passes through all between; with noise it changes from pixel to pixel.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from translate import images
from translate.images.value_statistics import may_hold_16_bits

MAX_VALUES = 64
"""Values or colours of one image from which it is no label map: drawings have as many only by chance, photos have more."""
MIN_COLOURS = 3
"""Colours from which an image may be a colour-coded map: with two it is a drawing or a mask."""
LARGEST_CLASS = 200
"""Value of a grey image, but that for no label, from which it is no class: sets with more classes are rare."""
MAX_CHANGES = 0.5
"""Share of neighbouring pixels with different values from which these have no regions, as of noise."""
MAX_SMOOTH_CHANGES = 0.75
"""Share of changes to a value next to it from which they are smooth. K classes in any order would have about 2/K of them."""
_SAMPLES = 65_536
"""Pixels that are looked at first, evenly spaced."""
_LINES = 256
"""Rows and columns whose neighbouring pixels are compared, evenly spaced."""
_PACKED = np.array([1 << 16, 1 << 8, 1], np.int32)
"""Factors of red, green and blue in a colour as one number."""


@dataclass(frozen=True)
class LabelLook:
    """Kind and values of an image that looks like a label map by its values alone, and how these meet."""

    kind: str
    """palette, grey or colours."""
    values: frozenset[int]
    """Its values; colours as one number each."""
    changes: Mapping[tuple[int, int], int]
    """Count of neighbouring pixels with different values, by both, the smaller first; without those beside pixels of no label.
    Values are colours as one number each, for palettes too."""
    changed: int
    """All neighbouring pixels with different values."""
    compared: int
    """All neighbouring pixels that were compared."""


def label_look(path: Path) -> LabelLook | None:
    """Return what a file that looks like a label map has; None for others, and for those that cannot be read."""
    if images.extension(path) not in images.LABEL_EXTENSIONS or images.extension(path) == "npy":
        return None
    try:
        with Image.open(path, formats=images.PILLOW_FORMATS) as image:
            if image.mode not in ("P", "L", "RGB") or image.height * image.width > images.MAX_PIXELS:
                return None
            if image.mode == "RGB" and images.extension(path) == "png" and may_hold_16_bits(path):
                return None  # of 16 bits Pillow reads the upper eight
            array, mode, palette = np.asarray(image), image.mode, image.getpalette()
    except Exception:  # reading the file will say why
        return None
    if mode == "RGB":
        array = array.astype(np.int32) @ _PACKED
    step = max(1, round((array.size / _SAMPLES) ** 0.5))
    for part in (array[::step, ::step], array):
        found = _values(part)
        if len(found) > MAX_VALUES:
            return None
    if mode == "RGB":
        return _with_changes("colours", array, found, found) if len(found) >= MIN_COLOURS else None
    if len(found) < 2 or not 0 < max(set(found) - {images.IGNORE_INDEX}, default=0) <= LARGEST_CLASS:
        return None
    if mode == "L":
        return _with_changes("grey", array, found, [value * 0x010101 for value in found])
    return _with_changes("palette", array, found, _colours_of(found, palette or []))


def _values(array: np.ndarray) -> list[int]:
    """Return the values of an array, from the smallest on."""
    return (np.flatnonzero(np.bincount(array.ravel())) if array.dtype == np.uint8 else np.unique(array)).tolist()


def _colours_of(values: Sequence[int], palette: Sequence[int]) -> list[int]:
    """Return the colours of values by a palette of red, green and blue; the values as greys if it has one colour for two."""
    table = np.zeros((256, 3), np.int32)
    table.ravel()[: len(palette)] = palette
    colours = (table[list(values)] @ _PACKED).tolist()
    return colours if len(set(colours)) == len(values) else [value * 0x010101 for value in values]


def _with_changes(kind: str, array: np.ndarray, values: Sequence[int], colours: Sequence[int]) -> LabelLook:
    """Return a look with the changes of an array (H, W), from its values, the smallest first, and their colours."""
    rows, columns = (max(1, side // _LINES) for side in array.shape)
    across, down = (np.searchsorted(values, lines) for lines in (array[::rows], array[:, ::columns]))
    count, changes = len(values), Counter[tuple[int, int]]()
    changed = compared = 0
    for first, second in ((across[:, :-1], across[:, 1:]), (down[:-1], down[1:])):
        changed, compared = changed + int((first != second).sum()), compared + first.size
        pairs = np.bincount((first * count + second).ravel(), minlength=count**2).reshape(count, count)
        for i, j in np.argwhere(np.triu(pairs + pairs.T, 1)).tolist():
            if kind == "colours" or images.IGNORE_INDEX not in (values[i], values[j]):
                low, high = sorted((colours[i], colours[j]))
                changes[low, high] += int(pairs[i, j] + pairs[j, i])
    return LabelLook(kind, frozenset(values), changes, changed, compared)


def describe_looks(place: str, looks: Sequence[LabelLook | None]) -> str:
    """Return a line on the images of a folder, if all of them look like label maps of the same kind; else an empty one."""
    known = [look for look in looks if look is not None]
    kinds = {look.kind for look in known}
    if not known or len(known) < len(looks) or len(kinds) > 1:
        return ""
    values = frozenset[int]().union(*(look.values for look in known))
    if len(values) > images.MAX_LABELS + 1 or _is_smooth_or_noisy(known, values):
        return ""
    if kinds == {"colours"}:
        return (
            f"{place}: looks like label maps, {len(values)} colours for as many classes, which resizing blurs into colours of "
            f"no class; paired methods such as pix2pix keep them with --palette FILE, as domain a"
        )
    classes = values - {images.IGNORE_INDEX}
    shown = (
        "the colours of a palette" if kinds == {"palette"} else f"the grey values 0 to {max(classes)} of 255, all dark"
    )
    return (
        f"{place}: looks like label maps, {len(classes)} classes in {shown}, which resizing blurs into values of no class; "
        f"paired methods such as pix2pix keep them with --label-count {max(classes) + 1}, as domain a"
    )


def _is_smooth_or_noisy(looks: Sequence[LabelLook], values: frozenset[int]) -> bool:
    """Return True if the values of the images of a folder meet as those of photos do, not as those of label maps."""
    if sum(look.changed for look in looks) > MAX_CHANGES * sum(look.compared for look in looks):
        return True
    changes: Counter[tuple[int, int]] = Counter()
    for look in looks:
        changes.update(look.changes)
    if not changes or len(values) < _fewest_smooth(looks[0].kind, values):
        return False
    numbers = sorted({value for pair in changes for value in pair})
    is_next = _next_to_each_other(np.array([[n >> 16, n >> 8 & 255, n & 255] for n in numbers]))
    index = {number: i for i, number in enumerate(numbers)}
    smooth = sum(count for (a, b), count in changes.items() if is_next[index[a], index[b]])
    return smooth >= MAX_SMOOTH_CHANGES * changes.total()


def _fewest_smooth(kind: str, values: frozenset[int]) -> int:
    """Return how many values a folder has at least for smooth changes to say that it has no label maps.

    Classes may lie in the order of their numbers, as layers do, and few of them have few others to lie beside. But numbers of
    classes begin at 0 or 1, so that values in a row that begin higher are of a photo.
    """
    classes = sorted(values - {images.IGNORE_INDEX})
    in_a_row = kind != "colours" and classes[-1] - classes[0] + 1 == len(classes)
    if not in_a_row:
        return 8
    return 16 if classes[0] <= 1 else 4


def _next_to_each_other(colours: np.ndarray) -> np.ndarray:
    """Return for each two of K colours (K, 3) whether none of the others is nearer to both than they are to each other: (K, K).

    For grey values: whether none lies between them. Toussaint, "The relative neighbourhood graph of a finite planar set", 1980.
    """
    distance = np.square(colours[:, None] - colours[None]).sum(2)
    is_next = np.ones(distance.shape, bool)
    for to_other in distance:
        is_next &= np.maximum(to_other[:, None], to_other[None]) >= distance
    return is_next
