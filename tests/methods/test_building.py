"""Several batches through one network: at once where that is the same. Residual outputs, and translations that are clamped."""

from dataclasses import replace

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from translate.errors import UsageError
from translate.methods import METHODS
from translate.methods.building import build_discriminator, forward_concatenated
from translate.nn import features
from translate.nn.features import FeatureSpec
from translate.nn.networks import DISCRIMINATORS, GENERATORS
from translate.nn.networks.dcgan import VirtualBatchNorm2d

from ..helpers import small_config

from ..helpers import small_config


class Counted(nn.Module):
    """Counts the passes through a network, and records their batch sizes."""

    def __init__(self, net):
        super().__init__()
        self.net, self.sizes = net, []

    def forward(self, x):
        self.sizes.append(len(x))
        return self.net(x)


def images(*sizes, side=32):
    torch.manual_seed(0)
    return [torch.rand(n, 3, side, side).double() * 2 - 1 for n in sizes]


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_one_pass_gives_what_two_give_and_the_gradients_of_both(norm):
    net = Counted(DISCRIMINATORS["basic"](3, 4, norm, 3).double())
    batches, weights = images(2, 3), list(net.parameters())
    once = forward_concatenated(net, *batches)
    assert net.sizes == [5]
    twice = [net(x) for x in batches]
    for one, other in zip(once, twice, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    losses = [sum((n + 1) * y.square().mean() for n, y in enumerate(made)) for made in (once, twice)]
    for one, other in zip(*(torch.autograd.grad(loss, weights) for loss in losses), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_batch_norm_sees_each_batch_by_itself_in_the_given_order():
    torch.manual_seed(0)
    net = Counted(DISCRIMINATORS["basic"](3, 4, "batch", 3).double())
    first, second = images(2, 3)
    state = {name: x.clone() for name, x in net.state_dict().items()}
    got = forward_concatenated(net, first, second)
    after = {name: x.clone() for name, x in net.state_dict().items()}
    net.load_state_dict(state)
    expected = net(first), net(second)
    assert net.sizes == [2, 3, 2, 3]
    assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))
    assert all(torch.equal(after[name], x) for name, x in net.state_dict().items())


def test_images_of_two_sizes_go_apart():
    net = Counted(nn.Identity())
    got = forward_concatenated(net, *images(2), *images(2, side=40))
    assert net.sizes == [2, 2] and [len(x[0, 0]) for x in got] == [32, 40]


def test_what_is_computed_again_goes_apart():
    net = GENERATORS["resnet_3blocks"](3, 3, 2, "instance", False).double()
    net.gradient_checkpointing = True
    sizes = []
    net.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    forward_concatenated(net, *images(1, 2))
    assert sizes == [1, 2]


# Discriminators of the config.


def test_a_discriminator_is_told_the_condition_and_the_features_if_its_builder_takes_them(monkeypatch):
    cls, settings = METHODS["pix2pix"], {"crop_size": 64, "input_channels": 1, "discriminator": "projected"}
    monkeypatch.setattr(features, "is_installed", lambda name: True)
    monkeypatch.setattr(FeatureSpec, "packaged_file", lambda spec: Path("none"))
    d = cls.on_meta(small_config("pix2pix", **settings, features="thin-resnet50")).d
    assert d.condition_channels == 1
    assert d.features.name == "thin-resnet50"
    given = []

    def plain(in_channels, width, norm, layers, crop_size):
        given.append((in_channels, width, norm, layers, crop_size))
        return DISCRIMINATORS["basic"](in_channels, width, norm, layers)

    monkeypatch.setitem(DISCRIMINATORS, "plain", plain)
    cfg = replace(small_config("pix2pix", **settings), discriminator="plain")
    build_discriminator(cfg, 4, 0, "d", condition_channels=1)
    assert given == [(4, cfg.d_width, cfg.norm, cfg.d_layers, 64)]


def test_a_package_that_features_need_is_asked_for_before_a_training_begins(monkeypatch):
    monkeypatch.setattr(features, "is_installed", lambda name: name != "onnx")
    settings = {"crop_size": 64, "features": "thin-resnet50"}
    small_config("cyclegan", **settings)  # whose discriminators have no features
    with pytest.raises(UsageError, match="--features thin-resnet50: onnx is not installed; run: "):
        small_config("cyclegan", **settings, discriminator="projected")
