"""All networks of the registries: sizes, names, receptive fields, and values computed again from their weights."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate.nn.blocks import Dropout
from translate.nn.init import normal_
from translate.nn.networks import DISCRIMINATORS, GENERATORS

from ..helpers import on_meta, random_tensor, small_generator
from .networks.helpers import apply_norm, layer_biases, make_averaging, receptive_range, receptive_rows

NORMS = ["batch", "instance", "none"]
SMALL = ["resnet_3blocks", "unet_16", "resize_unet_3levels_2blocks"]
LAYERS = range(1, 7)


# The reference's networks: sizes and names.


@pytest.mark.parametrize(
    ("name", "norm", "dropout", "parameters", "keys"),
    [
        ("resnet_9blocks", "instance", False, 11_378_179, 48),
        ("resnet_6blocks", "instance", False, 7_837_699, 36),
        ("resnet_9blocks", "batch", True, 11_383_427, 140),
        ("unet_256", "batch", True, 54_413_955, 82),
        ("unet_128", "batch", True, 41_828_995, 70),
        ("unet_256", "instance", True, 54_409_603, 32),
    ],
)
def test_generators_are_as_large_as_the_reference(name, norm, dropout, parameters, keys):
    net = on_meta(GENERATORS[name], 3, 3, 64, norm, dropout)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(net.state_dict()) == keys


@pytest.mark.parametrize(
    ("channels", "norm", "parameters", "keys"), [(3, "instance", 2_764_737, 10), (6, "batch", 2_768_705, 22)]
)
def test_discriminators_are_as_large_as_the_reference(channels, norm, parameters, keys):
    net = on_meta(DISCRIMINATORS["basic"], channels, 64, norm, 3)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(net.state_dict()) == keys


@pytest.mark.parametrize("name", GENERATORS)
def test_no_dropout_where_it_is_off(name):
    net = on_meta(GENERATORS[name], 3, 3, 64, "batch", False)
    assert not any(isinstance(layer, (Dropout, nn.Dropout)) for layer in net.modules())


@pytest.mark.parametrize(
    ("name", "last"), [("resnet_9blocks", "model.26"), ("unet_256", "model.model.3"), ("unet_4", "model.model.3")]
)
def test_without_norm_only_the_last_convolution_has_a_bias(name, last):
    """The reference gives a bias to convolutions in front of an instance norm alone."""
    biased = {layer for layer, bias in layer_biases(on_meta(GENERATORS[name], 3, 3, 64, "none")).items() if bias}
    assert biased == {last}


@pytest.mark.parametrize("name", GENERATORS)
def test_channels_in_and_out_may_differ(name):
    net = on_meta(GENERATORS[name], 1, 3, 8)
    x = torch.zeros(1, 1, net.minimum, net.minimum, device="meta")
    assert net(x).shape == (1, 3, net.minimum, net.minimum)


# Sizes.


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", GENERATORS)
def test_generators_keep_the_size(name, norm):
    net = GENERATORS[name](3, 3, 1, norm)
    m, step = net.minimum, net.multiple_of
    assert m % step == 0
    for height, width in {(m, m), (m, m + step), (m + step, m)}:
        assert net(torch.zeros(1, 3, height, width)).shape == (1, 3, height, width)


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_do_not_keep_other_sizes(name):
    net = GENERATORS[name](3, 3, 1)
    if net.multiple_of == 1:  # there is no other size
        return
    size = net.minimum + net.multiple_of - 1  # the next multiple is one pixel away
    try:
        assert net(torch.zeros(1, 3, size, size)).shape[2:] != (size, size)
    except RuntimeError as e:  # levels of a U-Net no longer fit together
        assert re.search(r"Sizes of tensors must match|size of tensor .* must match", str(e))


def discriminator(name, norm, layers=3):
    return DISCRIMINATORS[name](3, 2, norm, layers)


MINIMA = {*((name, 3) for name in DISCRIMINATORS), *(("n_layers", layers) for layers in LAYERS)}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("name", "layers"), sorted(MINIMA))
def test_discriminators_judge_the_smallest_image(name, layers, norm):
    net = discriminator(name, norm, layers)
    logits = net(torch.zeros(1, 3, net.minimum, net.minimum))
    assert all(y.numel() >= 1 for y in (logits if isinstance(logits, list) else [logits]))


@pytest.mark.parametrize(("name", "layers"), sorted(MINIMA))
def test_discriminators_cannot_judge_a_smaller_image(name, layers):
    net = discriminator(name, "instance", layers)
    with pytest.raises((ValueError, RuntimeError), match=r"more than 1|too small|can't be greater"):
        net(torch.zeros(1, 3, net.minimum - 1, net.minimum - 1))


# How far an input pixel reaches. With positive weights nothing cancels, so a gradient is zero where no path leads.


FAR = 400
"""Radius from which on the strips are so long that the test takes seconds."""


def without_tanh(net):
    """The network with the identity in the place of its last layer, which would hide what large values depend on."""
    for module in net.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Tanh):
                setattr(module, name, nn.Identity())
    return net


BOUNDED = {
    name for name in GENERATORS if any(isinstance(m, nn.Tanh) for m in on_meta(GENERATORS[name], 3, 3, 1).modules())
}
"""Networks with a tanh; the others add their output to the input, and translations are clamped."""
RADII = {name: on_meta(GENERATORS[name], 3, 3, 1).receptive_radius for name in GENERATORS}


SLOW_RADII = {"spade"}
"""Networks with cells of many pixels; a smaller one of the family is tried in tests/nn/networks."""


@pytest.mark.parametrize("axis", [2, 3], ids=["rows", "columns"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if radius > FAR or name in SLOW_RADII else ())
        for name, radius in RADII.items()
        if radius is not None
    ],
)
def test_receptive_radius_is_exact(name, axis):
    net = GENERATORS[name](1, 1, 1, "none")
    radius, cell = net.receptive_radius, net.multiple_of
    middle = (-(-radius // cell) + 2) * cell  # so far from the ends of a strip that no padding is seen there
    shape = (2 * middle, net.minimum) if axis == 2 else (net.minimum, 2 * middle)
    before_tanh = make_averaging(without_tanh(net))
    x = torch.rand(1, 1, *shape, dtype=torch.float64) + 0.5
    reaches = []
    for place in range(middle, middle + cell):  # pixels of one cell reach unlike far
        first, last = receptive_range(before_tanh, x, axis, place)
        reaches += [place - first, last - place]
    assert max(reaches) == radius


@pytest.mark.parametrize("name", [name for name, radius in RADII.items() if radius is None])
def test_without_a_receptive_radius_all_pixels_depend_on_all(name):
    net = GENERATORS[name](1, 1, 1, "none", False)
    m = net.minimum
    before_tanh = make_averaging(without_tanh(net))
    assert receptive_rows(before_tanh, torch.rand(1, 1, m, m, dtype=torch.float64) + 0.5, 0, 0) == (0, m - 1)


# Properties of all networks.


@pytest.mark.parametrize("name", sorted(BOUNDED))
def test_output_is_within_minus_one_and_one_however_large_the_input(name):
    # Without norms, SPADE's scales multiply a thousand by itself in each layer, beyond what float32 holds.
    norm = "instance" if name == "spade" else "none"
    net = normal_(GENERATORS[name](3, 3, 2, norm, False), 0, gain=1.0)
    y = net(1000 * random_tensor(1, 3, net.minimum, net.minimum).float())
    assert y.abs().max() <= 1
    assert y.abs().max() > 0.9


@pytest.mark.parametrize("name", GENERATORS | DISCRIMINATORS)
def test_no_pooling_layers(name):
    nets = [on_meta(GENERATORS[name], 3, 3)] if name in GENERATORS else []
    nets += [on_meta(DISCRIMINATORS[name], 3, 64, "batch", 3)] if name in DISCRIMINATORS else []
    assert not [type(m).__name__ for net in nets for m in net.modules() if "pool" in type(m).__name__.lower()]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", SMALL)
def test_a_batch_gives_what_single_images_give(name, norm):
    net = small_generator(name, norm, dropout=True).eval()
    x = random_tensor(3, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(net(x), torch.cat([net(image) for image in x.split(1)]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", SMALL)
def test_the_input_is_left_as_it_was(name, norm, training):
    net = small_generator(name, norm).train(training)
    x = random_tensor(2, 3, 16, 16)
    kept = x.clone()
    net(x)
    assert torch.equal(x, kept)


# The whole networks again, computed from their weights by torch's functions alone, nothing in place.


def resnet(w, x, norm, blocks):
    def conv(layer, x, **options):
        return F.conv2d(x, w[f"model.{layer}.weight"], w.get(f"model.{layer}.bias"), **options)

    def finish(layer, x):
        return F.relu(apply_norm(w, f"model.{layer + 1}", x, norm))

    def transposed(layer, x):
        weight, bias = w[f"model.{layer}.weight"], w.get(f"model.{layer}.bias")
        return F.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)

    def reflected(x, n):
        return F.pad(x, (n, n, n, n), mode="reflect")

    x = finish(1, conv(1, reflected(x, 3)))
    x = finish(4, conv(4, x, stride=2, padding=1))
    x = finish(7, conv(7, x, stride=2, padding=1))
    for block in range(10, 10 + blocks):
        y = conv(f"{block}.conv_block.1", reflected(x, 1))
        y = F.relu(apply_norm(w, f"model.{block}.conv_block.2", y, norm))
        y = conv(f"{block}.conv_block.5", reflected(y, 1))
        x = x + apply_norm(w, f"model.{block}.conv_block.6", y, norm)
    for layer in (10 + blocks, 13 + blocks):
        x = finish(layer, transposed(layer, x))
    return torch.tanh(conv(17 + blocks, reflected(x, 3)))


def unet(w, x, norm, levels):
    def down(layer, x):
        return F.conv2d(x, w[f"{layer}.weight"], w.get(f"{layer}.bias"), stride=2, padding=1)

    def up(layer, x):
        return F.conv_transpose2d(x, w[f"{layer}.weight"], w.get(f"{layer}.bias"), stride=2, padding=1)

    def level(prefix, x, depth):
        y = down(f"{prefix}.1", F.leaky_relu(x, 0.2))
        if depth == levels - 1:
            y = apply_norm(w, f"{prefix}.4", up(f"{prefix}.3", F.relu(y)), norm)
        else:
            y = level(f"{prefix}.3.model", apply_norm(w, f"{prefix}.2", y, norm), depth + 1)
            y = apply_norm(w, f"{prefix}.6", up(f"{prefix}.5", F.relu(y)), norm)
        return torch.cat([x, y], 1)

    y = level("model.model.1.model", down("model.model.0", x), 1)
    return torch.tanh(up("model.model.3", F.relu(y)))


FUNCTIONAL = {
    "resnet_3blocks": lambda w, x, norm: resnet(w, x, norm, 3),
    "unet_16": lambda w, x, norm: unet(w, x, norm, 4),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", FUNCTIONAL)
def test_generators_compute_what_their_weights_say(name, norm):
    """Output and gradients: layers that work in place must not spoil what the backward pass needs."""
    net = small_generator(name, norm).train()
    x = random_tensor(2, 3, 16, 16)
    y = net(x)
    w = {k: v.detach().clone().requires_grad_() for k, v in net.named_parameters()}
    expected = FUNCTIONAL[name](w, x, norm)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)
    (y * random_tensor(*y.shape, seed=1)).sum().backward()
    (expected * random_tensor(*y.shape, seed=1)).sum().backward()
    for key, p in net.named_parameters():
        torch.testing.assert_close(p.grad, w[key].grad, rtol=1e-8, atol=1e-8)
