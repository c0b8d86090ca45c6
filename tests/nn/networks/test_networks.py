import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.helpers import random_tensor, small_generator
from translate.nn.blocks import Dropout
from translate.nn.init import normal_
from translate.nn.networks import DISCRIMINATORS, GENERATORS, deepest_unet
from translate.nn.networks.patchgan import PatchDiscriminator, PixelDiscriminator

NORMS = ["batch", "instance", "none"]
SMALL = ["resnet_3blocks", "unet_16"]
LAYERS = range(1, 7)


def on_meta(build, *args, **kwargs):
    with torch.device("meta"):
        return build(*args, **kwargs)


def weights(net):
    """Names of the layers that have a weight → whether they have a bias too."""
    keys = net.state_dict().keys()
    return {k.removesuffix(".weight"): k.removesuffix("weight") + "bias" in keys for k in keys if k.endswith(".weight")}


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


def resnet_layers(blocks, batch, dropout):
    """The layers of the reference's ResNet: name → has a bias."""
    second = 6 if dropout else 5
    up = 10 + blocks
    convs = ["1", "4", "7", str(up), str(up + 3)]
    convs += [f"{10 + b}.conv_block.{i}" for b in range(blocks) for i in (1, second)]
    layers = {f"model.{c}": not batch for c in convs} | {f"model.{up + 7}": True}
    if batch:
        norms = ["2", "5", "8", str(up + 1), str(up + 4)]
        norms += [f"{10 + b}.conv_block.{i}" for b in range(blocks) for i in (2, second + 1)]
        layers |= {f"model.{n}": True for n in norms}
    return layers


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("blocks", [9, 6])
def test_resnet_layers_are_named_as_in_the_reference(blocks, norm, dropout):
    net = on_meta(GENERATORS[f"resnet_{blocks}blocks"], 3, 3, 64, norm, dropout)
    assert weights(net) == resnet_layers(blocks, norm == "batch", dropout)


@pytest.mark.parametrize(
    ("dropout", "norm", "key", "shape"),
    [
        (False, "instance", "model.1.weight", (64, 3, 7, 7)),
        (False, "instance", "model.4.weight", (128, 64, 3, 3)),
        (False, "instance", "model.7.bias", (256,)),
        (False, "instance", "model.18.conv_block.5.weight", (256, 256, 3, 3)),
        (False, "instance", "model.19.weight", (256, 128, 3, 3)),
        (False, "instance", "model.22.weight", (128, 64, 3, 3)),
        (False, "instance", "model.26.weight", (3, 64, 7, 7)),
        (True, "instance", "model.10.conv_block.6.weight", (256, 256, 3, 3)),
        (True, "batch", "model.10.conv_block.7.running_mean", (256,)),
        (False, "batch", "model.2.running_var", (64,)),
        (False, "batch", "model.23.weight", (64,)),
    ],
)
def test_tensors_of_resnet_9blocks(dropout, norm, key, shape):
    net = on_meta(GENERATORS["resnet_9blocks"], 3, 3, 64, norm, dropout)
    assert net.state_dict()[key].shape == shape


def unet_layers(levels, batch):
    """The layers of the reference's U-Net, from the outermost level to the innermost: name → has a bias."""
    layers = {"model.model.0": not batch, "model.model.3": True}
    level = "model.model.1.model"
    for _ in range(levels - 2):
        layers |= {f"{level}.1": not batch, f"{level}.5": not batch}
        if batch:
            layers |= {f"{level}.2": True, f"{level}.6": True}
        level += ".3.model"
    layers |= {f"{level}.1": not batch, f"{level}.3": not batch}
    if batch:
        layers[f"{level}.4"] = True
    return layers


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("levels", range(2, 9))
def test_unet_layers_are_named_as_in_the_reference(levels, norm, dropout):
    net = on_meta(GENERATORS[f"unet_{2**levels}"], 3, 3, 64, norm, dropout)
    assert weights(net) == unet_layers(levels, norm == "batch")


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("model.model.0.weight", (64, 3, 4, 4)),
        ("model.model.1.model.1.weight", (128, 64, 4, 4)),
        ("model.model.1.model.3.model.1.weight", (256, 128, 4, 4)),
        ("model.model.1" + ".model.3" * 6 + ".model.1.weight", (512, 512, 4, 4)),
        ("model.model.1" + ".model.3" * 6 + ".model.3.weight", (512, 512, 4, 4)),
        ("model.model.1" + ".model.3" * 6 + ".model.4.running_mean", (512,)),
        ("model.model.1.model.5.weight", (256, 64, 4, 4)),
        ("model.model.1.model.6.weight", (64,)),
        ("model.model.3.weight", (128, 3, 4, 4)),
    ],
)
def test_tensors_of_unet_256(key, shape):
    assert on_meta(GENERATORS["unet_256"], 3, 3).state_dict()[key].shape == shape


@pytest.mark.parametrize(("levels", "count"), [(8, 3), (7, 2), (6, 1), (5, 0), (4, 0), (2, 0)])
def test_unet_drops_out_last_in_the_blocks_around_the_innermost(levels, count):
    net = on_meta(GENERATORS[f"unet_{2**levels}"], 3, 3)
    innermost = "model.model.1" + ".model.3" * (levels - 2)
    expected = {innermost.removesuffix(".model.3" * n) + ".model.7" for n in range(1, count + 1)}
    assert {name for name, layer in net.named_modules() if isinstance(layer, Dropout)} == expected


@pytest.mark.parametrize("name", GENERATORS)
def test_no_dropout_where_it_is_off(name):
    net = on_meta(GENERATORS[name], 3, 3, 64, "batch", False)
    assert not any(isinstance(layer, (Dropout, nn.Dropout)) for layer in net.modules())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layers", LAYERS)
def test_patch_discriminator_layers_are_named_as_in_the_reference(layers, norm):
    inner = [2 + 3 * n for n in range(layers)]
    last = inner[-1] + 3
    expected = {"model.0": True, f"model.{last}": True} | {f"model.{i}": norm == "instance" for i in inner}
    if norm == "batch":
        expected |= {f"model.{i + 1}": True for i in inner}
    net = on_meta(PatchDiscriminator, 3, 64, norm, layers)
    assert weights(net) == expected
    assert net.state_dict()[f"model.{last}.weight"].shape == (1, 64 * min(2**layers, 8), 4, 4)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("instance", {"net.0": True, "net.2": True, "net.5": True}),
        ("batch", {"net.0": True, "net.2": False, "net.3": True, "net.5": False}),
        ("none", {"net.0": True, "net.2": False, "net.5": False}),
    ],
)
def test_pixel_discriminator_layers_are_named_as_in_the_reference(norm, expected):
    assert weights(on_meta(PixelDiscriminator, 3, 64, norm)) == expected


@pytest.mark.parametrize(
    ("name", "last"), [("resnet_9blocks", "model.26"), ("unet_256", "model.model.3"), ("unet_4", "model.model.3")]
)
def test_without_norm_only_the_last_convolution_has_a_bias(name, last):
    """The reference gives a bias to convolutions in front of an instance norm alone."""
    biased = {layer for layer, bias in weights(on_meta(GENERATORS[name], 3, 3, 64, "none")).items() if bias}
    assert biased == {last}


@pytest.mark.parametrize("name", GENERATORS)
def test_channels_in_and_out_may_differ(name):
    net = on_meta(GENERATORS[name], 1, 3, 8)
    x = torch.zeros(1, 1, net.minimum, net.minimum, device="meta")
    assert net(x).shape == (1, 3, net.minimum, net.minimum)


@pytest.mark.parametrize(
    ("crop", "levels"), [(256, 8), (512, 8), (128, 7), (384, 7), (64, 6), (96, 5), (32, 5), (260, 2), (4, 2)]
)
def test_unet_for_a_crop_takes_it_and_is_no_deeper_than_eight_levels(crop, levels):
    name = deepest_unet(crop)
    assert name == f"unet_{2**levels}"
    net = on_meta(GENERATORS[name], 3, 3)
    assert crop % net.multiple_of == 0
    assert crop >= net.minimum


@pytest.mark.parametrize("crop", [255, 130, 2, 1])
def test_no_unet_for_a_crop_that_cannot_be_halved_twice(crop):
    assert deepest_unet(crop) is None


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
    size = net.minimum + net.multiple_of - 1  # the next multiple is one pixel away
    try:
        assert net(torch.zeros(1, 3, size, size)).shape[2:] != (size, size)
    except RuntimeError as e:  # levels of a U-Net no longer fit together
        assert re.search("Sizes of tensors must match", str(e))


@pytest.mark.parametrize("name", ["resnet_9blocks", "resnet_6blocks", "resnet_3blocks"])
def test_resnet_cannot_take_the_multiple_below_its_minimum(name):
    net = GENERATORS[name](3, 3, 1, "instance")
    size = net.minimum - net.multiple_of
    with pytest.raises(ValueError, match="more than 1 value"):
        net(torch.zeros(1, 3, size, size))


def discriminator(name, norm, layers=3):
    return DISCRIMINATORS[name](3, 2, norm, layers)


MINIMA = {*((name, 3) for name in DISCRIMINATORS), *(("n_layers", layers) for layers in LAYERS)}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("name", "layers"), sorted(MINIMA))
def test_discriminators_judge_the_smallest_image(name, layers, norm):
    net = discriminator(name, norm, layers)
    assert net(torch.zeros(1, 3, net.minimum, net.minimum)).numel() >= 1


@pytest.mark.parametrize(("name", "layers"), sorted(MINIMA))
def test_discriminators_cannot_judge_a_smaller_image(name, layers):
    net = discriminator(name, "instance", layers)
    with pytest.raises((ValueError, RuntimeError), match=r"more than 1|too small|can't be greater"):
        net(torch.zeros(1, 3, net.minimum - 1, net.minimum - 1))


@pytest.mark.parametrize(("name", "logits"), [("basic", (1, 1, 30, 30)), ("pixel", (1, 1, 256, 256))])
def test_logits_for_256_pixels(name, logits):
    assert (
        on_meta(DISCRIMINATORS[name], 3, 64, "instance", 3)(torch.zeros(1, 3, 256, 256, device="meta")).shape == logits
    )


# How far an input pixel reaches. With positive weights nothing cancels, so a gradient is zero where no path leads.


def positive(net):
    for p in net.parameters():
        nn.init.constant_(p, 1 / max(1, p[0].numel()))
    return net.double()


def reached(net, x, row, column):
    """Rows of x on which one output pixel depends: the first and the last; all others have no gradient at all."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[0, 0, row, column], x)
    rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
    columns = gradient.abs().sum((0, 1, 2)).nonzero().flatten()
    assert torch.equal(rows, columns)
    return int(rows[0]), int(rows[-1])


RADII = {name: on_meta(GENERATORS[name], 3, 3, 1).receptive_radius for name in GENERATORS}


@pytest.mark.parametrize("name", [name for name, radius in RADII.items() if radius is not None])
def test_receptive_radius_is_exact(name):
    net = GENERATORS[name](1, 1, 1, "none")
    radius = net.receptive_radius
    size = 2 * (radius + 2 * net.multiple_of)  # so far from the border that no padding is seen
    before_tanh = positive(net.model[:-1])
    x = torch.rand(1, 1, size, size, dtype=torch.float64) + 0.5
    reaches = []
    for place in range(size // 2, size // 2 + net.multiple_of):  # pixels of one cell reach unlike far
        first, last = reached(before_tanh, x, place, place)
        reaches += [place - first, last - place]
    assert max(reaches) == radius


@pytest.mark.parametrize("name", [name for name, radius in RADII.items() if radius is None])
def test_without_a_receptive_radius_all_pixels_depend_on_all(name):
    net = GENERATORS[name](1, 1, 1, "none", False)
    m = net.minimum
    before_tanh = positive(net.model.model[:-1])
    assert reached(before_tanh, torch.rand(1, 1, m, m, dtype=torch.float64) + 0.5, 0, 0) == (0, m - 1)


@pytest.mark.parametrize(
    ("name", "layers", "patch"),
    [("n_layers", 1, 16), ("n_layers", 2, 34), ("n_layers", 3, 70), ("n_layers", 5, 286), ("basic", 5, 70)],
)
def test_patches_are_as_large_as_in_the_paper(name, layers, patch):
    net = positive(DISCRIMINATORS[name](1, 1, "none", layers))
    size = 2 * patch
    x = torch.rand(1, 1, size, size, dtype=torch.float64)
    middle = net(x).shape[2] // 2
    first, last = reached(net, x, middle, middle)
    assert last - first + 1 == patch


def test_pixel_discriminator_judges_each_pixel_on_its_own():
    net = positive(PixelDiscriminator(1, 1, "none"))
    assert reached(net, torch.rand(1, 1, 5, 5, dtype=torch.float64), 3, 3) == (3, 3)


# What all networks have in common.


@pytest.mark.parametrize("name", GENERATORS)
def test_output_is_within_minus_one_and_one_however_large_the_input(name):
    net = normal_(GENERATORS[name](3, 3, 2, "none", False), 0, gain=1.0)
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


def norm_of(w, layer, x, norm):
    if norm == "batch":
        return F.batch_norm(x, None, None, w[f"{layer}.weight"], w[f"{layer}.bias"], training=True)
    return F.instance_norm(x) if norm == "instance" else x


def resnet(w, x, norm, blocks):
    def conv(layer, x, **options):
        return F.conv2d(x, w[f"model.{layer}.weight"], w.get(f"model.{layer}.bias"), **options)

    def finish(layer, x):
        return F.relu(norm_of(w, f"model.{layer + 1}", x, norm))

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
        y = F.relu(norm_of(w, f"model.{block}.conv_block.2", y, norm))
        y = conv(f"{block}.conv_block.5", reflected(y, 1))
        x = x + norm_of(w, f"model.{block}.conv_block.6", y, norm)
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
            y = norm_of(w, f"{prefix}.4", up(f"{prefix}.3", F.relu(y)), norm)
        else:
            y = level(f"{prefix}.3.model", norm_of(w, f"{prefix}.2", y, norm), depth + 1)
            y = norm_of(w, f"{prefix}.6", up(f"{prefix}.5", F.relu(y)), norm)
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


@pytest.mark.parametrize("norm", NORMS)
def test_patch_discriminator_computes_what_its_weights_say(norm):
    net = normal_(PatchDiscriminator(3, 4, norm).double(), 0, gain=0.2)
    x = random_tensor(2, 3, 32, 32)
    w = dict(net.named_parameters())
    y = F.leaky_relu(F.conv2d(x, w["model.0.weight"], w["model.0.bias"], stride=2, padding=1), 0.2)
    for layer, stride in ((2, 2), (5, 2), (8, 1)):
        y = F.conv2d(y, w[f"model.{layer}.weight"], w.get(f"model.{layer}.bias"), stride=stride, padding=1)
        y = F.leaky_relu(norm_of(w, f"model.{layer + 1}", y, norm), 0.2)
    y = F.conv2d(y, w["model.11.weight"], w["model.11.bias"], padding=1)
    torch.testing.assert_close(net(x), y, rtol=0, atol=1e-10)
