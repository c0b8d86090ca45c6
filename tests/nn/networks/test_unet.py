"""U-Net generator: its layers are those of the reference implementation, and its depth follows from the crop size."""

import pytest

from translate.nn.blocks import Dropout
from translate.nn.networks import GENERATORS, deepest_unet

from ...helpers import on_meta
from .helpers import layer_biases


def unet_layers(levels, batch):
    """The layers of the reference's U-Net, from the outermost level to the innermost: name → has a bias."""
    layers = {"model.model.0": not batch, "model.model.3": True}
    level = "model.model.1.model"
    for _ in range(levels - 2):
        layers |= {f"{level}.1": not batch, f"{level}.5": not batch}
        if batch:
            layers |= {f"{level}.2": True, f"{level}.6": True}
        level += ".3.model"
    layers |= {f"{level}.1": not batch, f"{level}.3": not batch}
    if batch:
        layers[f"{level}.4"] = True
    return layers


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("levels", range(2, 9))
def test_unet_layers_are_named_as_in_the_reference(levels, norm, dropout):
    net = on_meta(GENERATORS[f"unet_{2**levels}"], 3, 3, 64, norm, dropout)
    assert layer_biases(net) == unet_layers(levels, norm == "batch")


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("model.model.0.weight", (64, 3, 4, 4)),
        ("model.model.1.model.1.weight", (128, 64, 4, 4)),
        ("model.model.1.model.3.model.1.weight", (256, 128, 4, 4)),
        ("model.model.1" + ".model.3" * 6 + ".model.1.weight", (512, 512, 4, 4)),
        ("model.model.1" + ".model.3" * 6 + ".model.3.weight", (512, 512, 4, 4)),
        ("model.model.1" + ".model.3" * 6 + ".model.4.running_mean", (512,)),
        ("model.model.1.model.5.weight", (256, 64, 4, 4)),
        ("model.model.1.model.6.weight", (64,)),
        ("model.model.3.weight", (128, 3, 4, 4)),
    ],
)
def test_tensors_of_unet_256(key, shape):
    assert on_meta(GENERATORS["unet_256"], 3, 3).state_dict()[key].shape == shape


@pytest.mark.parametrize(("levels", "count"), [(8, 3), (7, 2), (6, 1), (5, 0), (4, 0), (2, 0)])
def test_unet_drops_out_last_in_the_blocks_around_the_innermost(levels, count):
    net = on_meta(GENERATORS[f"unet_{2**levels}"], 3, 3)
    innermost = "model.model.1" + ".model.3" * (levels - 2)
    expected = {innermost.removesuffix(".model.3" * n) + ".model.7" for n in range(1, count + 1)}
    assert {name for name, layer in net.named_modules() if isinstance(layer, Dropout)} == expected


@pytest.mark.parametrize(
    ("crop", "levels"), [(256, 8), (512, 8), (128, 7), (384, 7), (64, 6), (96, 5), (32, 5), (260, 2), (4, 2)]
)
def test_unet_for_a_crop_takes_it_and_is_no_deeper_than_eight_levels(crop, levels):
    name = deepest_unet(crop)
    assert name == f"unet_{2**levels}"
    net = on_meta(GENERATORS[name], 3, 3)
    assert crop % net.multiple_of == 0
    assert crop >= net.minimum


@pytest.mark.parametrize("crop", [255, 130, 2, 1])
def test_no_unet_for_a_crop_that_cannot_be_halved_twice(crop):
    assert deepest_unet(crop) is None
