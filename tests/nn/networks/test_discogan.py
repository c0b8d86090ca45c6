"""DiscoGAN's networks and PyTorch's initial weights."""

import pytest
import torch
from torch import nn

from translate.nn.blocks import Dropout
from translate.nn.networks import DISCRIMINATORS, GENERATORS
from translate.nn.networks.discogan import ScaledSigmoid, ToUnitRange

from ...helpers import on_meta, parameter_count


def test_networks_have_the_layers_of_the_authors():
    """Weights of 4×4 convolutions, none of which has a bias, and scale and shift of every batch norm."""
    encoder, decoder = [(3, 64), (64, 128), (128, 256), (256, 512)], [(512, 256), (256, 128), (128, 64), (64, 3)]
    count = 16 * sum(cin * cout for cin, cout in encoder + decoder) + 2 * (128 + 256 + 512 + 256 + 128 + 64)
    assert parameter_count(on_meta(GENERATORS["discogan"], 3, 3)) == count
    count = 16 * sum(cin * cout for cin, cout in [*encoder, (512, 1)]) + 2 * (128 + 256 + 512)
    assert parameter_count(on_meta(DISCRIMINATORS["discogan"], 3, 64, "batch", 3, 64)) == count


def test_its_ends_are_the_paper_s_range():
    x = torch.tensor([-1.0, 0.0, 0.5, 1.0])
    assert torch.equal(ToUnitRange()(x), torch.tensor([0.0, 0.5, 0.75, 1.0]))
    torch.testing.assert_close(ScaledSigmoid()(4 * x), torch.tanh(2 * x))  # 2 σ(z) − 1 = tanh(z / 2)


@pytest.mark.parametrize(
    ("crop", "logits", "maps"),
    [
        (64, 1, [16, 8, 4]),
        (32, 1, [8, 4]),
        (128, 1, [16, 8, 4]),
        (256, 1, [16, 8, 4]),
        (96, 3, [24, 12, 6]),
        (16, 1, [4]),
    ],
)
def test_an_image_of_any_power_of_two_gets_one_logit(crop, logits, maps):
    net = on_meta(DISCRIMINATORS["discogan"], 3, 4, "batch", 3, crop)
    features, out = net.features_and_logits(torch.zeros(2, 3, crop, crop, device="meta"))
    assert out.shape == (2, 1, logits, logits)
    assert [x.shape[2] for x in features] == maps


def test_dropout_is_behind_the_two_innermost_blocks_of_the_decoder():
    net = on_meta(GENERATORS["discogan"], 3, 3, 4, "batch", True)
    kinds = [type(layer) for layer in net.model if isinstance(layer, (Dropout, nn.ConvTranspose2d))]
    up = nn.ConvTranspose2d
    assert kinds == [up, Dropout, up, Dropout, up, up]
