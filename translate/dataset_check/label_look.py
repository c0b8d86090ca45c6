"""Images that look like label maps: few values, as of classes, in files that keep values."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from translate import images

MAX_VALUES = 64
"""Values or colours of one image from which it is no label map: drawings have as many only by chance, photos have more."""
MIN_COLOURS = 3
"""Colours from which an image may be a colour-coded map: with two it is a drawing or a mask."""
LARGEST_CLASS = 200
"""Value of a grey image, but that for no label, from which it is no class: sets with more classes are rare."""
_SAMPLES = 65_536
"""Pixels that are looked at first, evenly spaced."""


@dataclass(frozen=True)
class LabelLook:
    """Kind and values of an image that looks like a label map."""

    kind: str
    """palette, grey or colours."""
    values: frozenset[int]
    """Its values; colours as one number each."""


def label_look(path: Path) -> LabelLook | None:
    """Return what a file that looks like a label map has; None for others, and for those that cannot be read."""
    if images.extension(path) not in images.LABEL_EXTENSIONS or images.extension(path) == "npy":
        return None
    try:
        with Image.open(path, formats=images.PILLOW_FORMATS) as image:
            if image.mode not in ("P", "L", "RGB") or image.height * image.width > images.MAX_PIXELS:
                return None
            array, mode = np.asarray(image), image.mode
    except Exception:  # reading the file will say why
        return None
    step = max(1, round((array.shape[0] * array.shape[1] / _SAMPLES) ** 0.5))
    for part in (array[::step, ::step], array):
        found = _values(part, mode)
        if len(found) > MAX_VALUES:
            return None
    if mode == "RGB":
        return LabelLook("colours", found) if len(found) >= MIN_COLOURS else None
    classes = found - {images.IGNORE_INDEX}
    is_index = len(found) > 1 and 0 < max(classes, default=0) <= LARGEST_CLASS
    return LabelLook("palette" if mode == "P" else "grey", found) if is_index else None


def _values(array: np.ndarray, mode: str) -> frozenset[int]:
    if mode != "RGB":
        return frozenset(np.flatnonzero(np.bincount(array.ravel(), minlength=256)).tolist())
    wide = array.astype(np.int32)
    return frozenset(np.unique(wide[:, :, 0] << 16 | wide[:, :, 1] << 8 | wide[:, :, 2]).tolist())


def describe_looks(place: str, looks: Sequence[LabelLook | None]) -> str:
    """Return a line on the images of a folder, if all of them look like label maps of the same kind; else an empty one."""
    known = [look for look in looks if look is not None]
    kinds = {look.kind for look in known}
    if not known or len(known) < len(looks) or len(kinds) > 1:
        return ""
    values = frozenset[int]().union(*(look.values for look in known))
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
