"""Images larger than memory: exact tiling of generators that are chains of convolutions.

A norm with the statistics of the whole image makes every output depend on every input, so tiles that are translated by
themselves differ from the whole image, and from each other at their seams, however much they overlap. Here the statistics
are those of the whole: they are gathered layer by layer (`passes`), and every part is computed from all it depends on
(`chain`). What comes out is the untiled result.
"""

from translate.conversion.tiling.maps import DoesNotFitError
from translate.conversion.tiling.need import (
    LARGEST,
    Need,
    free_memory,
    pick,
    scratch_need,
    tile_need,
    tileable,
    whole_need,
)
from translate.conversion.tiling.passes import LEAST, lacks_memory
from translate.conversion.tiling.pictures import translate_pixels

__all__ = [
    "LARGEST",
    "LEAST",
    "DoesNotFitError",
    "Need",
    "free_memory",
    "lacks_memory",
    "pick",
    "scratch_need",
    "tile_need",
    "tileable",
    "translate_pixels",
    "whole_need",
]
