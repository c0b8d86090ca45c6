"""Tests of `translate.evaluation.two_sample`."""

import pytest
import torch
from torch import nn

from translate.errors import DataError
from translate.evaluation import two_sample
from translate.evaluation.two_sample import classifier_two_sample

from .photos import random_pixels, smooth_images

QUICK = {"splits": 2, "steps": 60, "batch": 32, "held_out_patches": 200, "widths": (16, 32)}


def c2st(real, fake, is_paired=False, **options):
    return classifier_two_sample(real, fake, is_paired, **{**QUICK, **options})["c2st"]


class Brightness(nn.Module):
    """Takes bright patches for real ones."""

    def forward(self, x):
        return x.mean(dim=(1, 2, 3))


def shades(*values, side=8):
    return torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, side, side)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_halves_of_one_set_cannot_be_told_apart(seed):
    """At worst all patches of an image are judged alike: the deviation is 0.5 / √100 for 100 held-out ones; here four of it."""
    images = smooth_images(200, 16, 4, seed=seed)
    assert abs(c2st(images[:100], images[100:], seed=seed).value - 0.5) < 4 * 0.05


def test_plainly_different_sets_are_told_apart():
    found = c2st(smooth_images(16, 32, 4), random_pixels(20, 3, 32, 32))
    assert found.value > 0.9
    assert found.error is not None


def test_patterns_of_single_pixels_are_found():
    """Of 16 levels, on photos whose shades differ by a hundred."""
    images = smooth_images(64, 32, 4).int()
    pattern = 16 * (-1) ** (torch.arange(32)[:, None] + torch.arange(32))
    assert c2st(images[:32].byte(), (images[32:] + pattern).clamp(0, 255).byte(), steps=100).value > 0.9


@pytest.mark.parametrize("is_paired", [False, True])
def test_the_order_of_images_plays_no_part(is_paired):
    real, fake = random_pixels(12, 3, 16, 16), random_pixels(12, 3, 16, 16, seed=1)
    order, other = (torch.randperm(12, generator=torch.Generator().manual_seed(n)) for n in (3, 4))
    found = c2st(real, fake, is_paired, steps=2)
    assert c2st(real[order], fake[order if is_paired else other], is_paired, steps=2) == found


def test_both_sides_of_a_place_go_to_the_same_half():
    """Equal pairs in whole patches: each image is judged once as real and once as made, so that one of both is right."""
    images = random_pixels(10, 3, 8, 8)
    found = c2st(images, images.clone(), True, steps=5)
    assert (found.value, found.error) == (0.5, 0)


def test_no_network_judges_an_image_that_it_learned_from(monkeypatch):
    """Of 10 real and 13 made images, 5 and 6 train, and the other 5 and 7 test."""
    learned, judged = [], []
    monkeypatch.setattr(two_sample, "_train", lambda net, real, fake, *_: learned.append((real, fake)))
    monkeypatch.setattr(two_sample, "_accuracy", lambda net, real, fake, *_: judged.append((real, fake)) or 0.5)
    sets = random_pixels(10, 3, 8, 8), random_pixels(13, 3, 8, 8, seed=1)
    assert c2st(*sets, splits=3).value == 0.5
    for halves, counts in ((learned, (5, 6)), (judged, (5, 7))):
        assert [tuple(map(len, pair)) for pair in halves] == 3 * [counts]
    for known, others in zip(learned, judged, strict=True):
        for half, other, whole in zip(known, others, sets, strict=True):
            assert {x.numpy().tobytes() for x in (*half, *other)} == {x.numpy().tobytes() for x in whole}
    assert not torch.equal(learned[0][0], learned[1][0])


@pytest.mark.parametrize(
    ("real", "fake", "accuracy"),
    [((200, 250), (0, 10), 1.0), ((0, 10), (200, 250), 0.0), ((200, 250), (0, 10, 20, 200), 0.875)],
)
def test_accuracy_is_the_mean_of_the_shares_of_both_sets(real, fake, accuracy):
    """Of four translations one is bright: 3 / 4 of their patches are told rightly, and all of the real ones."""
    assert two_sample._accuracy(Brightness(), shades(*real), shades(*fake), 0, 40, (4, 4)) == accuracy


def test_patches_reach_from_corner_to_corner_and_no_farther():
    images = torch.arange(2 * 5 * 7, dtype=torch.uint8).view(2, 1, 5, 7)
    last = 1 - 2.0**-24
    patches = two_sample._cut(images, torch.tensor([[0, 0, 0], [last, last, last]]), (3, 2))
    expected = torch.stack([images[0, :, :3, :2], images[1, :, 2:, 5:]])
    assert torch.equal(((patches + 1) * 127.5).round().byte(), expected)


def test_images_smaller_than_a_patch_are_taken_whole():
    assert c2st(shades(*range(8), side=4), shades(*range(200, 208), side=4)).value > 0.9


def test_images_that_do_not_fit():
    with pytest.raises(DataError, match="c2st: 7 translated images; it needs at least 8"):
        c2st(random_pixels(8, 3, 8, 8), random_pixels(7, 3, 8, 8))
    with pytest.raises(DataError, match=r"c2st: images of different shapes, \(3, 8, 8\) and \(3, 8, 9\)"):
        c2st(random_pixels(8, 3, 8, 8), random_pixels(8, 3, 8, 9))
