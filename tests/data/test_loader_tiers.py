"""The three tiers give the same batches, by every preprocessing and decoder; unreadable files are reported once."""

from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images
from translate.data import layouts
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import RESIZERS, Preprocessing, load_image
from translate.data.sampler import Sampler
from translate.errors import DataError

CPU = torch.device("cpu")
TIERS = ["resident", "ram", "stream"]


def make(
    split,
    preprocessing,
    *,
    tier="resident",
    batch_size=1,
    seed=0,
    workers=0,
    said=None,
    dtype=torch.float32,
    device=CPU,
    **options,
):
    say = (said if said is not None else []).append
    options = LoaderOptions(batch_size=batch_size, seed=seed, tier=tier, workers=workers, **options)
    return Loader(split, preprocessing, options, device=device, dtype=dtype, say=say)


def take(batches, count):
    """The first batches; those of a tier with their numbers, those of a loader without."""
    taken = (batch[1] if isinstance(batch, tuple) else batch for batch in batches)
    return [{name: x.clone() for name, x in batch.items()} for batch in islice(taken, count)]


def same(first, second):
    return len(first) == len(second) and all(
        x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)
        for x, y in zip(first, second, strict=True)
    )


def photo(path, height, width, seed, *, like=None, **options):
    """A smooth image; `like` another of another size."""
    coarse = np.random.default_rng(seed if like is None else like).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path, **options)


SIZES = [(31, 50), (64, 33), (20, 20), (18, 41), (90, 27)]
"""Heights and widths, upright and across, some with a side below the load size."""


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """unpaired: A and B of many sizes. paired: twins of A's sizes and others. halves: side by side, odd widths too."""
    root = tmp_path_factory.mktemp("sizes")
    for i, (height, width) in enumerate(SIZES):
        photo(root / "unpaired/trainA" / f"{i}.png", height, width, i)
        photo(root / "paired/trainA" / f"{i}.png", height, width, i)
        photo(root / "paired/trainB" / f"{i}.png", *SIZES[(i + 1) % len(SIZES)], 50 + i)
        photo(root / "halves/train" / f"{i}.png", height, 2 * width + i % 2, i)
    for i, (height, width) in enumerate(SIZES[1:]):
        photo(root / "unpaired/trainB" / f"{i}.png", width, height, 20 + i)
    return root


@pytest.fixture(params=["unpaired", "paired", "halves"])
def split(request, roots):
    return layouts.find_split(roots / request.param, "unpaired" if request.param == "unpaired" else "paired")


# What the rules make of sizes.


def expected_size(rule, height, width, load_size, crop_size):
    """By the reference's own arithmetic."""
    if rule == "resize_and_crop":
        return load_size, load_size
    if rule == "scale_width_and_crop":
        return int(max(load_size * height / width, crop_size)), load_size
    if rule == "none":
        return int(round(height / 4) * 4), int(round(width / 4) * 4)
    return height, width


RULES = ["resize_and_crop", "crop", "scale_width_and_crop", "none"]


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
    for n, batch in enumerate(take(make(split, preprocessing).batches(0), 8)):
        for name, refs, i in zip("ab", (split.a, split.b), sampler(n), strict=True):
            with Image.open(refs[i].path) as file:
                height, width = expected_size(rule, file.height, file.width, 22, 18)
                loaded = np.asarray(file.resize((width, height), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
            got = images.quantize(batch[name][0]).numpy()
            if rule == "none":
                assert np.array_equal(got, loaded)
            else:
                assert got.shape == (3, 18, 18)
                assert got.tobytes() in crops(loaded, 18)


@pytest.mark.parametrize("rule", RULES)
def test_tiers_give_the_same_bits_by_every_rule(split, rule):
    preprocessing = Preprocessing(22, 18, True, (3, 3), rule)
    size = 1 if rule == "none" else 3
    resident, ram, streamed = (
        take(make(split, preprocessing, tier=tier, batch_size=size).batches(2), 7) for tier in TIERS
    )
    assert same(resident, ram)
    assert same(resident, streamed)


@pytest.mark.parametrize("tier", TIERS)
def test_images_of_other_sizes_in_one_batch_are_a_data_error(tier, roots):
    split = layouts.find_split(roots / "unpaired", "unpaired")
    loader = make(split, Preprocessing(22, 18, True, (3, 3), "none"), tier=tier, batch_size=2)
    with pytest.raises(DataError) as caught:
        take(loader.batches(0), 9)
    assert "--batch-size 1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tier", TIERS)
def test_both_sides_of_a_pair_share_their_geometry(tier, rule, tmp_path):
    """B is A, so batches must be equal whatever is drawn."""
    for i, (height, width) in enumerate(SIZES):
        for folder in ("trainA", "trainB"):
            photo(tmp_path / folder / f"{i}.png", height, width, i)
    split = layouts.find_split(tmp_path, "paired")
    for batch in take(make(split, Preprocessing(30, 18, True, (3, 3), rule), tier=tier).batches(0), 10):
        assert torch.equal(batch["a"], batch["b"])
        assert batch["a"].std() > 0.05


@pytest.mark.parametrize("tier", TIERS)
def test_twins_of_other_sizes_get_the_size_of_a(tier, roots):
    split = layouts.find_split(roots / "paired", "paired")
    sampler = Sampler(split, 0)
    loader = make(split, Preprocessing(22, 18, False, (3, 3), "none"), tier=tier)
    for n, batch in enumerate(take(loader.batches(0), 5)):
        height, width = expected_size("none", *SIZES[sampler(n)[0]], 22, 18)
        assert batch["a"].shape == batch["b"].shape == (1, 3, height, width)
        with Image.open(split.b[sampler(n)[1]].path) as file:
            b = np.asarray(file.resize((width, height), Image.Resampling.BICUBIC))
        assert np.array_equal(images.to_uint8_array(batch["b"][0]), b)


def test_tiers_give_the_same_bits_by_every_decoder_and_resizer(tmp_path):
    for i in range(4):
        photo(tmp_path / "trainA" / f"{i}.jpg", 40 + i, 50, i, quality=90)
        photo(tmp_path / "trainB" / f"{i}.png", 40, 50 - i, i)
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
            made = [take(make(split, preprocessing, tier=tier, batch_size=3).batches(0), 4) for tier in TIERS]
            assert same(made[0], made[1])
            assert same(made[0], made[2])


@pytest.mark.parametrize("tier", TIERS)
def test_permute_both_reaches_the_batches(tier, roots):
    split = layouts.find_split(roots / "unpaired", "unpaired")
    preprocessing = Preprocessing(18, 18, False, (3, 3))
    sampler = Sampler(split, 0, "permute-both")
    for n, batch in enumerate(take(make(split, preprocessing, tier=tier, sampling="permute-both").batches(0), 10)):
        assert torch.equal(
            batch["b"][0], images.normalize(load_image(split.b[sampler(n)[1]], preprocessing, 1), torch.float32)
        )


# Files that are bad, or go away.


def numbered(root, count=6, folders=("trainA", "trainB")):
    for folder in folders:
        for i in range(count):
            photo(root / folder / f"{i}.png", 24, 24, i)
    return layouts.find_split(root, "unpaired")


PREPROCESSING = Preprocessing(20, 16, True, (3, 3))


@pytest.mark.parametrize("tier", TIERS)
def test_strict_stops_at_an_unreadable_file_and_names_it(tier, tmp_path):
    split = numbered(tmp_path)
    bad = tmp_path / "trainA" / "3.png"
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(DataError) as caught:
        take(make(split, PREPROCESSING, tier=tier, strict=True).batches(0), 6)
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tier", TIERS)
def test_strict_says_one_line_whatever_the_name(tier, tmp_path):
    split = numbered(tmp_path)
    bad = tmp_path / "trainA" / "0\n.png"
    bad.write_text("no image")
    with pytest.raises(DataError) as caught:
        take(make(layouts.find_split(tmp_path, "unpaired"), PREPROCESSING, tier=tier, strict=True).batches(0), 7)
    assert "\n" not in str(caught.value)
    assert len(split.a) == 6


def test_a_folder_without_a_readable_file_is_said_in_one_line_whatever_its_name(tmp_path):
    root = tmp_path / "two\nlines"
    split = numbered(root)
    for path in (root / "trainA").iterdir():
        path.write_text("no image")
    for tier in TIERS:
        with pytest.raises(DataError) as caught:
            make(split, PREPROCESSING, tier=tier)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tier", TIERS)
def test_skipped_files_are_counted_once(tier, tmp_path):
    split = numbered(tmp_path)
    for name in ("trainA/1.png", "trainA/4.png", "trainB/0.png"):
        (tmp_path / name).write_text("no image")
    loader = make(split, PREPROCESSING, tier=tier)
    take(loader.batches(0), 60)
    assert loader.skipped == 3
