"""Each way to compute a convolution gives what torch's gives in float64, to the rounding of its data type."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.conv import _ConvNd

from translate.methods.building import build_generator
from translate.methods.configs import GanConfig
from translate.nn import fast_conv
from translate.nn.networks import GENERATORS
from translate.nn.networks.dualgan import SameConv2d
from translate.nn.tuned_conv import (
    ALGORITHMS,
    TunedConv2d,
    TunedConvolution,
    TunedConvTranspose2d,
    direct_convolution,
    use_tuned_convolutions,
)

formats = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])
KINDS = {
    "3x3": lambda: TunedConv2d(64, 70, 3, padding=1), "4x4 stride 2": lambda: TunedConv2d(6, 9, 4, 2, 1),
    "7x7": lambda: TunedConv2d(5, 3, 7, bias=False),
    "transposed 3x3": lambda: TunedConvTranspose2d(6, 8, 3, 2, 1, 1, bias=False),
    "transposed 4x4": lambda: TunedConvTranspose2d(6, 8, 4, 2, 1),
}  # fmt: skip


def assert_near(got, expected, tolerance):
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape
        assert (one - other).norm() <= tolerance * other.norm()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALGORITHMS)
@formats
def test_values_and_gradients_are_those_of_float64(kind, name, layout, monkeypatch):
    """bfloat16 keeps 8 bits, so each product is off by 2⁻⁸ at most, and a sum of rounded values and the result by no more."""
    monkeypatch.setattr(fast_conv, "MIN_CHANNELS", 64)
    monkeypatch.setattr(fast_conv, "MIN_PIXELS", 1)
    torch.manual_seed(0)
    layer = KINDS[kind]()
    layer.algorithm = name
    way = ALGORITHMS[name]
    x = torch.randn(2, layer.in_channels, 11, 14).contiguous(memory_format=layout).requires_grad_()
    leaves = [x, *layer.parameters()]
    with torch.autocast("cpu", torch.bfloat16, enabled=way.dtype is not None):
        y = layer(x)
        assert layer.uses_winograd(x) == (way.winograd and kind == "3x3")
    grad = torch.randn_like(y)
    got = y, *torch.autograd.grad(y, leaves, grad)
    assert {tensor.dtype for tensor in got} == {torch.float32}
    assert y.is_contiguous(memory_format=layout)
    layer.double()
    exact = x.detach().double().requires_grad_()
    expected = layer(exact)
    expected = expected, *torch.autograd.grad(expected, [exact, *layer.parameters()], grad.double())
    assert_near(got, expected, 2**-7 if way.dtype == torch.bfloat16 else 4e-6)


@pytest.mark.parametrize("name", [name for name, way in ALGORITHMS.items() if way.dtype == torch.bfloat16])
def test_ways_in_bfloat16_round_inputs_and_outputs(name):
    """1 + 2⁻⁹ is no number of bfloat16, which has 8 bits: a convolution by the weight 1 gives 1."""
    layer = TunedConv2d(1, 1, 1, bias=False)
    nn.init.ones_(layer.weight)
    layer.algorithm, x = name, torch.full((1, 1, 4, 4), 1 + 2**-9)
    with torch.no_grad():
        assert torch.equal(layer(x), torch.ones_like(x))
        layer.algorithm = "float32"
        assert torch.equal(layer(x), x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_part_without_padding_is_computed_as_the_whole(kind, name, monkeypatch):
    """As in tiled conversion. A sum in another order may be rounded to the next value of the data type."""
    monkeypatch.setattr(fast_conv, "MIN_CHANNELS", 64)
    monkeypatch.setattr(fast_conv, "MIN_PIXELS", 1)
    torch.manual_seed(0)
    layer, x = KINDS[kind](), torch.randn(1, 70, 11, 14)
    x, layer.algorithm = x[:, : layer.in_channels], name
    with torch.no_grad():
        if isinstance(layer, TunedConv2d):
            valid = layer.forward_valid(F.pad(x, [int(layer.padding[0])] * 4))
        else:
            cut = int(layer.padding[0]), int(layer.output_padding[0])
            whole = layer.forward_whole(x)
            valid = whole[:, :, cut[0] : whole.shape[2] - cut[0] + cut[1], cut[0] : whole.shape[3] - cut[0] + cut[1]]
        assert_near([valid], [layer(x)], 2**-7 if ALGORITHMS[name].dtype == torch.bfloat16 else 1e-6)


def test_gradients_can_be_differentiated_again():
    layer, x = TunedConv2d(6, 4, 4, 2, 1), torch.randn(2, 6, 8, 8, requires_grad=True)

    def penalty(name):
        layer.algorithm = name
        (grad,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), (x, layer.weight))

    assert_near(penalty("channels_last"), penalty("direct"), 1e-5)
    assert_near(penalty("bf16"), penalty("direct"), 2**-6)


@pytest.mark.parametrize("side", [31, 32])
def test_a_batch_does_not_decide_how_its_images_are_convolved(side):
    layer, x = TunedConv2d(256, 256, 3), torch.empty(1, 256, side, side)
    assert {layer.uses_winograd(x.expand(n, -1, -1, -1)) for n in (1, 2, 64)} == {side == 32}


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_a_convolution_with_its_names(padding, bias):
    layer, plain = (
        TunedConv2d(256, 260, 3, padding=padding, bias=bias),
        nn.Conv2d(256, 260, 3, padding=padding, bias=bias),
    )
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 256, 33, 36)
    assert layer.uses_winograd(x)
    assert_near([layer(x)], [plain(x)], 1e-6)
    with torch.no_grad():
        assert_near([layer(x)], [plain(x)], 4e-6)


def test_it_is_used_for_wide_maps_in_float32_on_the_cpu_only():
    layer, x = TunedConv2d(256, 256, 3), torch.randn(1, 256, 32, 32)
    assert layer.uses_winograd(x)
    with direct_convolution():
        assert not layer.uses_winograd(x)
        assert torch.equal(layer(x), F.conv2d(x, layer.weight, layer.bias))
        assert torch.equal(layer.forward_valid(x), layer(x))
    assert layer.uses_winograd(x)
    assert not torch.equal(layer.forward_valid(x), F.conv2d(x, layer.weight, layer.bias))
    assert not TunedConv2d(255, 256, 3).uses_winograd(x[:, :255])
    assert not layer.uses_winograd(x[:, :, 1:])
    assert torch.equal(layer.forward_valid(x[:, :, 1:]), F.conv2d(x[:, :, 1:], layer.weight, layer.bias))
    assert not layer.uses_winograd(x.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not layer.uses_winograd(x)
        assert layer(x).dtype == torch.bfloat16
    assert not layer.double().uses_winograd(x.double())


def test_a_rehearsal_without_memory_leaves_nothing_behind():
    """Its tensors only stand for tensors, parameters too; those of a training would be written into them."""
    with FakeTensorMode(allow_non_fake_inputs=True):  # as the memory of a training is estimated
        layer, x = TunedConv2d(256, 256, 3), torch.randn(1, 256, 32, 32, requires_grad=True)
        layer(x).sum().backward()
    assert all(type(held) is torch.Tensor for held in fast_conv.workspace.held.values())
    assert TunedConv2d(256, 256, 3)(torch.randn(1, 256, 32, 32)).isfinite().all()


def test_a_compiler_and_an_exporter_see_a_convolution():
    layer, x = TunedConv2d(256, 256, 3), torch.randn(1, 256, 32, 32)
    exported = torch.export.export(layer, (x,))
    assert [node.target for node in exported.graph.nodes if node.op == "call_function"] == [
        torch.ops.aten.conv2d.default
    ]


@pytest.mark.parametrize("name", GENERATORS)
def test_swapping_keeps_names_values_and_the_random_state(name):
    torch.manual_seed(0)
    net = GENERATORS[name](3, 3, 4, "instance", False)
    before, parameters, draws = dict(net.state_dict()), list(net.parameters()), torch.get_rng_state()
    use_tuned_convolutions(net)
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(new is old for new, old in zip(net.parameters(), parameters, strict=True))
    assert torch.equal(torch.get_rng_state(), draws)


def test_swapping_replaces_plain_convolutions_alone():
    net = nn.Sequential(
        nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 4, stride=2, padding=1), nn.Sequential(nn.Conv2d(2, 2, 3, bias=False)),
        nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1, output_padding=1), nn.Conv2d(2, 2, 3, dilation=2),
        nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(2, 2, 3, padding="same"), nn.Conv2d(2, 2, (3, 1)),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), SameConv2d(2, 2, 3),
    )  # fmt: skip
    x = torch.randn(1, 2, 8, 8)
    before = [layer(x) for layer in net]
    use_tuned_convolutions(net)
    assert [isinstance(layer, TunedConvolution) for layer in net.modules() if isinstance(layer, _ConvNd)] == [
        True
    ] * 4 + [False] * 6
    assert all(torch.equal(layer(x), y) for layer, y in zip(net, before, strict=True))


@pytest.mark.parametrize("name", ["resnet_3blocks", "antialias_6blocks", "stargan"])
def test_generators_of_methods_use_it_and_networks_alone_do_not(name):
    plain, built = (
        [isinstance(layer, TunedConv2d) for layer in net.modules() if isinstance(layer, nn.Conv2d)]
        for net in (
            GENERATORS[name](3, 3, 4, "instance", False),
            build_generator(GanConfig(generator=name, g_width=4), 3, 3, 0, "g"),
        )
    )
    assert not any(plain)
    assert sum(built) >= 6


@pytest.mark.parametrize("grad", [True, False], ids=["training", "conversion"])
def test_a_network_gives_what_it_gives_in_float64(grad, monkeypatch):
    monkeypatch.setattr(fast_conv, "MIN_CHANNELS", 64)
    monkeypatch.setattr(fast_conv, "MIN_PIXELS", 1)
    torch.manual_seed(0)
    net, x = GENERATORS["resnet_6blocks"](3, 3, 16, "instance", False), torch.randn(2, 3, 36, 44)
    use_tuned_convolutions(net)
    with torch.set_grad_enabled(grad):
        got = net(x)
    assert_near([got], [net.double()(x.double())], 1e-5)


@formats
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_the_gradients_of_a_network_are_those_of_float64(layout, batch, monkeypatch):
    """Of a smooth loss, in which nothing but rounding tells them apart."""
    monkeypatch.setattr(fast_conv, "MIN_CHANNELS", 64)
    monkeypatch.setattr(fast_conv, "MIN_PIXELS", 1)
    torch.manual_seed(0)
    net, x = GENERATORS["resnet_3blocks"](3, 3, 16, "instance", False), torch.randn(batch, 3, 36, 44)
    use_tuned_convolutions(net)
    grad = torch.randn_like(x)
    weights = list(net.parameters())

    def gradients(dtype):
        net.to(dtype, memory_format=layout)
        given = x.to(dtype, memory_format=layout).requires_grad_()
        return torch.autograd.grad(net(given), [given, *weights], grad.to(dtype, memory_format=layout))

    got = [one.double() for one in gradients(torch.float32)]
    expected = gradients(torch.float64)
    moved = [n for n, one in enumerate(expected) if one.norm() > 1e-6]  # not biases that a norm takes away again
    assert len(moved) == len(expected) - sum(name.endswith("bias") for name, _ in net.named_parameters()) + 1
    assert_near([got[n] for n in moved], [expected[n] for n in moved], 1e-5)
