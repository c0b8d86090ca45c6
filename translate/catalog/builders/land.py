"""Builders from the landscape photos of the game Endless Sky, which Debian packages: those in the public domain alone."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from email.parser import Parser
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from translate import atomic
from translate.catalog.builders import packages
from translate.catalog.download import TaskProgress
from translate.errors import DataError

PACKAGE = "endless-sky-high-dpi"
PHOTOS = "images/land/"
"""Folder of the photos, as the package's copyright file names it."""

PIXELS = 128
"""Side of the images."""

NO_LANDSCAPES = ("earthrise", "industrial", "loc", "nasa", "space", "station")
"""Beginnings of the names of photos that show machine rooms, rockets and space stations."""

COLOR_CROPS = {"train": 3, "test": 6}
"""Split → crops of each photo, for grey → colour."""

DESERT_CROPS = 6
"""Crops of each photo, for desert → green land."""

DESERT_PHOTOS = {
    "trainA": "badlands0 badlands1 badlands2 badlands3 badlands6 badlands7 canyon0 canyon02 canyon03 canyon05 canyon8 canyon9 "
    "desert5 desert6 dune1 dune2 dune3 dune5 fields4 fields7 hills0 hills1 lava3",
    "trainB": "dune0 fields3 fields6 fields8 fields9 fog1 forest0 forest2 forest3 forest5 sea0 valley2 valley8 water1 water2",
    "testA": "badlands5 canyon01 canyon04 desert0 desert4 desert7",
    "testB": "fog4 forest1 forest4 sky0 water3",
}
"""Folder → photos, chosen by eye: bare, dry ground (A) and grass or forest (B). No photo is in both training and test."""


def land_color(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build pairs of a photo in grey and in colour, side by side in train/ and test/; a photo's crops are in one split."""
    photos = read_photos(fetched[PACKAGE])
    names = [name for name in sorted(photos) if not name.startswith(NO_LANDSCAPES)]
    for done, name in enumerate(names):
        progress("cutting", done + 1, len(names), "photos")
        split = "test" if _name_hash(name) % 10 == 0 else "train"
        for i, colour in enumerate(random_crops(photos[name], name, COLOR_CROPS[split])):
            both = Image.new("RGB", (2 * PIXELS, PIXELS))
            both.paste(colour.convert("L").convert("RGB"), (0, 0))
            both.paste(colour, (PIXELS, 0))
            # Without chroma subsampling no colour leaks into the grey half: its pixels are exactly grey.
            _save(both, folder / split / f"{name}_{i}.jpg", quality=85, subsampling=0, optimize=True)


def land_desert(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build unpaired deserts (trainA/, testA/) and green land (trainB/, testB/)."""
    photos = read_photos(fetched[PACKAGE])
    for done, (side, names) in enumerate(DESERT_PHOTOS.items()):
        progress("cutting", done + 1, len(DESERT_PHOTOS), "folders")
        for name in names.split():
            if name not in photos:
                raise DataError(f"{fetched[PACKAGE].name}: has no photo {name} in the public domain; another version?")
            for i, crop in enumerate(spread_crops(photos[name], DESERT_CROPS)):
                _save(crop, folder / side / f"{name}_{i}.webp", quality=88, method=6)


def read_photos(package: Path) -> dict[str, bytes]:
    """Read the photos that are in the public domain: name, without its endings → JPEG."""
    members = packages.read_members(
        package, lambda name: name.endswith("/copyright") or (PHOTOS in name and name.endswith(".jpg"))
    )
    texts = [data for name, data in members.items() if name.endswith("/copyright")]
    if not texts:
        raise DataError(f"{package.name}: has no copyright file; it is not the expected package")
    stanzas = read_stanzas(texts[0].decode("utf-8", "replace"))
    files = {name.rsplit("/", 1)[-1]: data for name, data in members.items() if PHOTOS in name}
    return {
        file.removesuffix(".jpg").removesuffix("@2x"): data
        for file, data in files.items()
        if is_public_domain(PHOTOS + file, stanzas)
    }


def read_stanzas(text: str) -> list[tuple[list[str], str]]:
    """Read Debian's copyright format 1.0: file patterns and short name of the licence of each stanza that has both."""
    fields = [Parser().parsestr(paragraph.strip()) for paragraph in text.replace("\r", "").split("\n\n")]
    both = [(stanza["Files"], stanza["License"]) for stanza in fields if stanza["Files"] and stanza["License"]]
    return [(files.split(), licence.split()[0]) for files, licence in both]


def is_public_domain(path: str, stanzas: list[tuple[list[str], str]]) -> bool:
    """Return whether every stanza that names a photo says so.

    The format lets the last one that matches win, but here `mountain1*`, meant for one photo, matches mountain14-sfiera too,
    which an earlier stanza puts under CC BY-SA. `*`, the licence of the game, is no stanza of a photo.
    """
    found = {
        licence
        for patterns, licence in stanzas
        if any(pattern.startswith(PHOTOS) and fnmatchcase(path, pattern) for pattern in patterns)
    }
    return found == {"public-domain"}


def random_crops(photo: bytes, name: str, count: int) -> Iterator[Image.Image]:
    """Yield square crops at random places, of half the photo's height to all of it; the same ones for a name each time."""
    opened = _open(photo)
    draws = np.random.default_rng(_name_hash(name))
    for _ in range(count):
        side = int(draws.uniform(0.5, 1) * opened.height)
        left = int(draws.integers(0, opened.width - side + 1))
        top = int(draws.integers(0, opened.height - side + 1))
        yield _crop(opened, left, top, side)


def spread_crops(photo: bytes, count: int) -> Iterator[Image.Image]:
    """Yield square crops of a photo's whole height, evenly spaced from edge to edge; neighbours overlap."""
    opened = _open(photo)
    for left in np.linspace(0, opened.width - opened.height, count):
        yield _crop(opened, int(left), 0, opened.height)


def _crop(photo: Image.Image, left: int, top: int, side: int) -> Image.Image:
    crop = photo.crop((left, top, left + side, top + side))
    return crop.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)


def _open(photo: bytes) -> Image.Image:
    return Image.open(io.BytesIO(photo), formats=["JPEG"]).convert("RGB")


def _name_hash(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)


def _save(image: Image.Image, path: Path, **options: Any) -> None:
    with atomic.storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **options)
