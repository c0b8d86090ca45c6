"""The rows of StarGAN: what is not told by the tests of all generators and discriminators."""

import copy

import pytest
import torch
from torch import nn

from translate.nn.init import normal_
from translate.nn.networks import DISCRIMINATORS, GENERATORS
from translate.nn.networks.stargan import StarGANClassifier


def test_labels_act_through_the_zeros_at_the_border_alone():
    """Instance norm takes away what is the same everywhere. So it would be with reflection padding: labels without effect."""
    net = normal_(GENERATORS["stargan"](3 + 2, 3, 4).double(), 0, gain=0.2)
    reflecting = copy.deepcopy(net)
    for conv in (m for m in reflecting.modules() if isinstance(m, nn.Conv2d)):
        conv.padding_mode = "reflect"
        conv._reversed_padding_repeated_twice = [conv.padding[0]] * 4
    image = torch.rand(1, 3, 16, 16, dtype=torch.float64) * 2 - 1
    planes = torch.ones(1, 1, 16, 16, dtype=torch.float64)
    here, there = (torch.cat([image, *order], 1) for order in ((planes, 0 * planes), (0 * planes, planes)))
    assert (net(here) - net(there)).abs().max() > 1e-2
    torch.testing.assert_close(reflecting(here), reflecting(there), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("crop", "layers", "patches"),
    [(8, 3, 1), (32, 5, 1), (36, 5, 1), (64, 6, 1), (100, 6, 1), (128, 6, 2), (256, 6, 4)],
)
def test_a_discriminator_halves_at_most_six_times(crop, layers, patches):
    with torch.device("meta"):
        net = StarGANClassifier(3, 2, crop, classes=5)
        source, kind = net.source_and_class_logits(torch.zeros(2, 3, crop, crop))
    assert sum(isinstance(layer, nn.Conv2d) for layer in net.model) == layers
    assert net.source.in_channels == 2 * 2 ** (layers - 1)
    assert source.shape == (2, 1, patches, patches)
    assert kind.shape == (2, 5)
    assert net.minimum <= crop


def test_its_logits_are_those_of_the_patches():
    net = StarGANClassifier(3, 2, 64, classes=5)
    x = torch.rand(2, 3, 64, 64)
    assert torch.equal(net(x), net.source_and_class_logits(x)[0])


def test_the_row_is_without_classes_and_norms():
    net = DISCRIMINATORS["stargan"](3, 4, "batch", 3, 32)
    assert {type(layer) for layer in net.modules()} - {type(net), nn.Sequential} == {nn.Conv2d, nn.LeakyReLU}
    assert net.minimum == 32
    assert {layer.negative_slope for layer in net.modules() if isinstance(layer, nn.LeakyReLU)} == {0.01}
