"""Frozen networks: weights that are constants, batch norms that are folded into convolutions."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate.nn.features.feature_network import FeatureNetwork, ScaleInput, fold_batch_norms, freeze
from translate.nn.init import normal_

from ...helpers import random_tensor


def trained_norm(channels):
    """A batch norm as after a training: no weight, bias or statistic at its initial value."""
    norm = nn.BatchNorm2d(channels, eps=1e-3)
    for seed, tensor in enumerate((norm.weight, norm.bias, norm.running_mean, norm.running_var)):
        with torch.no_grad():
            tensor.copy_(random_tensor(channels, seed=seed))
    norm.running_var.square_().add_(0.1)
    return norm.eval()


def small_network():
    stages = [
        nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1, bias=False), trained_norm(6), nn.ReLU()),
    ]
    return FeatureNetwork("small", stages, (4, 6), (2, 4), (0.5, 2.0))


def test_maps_are_the_outputs_of_the_stages_over_their_deviations():
    net = small_network()
    x = random_tensor(2, 3, 8, 8).float()
    first = net.stages[0](x)
    maps = net(x)
    torch.testing.assert_close(maps[0], first / 0.5)
    torch.testing.assert_close(maps[1], net.stages[1](first) / 2)
    assert [tuple(y.shape) for y in maps] == [(2, 4, 4, 4), (2, 6, 2, 2)]
    assert net.minimum == 4


def test_weights_are_constants():
    net = small_network().train()
    assert not list(net.parameters())
    assert not net.state_dict()
    assert not any(module.training for module in net.modules())
    assert [name for name, _ in net.named_buffers()][:2] == ["stages.0.0.weight", "stages.0.0.bias"]
    assert all(not buffer.requires_grad for buffer in net.buffers())


def test_gradients_flow_to_the_image():
    x = random_tensor(1, 3, 8, 8).float().requires_grad_()
    sum(y.sum() for y in small_network()(x)).backward()
    assert (x.grad != 0).any()


def test_initial_weights_are_drawn_for_parameters_alone():
    """Else the discriminator around a frozen network would overwrite it, and what its other copies share."""
    net = nn.Sequential(small_network(), nn.Conv2d(3, 4, 1))
    before = [buffer.clone() for buffer in net[0].buffers()]
    normal_(net, 0)
    assert all(torch.equal(x, y) for x, y in zip(before, net[0].buffers(), strict=True))


def test_copies_share_weights_until_they_are_cast():
    net = small_network()
    copied = copy.deepcopy(net)
    pairs = list(zip(net.buffers(), copied.buffers(), strict=True))
    assert all(x is y for x, y in pairs)
    assert copied is not net
    assert copied.stages[0] is not net.stages[0]
    copied.double()
    assert all(x.dtype == torch.float32 for x in net.buffers() if x.is_floating_point())
    x = random_tensor(1, 3, 8, 8)
    for wide, narrow in zip(copied(x), net(x.float()), strict=True):
        torch.testing.assert_close(wide, narrow.double(), rtol=1e-5, atol=1e-5)


def test_grey_images_are_taken_as_colour():
    net, grey = small_network(), random_tensor(2, 1, 8, 8).float()
    for x, y in zip(net(grey), net(grey.repeat(1, 3, 1, 1)), strict=True):
        assert torch.equal(x, y)


def test_maps_and_weights_have_channels_last():
    net = small_network()
    assert net.stages[0][0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(y.is_contiguous(memory_format=torch.channels_last) for y in net(torch.rand(2, 3, 8, 8)))


def test_inputs_are_scaled_by_channel():
    scale = ScaleInput(2.0, [1.0, 10.0, 100.0])
    assert scale(torch.full((1, 3, 1, 1), 0.5)).flatten().tolist() == [2, 11, 101]
    assert ScaleInput(2.0, 0.25)(torch.ones(1, 3, 1, 1)).flatten().tolist() == [2.25] * 3


def test_freeze_keeps_buffers_and_values():
    net = nn.Sequential(nn.Conv2d(1, 1, 1), trained_norm(1))
    x = random_tensor(1, 1, 2, 2).float()
    expected = net(x)
    names = {name for name, _ in (*net.named_parameters(), *net.named_buffers())}
    assert freeze(net) is net
    assert {name for name, _ in net.named_buffers()} == names
    assert torch.equal(net(x), expected)


@pytest.mark.parametrize("padding", [(1, 1, 1, 1), (0, 1, 0, 1), (0, 0, 0, 0)])
def test_folding_changes_no_value(padding):
    """In float64 to rounding; unequal padding stays in front of the convolution."""
    net = nn.Sequential(
        nn.Sequential(nn.ZeroPad2d(padding), nn.Conv2d(2, 4, 3, 1, groups=2, bias=False), trained_norm(4), nn.ReLU6()),
        nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), trained_norm(4)),
    ).double()
    net.eval()
    x = 3 * random_tensor(2, 2, 6, 6)
    expected = net(x)
    assert fold_batch_norms(net) is net
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-12)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert any(isinstance(module, nn.ZeroPad2d) for module in net.modules()) == (len({*padding}) > 1)


def test_folding_by_hand():
    """(2 x − 3) / √(4 − ε + ε) · 5 + 7 = 5 x − 0.5."""
    norm = nn.BatchNorm2d(1, eps=1e-3)
    for tensor, value in ((norm.weight, 5.0), (norm.bias, 7.0), (norm.running_mean, 3.0), (norm.running_var, 3.999)):
        nn.init.constant_(tensor, value)
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), norm).eval()
    nn.init.constant_(net[0].weight, 2.0)
    fold_batch_norms(net)
    weight, bias = net[0].weight.item(), net[0].bias.item()
    assert (weight, bias) == pytest.approx((5.0, -0.5), rel=1e-6)
    assert F.conv2d(torch.ones(1, 1, 1, 1), net[0].weight, net[0].bias).item() == pytest.approx(4.5)
