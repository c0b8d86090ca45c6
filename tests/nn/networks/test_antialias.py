"""CUT's anti-aliased networks: their blurs by definition, sizes, and initial weights."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate.nn.init import xavier_
from translate.nn.networks import find
from translate.nn.networks.antialias import AntialiasDiscriminator, AntialiasGenerator, BlurDown, BlurUp

from ...helpers import random_tensor


def binomial(taps, scale):
    taps = torch.tensor(taps, dtype=torch.float64)
    return (taps[:, None] * taps / taps.sum() ** 2 * scale)[None, None]


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (3, 2)])
def test_the_way_down_is_a_binomial_filter_at_every_other_pixel(size):
    x = random_tensor(2, 1, *size)
    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), binomial([1, 2, 1], 1))[:, :, ::2, ::2]
    torch.testing.assert_close(BlurDown()(x), expected, rtol=0, atol=1e-12)
    by_hand = torch.arange(6.0).repeat(6, 1)[None, None]  # a slope stays one, but for the reflected border
    assert BlurDown()(by_hand)[0, 0, 0].tolist() == [0.5, 2.0, 4.0]


@pytest.mark.parametrize("size", [(6, 8), (1, 5)])
def test_the_way_up_is_a_transposed_convolution_with_a_binomial_filter(size):
    """The authors': replicated by one, stride 2, padding 2, one pixel cut off all around."""
    x = random_tensor(2, 1, *size)
    padded = F.pad(x, (1, 1, 1, 1), "replicate")
    expected = F.conv_transpose2d(padded, binomial([1, 3, 3, 1], 4), stride=2, padding=2)[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(BlurUp()(x), expected, rtol=0, atol=1e-12)
    assert BlurUp()(torch.tensor([[[[0.0, 4.0]]]]))[0, 0, 0].tolist() == [0.0, 1.0, 3.0, 4.0]


def test_channels_are_blurred_each_by_itself():
    x = random_tensor(2, 3, 6, 6)
    for blur in (BlurDown(), BlurUp()):
        alone = torch.cat([blur(x[:, c : c + 1]) for c in range(3)], 1)
        torch.testing.assert_close(blur(x), alone, rtol=0, atol=1e-12)


def test_layers_have_the_authors_places():
    net = AntialiasGenerator(3, 3, 2)
    kinds = {place: type(layer).__name__ for place, layer in enumerate(net.model)}
    assert [place for place, kind in kinds.items() if kind == "BlurDown"] == [7, 11]
    assert [place for place, kind in kinds.items() if kind == "ResnetBlock"] == list(range(12, 21))
    assert [place for place, kind in kinds.items() if kind == "BlurUp"] == [21, 25]
    assert [place for place, layer in enumerate(net.model) if isinstance(layer, nn.Conv2d)] == [1, 4, 8, 22, 26, 30]
    judge = AntialiasDiscriminator(3, 2)
    assert [place for place, layer in enumerate(judge.model) if isinstance(layer, nn.Conv2d)] == [0, 3, 7, 11, 14]
    assert [place for place, layer in enumerate(judge.model) if isinstance(layer, BlurDown)] == [2, 6, 10]


def test_blurs_are_no_weights():
    plain, blurred = (find(f"{kind}_2blocks")(3, 3, 4) for kind in ("resnet", "antialias"))
    shapes = [{tuple(sorted(p.shape)) for p in net.state_dict().values()} for net in (plain, blurred)]
    assert shapes[0] == shapes[1]
    assert len(plain.state_dict()) == len(blurred.state_dict())


def test_a_network_has_any_number_of_blocks():
    assert find("antialias_0blocks") is None
    assert find("antialias_4blocks")(3, 3, 2).receptive_radius == 21 + 8 * 4


def test_the_discriminator_judges_patches_of_84_pixels_30_by_30_of_256():
    net = AntialiasDiscriminator(1, 1, "none").double()
    for p in net.parameters():
        nn.init.constant_(p, 0.1)
    x = random_tensor(1, 1, 256, 256).abs().requires_grad_()
    logits = net(x)
    assert logits.shape == (1, 1, 30, 30)
    (gradient,) = torch.autograd.grad(logits[0, 0, 15, 15], x)
    rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows[-1] - rows[0] + 1 == 84


def test_the_anti_aliased_networks_start_by_xavier_and_by_the_key_alone():
    """0.02 · √(2 / (27 + 9 · 64)) of a 3×3 convolution from 3 to 64 channels, and so on."""
    net = AntialiasGenerator(3, 3, 16)
    first = net.initialise(net, 3, "g").state_dict()
    again = net.initialise(AntialiasGenerator(3, 3, 16), 3, "g").state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    weight = first["model.14.conv_block.1.weight"]  # 64 channels to 64
    assert abs(weight.std() / (0.02 * math.sqrt(2 / (9 * 128))) - 1) < 0.02
    assert AntialiasDiscriminator.initialise is xavier_
