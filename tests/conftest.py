"""What all tests share. Each test process uses one torch thread, so that parallel ones do not fight for the cores."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs CUDA"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def photo(seed: int, width: int = 40, height: int = 40) -> Image.Image:
    """A smooth RGB image with some structure, the same for the same seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def unpaired_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """trainA with 5 images, trainB with 7, testA and testB with 2 each; 40×40 pixels."""
    root = tmp_path_factory.mktemp("unpaired")
    for folder, count in (("trainA", 5), ("trainB", 7), ("testA", 2), ("testB", 2)):
        (root / folder).mkdir()
        for i in range(count):
            photo(hash_of(folder) + i).save(root / folder / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def paired_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train with 6 side-by-side images and test with 2; B is A with its colours inverted."""
    root = tmp_path_factory.mktemp("paired")
    for folder, count in (("train", 6), ("test", 2)):
        (root / folder).mkdir()
        for i in range(count):
            a = np.asarray(photo(hash_of(folder) + i))
            Image.fromarray(np.concatenate([a, 255 - a], axis=1)).save(root / folder / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def domains_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train with 3 images of black, 4 of blond and 5 of brown, test with 2 of each; 40×40 pixels."""
    root = tmp_path_factory.mktemp("domains")
    for split, counts in (("train", (3, 4, 5)), ("test", (2, 2, 2))):
        for domain, count in zip(("black", "blond", "brown"), counts, strict=True):
            folder = root / split / domain
            folder.mkdir(parents=True)
            for i in range(count):
                photo(hash_of(split + domain) + i).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def images_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train with 6 images and test with 2, without classes; 40×40 pixels."""
    root = tmp_path_factory.mktemp("images")
    for folder, count in (("train", 6), ("test", 2)):
        (root / folder).mkdir()
        for i in range(count):
            photo(hash_of(folder) + i).save(root / folder / f"{i}.png")
    return root


def hash_of(name: str) -> int:
    return sum(map(ord, name)) * 100
