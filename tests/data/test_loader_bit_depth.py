"""Images of 16 bits and floats, mixed depths and declared ranges in training batches."""

from itertools import islice

import numpy as np
import pytest
import torch

from translate import images
from translate.data import layouts
from translate.data.loader import Loader, LoaderOptions, fixed_batch
from translate.data.preprocessing import Preprocessing, load_image
from translate.data.split import ImageRef

from ..helpers import random_values, write_array
from .helpers import CPU, TIERS

# Into training.


def loader(split, preprocessing, tier="resident", batch_size=1, dtype=torch.float32):
    options = LoaderOptions(batch_size=batch_size, seed=0, tier=tier, workers=0)
    return Loader(split, preprocessing, options, device=CPU, dtype=dtype, say=lambda line: None)


def take(loader, count):
    return [{k: x.clone() for k, x in batch.items()} for batch in islice(loader.batches(0), count)]


@pytest.fixture
def mixed(tmp_path):
    """A domain of uint8, uint16 and float32; image i is i tenths of the whole range."""
    for i in range(9):
        kind = i % 3
        top, dtype, ext = [(255, np.uint8, "png"), (65535, np.uint16, "png"), (1, np.float32, "tif")][kind]
        write_array(tmp_path / f"{i}.{ext}", np.full((20, 20, 3), top * i / 10).astype(dtype))
    return layouts.find_split(tmp_path, "images")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_depths_are_mixed_in_a_domain(mixed, batch_size, dtype):
    preprocessing = Preprocessing(20, 20, False, (3, 3))
    batches = {tier: take(loader(mixed, preprocessing, tier, batch_size, dtype), 9) for tier in TIERS}
    for x, y, z in zip(*batches.values(), strict=True):
        assert torch.equal(x["a"], y["a"])
        assert torch.equal(x["a"], z["a"])
    seen = sorted(round(float(x) * 5 + 5, 1) for batch in batches["ram"] for x in batch["a"][:, 0, 0, 0])
    if batch_size == 1:
        assert seen == pytest.approx(list(range(9)), abs=0.05)


def test_depths_are_mixed_with_a_declared_range(tmp_path):
    """Numbers then are what they say: 200 is 200 in a file of 8 bits, of 16, and of floats."""
    for i, (ext, dtype) in enumerate((("png", np.uint8), ("png", np.uint16), ("npy", np.float32))):
        write_array(tmp_path / f"{i}.{ext}", np.full((8, 8, 1), 200, dtype))
    split = layouts.find_split(tmp_path, "images")
    preprocessing = Preprocessing(8, 8, False, (1, 1), value_ranges=((0, 400), None))
    for tier in TIERS:
        for batch in take(loader(split, preprocessing, tier, 3), 1):
            assert torch.equal(batch["a"], torch.zeros(3, 1, 8, 8))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("ext", ["png", "tif", "npy"])
def test_declared_values_become_minus_one_to_one_and_are_clipped(ext, tier, tmp_path):
    array = np.zeros((4, 4, 1), np.uint16)
    array.reshape(-1)[:6] = [0, 1, 2048, 4095, 4096, 60000]
    write_array(tmp_path / f"x.{ext}", array)
    preprocessing = Preprocessing(4, 4, False, (1, 1), value_ranges=((0, 4095), None))
    x = take(loader(layouts.find_split(tmp_path, "images"), preprocessing, tier), 1)[0]["a"].reshape(-1)
    torch.testing.assert_close(x[:6], torch.tensor([-1, 2 / 4095 - 1, 4096 / 4095 - 1, 1, 1, 1]), rtol=0, atol=2e-7)


@pytest.mark.parametrize("tier", TIERS)
def test_each_domain_has_its_own_range(tier, tmp_path):
    write_array(tmp_path / "trainA/x.npy", np.full((4, 4, 1), -300, np.float32))
    write_array(tmp_path / "trainB/x.npy", np.full((4, 4, 1), 1000, np.uint16))
    preprocessing = Preprocessing(4, 4, False, (1, 1), value_ranges=((-400, 0), (0, 4000)))
    batch = take(loader(layouts.find_split(tmp_path, "unpaired"), preprocessing, tier), 1)[0]
    assert torch.equal(batch["a"], torch.full((1, 1, 4, 4), -0.5))
    assert torch.equal(batch["b"], torch.full((1, 1, 4, 4), -0.5))


RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(("ext", "channels"), [("png", 1), ("png", 3), ("tif", 1), ("tif", 3), ("npy", 1)])
def test_a_ramp_of_16_bits_keeps_its_levels_into_training(ext, channels, tier, tmp_path):
    write_array(tmp_path / f"x.{ext}", RAMP.repeat(channels, 2))
    split = layouts.find_split(tmp_path, "images")
    x = take(loader(split, Preprocessing(256, 256, False, (channels, 3)), tier), 1)[0]["a"]
    expected = images.normalize(torch.from_numpy(RAMP[:, :, 0]), torch.float32)
    assert torch.equal(x, expected.expand(1, channels, 256, 256))
    assert len(x.unique()) == 65536


@pytest.mark.parametrize("resize", ["pillow", "torch"])
def test_a_ramp_of_16_bits_keeps_its_levels_where_it_is_resized(resize, tmp_path):
    write_array(tmp_path / "x.png", RAMP)
    image = load_image(ImageRef(tmp_path / "x.png"), Preprocessing(300, 300, False, (1, 1), resize=resize), 0)
    assert image.dtype == torch.uint16
    assert len(image.int().unique()) > 40_000


def test_channels_of_any_number_reach_training(tmp_path):
    write_array(tmp_path / "trainA/x.tif", random_values(5, height=16, width=16))
    write_array(tmp_path / "trainB/x.npy", random_values(2, height=16, width=16))
    split = layouts.find_split(tmp_path, "unpaired")
    for tier in TIERS:
        batch = take(loader(split, Preprocessing(16, 16, False, (5, 2)), tier), 1)[0]
        for name, n in (("a", 5), ("b", 2)):
            assert np.array_equal(
                images.to_array(batch[name][0], np.dtype(np.uint16)), random_values(n, height=16, width=16)
            )


def test_the_blank_of_the_fixed_batch_is_white_and_fits(tmp_path):
    for i in range(2):
        write_array(tmp_path / f"{i}.png", np.full((40, 40, 1), 4095, np.uint16))
    (tmp_path / "0.png").write_text("no image")
    split = layouts.find_split(tmp_path, "images")
    preprocessing = Preprocessing(40, 40, False, (1, 1), value_ranges=((0, 4095), None))
    assert (fixed_batch(split, preprocessing, 2, CPU, torch.float32)["a"] == 1).all()
