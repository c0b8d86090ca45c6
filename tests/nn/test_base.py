"""Base classes of networks: the features of discriminators, and the defaults of generators."""

import pytest
import torch
from torch import nn

from translate.nn.networks import DISCRIMINATORS


@pytest.mark.parametrize("name", ["discogan", "basic", "n_layers"])
def test_features_are_what_the_last_activations_give(name):
    net = DISCRIMINATORS[name](3, 2, "instance", 3, 64)
    given = []
    for layer in net.model:
        if isinstance(layer, nn.LeakyReLU):
            layer.register_forward_hook(lambda layer, x, y: given.append(y))
    x = torch.rand(2, 3, 64, 64)
    features, logits = net.features_and_logits(x)
    assert len(features) == 3
    assert all(x is y for x, y in zip(features, given[-3:], strict=True))
    assert torch.equal(logits, net(x))
