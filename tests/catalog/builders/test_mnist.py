"""Digits of MNIST, photos of Fashion-MNIST, sneakers and boots of the latter."""

import gzip

import numpy as np
import pytest
from PIL import Image

from translate.catalog.builders import mnist
from translate.errors import DataError

from ..helpers import build_dataset, write_deb, write_tgz


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(
        b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()
    )


def draw_package(rng: np.random.Generator) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """Return files of a package of 60 random images in each split, whose labels go round, and the images by split."""
    members, arrays = {}, {}
    for stem in ("train", "t10k"):
        images, labels = rng.integers(0, 256, (60, 28, 28), dtype=np.uint8), np.arange(60, dtype=np.uint8) % 10
        arrays[stem] = images
        members[f"usr/share/datasets/fashion-mnist/{stem}-images-idx3-ubyte.gz"] = idx(images)
        members[f"usr/share/datasets/fashion-mnist/{stem}-labels-idx1-ubyte.gz"] = idx(labels)
    return members, arrays


def test_an_idx_file_by_hand():
    packed = gzip.compress(bytes.fromhex("00000802 00000002 00000003") + bytes([1, 2, 3, 4, 5, 6]))
    for data in (packed, gzip.decompress(packed)):
        assert mnist.read_idx(data, "x").tolist() == [[1, 2, 3], [4, 5, 6]]
    for bad in (
        b"",
        b"x",
        packed[:-9],
        gzip.compress(b"\0\0\x0d\1"),
        gzip.compress(bytes.fromhex("00000801 00000009") + b"x"),
    ):
        with pytest.raises(DataError, match=r"^some-package: a file of it is damaged"):
            mnist.read_idx(bad, "some-package")


@pytest.mark.parametrize(("make", "name"), [(write_tgz, "x.tgz"), (write_deb, "x.deb")])
def test_shoes_go_to_their_sides_padded_and_in_order(tmp_path, monkeypatch, rng, make, name):
    monkeypatch.setattr(mnist, "SPLITS", {"train": ("train", 3), "test": ("t10k", 2)})
    members, arrays = draw_package(rng)
    folder = build_dataset("sneaker2boot", {mnist.FASHION: make(tmp_path / name, members)}, tmp_path / "out")
    expected = {"trainA": [7, 17, 27], "trainB": [9, 19, 29], "testA": [7, 17], "testB": [9, 19]}
    assert {side.name: sorted(int(file.stem) for file in side.iterdir()) for side in folder.iterdir()} == expected
    pixels = np.asarray(Image.open(folder / "trainB" / "00019.png"))
    assert pixels.shape == (32, 32)
    assert np.array_equal(pixels[2:30, 2:30], arrays["train"][19])
    assert pixels.sum() == arrays["train"][19].sum()


def test_the_whole_set_has_a_folder_for_each_class(tmp_path, rng):
    members, arrays = draw_package(rng)
    folder = build_dataset("fashion_mnist", {mnist.FASHION: write_tgz(tmp_path / "x.tgz", members)}, tmp_path / "out")
    for split, stem in (("train", "train"), ("test", "t10k")):
        found = {place.name: sorted(int(file.stem) for file in place.iterdir()) for place in (folder / split).iterdir()}
        assert found == {name: list(range(label, 60, 10)) for label, name in enumerate(mnist.GARMENTS)}
        pixels = np.asarray(Image.open(folder / split / "ankle_boot" / "00059.png"))
        assert np.array_equal(pixels, np.pad(arrays[stem][59], 2))


def test_digits_have_a_folder_each_and_no_margin(tmp_path, rng):
    members, arrays = draw_package(rng)
    plain = {
        f"package/data/{name.rsplit('/', 1)[-1].removesuffix('.gz')}": gzip.decompress(data)
        for name, data in members.items()
    }
    folder = build_dataset("mnist", {mnist.DIGITS: write_tgz(tmp_path / "x.tgz", plain)}, tmp_path / "out")
    assert sorted(place.name for place in (folder / "test").iterdir()) == list("0123456789")
    assert np.array_equal(np.asarray(Image.open(folder / "test" / "7" / "00037.png")), arrays["t10k"][37])


def test_a_package_without_its_files(tmp_path):
    file = write_tgz(tmp_path / "x.tgz", {"usr/train-images-idx3-ubyte.gz": idx(np.zeros((1, 28, 28), np.uint8))})
    with pytest.raises(DataError, match="train-labels-idx1"):
        build_dataset("sneaker2boot", {mnist.FASHION: file}, tmp_path / "out")
