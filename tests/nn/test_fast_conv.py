"""Winograd's convolutions are convolutions: exactly where numbers allow it, else to float32's rounding."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from translate.nn import fast_conv
from translate.nn.fast_conv import F2X2_3X3, F4X4_3X3, winograd_conv3x3

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
