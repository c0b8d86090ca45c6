"""Initial weights: their distributions, and that they are functions of the key alone."""

import math

import pytest
import torch
from torch import nn

from translate.nn.blocks import AffineInstanceNorm2d
from translate.nn.init import kaiming_, normal_, normal_weights_, pytorch_default_, truncated_normal_, xavier_
from translate.nn.networks import GENERATORS


def test_initial_weights_have_the_moments_of_the_paper():
    net = normal_(GENERATORS["resnet_9blocks"](3, 3, 16, "batch"), 0)
    convs = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for layers, mean in ((convs, 0.0), (norms, 1.0)):
        w = torch.cat([m.weight.flatten() for m in layers])
        error = 4 * 0.02 / len(w) ** 0.5  # four standard errors
        assert abs(w.mean() - mean) < error
        assert abs(w.std() - 0.02) < error
    assert all((m.bias == 0).all() for m in (*convs, *norms) if m.bias is not None)


@pytest.mark.parametrize("net", [nn.Conv2d(2, 40, 5), nn.ConvTranspose2d(2, 40, 5), nn.Linear(20, 100)])
def test_every_kind_of_layer_is_filled(net):
    nn.init.constant_(net.bias, 3.0)
    normal_(net, 0, gain=0.5)
    assert abs(net.weight.std() - 0.5) < 0.05
    assert (net.bias == 0).all()


def test_initial_weights_are_a_function_of_the_key_alone():
    def draw(*key, torch_seed=0):
        torch.manual_seed(torch_seed)
        return normal_(GENERATORS["resnet_3blocks"](3, 3, 4, "batch"), *key).state_dict()

    first, again, other = draw(3, "g"), draw(3, "g", torch_seed=1), draw(3, "d")
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not any(torch.equal(first[k], other[k]) for k in first if k.endswith(".weight"))


def test_initial_weights_leave_torch_generators_alone():
    net = GENERATORS["resnet_3blocks"](3, 3, 4)
    before = torch.get_rng_state()
    normal_(net, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_two_layers_of_one_shape_start_unlike():
    net = normal_(GENERATORS["resnet_3blocks"](3, 3, 4), 0)
    assert not torch.equal(net.model[10].conv_block[1].weight, net.model[11].conv_block[1].weight)


@pytest.mark.parametrize(
    ("layer", "fans"),
    [(nn.Conv2d(20, 30, 5), 25 * 50), (nn.ConvTranspose2d(20, 30, 5), 25 * 50), (nn.Linear(100, 200), 300)],
)
def test_xavier_draws_by_the_fans(layer, fans):
    nn.init.constant_(layer.bias, 3.0)
    xavier_(layer, 0, gain=0.5)
    std = 0.5 * math.sqrt(2 / fans)
    count = layer.weight.numel()
    assert abs(layer.weight.std() / std - 1) < 4 / math.sqrt(2 * count)
    assert abs(layer.weight.mean()) < 4 * std / math.sqrt(count)
    assert (layer.bias == 0).all()


def test_normal_weights_leave_the_biases_as_pytorch_draws_them():
    """N(0, 0.02) as `normal_`, biases from U(−b, b) with b = 1/√(fan in), whose deviation is b/√3."""
    net, plain = (nn.ModuleList([nn.Conv2d(4, 2000, 5), nn.BatchNorm2d(50)]) for _ in range(2))
    normal_weights_(net, 3, "d")
    normal_(plain, 3, "d")
    assert torch.equal(net[0].weight, plain[0].weight)
    assert torch.equal(net[1].weight, plain[1].weight)
    assert (net[1].bias == 0).all()
    bound = 100**-0.5
    assert 0.9 * bound < net[0].bias.abs().max() <= bound
    assert abs(net[0].bias.std() * 3**0.5 / bound - 1) < 4 / (2000 * 5 / 4) ** 0.5  # the kurtosis of a uniform is 9/5


def test_initial_weights_are_truncated_where_the_authors_truncate():
    net = nn.ModuleList([nn.Conv2d(10, 100, 5), nn.ConvTranspose2d(10, 100, 5), AffineInstanceNorm2d(20_000)])
    truncated_normal_(net, 3)
    conv, transposed, norm = net
    assert conv.weight.abs().max() <= 0.04 < transposed.weight.abs().max()
    spread = 0.02 * math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))  # of what is left
    assert abs(conv.weight.std() - spread) < 4 * spread / math.sqrt(2 * 25_000)
    for weight, mean in ((transposed.weight, 0), (norm.weight, 1)):
        error = 4 * 0.02 / math.sqrt(weight.numel())
        assert abs(weight.mean() - mean) < error
        assert abs(weight.std() - 0.02) < error
    assert not any(layer.bias.any() for layer in net)


def test_truncated_weights_are_a_function_of_the_key_alone():
    first, again, other = (truncated_normal_(nn.Conv2d(2, 3, 3), *key).weight for key in ((1, "g"), (1, "g"), (2, "g")))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("kind", "sizes", "fan"),
    [(nn.Conv2d, (8, 50, 5), 200), (nn.ConvTranspose2d, (50, 8, 5), 200), (nn.Linear, (100, 60), 100)],
)
def test_initial_weights_are_spread_as_pytorch_spreads_them(kind, sizes, fan):
    """Uniform within 1/√(fan in), of which a transposed convolution's is 8 · 5²."""
    bound, layer = fan**-0.5, kind(*sizes)
    nn.init.constant_(layer.weight, 9.0)
    nn.init.constant_(layer.bias, 9.0)
    for w in (kind(*sizes).weight, pytorch_default_(layer, 1).weight):
        assert 0.99 * bound < w.abs().max() <= bound
        assert abs(w.std() - bound / 3**0.5) < 0.02 * bound
    assert 0 < layer.bias.abs().max() <= bound


def test_norms_start_as_they_do_in_pytorch():
    norm = nn.BatchNorm2d(3)
    nn.init.constant_(norm.weight, 5.0)
    nn.init.constant_(norm.bias, 5.0)
    pytorch_default_(norm, 1)
    assert (norm.weight == 1).all()
    assert (norm.bias == 0).all()


def test_pytorch_s_weights_are_a_function_of_the_key_alone():
    before = torch.get_rng_state()
    first, again, other = (pytorch_default_(nn.Conv2d(2, 3, 3), *key) for key in ((1, "g"), (1, "g"), (2, "g")))
    assert torch.equal(first.weight, again.weight) and torch.equal(first.bias, again.bias)
    assert not torch.equal(first.weight, other.weight)
    torch.set_rng_state(before)
    pytorch_default_(first, 3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("layer", "fan"),
    [(nn.Conv2d(20, 30, 5), 20 * 25), (nn.ConvTranspose2d(20, 30, 5), 20 * 25), (nn.Linear(100, 200), 100)],
)
@pytest.mark.parametrize(("slope", "factor"), [(0.0, 2.0), (0.5, 1.6), (1.0, 1.0)])
def test_kaiming_draws_by_the_fan_in_and_the_slope(layer, fan, slope, factor):
    """Variance 2 / ((1 + slope²) · fan in): of slope 1, which is linear, 1 / fan in."""
    nn.init.constant_(layer.bias, 3.0)
    kaiming_(layer, 0, slope=slope)
    std = math.sqrt(factor / fan)
    count = layer.weight.numel()
    assert abs(layer.weight.std() / std - 1) < 4 / math.sqrt(2 * count)
    assert abs(layer.weight.mean()) < 4 * std / math.sqrt(count)
    assert (layer.bias == 0).all()


def test_kaiming_starts_norms_without_effect_and_is_a_function_of_the_key_alone():
    norm = nn.BatchNorm2d(3)
    nn.init.constant_(norm.weight, 5.0)
    nn.init.constant_(norm.bias, 5.0)
    kaiming_(norm, 1)
    assert (norm.weight == 1).all() and (norm.bias == 0).all()
    before = torch.get_rng_state()
    first, again, other = (kaiming_(nn.Conv2d(2, 3, 3), *key).weight for key in ((1, "g"), (1, "g"), (2, "g")))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.set_rng_state(before)
    kaiming_(nn.Linear(2, 2, device="meta"), 3)
    assert torch.equal(before, torch.get_rng_state())
