"""Samples that worker processes load."""

import numpy as np
import pytest
import torch
from PIL import Image

from translate.data import layouts, stream_dataset
from translate.data.preprocessing import Preprocessing
from translate.data.sampler import Sampler
from translate.data.stream_dataset import StreamDataset


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


@pytest.mark.parametrize("rule", ["none", "crop"])
def test_what_a_worker_hands_over_is_what_was_asked_for(rule, split):
    """Stacked where images are of one size, one by one where they are not."""
    images_of_run = dataset(split, Preprocessing(22, 18, True, (3, 3), rule), False)
    handed, skipped = stream_dataset._answer(images_of_run, list(range(9)))
    assert isinstance(handed, dict) == (rule == "crop")
    assert same(stream_dataset._unstacked(handed), [found for found, _ in images_of_run.load_batch(list(range(9)))])
    assert not skipped


def dataset(split, preprocessing, contents):
    return StreamDataset(split, preprocessing, Sampler(split, 0), keep_encoded=contents)
