"""DiscoGAN's networks and PyTorch's initial weights."""

import pytest
import torch
from torch import nn

from translate.nn.blocks import Dropout
from translate.nn.init import pytorch_default_
from translate.nn.networks import DISCRIMINATORS, GENERATORS
from translate.nn.networks.discogan import ScaledSigmoid, ToUnitRange


def on_meta(build, *args):
    with torch.device("meta"):
        return build(*args)


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def test_networks_have_the_layers_of_the_authors():
    """Weights of 4×4 convolutions, none of which has a bias, and scale and shift of every batch norm."""
    encoder, decoder = [(3, 64), (64, 128), (128, 256), (256, 512)], [(512, 256), (256, 128), (128, 64), (64, 3)]
    count = 16 * sum(cin * cout for cin, cout in encoder + decoder) + 2 * (128 + 256 + 512 + 256 + 128 + 64)
    assert parameters(on_meta(GENERATORS["discogan"], 3, 3)) == count
    count = 16 * sum(cin * cout for cin, cout in [*encoder, (512, 1)]) + 2 * (128 + 256 + 512)
    assert parameters(on_meta(DISCRIMINATORS["discogan"], 3, 64, "batch", 3, 64)) == count


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


@pytest.mark.parametrize("name", ["discogan", "basic", "n_layers"])
def test_features_are_what_the_last_activations_give(name):
    net = DISCRIMINATORS[name](3, 2, "instance", 3, 64)
    given = []
    for layer in net.model:
        if isinstance(layer, nn.LeakyReLU):
            layer.register_forward_hook(lambda layer, x, y: given.append(y))
    x = torch.rand(2, 3, 64, 64)
    features, logits = net.features_and_logits(x)
    assert len(features) == 3
    assert all(x is y for x, y in zip(features, given[-3:], strict=True))
    assert torch.equal(logits, net(x))


def test_dropout_is_behind_the_two_innermost_blocks_of_the_decoder():
    net = on_meta(GENERATORS["discogan"], 3, 3, 4, "batch", True)
    kinds = [type(layer) for layer in net.model if isinstance(layer, (Dropout, nn.ConvTranspose2d))]
    up = nn.ConvTranspose2d
    assert kinds == [up, Dropout, up, Dropout, up, up]


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
