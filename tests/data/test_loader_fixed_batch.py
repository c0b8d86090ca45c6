"""The fixed batch of sample grids."""

import pytest
import torch
from PIL import Image

from translate import images
from translate.config import WHOLE_IMAGES
from translate.data import layouts
from translate.data.loader import fixed_batch
from translate.data.preprocessing import Preprocessing

from ..helpers import write_smooth_image
from .helpers import CPU, RULES, find_split_of_squares, load_square, numbers_of_squares, same_batch


@pytest.mark.parametrize("bad", ["trainA", "trainB"])
@pytest.mark.parametrize("rule", RULES)
def test_an_unreadable_file_in_the_fixed_batch_is_white_and_as_large_as_its_partner(rule, bad, tmp_path):
    for folder in ("trainA", "trainB"):
        write_smooth_image(tmp_path / folder / "0.png", 40, 61, 0)
    (tmp_path / bad / "0.png").write_text("no image")
    for layout in ("paired", "unpaired"):
        split = layouts.find_split(tmp_path, layout)
        batch = fixed_batch(split, Preprocessing(32, 24, False, (3, 3), rule), 1, CPU, torch.float32)
        size = {"none": (40, 60), "scale_width": (20, 32)}.get(rule, (24, 24))  # 32 · 40/61 is 21 pixels
        assert batch["a"].shape == batch["b"].shape == (1, 3, *size)
        assert (batch[bad[-1].lower()] == 1).all()


def test_a_fixed_batch_without_a_readable_file_is_white(tmp_path):
    for folder in ("trainA", "trainB"):
        write_smooth_image(tmp_path / folder / "0.png", 40, 60, 0)
        (tmp_path / folder / "0.png").write_text("no image")
    for rule in RULES:
        batch = fixed_batch(
            layouts.find_split(tmp_path, "paired"), Preprocessing(32, 24, False, (3, 1), rule), 1, CPU, torch.float32
        )
        size = 32 if rule in WHOLE_IMAGES else 24
        assert torch.equal(batch["a"], torch.ones(1, 3, size, size))
        assert torch.equal(batch["b"], torch.ones(1, 1, size, size))


@pytest.mark.parametrize("rule", ["scale_width_and_crop", "crop", "none"])
def test_the_fixed_batch_shows_both_sides_of_a_pair_alike(rule, tmp_path):
    """Twins of other sizes: what B shows beside A is the same part of the same picture."""
    for i, (height, width) in enumerate([(40, 40), (36, 60), (64, 40)]):
        write_smooth_image(tmp_path / "trainA" / f"{i}.png", height, width, i)
        with Image.open(tmp_path / "trainA" / f"{i}.png") as a:
            large = a.resize((2 * width, height * 3), Image.Resampling.BICUBIC)
        (tmp_path / "trainB").mkdir(exist_ok=True)
        large.save(tmp_path / "trainB" / f"{i}.png")
    split = layouts.find_split(tmp_path, "paired")
    batch = fixed_batch(split, Preprocessing(32, 24, False, (3, 3), rule), 3, CPU, torch.float32)
    assert batch["a"].shape == batch["b"].shape
    assert (batch["a"] - batch["b"]).abs().mean() < 0.02


# Files that cannot be read. Image i is a square of grey 20 i.


# The batch of the sample grids.


def test_fixed_batch_is_evenly_spread_over_each_domain(unpaired):
    preprocessing = Preprocessing(20, 16, True, (3, 1))
    batch = fixed_batch(unpaired, preprocessing, 3, CPU, torch.float32)
    for name, refs, channels, places in (("a", unpaired.a, 3, (0, 1, 3)), ("b", unpaired.b, 1, (0, 2, 4))):
        whole = torch.stack([load_square(refs[i], channels, 20) for i in places])
        assert torch.equal(batch[name], images.normalize(whole[:, :, 2:18, 2:18], torch.float32))
    assert same_batch(batch, fixed_batch(unpaired, preprocessing, 3, CPU, torch.float32))


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
    split = find_split_of_squares(tmp_path, {1}, (), "paired")
    batch = fixed_batch(split, Preprocessing(16, 16, True, (3, 3)), 5, CPU, torch.float32)
    assert (batch["a"][1] == 1).all()
    assert numbers_of_squares(batch["b"]) == [0, 1, 2, 3, 4]
