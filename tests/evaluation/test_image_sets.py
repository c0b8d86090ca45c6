"""Tests of sets of images: reading, fingerprints, matching and batches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from translate.errors import DataError
from translate.evaluation import image_sets
from translate.evaluation.image_sets import ImageSet, ReadOptions

from .photos import random_image


def folder(path: Path, **images: np.ndarray) -> Path:
    """Write images by name into a folder, as PNG unless the name ends in another format: a_bmp."""
    for name, pixels in images.items():
        stem, _, ext = name.partition("_")
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path / f"{stem}.{ext or 'png'}")
    return path


def read(path: Path, **options: Any) -> ImageSet:
    return image_sets.read_image_set(image_sets.list_images(path), path, ReadOptions(**options))


def test_the_fingerprint_depends_on_pixels_alone(tmp_path: Path) -> None:
    """Names, order and lossless formats play no part; one level of one pixel does."""
    first = read(folder(tmp_path / "1", a=random_image(1), b=random_image(2)))
    second = read(folder(tmp_path / "2", x_bmp=random_image(2), y_bmp=random_image(1)))
    assert (first.formats, second.formats) == ("2 png", "2 bmp")
    assert first.sha256() == second.sha256()
    other = random_image(2)
    other[3, 4, 1] ^= 1
    assert read(folder(tmp_path / "3", a=random_image(1), b=other)).sha256() != first.sha256()
    assert read(folder(tmp_path / "4", a=random_image(1))).sha256() != first.sha256()


def test_images_are_resized_to_a_square_by_pillow_s_bicubic_filter(tmp_path: Path) -> None:
    place = folder(tmp_path, a=random_image(1, 20, 30))
    wanted = np.asarray(Image.fromarray(random_image(1, 20, 30)).resize((8, 8), Image.Resampling.BICUBIC))
    assert (read(place, size=8).pixels(0)[0].permute(1, 2, 0).numpy() == wanted).all()
    assert read(place).pixels(0).shape == (1, 3, 30, 20)


def test_deep_and_declared_values_in_8_bits(tmp_path: Path) -> None:
    """65535 is 255; of values declared as 0 to 1000, 500 is the middle."""
    np.save(tmp_path / "a.npy", np.full((4, 4), 500, np.uint16))
    assert read(tmp_path, channels=1).pixels(0).unique().tolist() == [round(500 / 257)]
    declared = read(tmp_path, channels=1, value_range=(0.0, 1000.0))
    assert declared.pixels(0).unique().tolist() == [128]
    assert declared.normalized(0).unique().tolist() == [0]


def test_a_file_that_cannot_be_read_ends_the_evaluation(tmp_path: Path) -> None:
    place = folder(tmp_path, a=random_image(1))
    (place / "b.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"b\.jpg': not an image; fix or remove it"):
        read(place)


@pytest.mark.parametrize(("name", "message"), [("nowhere", "no such folder"), ("", "no images in it")])
def test_folders_without_images_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        image_sets.list_images(tmp_path / name)


def test_images_of_different_sizes_are_named_where_one_size_is_needed(tmp_path: Path) -> None:
    found = read(folder(tmp_path, a=random_image(1), b=random_image(2, 20, 30)))
    with pytest.raises(DataError, match=r"swd: 'b\.png' has 20×30 pixels, but 'a\.png' has 12×12; use --size N"):
        found.stack("swd")
    assert read(tmp_path, size=8).stack("swd").shape == (2, 3, 8, 8)


def test_batches_hold_successive_images_of_one_size():
    arrays = [np.zeros(shape) for shape in [(2, 3), (2, 3), (2, 3), (4, 3), (2, 3)]]
    batches = list(image_sets.batch_by_size(arrays, 2))
    assert [[array.shape for array in batch] for batch in batches] == [[(2, 3)] * 2, [(2, 3)], [(4, 3)], [(2, 3)]]
    tensors = list(image_sets.batch_by_size((torch.zeros(1, 2, 2) for _ in range(3)), 2))
    assert [len(batch) for batch in tensors] == [2, 1]
