from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chi2_contingency, chisquare

from translate import images, keyed_random
from translate.data import crop_flip, layouts
from translate.data.in_memory import readable_substitutes
from translate.data.loader import Loader, LoaderOptions, fixed_batch
from translate.data.preprocessing import Preprocessing, load_image
from translate.data.sampler import Sampler
from translate.data.split import ImageRef, Split
from translate.errors import DataError
from translate.runtime import memory

CPU = torch.device("cpu")
TIERS = ["resident", "ram", "stream"]


def loader(
    split, *, load=20, crop=16, flip=True, channels=(3, 3), batch_size=3, said=None, recipe=None, tier="resident",
    workers=0, seed=0, dtype=torch.float32, rank=0, world_size=1, **options,
):  # fmt: skip
    say = (said if said is not None else []).append
    recipe = Preprocessing(load, crop, flip, channels, **(recipe or {}))
    options = LoaderOptions(
        batch_size=batch_size, seed=seed, rank=rank, world_size=world_size, tier=tier, workers=workers, **options
    )
    return Loader(split, recipe, options, device=CPU, dtype=dtype, say=say)


def take(loader, count, start=0):
    """Images a and b of the first `count` batches, one after another."""
    batches = [{name: x.clone() for name, x in batch.items()} for batch in islice(loader.batches(start), count)]
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def decode(ref, channels, size):
    return load_image(ref, Preprocessing(size, size, False, (channels, channels)), 0)


def equal(x, y):
    return x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)


def some(a, b, paired=False):
    """A split of so many images that are never opened."""
    return Split((ImageRef(None),) * a, (ImageRef(None),) * b, paired)


@pytest.fixture
def unpaired(unpaired_root):
    return layouts.find_split(unpaired_root, "unpaired")


@pytest.fixture
def paired(paired_root):
    return layouts.find_split(paired_root, "paired")


@pytest.fixture(params=["unpaired", "paired"])
def split(request):
    return request.getfixturevalue(request.param)


# The order.


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_an_epoch_has_every_image_of_a_once(epoch, paired):
    order = Sampler(some(9, 9 if paired else 4, paired), seed=0)
    assert sorted(order(n)[0] for n in range(9 * epoch, 9 * epoch + 9)) == list(range(9))


def test_a_smaller_domain_a_goes_round_within_the_epoch():
    order = Sampler(some(3, 8), seed=0)
    counts = np.bincount([order(n)[0] for n in range(8, 16)])
    assert sorted(counts) == [2, 3, 3]


def test_partners_stay_together():
    order = Sampler(some(6, 6, paired=True), seed=0)
    assert all(a == b for a, b in map(order, range(30)))


def test_epochs_and_seeds_have_their_own_order():
    orders = {
        tuple(Sampler(some(9, 9), seed)(n)[0] for n in range(9 * e, 9 * e + 9)) for seed in (0, 1) for e in (0, 1)
    }
    assert len(orders) == 4


def test_unpaired_b_is_uniform_and_says_nothing_of_a():
    order = Sampler(some(3, 4), seed=0)
    table = np.zeros((3, 4))
    for n in range(4 * 600):
        table[order(n)] += 1
    assert chisquare(table.sum(0)).pvalue > 1e-3
    assert chi2_contingency(table).pvalue > 1e-3


def test_the_order_of_asking_does_not_matter():
    forwards, backwards = Sampler(some(5, 7), seed=3), Sampler(some(5, 7), seed=3)
    assert [forwards(n) for n in range(40)] == [backwards(n) for n in reversed(range(40))][::-1]


def test_without_b_the_order_is_that_of_a():
    order = Sampler(some(5, 0), seed=0)
    assert sorted(order(n)[0] for n in range(5)) == list(range(5))


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
    order = Sampler(unpaired, seed=0)
    for n in range(15):
        for name, refs, i in zip("ab", (unpaired.a, unpaired.b), order(n), strict=True):
            pixels = np.asarray(Image.open(refs[i].path).resize((24, 24), Image.Resampling.BICUBIC))
            assert torch.equal(got[name][n], images.to_tensor(pixels))


def test_tiers_give_the_same_bits(split):
    resident, ram, streamed = (take(loader(split, tier=tier), 5, start=2) for tier in TIERS)
    assert equal(resident, ram)
    assert equal(resident, streamed)


@pytest.mark.parametrize("tier", TIERS)
def test_a_start_in_the_middle_goes_on_as_the_run_would(split, tier):
    whole = take(loader(split, tier=tier), 6)
    rest = take(loader(split, tier=tier), 3, start=9)
    assert equal(rest, {name: x[9:] for name, x in whole.items()})


@pytest.mark.parametrize("tier", TIERS)
def test_an_image_does_not_depend_on_its_batch(split, tier):
    assert equal(take(loader(split, batch_size=4, tier=tier), 3), take(loader(split, batch_size=1, tier=tier), 12))


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
    order = Sampler(split, seed=0)
    for n in range(12):
        a, b = order(n)
        assert torch.equal(batch["a"][n], images.normalize(decode(split.a[a], 3, 16), torch.float32))
        assert torch.equal(batch["b"][n], images.normalize(decode(split.b[b], 3, 16), torch.float32))


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


@pytest.mark.parametrize(
    ("bad", "used"),
    [((), [0, 1, 2, 3, 4]), ((1, 2, 4), [0, 3, 3, 3, 0]), ((0,), [1, 1, 2, 3, 4]), ((0, 1, 2, 4), [3] * 5)],
)
def test_the_next_readable_image_takes_the_place(bad, used):
    assert readable_substitutes([i not in bad for i in range(5)]) == used


@pytest.mark.parametrize("tier", TIERS)
def test_a_bad_file_is_replaced_by_the_next_good_one_and_said_once(tier, tmp_path):
    split = bad_files(tmp_path, {1, 2, 4}, {0}, "unpaired")
    said = []
    batch = take(loader(split, tier=tier, said=said), 20)
    order = Sampler(split, seed=0)
    drawn = [order(n) for n in range(60)]
    assert grey_of(batch["a"]) == [[0, 3, 3, 3, 0][a] for a, _ in drawn]
    assert grey_of(batch["b"]) == [[1, 1, 2, 3, 4][b] for _, b in drawn]
    skipped = sorted(line for line in said if line.startswith("skipped"))
    bad = [tmp_path / "trainA" / f"{i}.png" for i in (1, 2, 4)] + [tmp_path / "trainB" / "0.png"]
    assert [line.split(";")[0] for line in skipped] == [f"skipped {str(path)!r}: not an image" for path in bad]


@pytest.mark.parametrize("tier", TIERS)
def test_a_pair_with_a_bad_file_is_replaced_whole(tier, tmp_path):
    split = bad_files(tmp_path, {1}, {2}, "paired")
    batch = take(loader(split, tier=tier), 10)
    order = Sampler(split, seed=0)
    expected = [[0, 3, 3, 3, 4][order(n)[0]] for n in range(30)]
    assert grey_of(batch["a"]) == grey_of(batch["b"]) == expected


@pytest.mark.parametrize("layout", ["paired", "unpaired"])
@pytest.mark.parametrize("domain", ["trainA", "trainB"])
@pytest.mark.parametrize("tier", TIERS)
def test_a_domain_without_a_good_file_is_a_data_error(tier, domain, layout, tmp_path):
    split = bad_files(tmp_path, *((range(5), ()) if domain == "trainA" else ((), range(5))), layout)
    with pytest.raises(DataError) as caught:
        loader(split, tier=tier)
    assert caught.value.exit_code == 3
    assert "none of its 5 images" in str(caught.value)
    if layout == "unpaired":
        assert str(tmp_path / domain) in str(caught.value)


@pytest.mark.parametrize("tier", TIERS)
def test_pairs_of_which_none_is_whole_are_a_data_error(tier, tmp_path):
    """Each domain has good files, but no pair has two: there is nothing to go on to."""
    split = bad_files(tmp_path, {0, 1}, {2, 3, 4}, "paired")
    with pytest.raises(DataError):
        loader(split, tier=tier)


def test_workers_change_nothing(tmp_path):
    """The one test that starts worker processes, which takes some seconds."""
    split = bad_files(tmp_path, {1}, {2}, "unpaired")
    said = []
    expected = take(loader(split), 6)
    assert equal(take(loader(split, tier="stream", workers=2, said=said), 6), expected)
    assert sorted(line.split("/")[-2] for line in said if line.startswith("skipped")) == ["trainA", "trainB"]


# One file.


@pytest.mark.parametrize(("width", "size"), [(8, 4), (9, 4), (10, 5), (2, 3), (3, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_halves_meet_at_half_the_width(channels, width, size, tmp_path):
    """Rounded down, so the right one takes the column that is left over, as in the reference."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, width), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    for half, columns in (("left", slice(0, width // 2)), ("right", slice(width // 2, width))):
        expected = Image.fromarray(pixels[:, columns]).resize((size, size), Image.Resampling.BICUBIC)
        decoded = decode(ImageRef(tmp_path / "x.png", half), channels, size)
        assert torch.equal(decoded, torch.from_numpy(np.array(expected)).expand(channels, -1, -1))


@pytest.mark.parametrize("half", ["left", "right"])
def test_one_pixel_has_no_halves(half, tmp_path):
    Image.new("RGB", (1, 5)).save(tmp_path / "x.png")
    reason = decode(ImageRef(tmp_path / "x.png", half), 3, 4)
    assert isinstance(reason, images.ImageError)
    assert "too narrow" in str(reason)


def test_images_of_any_shape_become_squares(tmp_path):
    Image.new("RGB", (3, 50), (9, 8, 7)).save(tmp_path / "x.png")
    square = decode(ImageRef(tmp_path / "x.png"), 3, 6)
    assert torch.equal(square, torch.tensor([9, 8, 7], dtype=torch.uint8)[:, None, None].expand(3, 6, 6))


# Random crops. The stored image tells its coordinates: red is the row, green the column.

ROWS, COLUMNS = torch.meshgrid(torch.arange(7), torch.arange(9), indexing="ij")
COORDINATES = torch.stack([ROWS, COLUMNS])[None].to(torch.uint8)


def by_slices(stored, cuts, index, size):
    """The three ways to cut give the same."""
    out = torch.empty(len(index), stored.shape[1], size, size, dtype=torch.float64)
    where = zip(cuts.top.tolist(), cuts.left.tolist(), cuts.mirrored.tolist(), strict=True)
    return images.quantize(crop_flip.crop_into([stored[i] for i in index.tolist()], list(where), out, None))


def by_gather(stored, cuts, index, size):
    return crop_flip.gather_crops(stored, index, cuts, size, size)


def by_flat_gather(stored, cuts, index, size):
    """With another image before, between and after those that are wanted."""
    _, channels, height, width = stored.shape
    parts = [part for image in stored for part in (torch.full((5,), 99, dtype=stored.dtype), image.reshape(-1))]
    flat = torch.cat([*parts, torch.full((3,), 99, dtype=stored.dtype)])
    offsets = 5 + index * (5 + channels * height * width)
    heights, widths = torch.full_like(index, height), torch.full_like(index, width)
    images = crop_flip.FlatImages(flat, channels, offsets, heights, widths)
    return crop_flip.gather_flat_crops(images, cuts, size, size)


CUTTERS = [by_slices, by_gather, by_flat_gather]


def drawn(stored, key, name, size, flip):
    heights, widths = (torch.full((len(key),), n) for n in stored.shape[2:])
    return crop_flip.draw_cuts(key, name, heights, widths, size, flip)


def cuts(cutter, count, size, flip, name="a"):
    """Top, left and whether it is flipped of `count` crops."""
    key, index = keyed_random.image_keys(0, torch.arange(count)), torch.zeros(count, dtype=torch.int64)
    crops = cutter(COORDINATES, drawn(COORDINATES, key, name, size, flip), index, size).long()
    top, first, last = crops[:, 0, 0, 0], crops[:, 1, 0, 0], crops[:, 1, 0, -1]
    left = torch.minimum(first, last)
    along = torch.arange(size)
    columns = torch.where((first > last)[:, None], left[:, None] + along.flip(0), left[:, None] + along)
    assert torch.equal(crops[:, 0], (top[:, None] + along)[:, :, None].expand(-1, -1, size))
    assert torch.equal(crops[:, 1], columns[:, None, :].expand(-1, size, -1))
    return top, left, first > last


@pytest.mark.parametrize("cutter", CUTTERS)
def test_offsets_and_flips_are_uniform_and_independent(cutter):
    """Of 7×9 pixels, crops of 4×4 start in 4 rows and 6 columns, and half of them are flipped."""
    top, left, flipped = cuts(cutter, 9600, 4, flip=True)
    counts = torch.bincount((top * 6 + left) * 2 + flipped, minlength=48)
    assert len(counts) == 48
    assert chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("cutter", CUTTERS)
def test_nothing_is_flipped_where_flips_are_off(cutter):
    top, left, flipped = cuts(cutter, 300, 4, flip=False)
    assert not flipped.any()
    assert torch.equal(top, cuts(cutter, 300, 4, flip=True)[0])
    assert torch.equal(left, cuts(cutter, 300, 4, flip=True)[1])


def test_another_name_draws_apart():
    assert not torch.equal(cuts(by_gather, 300, 4, True, "a")[1], cuts(by_gather, 300, 4, True, "b")[1])


@pytest.mark.parametrize("cutter", CUTTERS)
def test_a_crop_of_all_rows_starts_at_the_first(cutter):
    top, left, _ = cuts(cutter, 200, 7, flip=True)
    assert (top == 0).all()
    assert set(left.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16, torch.float32])
@pytest.mark.parametrize("cutter", CUTTERS[1:])
def test_crops_are_of_the_images_that_the_index_names(cutter, depth):
    stored = torch.arange(4).to(depth)[:, None, None, None].expand(4, 1, 8, 8).contiguous()
    index = torch.tensor([3, 0, 2, 2])
    crops = cutter(stored, drawn(stored, torch.arange(4), "a", 4, True), index, 4)
    assert torch.equal(crops, stored[index][:, :, :4, :4])


@pytest.mark.parametrize("values", [None, (0, 4095), (-10, 300)])
@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16, torch.float32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slices_normalise_as_a_gather_does_bit_for_bit(depth, values, dtype):
    stored = (torch.rand(1, 2, 6, 6) * 60000).to(depth)
    out = torch.empty(1, 2, 6, 6, dtype=dtype)
    crop_flip.crop_into([stored[0]], [(0, 0, False)], out, values)
    assert torch.equal(out, images.normalize(stored, dtype, values))


# The batch of the sample grids.


def test_fixed_batch_is_evenly_spread_over_each_domain(unpaired):
    recipe = Preprocessing(20, 16, True, (3, 1))
    batch = fixed_batch(unpaired, recipe, 3, CPU, torch.float32)
    for name, refs, channels, places in (("a", unpaired.a, 3, (0, 1, 3)), ("b", unpaired.b, 1, (0, 2, 4))):
        whole = torch.stack([decode(refs[i], channels, 20) for i in places])
        assert torch.equal(batch[name], images.normalize(whole[:, :, 2:18, 2:18], torch.float32))
    assert equal(batch, fixed_batch(unpaired, recipe, 3, CPU, torch.float32))


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


def test_fixed_batch_shows_a_bad_file_as_white(tmp_path):
    split = bad_files(tmp_path, {1}, (), "paired")
    batch = fixed_batch(split, Preprocessing(16, 16, True, (3, 3)), 5, CPU, torch.float32)
    assert (batch["a"][1] == 1).all()
    assert grey_of(batch["b"]) == [0, 1, 2, 3, 4]
