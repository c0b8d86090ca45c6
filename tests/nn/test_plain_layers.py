"""Plain layers compute what the layers that they replace compute."""

import pytest
import torch
from torch import nn

from translate.nn.blocks import AffineInstanceNorm2d, BatchNorm2d, Dropout, InstanceNorm2d
from translate.nn.networks.dualgan import SameConv2d
from translate.nn.plain_layers import PlainInstanceNorm2d, use_plain_layers
from translate.nn.spectral_norm import SpectralConv2d


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def filled(layer):
    """The layer with weights, and singular vectors of length 1, that nothing starts with."""
    for number, (_, tensor) in enumerate([*layer.named_parameters(), *layer.named_buffers()]):
        if tensor.is_floating_point():
            tensor.data.copy_(drawn(tensor.numel() + number)[number:].view(tensor.shape).abs() + 0.1)
    if isinstance(layer, SpectralConv2d):
        layer.u /= layer.u.norm()
        layer.v /= layer.v.norm()
    return layer.eval()


LAYERS = {
    "instance": lambda: InstanceNorm2d(4),
    "affine instance": lambda: AffineInstanceNorm2d(4, 1e-3),
    "batch": lambda: BatchNorm2d(4),
    "batch without parameters": lambda: BatchNorm2d(4, affine=False),
    "spectral": lambda: SpectralConv2d(4, 3, 3, 2, 1),
    "spectral without bias": lambda: SpectralConv2d(4, 3, 1, bias=False),
    "same 3": lambda: SameConv2d(4, 3),
    "same 5": lambda: SameConv2d(4, 3, 5),
    "dropout": lambda: Dropout(),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_plain_layer_gives_the_same(name):
    net, x = nn.Sequential(filled(LAYERS[name]())), drawn(2, 4, 6, 10)
    with torch.inference_mode():
        wanted = net(x)
        use_plain_layers(net)
        assert type(net[0]) in (PlainInstanceNorm2d, nn.Conv2d, nn.Identity) or type(net[0]).__name__ == "EvenConv2d"
        torch.testing.assert_close(net(x), wanted, rtol=1e-5, atol=1e-5)  # about 20 roundings of numbers around 1


def test_a_norm_by_running_statistics_stays():
    norm = BatchNorm2d(4)
    norm.norm_statistics = "running"
    net = nn.Sequential(norm)
    use_plain_layers(net)
    assert net[0] is norm


def test_a_norm_of_a_single_pixel_gives_its_bias():
    norm = filled(AffineInstanceNorm2d(4))
    net = nn.Sequential(norm)
    use_plain_layers(net)
    with torch.inference_mode():
        bias = norm.bias.view(1, 4, 1, 1).expand(2, 4, 1, 1)
        # x − x is computed times 1 / √eps, about 300, so that a rounding counts as much
        torch.testing.assert_close(net(drawn(2, 4, 1, 1)), bias, rtol=0, atol=3e-4)
