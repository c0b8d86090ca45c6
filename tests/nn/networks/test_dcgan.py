"""DCGAN's networks: their layers, sizes and numbers of parameters, and virtual batch norm against its formula."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate.nn.init import normal_
from translate.nn.networks import dcgan
from translate.nn.networks.dcgan import (
    DCGANDiscriminator,
    DCGANGenerator,
    VirtualBatchNorm2d,
    layer_widths,
)
from translate.runtime import precision

from ...helpers import on_meta, random_tensor


def virtual(size=32, references=5, seed=0):
    """A narrow generator in float64 with virtual batch norm, whose weights are large enough to matter."""
    net = DCGANGenerator(6, 3, size, 2, reference=random_tensor(references, 6, seed=seed + 100)).double()
    return normal_(net, seed, gain=0.4)


# The networks.


def test_maps_are_those_of_figure_1():
    assert layer_widths(64, 128) == [128, 256, 512, 1024]
    assert layer_widths(32, 128) == [128, 256, 512]
    assert layer_widths(256, 16) == [16, 32, 64, 128, 128, 128]


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_shapes(size):
    image = DCGANGenerator(7, 3, size, 2)(torch.zeros(2, 7))
    assert image.shape == (2, 3, size, size)
    assert DCGANDiscriminator(3, size, 2)(image).shape == (2, 1, 1, 1)


def test_numbers_of_parameters():
    """By hand, at 64 pixels: 16 weights for each pair of channels, 2 for each channel that is normalised; biases next to
    images and at the logit alone."""
    inner = [1024, 512, 256, 128]
    between = 1024 * 512 + 512 * 256 + 256 * 128
    generator = on_meta(DCGANGenerator, 100, 3, 64, 128)
    assert sum(p.numel() for p in generator.parameters()) == 16 * (100 * 1024 + between + 128 * 3) + 2 * sum(inner) + 3
    discriminator = on_meta(DCGANDiscriminator, 3, 64, 128)
    expected = 16 * (3 * 128 + between + 1024) + 2 * (256 + 512 + 1024) + 128 + 1
    assert sum(p.numel() for p in discriminator.parameters()) == expected


def test_layers_follow_the_paper():
    """Sec. 3: strides for pooling; batch norm everywhere but at images and at the logit; ReLU and tanh; LeakyReLU of 0.2."""
    generator, discriminator = on_meta(DCGANGenerator, 9, 3, 64, 2), on_meta(DCGANDiscriminator, 3, 64, 2)
    kinds = [type(layer).__name__ for layer in (generator.project, *generator.model)]
    assert kinds == 4 * ["ConvTranspose2d", "BatchNorm2d", "ReLU"] + ["ConvTranspose2d", "Tanh"]
    kinds = [type(layer).__name__ for layer in discriminator.model]
    assert kinds == ["Conv2d", "LeakyReLU"] + 3 * ["Conv2d", "BatchNorm2d", "LeakyReLU"] + ["Conv2d"]
    assert {layer.negative_slope for layer in discriminator.model if isinstance(layer, nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize("norm", ["batch", "instance", "none", "virtual"])
def test_biases_are_where_no_norm_takes_them_away(norm):
    reference = random_tensor(3, 9) if norm == "virtual" else None
    generator = DCGANGenerator(9, 3, 32, 2, "batch" if norm == "virtual" else norm, reference)
    inner = [generator.project, *(layer for layer in generator.model if isinstance(layer, nn.ConvTranspose2d))][:-1]
    assert {layer.bias is not None for layer in inner} == {norm == "none"}
    if norm != "virtual":
        *between, _ = [layer for layer in DCGANDiscriminator(3, 32, 2, norm).model if isinstance(layer, nn.Conv2d)][1:]
        assert {layer.bias is not None for layer in between} == {norm == "none"}


def test_all_its_maps_are_recomputed_in_training_alone(monkeypatch):
    """What recomputing leaves as it is, tests of all methods say."""
    runs = []

    def recomputed(layers, x):
        runs.append([module for layer in layers for module in layer.modules()])
        return nn.Sequential(*layers)(x)

    monkeypatch.setattr(dcgan, "checkpoint_layers", recomputed)
    net, code = virtual(), random_tensor(2, 6)
    net.gradient_checkpointing = True
    images = net(code)
    assert {module for run in runs for module in run} == set(net.modules()) - {net}
    with torch.no_grad():
        assert torch.equal(net(code), images)
    assert torch.equal(net.eval()(code), images)
    assert len(runs) == 1


# Virtual batch norm.


def test_virtual_batch_norm_by_its_formula():
    """Sec. 3.5: mean and mean square are (n · reference + own) / (n + 1) of the reference batch and the image."""
    n, norm = 5, VirtualBatchNorm2d(3, 5).double()
    normal_(norm, 0, gain=0.5)
    norm.bias.data = random_tensor(3, seed=9)
    reference, x = random_tensor(n, 3, 4, 4) + 0.5, 2 * random_tensor(2, 3, 4, 4, seed=1)
    given = norm(torch.cat([reference, x]))
    for i, image in enumerate(x):
        for c in range(3):
            mean = (n * reference[:, c].mean() + image[c].mean()) / (n + 1)
            square = (n * reference[:, c].square().mean() + image[c].square().mean()) / (n + 1)
            expected = (image[c] - mean) / (square - mean**2 + 1e-5).sqrt() * norm.weight[c] + norm.bias[c]
            torch.testing.assert_close(given[n + i, c], expected, rtol=0, atol=1e-12)
    own = F.batch_norm(reference, None, None, norm.weight, norm.bias, training=True)
    torch.testing.assert_close(given[:n], own, rtol=0, atol=1e-12)


def test_virtual_batch_norm_keeps_its_digits_far_from_zero():
    """A mean of 1000 and a spread of 0.1 in float32: squares of a million, whose difference would be all rounding."""
    norm = VirtualBatchNorm2d(1, 4)
    x = (1000 + 0.1 * random_tensor(6, 1, 8, 8)).float()
    exact = VirtualBatchNorm2d(1, 4).double()(x.double())
    assert (norm(x) - exact).abs().max() < 1e-3


def test_virtual_batch_norm_computes_in_float32_under_autocast():
    norm = VirtualBatchNorm2d(2, 3)
    x = random_tensor(7, 2, 4, 4).bfloat16()
    with precision.PRECISIONS["bf16"].autocast(torch.device("cpu")):
        given = norm(x)
    assert given.dtype == torch.bfloat16
    assert torch.equal(given, norm(x.float()).bfloat16())


def two_passes(net, code):
    """What a generator with virtual batch norm makes, as the paper says it: the reference batch goes through first, and leaves
    its mean and mean square behind at each norm."""
    statistics, n = [], len(net.reference)
    reference = code.new_tensor(net.reference.tolist())[:, :, None, None]
    for layer in (net.project, *net.model):
        if isinstance(layer, VirtualBatchNorm2d):
            statistics.append((reference.mean((0, 2, 3)), reference.square().mean((0, 2, 3))))
            reference = F.batch_norm(reference, None, None, layer.weight, layer.bias, training=True)
        else:
            reference = layer(reference)
    images = []
    for one in code:
        x, left = one[None, :, None, None], iter(statistics)
        for layer in (net.project, *net.model):
            if isinstance(layer, VirtualBatchNorm2d):
                mean, square = (
                    (n * r + own.mean((0, 2, 3))) / (n + 1) for r, own in zip(next(left), (x, x * x), strict=True)
                )
                scale = layer.weight / (square - mean**2 + layer.eps).sqrt()
                x = (x - mean[:, None, None]) * scale[:, None, None] + layer.bias[:, None, None]
            else:
                x = layer(x)
        images.append(x)
    return torch.cat(images)


def test_a_generator_with_virtual_batch_norm_is_two_passes():
    """Output and gradients, which flow through the reference batch too."""
    net, code = virtual(), random_tensor(3, 6)
    images, expected = net(code), two_passes(net, code)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-10)
    loss = random_tensor(*images.shape, seed=3)
    ours, theirs = (torch.autograd.grad((x * loss).sum(), list(net.parameters())) for x in (images, expected))
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("training", [True, False])
def test_images_of_a_batch_are_independent(training):
    net, code = virtual().train(training), random_tensor(4, 6)
    whole = net(code)
    for i in range(4):
        torch.testing.assert_close(net(code[i : i + 1]), whole[i : i + 1], rtol=0, atol=1e-12)
    assert (whole[0] - whole[1]).abs().max() > 0.01


def test_training_and_evaluation_are_the_same():
    net, code = virtual(), random_tensor(2, 6)
    before = {key: x.clone() for key, x in net.state_dict().items()}
    trained = net(code)
    assert torch.equal(trained, net.eval()(code))
    assert all(torch.equal(x, before[key]) for key, x in net.state_dict().items())


def test_the_reference_batch_is_kept_with_the_weights():
    net, code = virtual(), random_tensor(2, 6)
    empty = on_meta(DCGANGenerator, 6, 3, 32, 2, reference=torch.empty(5, 6))
    empty.load_state_dict(net.state_dict(), assign=True)
    assert torch.equal(empty(code), net(code))
    other = copy.deepcopy(net)
    other.reference.copy_(random_tensor(5, 6, seed=7))
    assert (other(code) - net(code)).abs().max() > 1e-3
    assert "reference" not in DCGANGenerator(6, 3, 32, 2).state_dict()
