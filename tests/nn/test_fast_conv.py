"""Winograd's convolutions are convolutions: exactly where numbers allow it, else to float32's rounding."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from translate.methods.building import build_generator
from translate.methods.configs import GanConfig
from translate.nn import fast_conv
from translate.nn.fast_conv import F2X2_3X3, F4X4_3X3, WinogradConv2d, use_winograd, winograd_conv3x3
from translate.nn.networks import GENERATORS

SCHEMES = {"training": (F2X2_3X3, 1e-6), "conversion": (F4X4_3X3, 4e-6)}
schemes = pytest.mark.parametrize(("scheme", "tolerance"), SCHEMES.values(), ids=SCHEMES)
SHAPES = [(1, 64, 64, 18, 18), (2, 64, 96, 7, 12), (3, 96, 64, 3, 4), (5, 70, 64, 9, 3)]
"""Images, channels of input and output, height, width; of whole tiles and of parts."""
formats = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])


def given(n, c, o, h, w):
    torch.manual_seed(0)
    return torch.randn(n, c, h, w), torch.randn(o, c, 3, 3), torch.randn(o), torch.randn(n, o, h - 2, w - 2)


def outcome(convolution, tensors, grad):
    """Its output and its gradients."""
    leaves = [x.detach().requires_grad_() for x in tensors]
    y = convolution(*leaves)
    return y, *torch.autograd.grad(y, leaves, grad)


def assert_near(got, expected, tolerance):
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape
        assert (one - other).norm() <= tolerance * other.norm()


@pytest.mark.parametrize("scheme", [F2X2_3X3, F4X4_3X3])
def test_a_tile_is_the_correlation_of_its_pixels_with_the_taps(scheme):
    torch.manual_seed(0)
    pixels, taps = torch.randn(1, 1, scheme.input_tile, scheme.input_tile).double(), torch.randn(1, 1, 3, 3).double()
    output, kernel, seen = (
        x.double() for x in (scheme.output_transform, scheme.kernel_transform, scheme.input_transform)
    )
    tile = output @ ((kernel @ taps.flatten()) * (seen @ pixels.flatten()))
    torch.testing.assert_close(tile, F.conv2d(pixels, taps).flatten(), rtol=1e-6, atol=1e-6)  # of float32's ⅙ and ⅔


@formats
def test_integers_are_convolved_exactly(layout):
    """All that F(2×2, 3×3) divides by is 4."""
    torch.manual_seed(0)
    x = torch.randint(-8, 9, (2, 64, 9, 8)).float().contiguous(memory_format=layout)
    weight, bias, grad = torch.randint(-8, 9, (64, 64, 3, 3)).float(), torch.arange(64.0), torch.ones(2, 64, 7, 6)
    for got, expected in zip(
        outcome(lambda *given: winograd_conv3x3(*given, F2X2_3X3), (x, weight, bias), grad),
        outcome(F.conv2d, (x, weight, bias), grad),
        strict=True,
    ):
        assert torch.equal(got, expected)


@schemes
@formats
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_float64(scheme, tolerance, layout, shape):
    x, weight, bias, grad = given(*shape)
    x, grad = x.contiguous(memory_format=layout), grad.contiguous(memory_format=layout)
    got = outcome(lambda *given: winograd_conv3x3(*given, scheme), (x, weight, bias), grad)
    expected = outcome(F.conv2d, [x.double() for x in (x, weight, bias)], grad.double())
    assert_near(got, expected, tolerance)


def test_only_the_gradients_that_are_asked_for_are_given():
    x, weight, _, grad = given(1, 64, 64, 6, 6)
    for leaf in (x, weight):
        leaf.requires_grad_()
        (got,) = torch.autograd.grad(winograd_conv3x3(x, weight, None, F2X2_3X3), leaf, grad)
        (expected,) = torch.autograd.grad(F.conv2d(x, weight), leaf, grad)
        assert_near([got], [expected], 1e-6)
        leaf.requires_grad_(False)


def test_gradients_can_be_differentiated_again():
    def penalty(convolution, x, weight):
        (grad,) = torch.autograd.grad(convolution(x, weight, None).square().sum(), x, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), (x, weight))

    x, weight, _, _ = (x.requires_grad_() for x in given(2, 64, 64, 6, 7))
    expected = penalty(F.conv2d, x, weight)
    assert_near(penalty(lambda *given: winograd_conv3x3(*given, F2X2_3X3), x, weight), expected, 1e-5)


@schemes
@formats
@pytest.mark.parametrize("held", [fast_conv.BLOCK_ELEMENTS, 2**9, 1], ids=["whole", "several rows", "a row"])
def test_an_image_gives_the_same_bits_in_any_company(scheme, tolerance, layout, held, monkeypatch):
    """Output and gradient, with all tiles of an image worked on at once or few of them."""
    monkeypatch.setattr(fast_conv, "BLOCK_ELEMENTS", held)
    x, weight, bias, grad = given(5, 64, 64, 11, 14)
    x = x.contiguous(memory_format=layout)

    def image(x, grad):
        return outcome(lambda *given: winograd_conv3x3(*given, scheme), (x, weight, bias), grad)[:2]

    alone = [image(*one) for one in zip(x.split(1), grad.split(1), strict=True)]
    for whole, single in zip(image(x, grad), zip(*alone, strict=True), strict=True):
        assert torch.equal(whole, torch.cat(single))


class Products(TorchDispatchMode):
    """The shapes of matrix products and how their factors lie in memory."""

    def __init__(self):
        super().__init__()
        self.calls = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(name in str(func) for name in ("mm", "matmul", "conv")):
            self.calls.add((str(func), *((tuple(x.shape), x.stride()) for x in args if isinstance(x, torch.Tensor))))
        return func(*args, **(kwargs or {}))


@schemes
def test_the_shapes_of_products_follow_from_one_image(scheme, tolerance):
    """A library chooses a kernel by the shape, and each kernel has last bits of its own: what no single CPU can show."""

    def products(images):
        x, weight, bias, grad = given(images, 64, 64, 38, 30)
        with Products() as products:
            outcome(lambda *given: winograd_conv3x3(*given, scheme), (x, weight, bias), grad)
        return products.calls

    one = products(1)
    assert len(one) >= 4
    assert all(products(images) == one for images in (2, 3, 8, 65))


@pytest.mark.parametrize("side", [31, 32])
def test_a_batch_does_not_decide_how_its_images_are_convolved(side):
    layer, x = WinogradConv2d(256, 256), torch.empty(1, 256, side, side)
    assert {layer.uses_winograd(x.expand(n, -1, -1, -1)) for n in (1, 2, 64)} == {side == 32}


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_a_convolution_with_its_names(padding, bias):
    layer, plain = (
        WinogradConv2d(256, 260, padding=padding, bias=bias),
        nn.Conv2d(256, 260, 3, padding=padding, bias=bias),
    )
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 256, 33, 36)
    assert layer.uses_winograd(x)
    assert_near([layer(x)], [plain(x)], 1e-6)
    with torch.no_grad():
        assert_near([layer(x)], [plain(x)], 4e-6)


def test_it_is_used_for_wide_maps_in_float32_on_the_cpu_only():
    layer, x = WinogradConv2d(256, 256), torch.randn(1, 256, 32, 32)
    assert layer.uses_winograd(x)
    with fast_conv.direct_convolution():
        assert not layer.uses_winograd(x)
        assert torch.equal(layer(x), F.conv2d(x, layer.weight, layer.bias))
        assert torch.equal(layer.forward_valid(x), layer(x))
    assert layer.uses_winograd(x)
    assert not torch.equal(layer.forward_valid(x), F.conv2d(x, layer.weight, layer.bias))
    assert not WinogradConv2d(255, 256).uses_winograd(x[:, :255])
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
        layer, x = WinogradConv2d(256, 256), torch.randn(1, 256, 32, 32, requires_grad=True)
        layer(x).sum().backward()
    assert all(type(held) is torch.Tensor for held in fast_conv.workspace.held.values())
    assert WinogradConv2d(256, 256)(torch.randn(1, 256, 32, 32)).isfinite().all()


def test_a_compiler_and_an_exporter_see_a_convolution():
    layer, x = WinogradConv2d(256, 256), torch.randn(1, 256, 32, 32)
    exported = torch.export.export(layer, (x,))
    assert [node.target for node in exported.graph.nodes if node.op == "call_function"] == [
        torch.ops.aten.conv2d.default
    ]


@pytest.mark.parametrize("name", GENERATORS)
def test_swapping_keeps_names_values_and_the_random_state(name):
    torch.manual_seed(0)
    net = GENERATORS[name](3, 3, 4, "instance", False)
    before, parameters, draws = dict(net.state_dict()), list(net.parameters()), torch.get_rng_state()
    use_winograd(net)
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(new is old for new, old in zip(net.parameters(), parameters, strict=True))
    assert torch.equal(torch.get_rng_state(), draws)


def test_swapping_replaces_3x3_convolutions_of_stride_1_alone():
    net = nn.Sequential(
        nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3, padding=1), nn.Sequential(nn.Conv2d(2, 2, 3, bias=False)),
        nn.Conv2d(2, 2, 4), nn.Conv2d(2, 2, 3, stride=2), nn.Conv2d(2, 2, 3, dilation=2), nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, 3, padding=2), nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
    )  # fmt: skip
    use_winograd(net)
    swapped = [isinstance(layer, WinogradConv2d) for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert swapped == [True] * 3 + [False] * 6


@pytest.mark.parametrize("name", ["resnet_3blocks", "antialias_6blocks", "stargan"])
def test_generators_of_methods_use_it_and_networks_alone_do_not(name):
    plain, built = (
        [isinstance(layer, WinogradConv2d) for layer in net.modules() if isinstance(layer, nn.Conv2d)]
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
    use_winograd(net)
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
    use_winograd(net)
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
