"""Fixtures of the data tests: folders of images and their splits."""

import pytest

from translate.data import layouts

from ..helpers import write_smooth_image
from .helpers import SIZES


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """unpaired: A and B of many sizes. paired: twins of A's sizes and others. halves: side by side, odd widths too."""
    root = tmp_path_factory.mktemp("sizes")
    for i, (height, width) in enumerate(SIZES):
        write_smooth_image(root / "unpaired/trainA" / f"{i}.png", height, width, i)
        write_smooth_image(root / "paired/trainA" / f"{i}.png", height, width, i)
        write_smooth_image(root / "paired/trainB" / f"{i}.png", *SIZES[(i + 1) % len(SIZES)], 50 + i)
        write_smooth_image(root / "halves/train" / f"{i}.png", height, 2 * width + i % 2, i)
    for i, (height, width) in enumerate(SIZES[1:]):
        write_smooth_image(root / "unpaired/trainB" / f"{i}.png", width, height, 20 + i)
    return root


@pytest.fixture(params=["unpaired", "paired", "halves"])
def split(request, roots):
    """The split of each kind of folder in `roots`."""
    return layouts.find_split(roots / request.param, "unpaired" if request.param == "unpaired" else "paired")


@pytest.fixture
def unpaired(unpaired_root):
    return layouts.find_split(unpaired_root, "unpaired")


@pytest.fixture
def paired(paired_root):
    return layouts.find_split(paired_root, "paired")
