"""Weight norm: a weight's length and direction, and initial values from data."""

import pytest
import torch

from translate.nn.weight_norm import WeightNormConv2d, WeightNormDoubling, WeightNormLinear, initialise_from_data

LAYERS = {
    "linear": (lambda: WeightNormLinear(5, 4, train_length=True), (20, 5)),
    "convolution": (lambda: WeightNormConv2d(5, 4, 3, 2, 1), (6, 5, 8, 8)),
    "doubling": (lambda: WeightNormDoubling(5, 4), (6, 5, 8, 8)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_depend_on_the_direction_of_the_weight_and_its_length_alone(name):
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    layer, x = build().double(), torch.randn(shape, dtype=torch.float64)
    before = layer(x)
    with torch.no_grad():
        layer.weight.mul_(7)
        torch.testing.assert_close(layer(x), before)
        layer.length.mul_(2)
        bias = layer.bias.view(-1, *[1] * (before.ndim - 2))
        torch.testing.assert_close(layer(x) - bias, 2 * (before - bias))
    weight = layer.normalised_weight().transpose(0, layer.output_axis).flatten(1)
    torch.testing.assert_close(weight.norm(dim=1), layer.length)


@pytest.mark.parametrize(("name", "std"), [("linear", 0.1), ("convolution", 1.0), ("doubling", 0.1)])
def test_outputs_for_the_data_have_mean_0_and_the_deviation(name, std):
    """That of the last layers, which train their lengths, is 0.1."""
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    layer, x = build().double(), torch.randn(shape, dtype=torch.float64) + 3
    initialise_from_data(layer, lambda: layer(x))
    y = layer(x)
    axes = [axis for axis in range(y.ndim) if axis != 1]
    torch.testing.assert_close(y.mean(axes), torch.zeros(4).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(y.std(axes, correction=0), torch.full((4,), std).double(), rtol=1e-6, atol=0)
    assert layer.initial_std is None
