"""Several batches through one network: at once where that is the same. Residual outputs, and translations that are clamped."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from translate.errors import UsageError
from translate.methods import METHODS
from translate.methods.building import build_discriminator, forward_concatenated
from translate.nn import features
from translate.nn.base import clamp_to_image_range
from translate.nn.blocks import coupling_in, norm_layer
from translate.nn.features import FeatureSpec
from translate.nn.networks import DISCRIMINATORS, GENERATORS
from translate.nn.networks.dcgan import VirtualBatchNorm2d

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


def test_several_heads_are_split_each():
    """A discriminator of two scales: a list of logits for each batch."""

    class TwoScales(nn.Module):
        def forward(self, x):
            return [x.mean((1, 2, 3)), torch.nn.functional.avg_pool2d(x, 16).sum(1)]

    net, batches = TwoScales(), images(2, 3)
    for got, x in zip(forward_concatenated(net, *batches), batches, strict=True):
        assert isinstance(got, list)
        for one, other in zip(got, net(x), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.BatchNorm2d(3), "batch norm"),
        (norm_layer("batch", 3), "batch norm"),
        (norm_layer("instance", 3), ""),
        (VirtualBatchNorm2d(3, 2), ""),
    ],
)
def test_a_layer_says_that_images_of_a_batch_influence_each_other(layer, reason):
    assert coupling_in(nn.Sequential(nn.Sequential(layer))) == reason


def test_a_layer_of_ones_own_says_it_too_and_keeps_batches_apart():
    class MinibatchDeviation(nn.Module):
        couples_images = True

        def forward(self, x):
            return x - x.mean(0)

    assert coupling_in(MinibatchDeviation()) == "MinibatchDeviation"
    batches = images(2, 3)
    for got, x in zip(forward_concatenated(MinibatchDeviation(), *batches), batches, strict=True):
        torch.testing.assert_close(got, x - x.mean(0), rtol=0, atol=0)


# The residual output.


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "dualgan", "discogan"])
def test_a_residual_output_is_asked_for_by_the_config(name):
    method = METHODS[name](small_config(name, generator="resize_unet_3levels_2blocks", residual=True))
    nets = [method.get_submodule(attribute) for attribute in method.generator_names.values()]
    x = images(1)[0].float()
    assert all(torch.equal(net.eval()(x), x) for net in nets)


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "cut"])
def test_a_generator_without_a_residual_output_is_refused(name):
    with pytest.raises(UsageError, match=r"--residual on: antialias_4blocks .* --generator resize_unet") as error:
        small_config(name, generator="antialias_4blocks", residual=True)
    assert "\n" not in str(error.value)


def test_a_residual_output_of_unlike_channels_is_refused():
    with pytest.raises(UsageError, match="--residual off"):
        small_config("pix2pix", generator="resize_unet", residual=True, input_channels=1)


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "stargan"])
def test_translations_are_clamped_and_the_network_s_output_is_not(name):
    cfg = small_config(name, generator="resize_unet_3levels_2blocks")
    method = METHODS[name]({"stargan": lambda: replace(cfg, domains="x,y")}.get(name, lambda: cfg)()).eval()
    to = {"stargan": "y"}.get(name, "b")
    net, x = method.generator_for(to), images(1)[0].float()
    net.model = net.model[:-1]  # without the tanh
    nn.init.constant_(net.model[0].out[1].bias, 0.9)
    given = method.generate if name == "stargan" else lambda x, _: net(x)
    with torch.no_grad():
        free = given(x, torch.tensor([[0.0, 1.0]]))
        assert free.max() > 1
        assert torch.equal(method.translate(x, to), free.clamp(-1, 1))


def test_a_clamp_keeps_what_is_not_finite():
    x = torch.tensor([-torch.inf, -2, -1, 0.5, 1, 2, torch.inf, torch.nan])
    expected = torch.tensor([-torch.inf, -1, -1, 0.5, 1, 1, torch.inf, torch.nan])
    torch.testing.assert_close(clamp_to_image_range(x), expected, rtol=0, atol=0, equal_nan=True)


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


@pytest.mark.parametrize(
    ("used", "missing", "flag"),
    [
        ({"lambda_perceptual": 1.0}, "thin-resnet50", "--perceptual-network"),
        ({"lambda_features": 1.0}, "efficientnet-lite2", "--features"),
        ({"discriminator": "projected"}, "efficientnet-lite2", "--features"),
    ],
)
def test_only_the_package_of_a_network_that_is_used_is_asked_for(used, missing, flag, monkeypatch):
    """The perceptual loss and all other uses of features have networks of their own."""
    rows = {"perceptual_network": "thin-resnet50", "features": "efficientnet-lite2"}
    settings = {"crop_size": 64, **rows, **used}
    package = features.FEATURE_NETWORKS[missing].package
    monkeypatch.setattr(FeatureSpec, "packaged_file", lambda spec: Path("none"))
    monkeypatch.setattr(features, "is_installed", lambda name: name != package)
    with pytest.raises(UsageError, match=f"{flag} {missing}: {package} is not installed"):
        small_config("cyclegan", **settings)
    others = {features.FEATURE_NETWORKS[row].package for row in rows.values()} - {package}
    monkeypatch.setattr(features, "is_installed", lambda name: name not in others)
    small_config("cyclegan", **settings)
