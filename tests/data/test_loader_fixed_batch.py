"""The fixed batch of sample grids."""

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images
from translate.data import layouts
from translate.data.loader import fixed_batch
from translate.data.preprocessing import Preprocessing, load_image

CPU = torch.device("cpu")


def photo(path, height, width, seed, *, like=None, **options):
    """A smooth image; `like` another of another size."""
    coarse = np.random.default_rng(seed if like is None else like).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path, **options)


RULES = ["resize_and_crop", "crop", "scale_width_and_crop", "none"]


@pytest.mark.parametrize("bad", ["trainA", "trainB"])
@pytest.mark.parametrize("rule", RULES)
def test_an_unreadable_file_in_the_fixed_batch_is_white_and_as_large_as_its_partner(rule, bad, tmp_path):
    for folder in ("trainA", "trainB"):
        photo(tmp_path / folder / "0.png", 40, 61, 0)
    (tmp_path / bad / "0.png").write_text("no image")
    for layout in ("paired", "unpaired"):
        split = layouts.find_split(tmp_path, layout)
        batch = fixed_batch(split, Preprocessing(32, 24, False, (3, 3), rule), 1, CPU, torch.float32)
        assert batch["a"].shape == batch["b"].shape == ((1, 3, 40, 60) if rule == "none" else (1, 3, 24, 24))
        assert (batch[bad[-1].lower()] == 1).all()


def test_a_fixed_batch_without_a_readable_file_is_white(tmp_path):
    for folder in ("trainA", "trainB"):
        photo(tmp_path / folder / "0.png", 40, 60, 0)
        (tmp_path / folder / "0.png").write_text("no image")
    for rule in RULES:
        batch = fixed_batch(
            layouts.find_split(tmp_path, "paired"), Preprocessing(32, 24, False, (3, 1), rule), 1, CPU, torch.float32
        )
        size = 32 if rule == "none" else 24
        assert torch.equal(batch["a"], torch.ones(1, 3, size, size))
        assert torch.equal(batch["b"], torch.ones(1, 1, size, size))


@pytest.mark.parametrize("rule", ["scale_width_and_crop", "crop", "none"])
def test_the_fixed_batch_shows_both_sides_of_a_pair_alike(rule, tmp_path):
    """Twins of other sizes: what B shows beside A is the same part of the same picture."""
    for i, (height, width) in enumerate([(40, 40), (36, 60), (64, 40)]):
        photo(tmp_path / "trainA" / f"{i}.png", height, width, i)
        with Image.open(tmp_path / "trainA" / f"{i}.png") as a:
            large = a.resize((2 * width, height * 3), Image.Resampling.BICUBIC)
        (tmp_path / "trainB").mkdir(exist_ok=True)
        large.save(tmp_path / "trainB" / f"{i}.png")
    split = layouts.find_split(tmp_path, "paired")
    batch = fixed_batch(split, Preprocessing(32, 24, False, (3, 3), rule), 3, CPU, torch.float32)
    assert batch["a"].shape == batch["b"].shape
    assert (batch["a"] - batch["b"]).abs().mean() < 0.02


def decode(ref, channels, size):
    return load_image(ref, Preprocessing(size, size, False, (channels, channels)), 0)


def equal(x, y):
    return x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)


@pytest.fixture
def unpaired(unpaired_root):
    return layouts.find_split(unpaired_root, "unpaired")


@pytest.fixture
def paired(paired_root):
    return layouts.find_split(paired_root, "paired")


# Files that cannot be read. Image i is a square of grey 20 i.


def squares(folder, count, bad=()):
    folder.mkdir(parents=True)
    for i in range(count):
        path = folder / f"{i}.png"
        Image.new("RGB", (20, 20), (20 * i,) * 3).save(path)
        if i in bad:
            path.write_text("no image")
    return folder


def grey_of(x):
    """Which square each image is."""
    return [round((value + 1) * 127.5 / 20) for value in x.mean((1, 2, 3)).tolist()]


def bad_files(root, bad_a, bad_b, layout):
    squares(root / "trainA", 5, bad_a)
    squares(root / "trainB", 5, bad_b)
    return layouts.find_split(root, layout)


# The batch of the sample grids.


def test_fixed_batch_is_evenly_spread_over_each_domain(unpaired):
    preprocessing = Preprocessing(20, 16, True, (3, 1))
    batch = fixed_batch(unpaired, preprocessing, 3, CPU, torch.float32)
    for name, refs, channels, places in (("a", unpaired.a, 3, (0, 1, 3)), ("b", unpaired.b, 1, (0, 2, 4))):
        whole = torch.stack([decode(refs[i], channels, 20) for i in places])
        assert torch.equal(batch[name], images.normalize(whole[:, :, 2:18, 2:18], torch.float32))
    assert equal(batch, fixed_batch(unpaired, preprocessing, 3, CPU, torch.float32))


def test_fixed_batch_of_pairs_keeps_partners_together(paired):
    batch = fixed_batch(paired, Preprocessing(40, 16, True, (3, 3)), 4, CPU, torch.float64)
    torch.testing.assert_close(batch["b"], -batch["a"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (5, 5), (50, 5)])
def test_fixed_batch_has_no_more_images_than_the_smaller_domain(unpaired, asked, given):
    batch = fixed_batch(unpaired, Preprocessing(16, 16, True, (3, 3)), asked, CPU, torch.float32)
    assert (len(batch["a"]), len(batch["b"])) == (given, given)
    assert len(batch["a"].flatten(1).unique(dim=0)) == given


def test_fixed_batch_without_b(unpaired_root):
    split = layouts.find_split(unpaired_root / "trainA", "images")
    assert fixed_batch(split, Preprocessing(16, 16, True, (3, 3)), 2, CPU, torch.float32).keys() == {"a"}


def test_fixed_batch_shows_an_unreadable_file_as_white(tmp_path):
    split = bad_files(tmp_path, {1}, (), "paired")
    batch = fixed_batch(split, Preprocessing(16, 16, True, (3, 3)), 5, CPU, torch.float32)
    assert (batch["a"][1] == 1).all()
    assert grey_of(batch["b"]) == [0, 1, 2, 3, 4]
