"""Builder from the product photos of Zalando's Fashion-MNIST, which Debian packages: grey, 28 pixels, padded to 32."""

import gzip
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from translate import atomic
from translate.catalog.builders import packages
from translate.catalog.download import TaskProgress
from translate.errors import DataError

PACKAGE = "dataset-fashion-mnist"
SNEAKER, BOOT = 7, 9
"""Labels of the two classes."""

SPLITS = {"train": ("train", 1500), "test": ("t10k", 200)}
"""Split → prefix of the official split's files, and number of images of each domain, the first ones."""

CLASSES = ("t_shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle_boot")
"""Folder of each class, by its label."""


def sneaker_to_boot(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build unpaired sneakers (trainA/, testA/) and ankle boots (trainB/, testB/)."""
    tables = _read_tables(fetched[PACKAGE])
    for done, (split, (stem, count)) in enumerate(SPLITS.items()):
        progress("writing", done, len(SPLITS), "splits")
        images, labels = tables[stem]
        for side, label in (("A", SNEAKER), ("B", BOOT)):
            _write_images(images, np.flatnonzero(labels == label)[:count], folder / f"{split}{side}")


def all_classes(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build the whole set in its official split: train/<class>/ and test/<class>/ of ten classes."""
    tables = _read_tables(fetched[PACKAGE])
    for done, (split, label) in enumerate(product(SPLITS, range(len(CLASSES)))):
        progress("writing", done, len(SPLITS) * len(CLASSES), "classes")
        images, labels = tables[SPLITS[split][0]]
        _write_images(images, np.flatnonzero(labels == label), folder / split / CLASSES[label])


def _read_tables(package: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images and labels of both official splits, by the prefix of their files."""
    members = packages.read_members(package, lambda name: name.endswith("-ubyte.gz"))
    tables = {name.rsplit("/", 1)[-1]: read_idx(data) for name, data in members.items()}
    try:
        return {
            stem: (tables[f"{stem}-images-idx3-ubyte.gz"], tables[f"{stem}-labels-idx1-ubyte.gz"])
            for stem, _ in SPLITS.values()
        }
    except KeyError as e:
        raise DataError(f"{package.name}: has no {e.args[0]}; it is not the expected package") from None


def _write_images(images: np.ndarray, chosen: np.ndarray, target: Path) -> None:
    """Write the chosen images, padded to 32 pixels, under their number in the official split."""
    with atomic.storage_errors(target):
        target.mkdir(parents=True)
        for i in chosen:
            Image.fromarray(np.pad(images[i], 2)).save(target / f"{i:05}.png", optimize=True)


def read_idx(packed: bytes) -> np.ndarray:
    """Read an array of bytes in the gzipped IDX format: type, number of dimensions, dimensions (big endian), values."""
    try:
        data = gzip.decompress(packed)
        if data[:3] != b"\0\0\x08":
            raise ValueError("not an array of bytes")
        shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
        return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError) as e:
        raise DataError(f"{PACKAGE}: a file of it is damaged: {e}; give the same command again") from None
