"""Builders of data sets from registry packages. A builder is given the package files by name and fills a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path

from translate.catalog.builders import avatars, earth, emoji, land, mnist, openmoji
from translate.catalog.download import TaskProgress

BUILDERS: dict[str, Callable[[Mapping[str, Path], Path, TaskProgress], None]] = {
    "avatar_captions": avatars.captioned_faces,
    "avatar_glasses": avatars.no_glasses_to_glasses,
    "avatar_hair": avatars.dark_to_blond,
    "earth_map": earth.earth_map,
    "earth_season": earth.earth_season,
    "emoji": emoji.flat_to_3d,
    "emoji_flat2three": emoji.flat_to_3d_small,
    "fashion_mnist": mnist.fashion_mnist,
    "land_color": land.land_color,
    "land_desert": land.land_desert,
    "mnist": mnist.mnist,
    "openmoji_captions": openmoji.captioned_drawings,
    "openmoji_color": openmoji.outline_to_color,
    "sneaker2boot": mnist.sneaker_to_boot,
}
"""Functions of the package files by name, a folder to fill and a progress callback, by the `build` key of the cards."""
