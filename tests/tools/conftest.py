"""Makes the modules of tools/ importable, as they import each other when one of them is run, and feature networks small."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from translate.methods import content_loss
from translate.nn import networks
from translate.nn.features.feature_network import FeatureNetwork

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

CHANNELS, STRIDES = (5, 6, 7), (4, 8, 16)
"""Of the taps of the small feature network."""


@pytest.fixture
def small_features(monkeypatch):
    """Function that returns a small frozen network of three taps, the same each time; discriminators are built with it."""

    def load(text="small", flag="--features"):
        draws = torch.Generator().manual_seed(1)
        stages = [nn.Conv2d(3, 5, 7, 4, 3), nn.Conv2d(5, 6, 3, 2, 1), nn.Conv2d(6, 7, 3, 2, 1)]
        for stage in stages:
            stage.weight = nn.Parameter(torch.empty(stage.weight.shape, device="cpu").normal_(0, 0.2, generator=draws))
            nn.init.zeros_(stage.bias)
        return FeatureNetwork("small", stages, CHANNELS, STRIDES, (1.0, 1.0, 1.0))

    for module in (networks, content_loss):
        monkeypatch.setattr(module, "load_features", load)
    return load
