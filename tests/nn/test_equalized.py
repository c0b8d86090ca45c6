"""Layers with an equalised learning rate against their formulas, and the norm of pixels."""

import math

import pytest
import torch
import torch.nn.functional as F

from translate.nn.equalized import (
    EqualizedConv2d,
    EqualizedLinear,
    EqualizedProjection,
    PixelNorm,
    pixel_norm,
    standard_normal_,
)

from ..helpers import on_meta, random_tensor


def test_weights_are_scaled_in_the_pass_and_biases_are_not():
    """He's constant √2 / √(fan in); a projection is a linear layer to all pixels with one bias a channel."""
    conv = standard_normal_(EqualizedConv2d(3, 4, 3).double(), 0)
    conv.bias.data.copy_(random_tensor(4, seed=1))
    x = random_tensor(2, 3, 5, 6)
    expected = F.conv2d(x, conv.weight * math.sqrt(2 / 27), padding=1) + conv.bias[:, None, None]
    torch.testing.assert_close(conv(x), expected, rtol=0, atol=1e-12)
    code, project = random_tensor(2, 7, seed=2), standard_normal_(EqualizedProjection(7, 4, 3).double(), 0)
    project.bias.data.copy_(random_tensor(4, seed=3))
    dense = torch.einsum("ni,icyx->ncyx", code, project.weight) * math.sqrt(2) / 4 / math.sqrt(7)
    torch.testing.assert_close(project(code), dense + project.bias[:, None, None], rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_a_rate_leaves_the_function_and_scales_what_a_step_moves(rate):
    """The same output of the same draws; a step of one size in the stored bias moves the output by the rate."""
    layer, plain = (standard_normal_(EqualizedLinear(6, 5, rate=r, initial_bias=1.0).double(), 0) for r in (rate, 1.0))
    x = random_tensor(3, 6)
    at_0 = torch.zeros(3, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(x) - layer(at_0), plain(x) - plain(at_0), rtol=0, atol=1e-6)  # of float32 draws
    assert layer.weight.std().item() * rate == pytest.approx(plain.weight.std().item())
    before = layer(x)
    with torch.no_grad():
        layer.bias += 1
    torch.testing.assert_close(layer(x) - before, torch.full_like(before, rate), rtol=0, atol=1e-12)


def test_draws_are_standard_normal_and_a_function_of_the_key():
    layers = [standard_normal_(EqualizedLinear(100, 100, initial_bias=1.0), *key) for key in ((0,), (0,), (1,))]
    weight = layers[0].weight
    assert abs(weight.mean().item()) < 4 / 100 and abs(weight.std().item() - 1) < 4 / math.sqrt(2e4)  # 4 deviations
    assert torch.equal(weight, layers[1].weight) and not torch.equal(weight, layers[2].weight)
    assert (layers[0].bias == 1).all()
    assert standard_normal_(on_meta(EqualizedLinear, 2, 2), 0).weight.is_meta


def test_pixels_get_a_mean_square_of_1():
    x = random_tensor(2, 5, 3, 4) + 0.5
    y = PixelNorm()(x)
    torch.testing.assert_close(y.square().mean(1), torch.ones(2, 3, 4, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        y / x, (x.square().mean(1, keepdim=True) + 1e-8).rsqrt().expand_as(x), rtol=0, atol=1e-12
    )
    assert torch.equal(pixel_norm(x[:, :, 0, 0]), y[:, :, 0, 0])
