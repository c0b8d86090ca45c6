"""Projected discriminator: mixing, heads and pixels by their formulas, views, conditions, and what is trained and saved."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate.nn.features.feature_network import FeatureNetwork
from translate.nn.networks import DISCRIMINATORS
from translate.nn.networks.projected import ProjectedDiscriminator, RandomMixing

from ...helpers import on_meta, parameter_count, random_tensor

CHANNELS, STRIDES = (5, 6, 7), (2, 4, 8)


def features():
    """A small frozen network of three taps, with random weights."""
    torch.manual_seed(1)
    stages = [nn.Conv2d(cin, cout, 3, 2, 1) for cin, cout in zip((3, *CHANNELS), CHANNELS, strict=False)]
    return FeatureNetwork("small", stages, CHANNELS, STRIDES, (1.0, 1.0, 1.0))


def build(in_channels=3, width=4, key=0, **options):
    net = ProjectedDiscriminator(in_channels, features(), width, **options)
    net.initialise(net, key, "d")
    return net.double()


def mix(mixing, maps):
    """Sauer et al., sec. 3.1: 1×1 convolutions, then from the deepest map up a 3×3 convolution, doubled and added."""
    w = mixing.state_dict()
    mixed = [None] * 3
    for i in (2, 1, 0):
        z = F.conv2d(maps[i], w[f"channel_weight_{i}"])
        if i < 2:
            z = (z + F.interpolate(mixed[i + 1], scale_factor=2, mode="bilinear")) * 0.70710678118654752
        mixed[i] = F.conv2d(z, w[f"scale_weight_{i}"], padding=1)
    return mixed


def chain(w, prefix, x, strides):
    """Convolutions with leaky ReLUs between them; all but 1×1 ones are padded by one pixel."""
    for i, stride in enumerate(strides):
        weight = w[f"{prefix}.{2 * i}.weight"]
        x = F.leaky_relu(x, 0.2) if i else x
        x = F.conv2d(x, weight, w[f"{prefix}.{2 * i}.bias"], stride, padding=int(weight.shape[2] > 1))
    return x


@pytest.mark.parametrize("condition", [0, 1, 3])
@pytest.mark.parametrize("pixel_halvings", [0, 2, 3])
def test_it_computes_what_its_weights_say(condition, pixel_halvings):
    pixel_width = 3 if pixel_halvings else 0
    net = build(condition + 3, condition_channels=condition, pixel_width=pixel_width, pixel_halvings=pixel_halvings)
    x, w = random_tensor(2, condition + 3, 16, 16), net.state_dict()
    maps = mix(net.mixing, net.features(x[:, condition:]))
    if condition:
        of_condition = mix(net.mixing, net.features(x[:, :condition]))
        maps = [torch.cat(pair, 1) for pair in zip(maps, of_condition, strict=True)]
    expected = [chain(w, f"heads.{i}", y, (1, 1, 1)) for i, y in enumerate(maps)]
    if pixel_halvings:
        expected.append(chain(w, "pixel", x, (2, 2, 2 if pixel_halvings == 3 else 1, 1)))
    logits = net(x)
    assert len(logits) == len(expected)
    for y, z in zip(logits, expected, strict=True):
        torch.testing.assert_close(y, z, rtol=0, atol=1e-12)
    sides = [8, 4, 2, *([16 // 2**pixel_halvings] if pixel_halvings else [])]
    assert [tuple(y.shape) for y in logits] == [(2, 1, side, side) for side in sides]


def test_mixing_has_the_deviation_of_kaiming_s_linear_rule():
    """1/√(fan in), so that maps keep theirs; five standard errors of the estimate from thousands of draws."""
    mixing = RandomMixing((24, 40, 112), 32)
    mixing.draw_(0)
    for i, channels in enumerate((24, 40, 112)):
        for name, fan in ((f"channel_weight_{i}", channels), (f"scale_weight_{i}", 9 * 32)):
            weight = mixing.get_buffer(name)
            assert weight.std().item() * fan**0.5 == pytest.approx(1, abs=5 / (2 * weight.numel()) ** 0.5)


@pytest.mark.parametrize(
    ("crop", "name", "width", "pixel"),
    [
        (64, "projected", 32, 0),
        (128, "projected+pixel", 32, 24),
        (129, "projected+pixel", 64, 64),
        (256, "projected", 64, 0),
    ],
)
def test_widths_follow_from_the_crop(crop, name, width, pixel):
    """Parameters of three heads, and of the pixel discriminator 4×4, 4×4, then 3×3 or for large crops 4×4, and 3×3."""
    net = on_meta(DISCRIMINATORS[name], 3, 64, "instance", 3, crop)
    heads = 3 * (width * width + width + 9 * width * width + width + width + 1)
    third = (16 if crop > 128 else 9) * 2 * pixel * 4 * pixel + 4 * pixel
    pixels = 16 * 3 * pixel + pixel + 16 * pixel * 2 * pixel + 2 * pixel + third + 9 * 4 * pixel + 1
    assert parameter_count(net) == heads + (pixels if pixel else 0)
    assert net.mixing.get_buffer("scale_weight_0").shape == (width, width, 3, 3)


def test_the_width_scales_all_widths():
    net = on_meta(DISCRIMINATORS["projected+pixel"], 3, 32, "instance", 3, 64)
    assert net.mixing.get_buffer("scale_weight_0").shape[0] == 16
    assert net.pixel[0].out_channels == 12


def test_only_heads_are_trained_and_only_mixing_is_saved_beside_them():
    net = build(pixel_width=2)
    trained = {name.split(".")[0] for name, _ in net.named_parameters()}
    assert trained == {"heads", "pixel"}
    assert {name.split(".")[0] for name in net.state_dict()} == {"heads", "pixel", "mixing"}


def test_initial_weights_are_a_function_of_the_key():
    first, same, other = build().state_dict(), build().state_dict(), build(key=1).state_dict()
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_a_copy_has_the_same_features_and_its_own_heads():
    net = build()
    copied = copy.deepcopy(net)
    assert all(x is y for x, y in zip(net.features.buffers(), copied.features.buffers(), strict=True))
    assert all(x is not y for x, y in zip(net.parameters(), copied.parameters(), strict=True))


# Views.


class Counted:
    """Counts the calls of a module."""

    def __init__(self, module):
        self.calls = 0
        module.register_forward_hook(self.count)

    def count(self, *_):
        self.calls += 1


@pytest.mark.parametrize("condition", [0, 3])
def test_one_pass_serves_both_updates(condition):
    """The generator's gradient is that of the image itself, and the discriminator's that of the image without a graph."""
    net = build(condition + 3, condition_channels=condition, pixel_width=2)
    x = random_tensor(2, condition + 3, 16, 16).requires_grad_()
    expected_logits = net(x)
    (expected,) = torch.autograd.grad(sum(y.sum() for y in expected_logits), x)

    counted = Counted(net.features)
    view = net.view(x)
    logits = net(view)
    assert all(torch.equal(y, z) for y, z in zip(logits, expected_logits, strict=True))
    (seen,) = torch.autograd.grad(sum(y.sum() for y in logits), x)
    assert torch.equal(seen, expected)

    detached = net(view.detach())
    assert all(torch.equal(y, z) for y, z in zip(detached, logits, strict=True))
    sum(y.sum() for y in detached).backward()
    assert x.grad is None
    assert all((p.grad != 0).any() for p in net.parameters())
    assert counted.calls == (2 if condition else 1)


def test_the_condition_changes_the_logits_and_gets_no_gradient():
    net = build(6, condition_channels=3)
    x = random_tensor(1, 6, 16, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(sum(y.sum() for y in net(x)), x)
    assert (gradient[:, :3] == 0).all()
    assert (gradient[:, 3:] != 0).any()
    other = torch.cat([x[:, :3].flip(2), x[:, 3:]], 1)
    assert not any(torch.equal(y, z) for y, z in zip(net(x), net(other), strict=True))


@pytest.mark.parametrize(("channels", "condition"), [(5, 0), (8, 5), (5, 2)])
def test_other_numbers_of_channels_go_through_a_learnt_convolution(channels, condition):
    """It is trained by detached views too: their maps are computed again."""
    net = build(channels, condition_channels=condition)
    learnt = [p for name, p in net.named_parameters() if "to_colour" in name]
    assert learnt
    x = random_tensor(1, channels, 16, 16).requires_grad_()
    view = net.view(x)
    sum(y.sum() for y in net(view.detach())).backward()
    assert x.grad is None
    assert all(p.grad is not None and (p.grad != 0).any() for p in learnt)
    assert all(torch.equal(y, z) for y, z in zip(net(view), net(view.detach()), strict=True))


def test_grey_and_colour_need_no_convolution():
    for channels, condition in ((1, 0), (3, 0), (4, 1), (6, 3)):
        net = build(channels, condition_channels=condition)
        assert not any("to_colour" in name for name, _ in net.named_parameters())
