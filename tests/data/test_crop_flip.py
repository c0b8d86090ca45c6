"""Random crops and flips: three ways to crop give the same, uniform draws."""

import pytest
import torch
from scipy.stats import chisquare

from translate import images, keyed_random
from translate.data import crop_flip

from .helpers import draw_square_cuts

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


def cuts(cutter, count, size, flip, name="a"):
    """Top, left and whether it is flipped of `count` crops."""
    key, index = keyed_random.image_keys(0, torch.arange(count)), torch.zeros(count, dtype=torch.int64)
    crops = cutter(COORDINATES, draw_square_cuts(COORDINATES, key, name, size, flip), index, size).long()
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
    crops = cutter(stored, draw_square_cuts(stored, torch.arange(4), "a", 4, True), index, 4)
    assert torch.equal(crops, stored[index][:, :, :4, :4])


@pytest.mark.parametrize("values", [None, (0, 4095), (-10, 300)])
@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16, torch.float32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slices_normalise_as_a_gather_does_bit_for_bit(depth, values, dtype):
    stored = (torch.rand(1, 2, 6, 6) * 60000).to(depth)
    out = torch.empty(1, 2, 6, 6, dtype=dtype)
    crop_flip.crop_into([stored[0]], [(0, 0, False)], out, values)
    assert torch.equal(out, images.normalize(stored, dtype, values))
