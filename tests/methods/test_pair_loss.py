"""Losses on known pairs among unpaired images."""

import pytest
import torch
from torch import nn

from translate import config
from translate.methods import METHODS
from translate.methods.content_loss import ContentLoss
from translate.methods.pair_loss import pair_losses

from ..helpers import small_config
from .helpers import clock_at, noise_batch

WITH_PAIRS = [name for name, cls in METHODS.items() if "pairs" in config.setting_names(cls.Config)]
DIRECTIONS = {"cyclegan": ("ab", "ba"), "dualgan": ("ab", "ba"), "discogan": ("ab", "ba"), "cut": ("ab",)}


def test_losses_by_hand():
    """Blocks of 4×4 pixels whose half differs by 1: a mean distance of ½, and of ½ between means."""
    cfg = small_config("cyclegan", pairs="names", lambda_pairs=6.0, lambda_lowpass=2.0)
    x = torch.zeros(2, 3, 8, 8)
    truth = x.clone()
    truth[:, :, ::2] = -1.0
    losses = pair_losses(cfg, ContentLoss(cfg, 3), nn.Identity(), x, truth, "ab")
    assert {name: loss.item() for name, loss in losses.items()} == {"pairs_ab": 3.0, "lowpass_pairs_ab": 1.0}


def losses_of_generators(name, batch, **flags):
    """The method, and its generators' losses in the first step that updates them, before it does."""
    method = METHODS[name](small_config(name, **flags)).double()
    for step in range(2):
        for update, losses in method.step(batch, clock_at(step), {}):
            if update == "g":
                return method, losses
    raise AssertionError("no update of the generators")


def mixed_batch():
    """Unpaired images, and pairs of other ones."""
    pairs = noise_batch(2, seed=4)
    return {**noise_batch(2), "pair_a": pairs["a"], "pair_b": pairs["b"]}


@pytest.mark.parametrize("name", WITH_PAIRS)
def test_each_translation_of_a_pair_is_compared_with_the_other_side(name):
    batch = mixed_batch()
    method, losses = losses_of_generators(name, batch, pairs="names", lambda_pairs=2.5)
    directions = DIRECTIONS.get(name, DIRECTIONS["cut"])
    assert [key for key in losses if key.startswith("pairs")] == [f"pairs_{direction}" for direction in directions]
    for direction in directions:
        source, target = direction
        generator = method.generator_for(target)
        distance = (generator(batch[f"pair_{source}"]) - batch[f"pair_{target}"]).abs().mean()
        torch.testing.assert_close(losses[f"pairs_{direction}"], 2.5 * distance, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", WITH_PAIRS)
def test_the_other_losses_are_those_without_pairs(name):
    batch = mixed_batch()
    _, with_pairs = losses_of_generators(name, batch, pairs="names")
    _, without = losses_of_generators(name, {key: x for key, x in batch.items() if not key.startswith("pair")})
    assert without.keys() == {key for key in with_pairs if not key.startswith("pairs")}
    assert all(torch.equal(loss, with_pairs[key]) for key, loss in without.items())


def test_methods_of_two_domains_without_pairs_have_them():
    assert [name for name, cls in METHODS.items() if cls.layout == "unpaired"] == WITH_PAIRS
