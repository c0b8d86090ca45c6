"""tests.nn.test_init"""

import pytest
import torch
from torch import nn

from translate.nn.init import normal_
from translate.nn.networks import GENERATORS

# Initial weights.


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
