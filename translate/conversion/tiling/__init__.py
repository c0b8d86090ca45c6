"""Images larger than memory: exact tiling of generators that are chains of convolutions.

A norm with the statistics of the whole image makes every output depend on every input, so tiles that are translated by
themselves differ from the whole image, and from each other at their seams, however much they overlap. Here the statistics
are those of the whole: they are gathered layer by layer (`tiled_forward`), and every part is computed from all it depends on
(`partial_layers`). What comes out is the untiled result.
"""

from translate.conversion.tiling.feature_maps import DoesNotFitError
from translate.conversion.tiling.memory import (
    MAX_TILE,
    TiledMemory,
    TilePlanner,
    is_tileable,
)
from translate.conversion.tiling.region_loop import MIN_TILE
from translate.conversion.tiling.tiled_translation import TiledTranslation

__all__ = [
    "MAX_TILE",
    "MIN_TILE",
    "DoesNotFitError",
    "TilePlanner",
    "TiledMemory",
    "TiledTranslation",
    "is_tileable",
]
