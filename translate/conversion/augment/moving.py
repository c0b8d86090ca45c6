"""Measurement of how far a model leaves the shapes of its inputs where they are."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from translate import images
from translate.conversion.augment.draw import PlannedTranslation
from translate.conversion.item import ItemConverter
from translate.data.edge_layout import SIDE, edge_correlation
from translate.data.split import evenly_spaced
from translate.images import ImageError

CHECKED = 24
"""Images, evenly spaced over those that are to be translated, whose edges are compared."""

LEAST_CORRELATION = 0.55
"""Least mean correlation of edges in images and their translations with which boxes, masks and keypoints are kept.

docs/uses.md shows what the shipped models have, and what is left when an image is moved by some of its pixels.
"""


def measure_edge_correlation(converter: ItemConverter, planned: Sequence[PlannedTranslation]) -> float | None:
    """Return the mean correlation of the edges of images and their translations, both shrunk to 65 × 65 pixels.

    planned: translations to the domain of the converter, of which CHECKED are made. None where no image can be read, or all are
    flat.
    """
    before, after = [], []
    translator, to = converter.translator, converter.options.to
    for index in evenly_spaced(len(planned), CHECKED):
        item = planned[index].item
        try:
            pixels = images.read(converter.root / item.input, how=converter.read_options).pixels
            (output,) = translator.translate_pixels(
                [pixels], to, seed=converter.options.seed, samples=[item.sample or 0]
            )
        except (ImageError, OSError, RuntimeError, MemoryError):  # the conversion lists it as failed
            continue
        values = translator.input_range(to, images.StoredType(pixels.dtype))
        before.append(_small(translator.network_input(pixels, to, values).cpu()))
        after.append(_small(torch.from_numpy(output.astype(np.float32)).permute(2, 0, 1)))
    return edge_correlation(before, after)


def _small(image: Tensor) -> Tensor:
    """Return an image (C, H, W) as (C, SIDE, SIDE)."""
    return F.interpolate(image[None].float(), (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)[0]
