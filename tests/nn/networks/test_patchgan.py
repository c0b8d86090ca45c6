"""PatchGAN and pixel discriminators: layers, receptive fields and values."""

import pytest
import torch
import torch.nn.functional as F

from translate.nn.init import normal_
from translate.nn.networks import DISCRIMINATORS
from translate.nn.networks.patchgan import PatchDiscriminator, PixelDiscriminator

from ...helpers import on_meta, random_tensor
from .helpers import apply_norm, layer_biases, make_averaging, receptive_rows

NORMS = ["batch", "instance", "none"]


LAYERS = range(1, 7)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layers", LAYERS)
def test_patch_discriminator_layers_are_named_as_in_the_reference(layers, norm):
    inner = [2 + 3 * n for n in range(layers)]
    last = inner[-1] + 3
    expected = {"model.0": True, f"model.{last}": True} | {f"model.{i}": norm == "instance" for i in inner}
    if norm == "batch":
        expected |= {f"model.{i + 1}": True for i in inner}
    net = on_meta(PatchDiscriminator, 3, 64, norm, layers)
    assert layer_biases(net) == expected
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
    assert layer_biases(on_meta(PixelDiscriminator, 3, 64, norm)) == expected


@pytest.mark.parametrize(("name", "logits"), [("basic", (1, 1, 30, 30)), ("pixel", (1, 1, 256, 256))])
def test_logits_for_256_pixels(name, logits):
    assert (
        on_meta(DISCRIMINATORS[name], 3, 64, "instance", 3)(torch.zeros(1, 3, 256, 256, device="meta")).shape == logits
    )


@pytest.mark.parametrize(
    ("name", "layers", "patch"),
    [("n_layers", 1, 16), ("n_layers", 2, 34), ("n_layers", 3, 70), ("n_layers", 5, 286), ("basic", 5, 70)],
)
def test_patches_are_as_large_as_in_the_paper(name, layers, patch):
    net = make_averaging(DISCRIMINATORS[name](1, 1, "none", layers))
    size = 2 * patch
    x = torch.rand(1, 1, size, size, dtype=torch.float64)
    middle = net(x).shape[2] // 2
    first, last = receptive_rows(net, x, middle, middle)
    assert last - first + 1 == patch


def test_pixel_discriminator_judges_each_pixel_on_its_own():
    net = make_averaging(PixelDiscriminator(1, 1, "none"))
    assert receptive_rows(net, torch.rand(1, 1, 5, 5, dtype=torch.float64), 3, 3) == (3, 3)


@pytest.mark.parametrize("norm", NORMS)
def test_patch_discriminator_computes_what_its_weights_say(norm):
    net = normal_(PatchDiscriminator(3, 4, norm).double(), 0, gain=0.2)
    x = random_tensor(2, 3, 32, 32)
    w = dict(net.named_parameters())
    y = F.leaky_relu(F.conv2d(x, w["model.0.weight"], w["model.0.bias"], stride=2, padding=1), 0.2)
    for layer, stride in ((2, 2), (5, 2), (8, 1)):
        y = F.conv2d(y, w[f"model.{layer}.weight"], w.get(f"model.{layer}.bias"), stride=stride, padding=1)
        y = F.leaky_relu(apply_norm(w, f"model.{layer + 1}", y, norm), 0.2)
    y = F.conv2d(y, w["model.11.weight"], w["model.11.bias"], padding=1)
    torch.testing.assert_close(net(x), y, rtol=0, atol=1e-10)
