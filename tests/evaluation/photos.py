"""Random images for tests of evaluations."""

from typing import Any

import numpy as np
import torch

from translate.evaluation.image_sets import ImageSet


def random_image(seed: int, width: int = 12, height: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_images(*seeds: int) -> ImageSet:
    stored = tuple(torch.from_numpy(random_image(seed)).permute(2, 0, 1).contiguous() for seed in seeds)
    return ImageSet(tuple(map(str, seeds)), stored)


def images_of_sizes(*sizes: tuple[int, int], channels: int = 3, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, channels), dtype=np.uint8) for height, width in sizes]


def random_pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return random uint8 of this shape."""
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def no_extractor() -> Any:
    """Stand for a feature extractor that must not be asked for."""
    raise AssertionError("no extractor is needed")
