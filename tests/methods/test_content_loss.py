"""Losses of the content, which every method can add to its own."""

import pytest
import torch

from translate import config
from translate.errors import UsageError
from translate.methods import METHODS
from translate.methods.content_loss import ContentLoss, feature_networks
from translate.nn.losses import l1

from ..helpers import batch_like, small_config
from .helpers import START, noise_batch

ALL = {
    "lambda_lowpass": 3.0,
    "lambda_features": 2.0,
    "lambda_perceptual": 0.5,
    "perceptual_network": "efficientnet-lite0",
}


def test_losses_by_hand():
    """Blocks of 4×4 pixels that differ by 0.25 in the mean; equal images have no distance in any map."""
    cfg = small_config("pix2pix", **ALL)
    content = ContentLoss(cfg, 3)
    x = torch.zeros(1, 3, 32, 32)
    y = x.clone()
    y[:, :, ::2, ::2] = 1.0
    losses = content(x, y, "_a")
    assert set(losses) == {"lowpass_a", "features_a", "perceptual_a"}
    assert losses["lowpass_a"].item() == pytest.approx(3 * 0.25)
    maps = zip(content.features(x), content.features(y), strict=True)
    distance = sum(l1(p, q) for p, q in maps)
    torch.testing.assert_close(losses["features_a"], 2 * distance)
    torch.testing.assert_close(losses["perceptual_a"], 0.5 * distance)
    assert {name: loss.item() for name, loss in content(x, x).items()} == {"lowpass": 0, "features": 0, "perceptual": 0}
    assert set(content(x, y, without=("features",))) == {"lowpass", "perceptual"}


def test_without_weights_there_is_nothing():
    content = ContentLoss(small_config("cyclegan"), 3)
    assert content(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)) == {}
    assert feature_networks(content) == ()


def test_feature_networks_refuse_other_channels():
    for channels in (1, 3):
        assert ContentLoss(small_config("pix2pix", lambda_features=1.0), channels).weights == {"features": 1.0}
    with pytest.raises(UsageError, match=r"--lambda-features: .* not of 4; leave it out"):
        ContentLoss(small_config("pix2pix", lambda_features=1.0), 3, 4)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "pix2pix" else pytest.mark.slow)
        for name, cls in METHODS.items()
        if "lambda_features" in config.setting_names(cls.Config)
    ],
)
def test_every_method_with_their_settings_has_them(name):
    """The losses appear in the generator's update, and the network is frozen, not trained."""
    method = METHODS[name](small_config(name, lambda_lowpass=1.0, lambda_features=1.0)).double()
    assert "content.features" in method.frozen_networks
    noise = noise_batch(2)
    batch = {**batch_like(name, noise["a"], noise["b"]), "key": noise["key"]}
    clocks = [START.__class__(images=2 * n, step=n, epoch=0, progress=0.0) for n in range(6)]
    losses = {
        key for clock in clocks for update, made in method.step(batch, clock, {}) if update == "g" for key in made
    }
    assert {key.partition("_")[0] for key in losses} >= {"lowpass", "features"}
    assert not any(key.startswith("content") for key in dict(method.named_parameters()))
