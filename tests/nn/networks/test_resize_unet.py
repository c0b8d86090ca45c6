"""U-Net of resize-convolutions: size by a table of its layers, values by torch's functions alone, reach, names and outputs."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate.errors import UsageError
from translate.nn.blocks import Dropout
from translate.nn.init import normal_
from translate.nn.networks import GENERATORS, find
from translate.nn.networks.resize_unet import ResizeUnetGenerator, level_widths

from ...helpers import on_meta, parameter_count, random_tensor
from .helpers import apply_norm, make_averaging, receptive_rows

MEASURED = {
    "resize_unet_3levels_2blocks": (16, (16, 32, 64), 12, 2, 1),
    "resize_unet_4levels_2blocks_2last": (24, (24, 48, 96, 128), 16, 2, 2),
    "resize_unet": (64, (64, 128, 256, 256), 32, 6, 1),
}
"""Width, widths of the levels, width at the full size, residual blocks and last convolutions of the networks in use."""


def small(levels=2, blocks=1, last_convs=1, norm="batch", dropout=False, residual=False, key=0):
    """A narrow network in float64 whose weights, gains and norms are large enough to matter, the last convolution too."""
    net = ResizeUnetGenerator(3, 3, 4, norm, dropout, levels=levels, blocks=blocks, last_convs=last_convs).double()
    if residual:
        net.use_residual_output()
        net.double()
    normal_(net, key, gain=0.2)
    for n, block in enumerate(net.model[0].bottom):
        nn.init.constant_(block.gain, 0.3 + n)
    return net


# Size: the layers as (channels in, channels out, side of the kernel), and the pixels of an output of 1 × 1 at full size.


def table(widths, last, blocks, last_convs):
    """Return ((in, out, kernel), share of the image's pixels, has a norm) of every convolution."""
    stem = ((3, widths[0], 4), 1 / 4, True)
    down = [((widths[n - 1], widths[n], 4), 1 / 4 ** (n + 1), True) for n in range(1, len(widths))]
    bottom = [((widths[-1], widths[-1], 3), 1 / 4 ** len(widths), True)] * (2 * blocks)
    up = []
    for n in range(len(widths) - 1, 0, -1):
        up.append(((widths[n], widths[n - 1], 1), 1 / 4 ** (n + 1), False))
        up.append(((widths[n - 1], widths[n - 1], 3), 1 / 4**n, True))
    end = [((widths[0], last, 1), 1 / 4, False), ((last + 3, last, 3), 1, True)]
    end += [((last, last, 3), 1, True)] * (last_convs - 1)
    return [stem, *down, *bottom, *up, *end, ((last, 3, 3), 1, False)]


@pytest.mark.parametrize(
    ("name", "norm", "parameters"),
    [
        ("resize_unet_3levels_2blocks", "batch", 206_261),
        ("resize_unet_4levels_2blocks_2last", "batch", 1_014_533),
        ("resize_unet", "batch", 9_687_049),
        ("resize_unet_3levels_2blocks", "instance", 205_421),
        ("resize_unet_3levels_2blocks", "none", 205_893),
    ],
)
def test_parameters_are_those_of_the_table(name, norm, parameters):
    """Weights; a bias of the output and a gain a block; scale and shift of batch norms; without norms, biases.

    Instance norm leaves the first convolution alone, which has a bias then.
    """
    width, widths, last, blocks, last_convs = MEASURED[name]
    layers = table(widths, last, blocks, last_convs)
    count = sum(cin * cout * kernel**2 for (cin, cout, kernel), _, _ in layers) + 3 + blocks
    if norm == "batch":
        count += sum(2 * cout for (_, cout, _), _, normed in layers if normed)
    elif norm == "instance":
        count += widths[0]
    else:
        count += sum(cout for (_, cout, _), _, _ in layers[:-1])
    assert count == parameters
    assert parameter_count(on_meta(GENERATORS[name], 3, 3, width, norm)) == parameters


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("resize_unet_3levels_2blocks", 0.028),
        ("resize_unet_4levels_2blocks_2last", 0.063),
        ("resize_unet", 5.9 / 16),  # 5.9 at 256 px
    ],
)
def test_multiplications_of_an_image_of_64_pixels(name, billions):
    width, widths, last, blocks, last_convs = MEASURED[name]
    net, made = GENERATORS[name](3, 3, width), []
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda own, _, y: made.append(own.weight.numel() * y.shape[2] * y.shape[3]))
    with torch.no_grad():
        net(torch.zeros(1, 3, 64, 64))
    layers = table(widths, last, blocks, last_convs)
    assert sum(made) == sum(cin * cout * kernel**2 * share * 64**2 for (cin, cout, kernel), share, _ in layers)
    assert sum(made) / 1e9 == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize(
    ("width", "levels", "expected"),
    [
        (16, 6, [16, 32, 64, 64, 64, 64]),
        (24, 4, [24, 48, 96, 128]),
        (64, 2, [64, 128]),
        (1, 8, [1, 2, 4, 8, 16, 32, 64, 64]),
    ],
)
def test_widths_double_up_to_four_widths_rounded_up_to_64(width, levels, expected):
    assert level_widths(width, levels) == expected


# Names.


@pytest.mark.parametrize(
    ("name", "levels", "blocks", "last_convs"),
    [
        ("resize_unet", 4, 6, 1),
        ("resize_unet_3levels_2blocks", 3, 2, 1),
        ("resize_unet_4levels_2blocks_2last", 4, 2, 2),
        ("resize_unet_1levels_12blocks_9last", 1, 12, 9),
        ("resize_unet_8levels_1blocks_1last", 8, 1, 1),
    ],
)
def test_a_name_says_levels_blocks_and_last_convolutions(name, levels, blocks, last_convs):
    net = on_meta(find(name), 3, 3, 2)
    layers = net.model[0]
    assert (len(layers.downs), len(layers.bottom), len(layers.last)) == (levels, blocks, last_convs)
    assert net.multiple_of == 2**levels


@pytest.mark.parametrize(
    "name",
    [
        "resize_unet_", "resize_unet_0levels_2blocks", "resize_unet_9levels_2blocks", "resize_unet_3levels_0blocks",
        "resize_unet_3levels", "resize_unet_2blocks", "resize_unet_3levels_2blocks_0last", "resize_unet_3levels_2blocks_10last",
        "resize_unet_03levels_2blocks", "resize_unet_3levels_2blocks_", "resize_unet_256",
    ],
)  # fmt: skip
def test_other_numbers_are_no_names(name):
    assert find(name) is None


# Values.


def written_out(w, x, norm, levels, blocks, last_convs):
    """The network computed again from its weights by torch's functions alone, but its output."""

    def conv(layer, x, padding=1, **options):
        x = F.pad(x, [padding] * 4, mode="reflect") if padding else x
        return F.conv2d(x, w[f"model.0.{layer}.weight"], w.get(f"model.0.{layer}.bias"), **options)

    def normed(layer, number, x):
        return apply_norm(w, f"model.0.{layer}.{number}", x, norm)

    def double(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    maps = []
    y = x
    for n in range(levels):
        y = conv(f"downs.{n}.1", y, stride=2)
        if n or norm == "batch":
            y = normed(f"downs.{n}", 2, y)
        y = F.leaky_relu(y, 0.2)
        maps.append(y)
    for n in range(blocks):
        inner = F.leaky_relu(normed(f"bottom.{n}.conv_block.0", 2, conv(f"bottom.{n}.conv_block.0.1", y)), 0.2)
        inner = normed(f"bottom.{n}.conv_block", 3, conv(f"bottom.{n}.conv_block.2", inner))
        y = y + (0.3 + n) * inner
    for n in range(levels - 1):
        y = (double(conv(f"ups.{n}.0", y, 0)) + maps[levels - 2 - n]) / math.sqrt(2)
        y = F.leaky_relu(normed(f"merges.{n}", 2, conv(f"merges.{n}.1", y)), 0.2)
    y = torch.cat([double(conv("last_up.0", y, 0)), x], 1)
    for n in range(last_convs):
        y = F.leaky_relu(normed(f"last.{n}", 2, conv(f"last.{n}.1", y)), 0.2)
    return conv("out.1", y)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize(("levels", "blocks", "last_convs"), [(3, 2, 1), (1, 1, 2)])
def test_it_computes_what_its_weights_say(levels, blocks, last_convs, norm, residual):
    """Output and gradients: layers that work in place must not spoil what the backward pass needs."""
    net = small(levels, blocks, last_convs, norm, residual=residual)
    x = random_tensor(2, 3, 32, 48)
    y = net(x)
    w = {k: v.detach().clone().requires_grad_() for k, v in net.named_parameters()}
    expected = written_out(w, x, norm, levels, blocks, last_convs)
    expected = F.conv2d(x, w["colour.weight"], w["colour.bias"]) + expected if residual else torch.tanh(expected)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)
    given = {k: p for k, p in net.named_parameters() if not k.endswith("gain")}  # which are numbers above
    weights = random_tensor(*y.shape, seed=1)
    found = torch.autograd.grad((y * weights).sum(), list(given.values()))
    wanted = torch.autograd.grad((expected * weights).sum(), [w[k] for k in given])
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-8)


def test_the_gain_of_a_block_is_learnt():
    """Its gradient is the sum of the gradient of the output times what it scales."""
    block = small(1).model[0].bottom[0]
    x, weights = random_tensor(2, 16, 6, 6)[:, :4], random_tensor(2, 4, 6, 6, seed=1)
    (block(x) * weights).sum().backward()
    torch.testing.assert_close(block.gain.grad, (block.conv_block(x) * weights).sum()[None])


def test_dropout_is_in_the_residual_blocks():
    net = on_meta(GENERATORS["resize_unet_3levels_2blocks"], 3, 3, 16, "batch", True)
    names = [name for name, layer in net.named_modules() if isinstance(layer, Dropout)]
    assert names == [f"model.0.bottom.{n}.conv_block.1" for n in range(2)]


def test_borders_are_reflected_everywhere_and_nothing_is_transposed():
    net = on_meta(GENERATORS["resize_unet"], 3, 3, 16)
    convs = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert all(layer.padding == (0, 0) for layer in convs)
    pads = [layer for layer in net.modules() if isinstance(layer, nn.ReflectionPad2d)]
    assert len(pads) == sum(layer.kernel_size != (1, 1) for layer in convs)
    assert not [layer for layer in net.modules() if isinstance(layer, nn.ConvTranspose2d)]


# Sizes and reach.


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_smallest_image_is_as_small_as_can_be(levels, norm):
    """One step below, the smallest map is a single pixel, which has nothing to reflect."""
    net = ResizeUnetGenerator(3, 3, 4, norm, levels=levels, blocks=1)
    size = net.minimum
    assert net(torch.zeros(1, 3, size, size)).shape == (1, 3, size, size)
    with pytest.raises(RuntimeError, match="Padding size should be less"):
        net(torch.zeros(1, 3, size - net.multiple_of, size))


@pytest.mark.parametrize(("levels", "blocks", "last_convs"), [(1, 1, 1), (1, 2, 3), (2, 1, 2), (3, 1, 1)])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_receptive_radius_of_other_numbers(levels, blocks, last_convs, norm):
    """No pixel farther away has any influence, and some at the radius have; with the running statistics of batch norms, too."""
    net = ResizeUnetGenerator(1, 1, 1, norm, levels=levels, blocks=blocks, last_convs=last_convs).eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.norm_statistics = "running"
    radius, cell = net.receptive_radius, net.multiple_of
    start = -(-radius // cell) * cell + cell  # so far from the border that no padding is seen
    x = torch.rand(1, 1, 2 * start, 2 * start, dtype=torch.float64) + 0.5
    before_tanh = make_averaging(net.model[:-1])
    reaches = []
    for place in range(start, start + cell):
        first, last = receptive_rows(before_tanh, x, place, place)
        reaches += [place - first, last - place]
    assert max(reaches) == radius


def test_the_receptive_radius_by_hand():
    """One level, one block, one last convolution: of pixel 0, the last two convolutions see −2 to 2, which are −1 to 1 of the
    half size, −3 to 3 in front of the block, and −7 to 8 of the image; of pixel 1, −1 to 3, −1 to 1, −3 to 3, −7 to 8."""
    assert ResizeUnetGenerator(1, 1, 1, levels=1, blocks=1).receptive_radius == 8


# Initial weights and outputs.


def drawn(norm="batch", residual=False, key=3):
    net = ResizeUnetGenerator(3, 3, 32, norm, levels=3, blocks=2)
    if residual:
        net.use_residual_output()
    return net.initialise(net, key, "g")


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_initial_weights_keep_the_variance_through_leaky_relus(norm):
    """Kaiming: the standard deviation is √(2 / (1.04 · fan in)), within four standard errors; 0.3 times that at the end."""
    net = drawn(norm)
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d):
            factor = 0.3 if name == "model.0.out.1" else 1.0
            std = factor * math.sqrt(2 / (1.04 * layer.weight[0].numel()))
            assert abs(layer.weight.std() / std - 1) < 4 / math.sqrt(2 * layer.weight.numel()), name
            assert layer.bias is None or not layer.bias.any()
    assert all(block.gain.tolist() == [0.5] for block in net.model[0].bottom)


def test_initial_weights_are_a_function_of_the_key():
    first, again, other = (drawn(key=key).state_dict() for key in (1, 1, 2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not any(torch.equal(first[k], other[k]) for k in first if k.endswith(".weight") and first[k].ndim == 4)


def test_a_residual_output_draws_the_same_weights_but_the_last():
    plain, residual = drawn().state_dict(), drawn(residual=True).state_dict()
    assert residual.keys() - plain.keys() == {"colour.weight", "colour.bias"}
    assert {k for k in plain if not torch.equal(plain[k], residual[k])} == {"model.0.out.1.weight"}
    assert not residual["model.0.out.1.weight"].any()


def test_a_residual_output_starts_as_the_input():
    net, x = drawn(residual=True), random_tensor(2, 3, 32, 32).float()
    y = net(x)
    assert torch.equal(y, x)
    (y * random_tensor(2, 3, 32, 32, seed=1).float()).sum().backward()
    moved = {k for k, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"colour.weight", "colour.bias", "model.0.out.1.weight", "model.0.out.1.bias"}


def test_a_residual_output_is_not_bounded_and_adds_to_the_colour_map():
    net, x = small(residual=True), random_tensor(1, 3, 16, 16)
    net.set_colour_map(torch.eye(3), torch.zeros(3))
    added = net(x) - x
    matrix, bias = torch.tensor([[2.0, 0, 1], [0, 3, 0], [-1, 0, 4]]).double(), torch.tensor([0.5, 5, -1]).double()
    net.set_colour_map(matrix, bias)
    expected = torch.einsum("oc,nchw->nohw", matrix, x) + bias[:, None, None] + added
    torch.testing.assert_close(net(x), expected)
    assert net(x).max() > 4


def test_a_residual_output_of_other_channels_is_refused_with_the_remedy():
    with pytest.raises(UsageError, match=r"^--residual on: .* 1 channels .* 3; use --residual off$"):
        ResizeUnetGenerator(1, 3, 4).use_residual_output()


def test_a_residual_output_of_any_number_of_channels():
    net = ResizeUnetGenerator(5, 5, 4, levels=1, blocks=1)
    net.use_residual_output()
    x = random_tensor(1, 5, 8, 8).float()
    assert torch.equal(net.initialise(net, 0)(x), x)
