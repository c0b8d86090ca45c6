"""Tests of grids of images and of PNG files of them."""

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images

from .arrays import BYTES, as_rgb, integers


def test_write_png_writes_the_image(tmp_path):
    images.write_png(tmp_path / "deep" / "x.png", Image.fromarray(BYTES))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "deep" / "x.png")), BYTES)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x.png"]


@pytest.mark.parametrize(("side", "factor"), [(40, 3), (128, 1), (300, 1), (16, 8)])
def test_grid_is_as_large_as_its_images_and_shows_them(side, factor):
    """128 / 40 rounds to 3; gap 4 around each image, and above them 1.7 times the size of the names: a fifth of the width."""
    x = torch.rand(3, 3, side, side) * 2 - 1
    greys = [integers((side, side, 1), seed=i).astype(np.uint8) for i in range(2)]
    sheet = images.make_comparison_grid({"input": x, "output": greys})
    shown = side * factor
    names = round(1.7 * (shown // 5))
    assert sheet.size == (2 * (shown + 4) + 4, 2 * (shown + 4) + names)  # as many rows as the shorter column has
    for row in range(2):
        top = names + row * (shown + 4)
        cells = [sheet.crop((left, top, left + shown, top + shown)) for left in (4, 4 + shown + 4)]
        first, second = (np.asarray(cell)[::factor, ::factor] for cell in cells)
        assert np.array_equal(first, images.to_uint8_array(x[row]))
        assert np.array_equal(second, as_rgb(greys[row][:, :, 0]))


def test_grid_names_its_columns():
    one = np.full((128, 128, 3), 255, np.uint8)
    named, other, blank = (np.asarray(images.make_comparison_grid({name: [one]})) for name in ("input", "output", ""))
    assert (blank == 255).all()
    assert (named[:22] < 128).any()
    assert not np.array_equal(named, other)


def test_names_are_as_large_as_fits_their_column():
    """A long name is smaller; none is below 14 pixels."""
    heights = []
    for name in ("b", "fake b of the ema", "a name that is far too long for its column"):
        sheet = np.asarray(images.make_comparison_grid({name: [np.full((128, 128, 3), 255, np.uint8)]}))
        heights.append(sheet.shape[0] - 132)
    assert heights[0] == round(1.7 * 25)
    assert heights[0] > heights[1] > heights[2] == round(1.7 * 14)


def test_many_columns_stand_in_blocks_below_each_other():
    """Ten columns of one row: two blocks of five, each with its names above it."""
    columns = {f"{n}": [np.full((128, 128, 3), 20 * n, np.uint8)] for n in range(10)}
    sheet = images.make_comparison_grid(columns)
    caption = round(1.7 * 25)
    assert sheet.size == (5 * 132 + 4, 2 * (132 + caption))
    for number in range(10):
        left, top = 4 + number % 5 * 132, number // 5 * (132 + caption) + caption
        assert (np.asarray(sheet.crop((left, top, left + 128, top + 128))) == 20 * number).all()
