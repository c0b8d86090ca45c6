"""Start of residual generators from the colours of the domains: what a linear map of colours can do needs no training."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from translate.methods.base import Batch, Method
from translate.nn.colour_map import PixelStatistics, describe_colour_map, optimal_transport_map

PREPARATION_IMAGES = 256
"""Images of each domain whose pixels are looked at."""


def start_from_colours(method: Method[Any], batches: Iterable[Batch]) -> list[str]:
    """Set the colour maps of a method's generators to the optimal transport between the pixels of its domains a and b.

    Returns a line on each. The batches hold images (N, C, H, W) in [-1, 1].
    """
    statistics: dict[str, PixelStatistics] = {}
    for batch in batches:
        for domain in ("a", "b"):
            images: Tensor = batch[domain]
            statistics.setdefault(domain, PixelStatistics(images.shape[1])).add(images)
    if not statistics:
        return []
    lines = []
    for to in method.generator_names:
        source, target = statistics[method.source_domain(to)], statistics[to]
        matrix, bias = optimal_transport_map(source, target)
        method.generator_for(to).set_colour_map(matrix, bias)
        lines.append(f"colour start {method.source_domain(to)} to {to}: {describe_colour_map(matrix, bias, source)}")
    return lines
