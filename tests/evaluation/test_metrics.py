"""Tests that every row of METRICS holds what the table says of it."""

import pytest
import torch

from translate.errors import DataError
from translate.evaluation.label_scorers import train_classifier, train_segmenter
from translate.evaluation.metrics import METRICS, NEEDS
from translate.evaluation.uncertainty import Estimate

from .photos import random_pixels

SIDE = 32
ON_SETS = [name for name, row in METRICS.items() if row.needs in ("features", "logits", "images", "images by place")]
EACH_IMAGE = [
    name
    for name, row in METRICS.items()
    if row.needs in ("pairs", "pairs, border", "inputs", "round trip", "samples", "translator")
]


def images(count, seed=0, side=SIDE):
    return random_pixels(count, 3, side, side, seed=seed)


def call(name, count=12, order=slice(None)):
    """Compute a row for `count` images, in this order."""
    row = METRICS[name]
    side = 176 if name == "ms_ssim" else SIDE
    x, y = images(count, side=side)[order], images(count, seed=1, side=side)[order]
    features = [side.flatten(1)[:, :16].double() for side in (x, y)]
    match row.needs:
        case "pairs" | "inputs":
            return {name: row.function(x, y)}
        case "pairs, border":
            return {name: row.function(x, y, 2)}
        case "features":
            return row.function(*features, seed=0)
        case "logits":
            return row.function(features[0], seed=0)
        case "images":
            return row.function(x, y, seed=0)
        case "images by place":
            return row.function(x, y, False, seed=0, splits=2, steps=2, held_out_patches=50)
        case "round trip":
            return row.function(x, lambda x: 0.9 * x, lambda x: 0.9 * x)
        case "samples":
            return {name: row.function(torch.stack([*features, features[0].flip(0)], 1))}
        case "translator":
            return row.function(x, lambda x: x.sin(), seed=0)
        case "attacks":
            return row.function(x, lambda x: x.sin(), seed=0).values
        case "classifier":
            return {name: row.function(features[0], torch.arange(count) % 2)}
        case "labels":
            train, labels = {
                "segmentation": (train_segmenter, torch.arange(count * SIDE**2).view(count, SIDE, SIDE) % 2),
                "classification": (train_classifier, torch.arange(count) % 2),
            }[name]
            return row.function(train(x, labels, 2, steps=1), x, labels, seed=0)
    raise AssertionError(row.needs)


@pytest.mark.parametrize("name", METRICS)
def test_rows_are_complete(name):
    row = METRICS[name]
    assert row.needs in NEEDS
    assert row.title
    assert row.source
    assert row.min_images >= 1
    assert all(key == key.lower() for key in (name, *row.keys))


def test_no_two_rows_share_a_key():
    keys = [key for row in METRICS.values() for key in row.keys]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("name", [name for name in METRICS if name != "lpips"])
def test_values_have_the_keys_of_the_table(name):
    estimates = call(name, 2 if name == "ms_ssim" else 12)
    assert set(METRICS[name].keys) <= set(estimates)
    if name != "swd":  # which adds its levels
        assert set(METRICS[name].keys) == set(estimates)
    for estimate in estimates.values():
        if isinstance(estimate, Estimate):
            assert estimate.error is None or estimate.error >= 0
        else:
            assert estimate.shape == (2 if name == "ms_ssim" else 12,)
            assert estimate.dtype == torch.float64


@pytest.mark.parametrize("name", ON_SETS)
def test_the_smallest_number_of_images_is_that_of_the_table(name):
    minimum = METRICS[name].min_images
    call(name, minimum)
    with pytest.raises(DataError, match=f"{name}: {minimum - 1} (real )?images; it needs at least {minimum}"):
        call(name, minimum - 1)


@pytest.mark.parametrize("name", ON_SETS)
def test_the_order_of_a_set_changes_nothing(name):
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    assert call(name, order=order) == call(name)


@pytest.mark.parametrize("name", EACH_IMAGE)
def test_the_order_of_a_batch_is_that_of_its_values(name):
    count = 2 if name == "ms_ssim" else 5
    backwards = call(name, count, order=list(reversed(range(count))))
    for key, values in call(name, count).items():
        torch.testing.assert_close(backwards[key].flip(0), values, rtol=1e-6, atol=1e-9)
