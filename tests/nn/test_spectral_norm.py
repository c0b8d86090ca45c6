"""Spectral norm: the estimate becomes the largest singular value, as in torch's own, and gradients flow through it."""

import torch
from torch import nn
from torch.nn.utils import spectral_norm

from translate.nn.init import xavier_
from translate.nn.spectral_norm import SpectralConv2d, iterate_power_method, with_spectral_norm


def conv(key=0):
    return with_spectral_norm(xavier_)(SpectralConv2d(3, 5, 3, 2, 1), key).double()


def images(count=2):
    return torch.randn(count, 3, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_weight_comes_to_have_largest_singular_value_one():
    net = conv()
    for _ in range(100):
        iterate_power_method(net)
    largest = torch.linalg.matrix_norm(net.weight.detach().flatten(1), 2)
    assert torch.dist(net.u @ net.weight.flatten(1) @ net.v, largest) < 1e-12
    plain = nn.functional.conv2d(images(), net.weight / largest, net.bias, 2, 1)
    torch.testing.assert_close(net(images()), plain, rtol=0, atol=1e-12)


def test_passes_and_gradients_are_those_of_torch():
    net, theirs = conv(), spectral_norm(nn.Conv2d(3, 5, 3, 2, 1).double())
    theirs.load_state_dict(
        {"bias": net.bias, "weight_orig": net.weight, "weight_u": net.u.clone(), "weight_v": net.v.clone()}
    )
    for _ in range(3):
        for each in (net, theirs):
            each.zero_grad()
        iterate_power_method(net)
        ours, expected = net(images()), theirs(images())
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-13)
        for y in (ours, expected):
            y.square().sum().backward()
        torch.testing.assert_close(net.weight.grad, theirs.weight_orig.grad, rtol=0, atol=1e-11)
    torch.testing.assert_close(net.u, theirs.weight_u, rtol=0, atol=1e-13)


def test_a_pass_changes_nothing_that_the_graph_of_an_earlier_one_needs():
    """The vectors change in place between two passes, both of which are differentiated afterwards."""
    net = conv()
    first = net(images()).sum()
    iterate_power_method(net)
    (first + net(images()).sum()).backward()
    assert net.weight.grad.isfinite().all()


def test_initial_vectors_are_a_function_of_the_key_and_near_the_singular_ones():
    first, again, other = conv(1), conv(1), conv(2)
    assert torch.equal(first.u, again.u)
    assert torch.equal(first.v, again.v)
    assert not torch.equal(first.u, other.u)
    sigma = first.u @ first.weight.flatten(1) @ first.v
    largest = torch.linalg.matrix_norm(first.weight.flatten(1), 2)
    assert 0.9 * largest < sigma <= largest * (1 + 1e-6)  # no unit vectors give more
