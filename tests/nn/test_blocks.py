"""Norms and dropout: values and gradients against torch's own, each image by itself, masks by keys."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate.nn.blocks import AffineInstanceNorm2d, BatchNorm2d, Dropout, InstanceNorm2d, keyed_dropout
from translate.nn.networks.dualgan import NORM_EPS

from ..helpers import normalise_instances, random_tensor, small_generator

# Norms.


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_instance_norm_is_torch_s_in_value_and_gradient(count, dtype, layout):
    """The oracle runs on contiguous tensors in float64, where torch's own instance norm is right."""
    x, upstream = random_tensor(count, 4, 5, 6), random_tensor(count, 4, 5, 6, seed=1)
    expected_x = x.clone().requires_grad_()
    expected = F.instance_norm(expected_x)
    expected.backward(upstream)
    own_x = x.to(dtype).contiguous(memory_format=layout).requires_grad_()
    own = InstanceNorm2d(4)(own_x)
    own.backward(upstream.to(dtype).contiguous(memory_format=layout))
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for got, wanted in ((own, expected), (own, normalise_instances(x)), (own_x.grad, expected_x.grad)):
        torch.testing.assert_close(got.double(), wanted, rtol=0, atol=tolerance)


def test_instance_norm_gradient_is_the_derivative():
    assert torch.autograd.gradcheck(InstanceNorm2d(2), random_tensor(2, 2, 3, 3).requires_grad_())
    assert torch.autograd.gradgradcheck(InstanceNorm2d(2), random_tensor(2, 2, 3, 3).requires_grad_())


def test_instance_norm_has_neither_weights_nor_memory():
    norm = InstanceNorm2d(3)
    x = random_tensor(2, 3, 4, 4)
    assert not norm.state_dict()
    assert torch.equal(norm.train()(x), norm.eval()(x))


def batch_norms():
    """Our batch norm and torch's, in float64 with equal weights and running statistics."""
    own, torchs = BatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    nn.init.uniform_(own.weight, 0.5, 1.5)
    nn.init.uniform_(own.bias, -1, 1)
    own.running_mean.fill_(0.3)
    own.running_var.fill_(2.0)
    torchs.load_state_dict(own.state_dict())
    return own, torchs


@pytest.mark.parametrize("statistics", ["sample", "running"])
def test_batch_norm_trains_as_torch_s(statistics):
    own, torchs = batch_norms()
    own.norm_statistics = statistics
    for step in range(3):
        x = random_tensor(4, 3, 5, 5, seed=step)
        own_x, torchs_x = x.clone().requires_grad_(), x.clone().requires_grad_()
        own(own_x).square().mean().backward()
        torchs(torchs_x).square().mean().backward()
        torch.testing.assert_close(own_x.grad, torchs_x.grad, rtol=0, atol=1e-12)
    for key, value in torchs.state_dict().items():
        torch.testing.assert_close(own.state_dict()[key], value, rtol=0, atol=1e-12)


def test_batch_norm_evaluates_each_image_by_its_own_statistics():
    own, torchs = batch_norms()
    x = 3 * random_tensor(3, 3, 5, 5) + 1
    singles = torch.cat([copy.deepcopy(torchs).train()(image) for image in x.split(1)])
    torch.testing.assert_close(own.eval()(x), singles, rtol=0, atol=1e-12)
    by_hand = normalise_instances(x) * own.weight[:, None, None] + own.bias[:, None, None]
    torch.testing.assert_close(own(x), by_hand, rtol=0, atol=1e-12)


def test_batch_norm_evaluation_leaves_running_statistics_alone():
    own, _ = batch_norms()
    before = copy.deepcopy(own.state_dict())
    own.eval()(random_tensor(2, 3, 4, 4))
    assert all(torch.equal(value, before[key]) for key, value in own.state_dict().items())


def test_batch_norm_with_running_statistics_evaluates_as_torch_s():
    own, torchs = batch_norms()
    own.norm_statistics = "running"
    x = random_tensor(2, 3, 5, 5)
    torch.testing.assert_close(own.eval()(x), torchs.eval()(x), rtol=0, atol=0)


# Dropout.


def test_keyed_dropout_is_a_function_of_each_image_s_key():
    layer, x = Dropout().eval(), torch.ones(3, 4, 5, 5)
    key = torch.tensor([11, 12, 13])
    with keyed_dropout(layer, key):
        first, again = layer(x), layer(x)
    with keyed_dropout(layer, key.flip(0)):
        flipped = layer(x)
    with keyed_dropout(layer, key[1:2]):
        alone = layer(x[1:2])
    assert torch.equal(first, again)
    assert torch.equal(flipped.flip(0), first)
    assert torch.equal(alone, first[1:2])
    assert not torch.equal(first[0], first[1])


def test_keyed_dropout_neither_asks_nor_moves_torch_s_generator():
    layer = Dropout().eval()
    outs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        with keyed_dropout(layer, torch.tensor([5])):
            outs.append(layer(torch.ones(1, 2, 8, 8)))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*outs)


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_keyed_dropout_keeps_its_share_and_scales_the_rest(p):
    layer = Dropout(p).eval()
    with keyed_dropout(layer, torch.tensor([1, 2])):
        y = layer(torch.full((2, 10, 50, 50), 3.0))
    kept = y != 0
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 3 / (1 - p)))
    assert abs(kept.double().mean() - (1 - p)) < 4 * (p * (1 - p) / y.numel()) ** 0.5


def test_evaluation_without_keys_drops_nothing():
    net = small_generator("resnet_3blocks", dropout=True).eval()
    bare = small_generator("resnet_3blocks", dropout=False).eval()
    for a, b in zip(bare.parameters(), net.parameters(), strict=True):
        a.data.copy_(b.data)
    x = random_tensor(1, 3, 16, 16)
    expected = bare(x)
    assert torch.equal(net(x), expected)
    with keyed_dropout(net, None):
        assert torch.equal(net(x), expected)
    with keyed_dropout(net, torch.tensor([1])):
        assert not torch.equal(net(x), expected)
    assert torch.equal(net(x), expected)  # keys end with the block


def test_keys_end_with_the_block_even_after_an_error():
    layer = Dropout().eval()
    with pytest.raises(KeyError), keyed_dropout(layer, torch.tensor([1])):
        raise KeyError
    x = torch.ones(1, 2, 4, 4)
    assert torch.equal(layer(x), x)


def test_each_layer_draws_its_own_mask():
    net = nn.Sequential(Dropout(), nn.Identity(), Dropout()).eval()
    with keyed_dropout(net, torch.tensor([1])):
        first, second = (net[i](torch.ones(1, 2, 8, 8)) for i in (0, 2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("key", [None, torch.tensor([1, 2])])
def test_training_dropout_obeys_torch_s_seed_whatever_the_key(key):
    layer, x = Dropout().train(), torch.ones(2, 3, 8, 8)

    def drawn(seed):
        torch.manual_seed(seed)
        with keyed_dropout(layer, key):
            return layer(x)

    torch.manual_seed(4)
    assert torch.equal(drawn(4), drawn(4))
    assert not torch.equal(drawn(4), drawn(5))
    torch.manual_seed(4)
    assert torch.equal(F.dropout(x, 0.5), drawn(4))


def test_of_a_single_pixel_the_norm_leaves_the_shift():
    norm = AffineInstanceNorm2d(3, NORM_EPS)
    nn.init.constant_(norm.bias, 0.25)
    x = torch.rand(2, 3, 1, 1, requires_grad=True)
    y = norm(x)
    assert torch.equal(y, torch.full((2, 3, 1, 1), 0.25))
    y.sum().backward()
    assert not x.grad.any()
    assert not norm.weight.grad.any()
    assert torch.equal(norm.bias.grad, torch.full((3,), 2.0))


def test_the_norm_scales_and_shifts_with_the_authors_epsilon():
    norm = AffineInstanceNorm2d(1, NORM_EPS)
    nn.init.constant_(norm.weight, 3.0)
    nn.init.constant_(norm.bias, 0.5)
    x = torch.tensor([[[[0.001, -0.001]]]])  # variance 1e-6, as large as epsilon: 0.001 / √2e-6 = √½
    torch.testing.assert_close(norm(x), torch.tensor([[[[1, -1]]]]) * 3 * math.sqrt(0.5) + 0.5)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_the_affine_norm_is_torch_s_in_training_mode(train, grad):
    ours, torchs = (
        AffineInstanceNorm2d(3).double(),
        nn.InstanceNorm2d(3, affine=True, track_running_stats=True).double(),
    )
    weight, bias = torch.tensor([2.0, -1, 0.5]), torch.tensor([0.1, 0, 3])
    for norm in (ours, torchs):
        norm.load_state_dict({"weight": weight, "bias": bias}, strict=False)
    x = torch.rand(2, 3, 5, 5, dtype=torch.float64)
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(ours.train(train)(x), torchs.train()(x), rtol=0, atol=1e-12)
