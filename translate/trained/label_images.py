"""Label maps that a caller gives to a translator: Pillow images, files and arrays."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from translate import images
from translate.errors import UsageError
from translate.images import LabelFormat
from translate.text import one_line, printable

LabelImage = Image.Image | str | Path | np.ndarray
"""Kinds of label and instance maps."""


def with_instances(
    given: Sequence[Any], instances: LabelImage | Sequence[LabelImage] | None
) -> Iterator[tuple[Any, LabelImage | None]]:
    """Pair each of several images with its instance map. UsageError unless these are None or a list of as many."""
    if instances is None:
        return zip(given, repeat(None), strict=False)
    if not isinstance(instances, (list, tuple)) or len(instances) != len(given):
        raise UsageError("instances: give a list of as many instance maps as there are images")
    return zip(given, instances, strict=True)


def stored_label_map(
    image: LabelImage, labels: LabelFormat, instances: LabelImage | Sequence[LabelImage] | None
) -> np.ndarray:
    """Return a label map as it is stored, (H, W, stored_channels) uint8.

    image: class numbers, or colours of the palette; arrays are (H, W), (H, W, 1) or (H, W, 3). instances: the instance map, for
    a model with edges. UsageError names what is wrong with either.
    """
    if labels.edges and instances is None:
        raise UsageError("this model was trained with the edges of objects; give the instance map too, as instances=")
    if instances is not None and not labels.edges:
        raise UsageError("instances: this model was trained without the edges of objects; leave it out")
    stored = [_read_labels(image, labels)]
    if isinstance(instances, (list, tuple)):
        raise UsageError("instances: is a list, but there is one image; give its instance map")
    if isinstance(instances, (str, Path, Image.Image, np.ndarray)):
        found = _read_instances(instances)
        if found.shape != stored[0].shape:
            raise UsageError(f"instances: of shape {found.shape}, but the label map is {stored[0].shape}")
        stored.append(images.instance_edges(found))
    return np.stack(stored, axis=2)


def _read_labels(image: LabelImage, labels: LabelFormat) -> np.ndarray:
    try:
        if isinstance(image, np.ndarray):
            return images.labels_of_array(image, labels)
        if isinstance(image, Image.Image):
            return images.labels_of_image(image, labels)
        plain = images.LabelFormat(labels.count, labels.ignore, labels.unknown, palette=labels.palette)
        return images.read(Path(image), how=images.Reading(1, labels=plain)).pixels[:, :, 0]
    except images.ImageError as e:
        raise UsageError(f"{_name(image)}: {one_line(e)}") from None


def _read_instances(image: LabelImage) -> np.ndarray:
    try:
        if isinstance(image, (str, Path)):
            return images.read_instance_map(Path(image))
        return images.instances_of_array(np.asarray(image))
    except (images.ImageError, OSError) as e:
        raise UsageError(f"instances: {_name(image)}: {one_line(e)}") from None


def _name(image: LabelImage) -> str:
    if isinstance(image, np.ndarray):
        return "an array"
    return "a Pillow image" if isinstance(image, Image.Image) else printable(image)
