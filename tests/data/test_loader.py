"""Batches of the loader: what they hold, whatever the tier, the start and the number of processes."""

from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images
from translate.data import layouts
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing
from translate.data.sampler import Sampler
from translate.data.split import Split
from translate.errors import DataError
from translate.runtime import memory

from .helpers import CPU, TIERS, find_split_of_squares, load_square, numbers_of_squares, same_batch


def loader(
    split, *, load=20, crop=16, flip=True, channels=(3, 3), batch_size=3, said=None, preprocessing=None, tier="resident",
    workers=0, seed=0, dtype=torch.float32, rank=0, world_size=1, **options,
):  # fmt: skip
    say = (said if said is not None else []).append
    preprocessing = Preprocessing(load, crop, flip, channels, **(preprocessing or {}))
    options = LoaderOptions(
        batch_size=batch_size, seed=seed, rank=rank, world_size=world_size, tier=tier, workers=workers, **options
    )
    return Loader(split, preprocessing, options, device=CPU, dtype=dtype, say=say)


def take(loader, count, start=0):
    """Images a and b of the first `count` batches, one after another."""
    batches = [{name: x.clone() for name, x in batch.items()} for batch in islice(loader.batches(start), count)]
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


@pytest.fixture(params=["unpaired", "paired"])
def split(request):
    return request.getfixturevalue(request.param)


# Batches.


@pytest.mark.parametrize("tier", TIERS)
def test_batches_are_full_and_in_range(split, tier):
    """5 and 7 images, or 6, in batches of 4: the third batch runs over the edge of the epoch."""
    for batch in islice(loader(split, batch_size=4, tier=tier).batches(0), 4):
        for x in (batch["a"], batch["b"]):
            assert x.shape == (4, 3, 16, 16)
            assert x.dtype == torch.float32
            assert x.min() >= -1
            assert x.max() <= 1


def test_images_are_those_of_the_files_in_the_order(unpaired):
    got = take(loader(unpaired, load=24, crop=24, flip=False), 5)
    sampler = Sampler(unpaired, seed=0)
    for n in range(15):
        for name, refs, i in zip("ab", (unpaired.a, unpaired.b), sampler(n), strict=True):
            pixels = np.asarray(Image.open(refs[i].path).resize((24, 24), Image.Resampling.BICUBIC))
            assert torch.equal(got[name][n], images.to_tensor(pixels))


def test_tiers_give_the_same_bits(split):
    resident, ram, streamed = (take(loader(split, tier=tier), 5, start=2) for tier in TIERS)
    assert same_batch(resident, ram)
    assert same_batch(resident, streamed)


@pytest.mark.parametrize("tier", TIERS)
def test_a_start_in_the_middle_goes_on_as_the_run_would(split, tier):
    whole = take(loader(split, tier=tier), 6)
    rest = take(loader(split, tier=tier), 3, start=9)
    assert same_batch(rest, {name: x[9:] for name, x in whole.items()})


@pytest.mark.parametrize("tier", TIERS)
def test_an_image_does_not_depend_on_its_batch(split, tier):
    assert same_batch(take(loader(split, batch_size=4, tier=tier), 3), take(loader(split, batch_size=1, tier=tier), 12))


@pytest.mark.parametrize("tier", TIERS)
def test_ranks_together_see_what_one_sees(split, tier):
    whole = take(loader(split, batch_size=6, tier=tier), 3)
    world_size = [take(loader(split, batch_size=2, tier=tier, rank=rank, world_size=3), 3) for rank in range(3)]
    for name, x in whole.items():
        steps = [part for step in range(3) for part in (rank[name][2 * step : 2 * step + 2] for rank in world_size)]
        assert torch.equal(torch.cat(steps), x)


def test_seeds_cut_and_flip_apart(unpaired):
    one = Split(unpaired.a[:1], unpaired.b[:1], paired=False)
    first, other = (take(loader(one, load=40, seed=seed), 10) for seed in (0, 1))
    same = [torch.equal(x, y) for name in "ab" for x, y in zip(first[name], other[name], strict=True)]
    assert sum(same) < 3  # of 1250 ways to cut and flip


def test_batches_of_float64(unpaired):
    single, double = (take(loader(unpaired, dtype=dtype), 2) for dtype in (torch.float32, torch.float64))
    assert double["a"].dtype == torch.float64
    torch.testing.assert_close(double["a"].float(), single["a"])


@pytest.mark.parametrize("channels", [(1, 3), (3, 1), (1, 1)])
@pytest.mark.parametrize("tier", TIERS)
def test_each_domain_has_its_channels(split, tier, channels):
    batch = take(loader(split, channels=channels, tier=tier, load=40, crop=40, flip=False), 1)
    colour = take(loader(split, load=40, crop=40, flip=False), 1)
    luma = torch.tensor([0.299, 0.587, 0.114])
    for name, count in zip("ab", channels, strict=True):
        assert batch[name].shape == (3, count, 40, 40)
        expected = colour[name] if count == 3 else torch.einsum("nchw,c->nhw", colour[name], luma)[:, None]
        torch.testing.assert_close(batch[name], expected, rtol=0, atol=1.01 / 127.5)  # grey is rounded


@pytest.mark.parametrize("tier", TIERS)
def test_a_folder_of_images_gives_a_alone(unpaired_root, tier):
    split = layouts.find_split(unpaired_root / "trainA", "images")
    assert {name: x.shape for name, x in take(loader(split, tier=tier), 2).items()} == {"a": (6, 3, 16, 16)}


@pytest.mark.parametrize("direction", ["a2b", "b2a"])
@pytest.mark.parametrize("tier", TIERS)
def test_partners_are_cut_and_flipped_alike(paired_root, tier, direction):
    """B is A inverted in the files, and nothing is resampled: so it must be in every batch."""
    split = layouts.find_split(paired_root, "paired", direction=direction)
    batch = take(loader(split, load=40, crop=16, tier=tier), 6)
    torch.testing.assert_close(batch["b"], -batch["a"], rtol=0, atol=1e-6)
    assert batch["a"].std() > 0.1


def test_unpaired_images_are_cut_and_flipped_apart(unpaired):
    twice = Split(unpaired.a[:1], unpaired.a[:1], paired=False)
    batch = take(loader(twice, load=40), 10)
    same = [torch.equal(a, b) for a, b in zip(batch["a"], batch["b"], strict=True)]
    assert sum(same) < 3  # of 1250 ways to cut and flip


@pytest.mark.parametrize("tier", TIERS)
def test_a_crop_as_large_as_the_image_is_the_image(split, tier):
    batch = take(loader(split, load=16, crop=16, flip=False, tier=tier), 4)
    sampler = Sampler(split, seed=0)
    for n in range(12):
        a, b = sampler(n)
        assert torch.equal(batch["a"][n], images.normalize(load_square(split.a[a], 3, 16), torch.float32))
        assert torch.equal(batch["b"][n], images.normalize(load_square(split.b[b], 3, 16), torch.float32))


def test_auto_keeps_images_resident_while_they_take_half_of_the_free_memory(unpaired, monkeypatch):
    needed = (5 + 7) * 3 * 20 * 20
    for free, tier in ((2 * needed, "resident"), (2 * needed - 1, "stream")):
        monkeypatch.setattr(memory, "free_memory", lambda device, free=free: free)
        said = []
        chosen = loader(unpaired, tier="auto", said=said)
        assert chosen.bytes_needed == needed
        assert chosen.tier == tier
        assert "5 images of domain a and 7 images of domain b" in said[0]


# Files that cannot be read. Image i is a square of grey 20 i.


@pytest.mark.parametrize("tier", TIERS)
def test_an_unreadable_file_is_replaced_by_the_next_readable_one_and_said_once(tier, tmp_path):
    split = find_split_of_squares(tmp_path, {1, 2, 4}, {0}, "unpaired")
    said = []
    batch = take(loader(split, tier=tier, said=said), 20)
    sampler = Sampler(split, seed=0)
    drawn = [sampler(n) for n in range(60)]
    assert numbers_of_squares(batch["a"]) == [[0, 3, 3, 3, 0][a] for a, _ in drawn]
    assert numbers_of_squares(batch["b"]) == [[1, 1, 2, 3, 4][b] for _, b in drawn]
    skipped = sorted(line for line in said if line.startswith("skipped"))
    bad = [tmp_path / "trainA" / f"{i}.png" for i in (1, 2, 4)] + [tmp_path / "trainB" / "0.png"]
    assert [line.split(";")[0] for line in skipped] == [f"skipped {str(path)!r}: not an image" for path in bad]


@pytest.mark.parametrize("tier", TIERS)
def test_a_pair_with_an_unreadable_file_is_replaced_whole(tier, tmp_path):
    split = find_split_of_squares(tmp_path, {1}, {2}, "paired")
    batch = take(loader(split, tier=tier), 10)
    sampler = Sampler(split, seed=0)
    expected = [[0, 3, 3, 3, 4][sampler(n)[0]] for n in range(30)]
    assert numbers_of_squares(batch["a"]) == numbers_of_squares(batch["b"]) == expected


@pytest.mark.parametrize("layout", ["paired", "unpaired"])
@pytest.mark.parametrize("domain", ["trainA", "trainB"])
@pytest.mark.parametrize("tier", TIERS)
def test_a_domain_without_a_readable_file_is_a_data_error(tier, domain, layout, tmp_path):
    split = find_split_of_squares(tmp_path, *((range(5), ()) if domain == "trainA" else ((), range(5))), layout)
    with pytest.raises(DataError) as caught:
        loader(split, tier=tier)
    assert caught.value.exit_code == 3
    assert "none of its 5 images" in str(caught.value)
    if layout == "unpaired":
        assert str(tmp_path / domain) in str(caught.value)


@pytest.mark.parametrize("tier", TIERS)
def test_pairs_of_which_none_is_whole_are_a_data_error(tier, tmp_path):
    """Each domain has good files, but no pair has two: there is nothing to go on to."""
    split = find_split_of_squares(tmp_path, {0, 1}, {2, 3, 4}, "paired")
    with pytest.raises(DataError):
        loader(split, tier=tier)


@pytest.mark.slow
def test_workers_change_nothing(tmp_path):
    """The one test that starts worker processes, which takes some seconds."""
    split = find_split_of_squares(tmp_path, {1}, {2}, "unpaired")
    said = []
    expected = take(loader(split), 6)
    assert same_batch(take(loader(split, tier="stream", workers=2, said=said), 6), expected)
    assert sorted(line.split("/")[-2] for line in said if line.startswith("skipped")) == ["trainA", "trainB"]
