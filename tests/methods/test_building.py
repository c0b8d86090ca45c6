"""Several batches through one network: at once where that is the same."""

import pytest
import torch
from torch import nn

from translate.methods.building import forward_concatenated
from translate.nn.blocks import coupling_in, norm_layer
from translate.nn.networks import DISCRIMINATORS, GENERATORS
from translate.nn.networks.dcgan import VirtualBatchNorm2d


class Counted(nn.Module):
    """Counts the passes through a network, and records their batch sizes."""

    def __init__(self, net):
        super().__init__()
        self.net, self.sizes = net, []

    def forward(self, x):
        self.sizes.append(len(x))
        return self.net(x)


def images(*sizes, side=32):
    torch.manual_seed(0)
    return [torch.rand(n, 3, side, side).double() * 2 - 1 for n in sizes]


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_one_pass_gives_what_two_give_and_the_gradients_of_both(norm):
    net = Counted(DISCRIMINATORS["basic"](3, 4, norm, 3).double())
    batches, weights = images(2, 3), list(net.parameters())
    once = forward_concatenated(net, *batches)
    assert net.sizes == [5]
    twice = [net(x) for x in batches]
    for one, other in zip(once, twice, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    losses = [sum((n + 1) * y.square().mean() for n, y in enumerate(made)) for made in (once, twice)]
    for one, other in zip(*(torch.autograd.grad(loss, weights) for loss in losses), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_batch_norm_sees_each_batch_by_itself_in_the_given_order():
    torch.manual_seed(0)
    net = Counted(DISCRIMINATORS["basic"](3, 4, "batch", 3).double())
    first, second = images(2, 3)
    state = {name: x.clone() for name, x in net.state_dict().items()}
    got = forward_concatenated(net, first, second)
    after = {name: x.clone() for name, x in net.state_dict().items()}
    net.load_state_dict(state)
    expected = net(first), net(second)
    assert net.sizes == [2, 3, 2, 3]
    assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))
    assert all(torch.equal(after[name], x) for name, x in net.state_dict().items())


def test_images_of_two_sizes_go_apart():
    net = Counted(nn.Identity())
    got = forward_concatenated(net, *images(2), *images(2, side=40))
    assert net.sizes == [2, 2] and [len(x[0, 0]) for x in got] == [32, 40]


def test_what_is_computed_again_goes_apart():
    net = GENERATORS["resnet_3blocks"](3, 3, 2, "instance", False).double()
    net.gradient_checkpointing = True
    sizes = []
    net.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    forward_concatenated(net, *images(1, 2))
    assert sizes == [1, 2]


def test_several_heads_are_split_each():
    """A discriminator of two scales: a list of logits for each batch."""

    class TwoScales(nn.Module):
        def forward(self, x):
            return [x.mean((1, 2, 3)), torch.nn.functional.avg_pool2d(x, 16).sum(1)]

    net, batches = TwoScales(), images(2, 3)
    for got, x in zip(forward_concatenated(net, *batches), batches, strict=True):
        assert isinstance(got, list)
        for one, other in zip(got, net(x), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.BatchNorm2d(3), "batch norm"),
        (norm_layer("batch", 3), "batch norm"),
        (norm_layer("instance", 3), ""),
        (VirtualBatchNorm2d(3, 2), ""),
    ],
)
def test_a_layer_says_that_images_of_a_batch_influence_each_other(layer, reason):
    assert coupling_in(nn.Sequential(nn.Sequential(layer))) == reason


def test_a_layer_of_ones_own_says_it_too_and_keeps_batches_apart():
    class MinibatchDeviation(nn.Module):
        couples_images = True

        def forward(self, x):
            return x - x.mean(0)

    assert coupling_in(MinibatchDeviation()) == "MinibatchDeviation"
    batches = images(2, 3)
    for got, x in zip(forward_concatenated(MinibatchDeviation(), *batches), batches, strict=True):
        torch.testing.assert_close(got, x - x.mean(0), rtol=0, atol=0)
