"""ResNet generator: its layers are those of the reference implementation, by name and shape."""

import pytest
import torch

from translate.nn.networks import GENERATORS

from ...helpers import on_meta
from .helpers import layer_biases


def resnet_layers(blocks, batch, dropout):
    """The layers of the reference's ResNet: name → has a bias."""
    second = 6 if dropout else 5
    up = 10 + blocks
    convs = ["1", "4", "7", str(up), str(up + 3)]
    convs += [f"{10 + b}.conv_block.{i}" for b in range(blocks) for i in (1, second)]
    layers = {f"model.{c}": not batch for c in convs} | {f"model.{up + 7}": True}
    if batch:
        norms = ["2", "5", "8", str(up + 1), str(up + 4)]
        norms += [f"{10 + b}.conv_block.{i}" for b in range(blocks) for i in (2, second + 1)]
        layers |= {f"model.{n}": True for n in norms}
    return layers


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("blocks", [9, 6])
def test_resnet_layers_are_named_as_in_the_reference(blocks, norm, dropout):
    net = on_meta(GENERATORS[f"resnet_{blocks}blocks"], 3, 3, 64, norm, dropout)
    assert layer_biases(net) == resnet_layers(blocks, norm == "batch", dropout)


@pytest.mark.parametrize(
    ("dropout", "norm", "key", "shape"),
    [
        (False, "instance", "model.1.weight", (64, 3, 7, 7)),
        (False, "instance", "model.4.weight", (128, 64, 3, 3)),
        (False, "instance", "model.7.bias", (256,)),
        (False, "instance", "model.18.conv_block.5.weight", (256, 256, 3, 3)),
        (False, "instance", "model.19.weight", (256, 128, 3, 3)),
        (False, "instance", "model.22.weight", (128, 64, 3, 3)),
        (False, "instance", "model.26.weight", (3, 64, 7, 7)),
        (True, "instance", "model.10.conv_block.6.weight", (256, 256, 3, 3)),
        (True, "batch", "model.10.conv_block.7.running_mean", (256,)),
        (False, "batch", "model.2.running_var", (64,)),
        (False, "batch", "model.23.weight", (64,)),
    ],
)
def test_tensors_of_resnet_9blocks(dropout, norm, key, shape):
    net = on_meta(GENERATORS["resnet_9blocks"], 3, 3, 64, norm, dropout)
    assert net.state_dict()[key].shape == shape


@pytest.mark.parametrize("name", ["resnet_9blocks", "resnet_6blocks", "resnet_3blocks"])
def test_resnet_cannot_take_the_multiple_below_its_minimum(name):
    net = GENERATORS[name](3, 3, 1, "instance")
    size = net.minimum - net.multiple_of
    with pytest.raises(ValueError, match="more than 1 value"):
        net(torch.zeros(1, 3, size, size))
