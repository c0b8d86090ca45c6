"""The three tiers give the same batches, by every preprocessing and decoder; unreadable files are reported once."""

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images
from translate.config import WHOLE_IMAGES
from translate.data import layouts
from translate.data.preprocessing import RESIZERS, Preprocessing, load_image
from translate.data.sampler import Sampler
from translate.errors import DataError

from ..helpers import write_smooth_image
from .helpers import RULES, SIZES, TIERS, first_batches, make_loader, same_batches, write_numbered_images

# What the rules make of sizes.


def expected_size(rule, height, width, load_size, crop_size):
    """By the reference's own arithmetic."""
    if rule == "resize_and_crop":
        return load_size, load_size
    if rule == "scale_width_and_crop":
        return int(max(load_size * height / width, crop_size)), load_size
    if rule == "scale_width":  # and rounded as with none
        return expected_size("none", load_size * height / width, load_size, load_size, crop_size)
    if rule == "none":
        return int(round(height / 4) * 4), int(round(width / 4) * 4)
    return height, width


def crops(image, size):
    """Every square of an image (C, H, W), as bytes."""
    height, width = image.shape[1:]
    places = ((top, left) for top in range(height - size + 1) for left in range(width - size + 1))
    return {image[:, y : y + size, x : x + size].tobytes() for y, x in places}


@pytest.mark.parametrize("rule", RULES)
def test_images_are_cut_from_what_the_reference_would_load(rule, roots):
    split = layouts.find_split(roots / "unpaired", "unpaired")
    preprocessing = Preprocessing(22, 18, False, (3, 3), rule)
    sampler = Sampler(split, 0)
    for n, batch in enumerate(first_batches(make_loader(split, preprocessing).batches(0), 8)):
        for name, refs, i in zip("ab", (split.a, split.b), sampler(n), strict=True):
            with Image.open(refs[i].path) as file:
                height, width = expected_size(rule, file.height, file.width, 22, 18)
                loaded = np.asarray(file.resize((width, height), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
            got = images.quantize(batch[name][0]).numpy()
            if rule in WHOLE_IMAGES:
                assert np.array_equal(got, loaded)
            else:
                assert got.shape == (3, 18, 18)
                assert got.tobytes() in crops(loaded, 18)


@pytest.mark.parametrize("rule", RULES)
def test_tiers_give_the_same_bits_by_every_rule(split, rule):
    preprocessing = Preprocessing(22, 18, True, (3, 3), rule)
    size = 1 if rule in WHOLE_IMAGES else 3
    resident, ram, streamed = (
        first_batches(make_loader(split, preprocessing, tier=tier, batch_size=size).batches(2), 7) for tier in TIERS
    )
    assert same_batches(resident, ram)
    assert same_batches(resident, streamed)


@pytest.mark.parametrize("tier", TIERS)
def test_images_of_other_sizes_in_one_batch_are_a_data_error(tier, roots):
    split = layouts.find_split(roots / "unpaired", "unpaired")
    loader = make_loader(split, Preprocessing(22, 18, True, (3, 3), "none"), tier=tier, batch_size=2)
    with pytest.raises(DataError) as caught:
        first_batches(loader.batches(0), 9)
    assert "--batch-size 1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tier", TIERS)
def test_both_sides_of_a_pair_share_their_geometry(tier, rule, tmp_path):
    """B is A, so batches must be equal whatever is drawn."""
    for i, (height, width) in enumerate(SIZES):
        for folder in ("trainA", "trainB"):
            write_smooth_image(tmp_path / folder / f"{i}.png", height, width, i)
    split = layouts.find_split(tmp_path, "paired")
    for batch in first_batches(make_loader(split, Preprocessing(30, 18, True, (3, 3), rule), tier=tier).batches(0), 10):
        assert torch.equal(batch["a"], batch["b"])
        assert batch["a"].std() > 0.05


@pytest.mark.parametrize("tier", TIERS)
def test_twins_of_other_sizes_get_the_size_of_a(tier, roots):
    split = layouts.find_split(roots / "paired", "paired")
    sampler = Sampler(split, 0)
    loader = make_loader(split, Preprocessing(22, 18, False, (3, 3), "none"), tier=tier)
    for n, batch in enumerate(first_batches(loader.batches(0), 5)):
        height, width = expected_size("none", *SIZES[sampler(n)[0]], 22, 18)
        assert batch["a"].shape == batch["b"].shape == (1, 3, height, width)
        with Image.open(split.b[sampler(n)[1]].path) as file:
            b = np.asarray(file.resize((width, height), Image.Resampling.BICUBIC))
        assert np.array_equal(images.to_uint8_array(batch["b"][0]), b)


def test_tiers_give_the_same_bits_by_every_decoder_and_resizer(tmp_path):
    for i in range(4):
        write_smooth_image(tmp_path / "trainA" / f"{i}.jpg", 40 + i, 50, i, quality=90)
        write_smooth_image(tmp_path / "trainB" / f"{i}.png", 40, 50 - i, i)
    split = layouts.find_split(tmp_path, "unpaired")
    decoders = ["pillow"]
    try:
        import torchcodec  # noqa: F401

        decoders.append("torchcodec")
    except ImportError:
        pass
    for decoder in decoders:
        for resize in RESIZERS:
            preprocessing = Preprocessing(24, 20, True, (3, 3), decoder=decoder, resize=resize)
            made = [
                first_batches(make_loader(split, preprocessing, tier=tier, batch_size=3).batches(0), 4)
                for tier in TIERS
            ]
            assert same_batches(made[0], made[1])
            assert same_batches(made[0], made[2])


@pytest.mark.parametrize("tier", TIERS)
def test_permute_both_reaches_the_batches(tier, roots):
    split = layouts.find_split(roots / "unpaired", "unpaired")
    preprocessing = Preprocessing(18, 18, False, (3, 3))
    sampler = Sampler(split, 0, "permute-both")
    for n, batch in enumerate(
        first_batches(make_loader(split, preprocessing, tier=tier, sampling="permute-both").batches(0), 10)
    ):
        assert torch.equal(
            batch["b"][0], images.normalize(load_image(split.b[sampler(n)[1]], preprocessing, 1), torch.float32)
        )


# Files that are bad, or go away.


PREPROCESSING = Preprocessing(20, 16, True, (3, 3))


@pytest.mark.parametrize("tier", TIERS)
def test_strict_stops_at_an_unreadable_file_and_names_it(tier, tmp_path):
    split = write_numbered_images(tmp_path)
    bad = tmp_path / "trainA" / "3.png"
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(DataError) as caught:
        first_batches(make_loader(split, PREPROCESSING, tier=tier, strict=True).batches(0), 6)
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tier", TIERS)
def test_strict_says_one_line_whatever_the_name(tier, tmp_path):
    split = write_numbered_images(tmp_path)
    bad = tmp_path / "trainA" / "0\n.png"
    bad.write_text("no image")
    with pytest.raises(DataError) as caught:
        first_batches(
            make_loader(layouts.find_split(tmp_path, "unpaired"), PREPROCESSING, tier=tier, strict=True).batches(0), 7
        )
    assert "\n" not in str(caught.value)
    assert len(split.a) == 6


def test_a_folder_without_a_readable_file_is_said_in_one_line_whatever_its_name(tmp_path):
    root = tmp_path / "two\nlines"
    split = write_numbered_images(root)
    for path in (root / "trainA").iterdir():
        path.write_text("no image")
    for tier in TIERS:
        with pytest.raises(DataError) as caught:
            make_loader(split, PREPROCESSING, tier=tier)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tier", TIERS)
def test_skipped_files_are_counted_once(tier, tmp_path):
    split = write_numbered_images(tmp_path)
    for name in ("trainA/1.png", "trainA/4.png", "trainB/0.png"):
        (tmp_path / name).write_text("no image")
    loader = make_loader(split, PREPROCESSING, tier=tier)
    first_batches(loader.batches(0), 60)
    assert loader.skipped == 3
