from .feature_maps import DoesNotFitError
from .limits import MIN_TILE
from .memory import (
    MAX_TILE,
    TiledMemory,
    TilePlanner,
    is_tileable,
)
from .tiled_translation import TiledTranslation

__all__ = [
    "MAX_TILE",
    "MIN_TILE",
    "DoesNotFitError",
    "TilePlanner",
    "TiledMemory",
    "TiledTranslation",
    "is_tileable",
]
