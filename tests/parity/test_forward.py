"""Our networks and the double's, with the same weights, give the same numbers and gradients."""

import pytest
import torch
from torch import nn

from translate.nn.networks import DISCRIMINATORS, GENERATORS

from . import double

NORMS = ["batch", "instance", "none"]
RESNETS = ["resnet_9blocks", "resnet_6blocks", "resnet_3blocks"]
UNETS = ["unet_256", "unet_128", "unet_64", "unet_32"]
PATCHES = [("basic", 3), *(("n_layers", n) for n in range(1, 6)), ("pixel", 3)]
WIDTH = 4


def sides(name):
    """Height and width of the images that a generator is tried with; the smallest that a U-Net takes."""
    if name.startswith("resnet"):
        return 16, 20
    return (int(name.removeprefix("unet_")),) * 2


def images(count, channels, sides, dtype=torch.float32, seed=1):
    draws = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, *sides, generator=draws, dtype=torch.float64).mul(2).sub(1).to(dtype)


def randomise(net):
    """Weights larger than initial ones, so that a difference anywhere shows, and norms that have seen something."""
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.normal_(1, 0.2, generator=draws)
                module.running_mean.normal_(0, 0.2, generator=draws)
                module.running_var.uniform_(0.5, 2, generator=draws)
            elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, a=1, generator=draws)
            else:
                continue
            if module.bias is not None:
                module.bias.normal_(0, 0.2, generator=draws)
    return net


def with_same_weights(ours, theirs):
    """Both networks, with the same random weights and statistics; names and shapes must be alike in both directions."""
    ours.load_state_dict(randomise(theirs).state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


def generators(name, norm="instance", dropout=False, channels=(3, 3), width=WIDTH):
    return with_same_weights(
        GENERATORS[name](*channels, width, norm, dropout), double.generator(name, *channels, width, norm, dropout)
    )


def discriminators(name, layers=3, norm="instance", channels=3, width=WIDTH):
    return with_same_weights(
        DISCRIMINATORS[name](channels, width, norm, layers), double.discriminator(name, channels, width, norm, layers)
    )


def outputs(nets, x, training):
    """What both give, from the same random numbers."""
    given = []
    for net in nets:
        net.train(training)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.norm_statistics = "running"  # ours would divide by each image's own otherwise
        torch.manual_seed(0)
        given.append(net(x))
    return given


def assert_equal_numbers(nets, x, training):
    ours, theirs = outputs(nets, x, training)
    assert theirs.std() > 0.01, "outputs that hardly vary would agree whatever the network is"
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    buffers = dict(nets[1].named_buffers())
    for name, buffer in nets[0].named_buffers():
        torch.testing.assert_close(buffer, buffers[name], rtol=1e-5, atol=1e-5, msg=name)


# Forward.


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("dropout", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", RESNETS + UNETS)
def test_generators_give_the_same_numbers(name, norm, dropout, training):
    assert_equal_numbers(generators(name, norm, dropout), images(2, 3, sides(name)), training)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("channels", [(1, 3), (4, 2)])
@pytest.mark.parametrize("name", ["resnet_3blocks", "unet_32"])
def test_generators_of_other_channels_give_the_same_numbers(name, channels, training):
    nets = generators(name, "batch", channels=channels)
    assert_equal_numbers(nets, images(2, channels[0], sides(name)), training)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("name", "layers"), PATCHES)
def test_discriminators_give_the_same_numbers(name, layers, norm, training):
    side = 4 * 2**layers
    assert_equal_numbers(discriminators(name, layers, norm), images(2, 3, (side, side + 4)), training)


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_discriminators_of_other_channels_give_the_same_numbers(channels):
    assert_equal_numbers(discriminators("basic", channels=channels), images(2, channels, (32, 32)), training=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "norm", "dropout", "side"), [("resnet_9blocks", "instance", False, 64), ("unet_256", "batch", True, 256)]
)
def test_generators_of_full_width_give_the_same_numbers(name, norm, dropout, side):
    nets = generators(name, norm, dropout, width=64)
    with torch.no_grad():
        assert_equal_numbers(nets, images(1, 3, (side, side)), training=True)


@pytest.mark.parametrize(("channels", "norm"), [(3, "instance"), (6, "batch")])
def test_discriminators_of_full_width_give_the_same_numbers(channels, norm):
    nets = discriminators("basic", norm=norm, channels=channels, width=64)
    assert_equal_numbers(nets, images(1, channels, (64, 64)), training=True)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["resnet_6blocks", "unet_64"])
def test_translation_is_the_reference_s_training_mode_on_one_image(name, norm):
    """The papers translate with the statistics of the image itself. Without keys nothing is dropped."""
    ours, theirs = generators(name, norm, dropout=True)
    x = images(3, 3, sides(name))
    ours.eval()
    theirs.train()
    for module in theirs.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        singles = torch.cat([theirs(image) for image in x.split(1)])
        assert singles.std() > 0.01
        torch.testing.assert_close(torch.cat([ours(image) for image in x.split(1)]), singles, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours(x), singles, rtol=1e-5, atol=1e-5)


# Gradients.


def gradients(net, x):
    """Of a fixed mix of the outputs: by the input and by every weight."""
    net.train()
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    net.zero_grad()
    torch.manual_seed(0)
    y = net(x)
    (y * images(*y.shape[:2], y.shape[2:], y.dtype, seed=2)).sum().backward()
    return {"input": x.grad, **{name: p.grad for name, p in net.named_parameters()}}


NETS = {
    "resnet_3blocks": lambda norm, dropout: generators("resnet_3blocks", norm, dropout),
    "unet_64": lambda norm, dropout: generators("unet_64", norm, dropout),
    "basic": lambda norm, _: discriminators("basic", norm=norm),
    "pixel": lambda norm, _: discriminators("pixel", norm=norm),
}
SIDES = {"resnet_3blocks": (16, 20), "unet_64": (64, 64), "basic": (32, 36), "pixel": (16, 20)}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NETS)
def test_gradients_are_the_same(name, norm, count):
    ours, theirs = (net.double() for net in NETS[name](norm, True))
    x = images(count, 3, SIDES[name], torch.float64)
    got, expected = gradients(ours, x), gradients(theirs, x)
    largest = max(gradient.norm() for gradient in expected.values())
    for weight, gradient in expected.items():
        scale = largest if weight in double.idle_biases(theirs) else gradient.norm()
        assert scale > 0
        assert (got[weight] - gradient).norm() <= 1e-10 * scale, weight


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("name", NETS)
def test_float32_gradients_are_right_in_either_memory_format(name, layout):
    """For one image torch's own instance norm is not, on a channels_last gradient. Rounding costs some 1e-6."""
    ours, theirs = NETS[name]("instance", False)  # without dropout, whose masks are drawn in the order of memory
    x = images(1, 3, SIDES[name])
    got = gradients(ours.to(memory_format=layout), x.to(memory_format=layout))
    expected = gradients(theirs.double(), x.double())
    for weight in expected.keys() - double.idle_biases(theirs):
        gradient = expected[weight]
        assert (got[weight] - gradient).norm() <= 1e-4 * gradient.norm(), weight
