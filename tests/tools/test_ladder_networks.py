"""tools/ladder_networks.py: heads without mixing, enlarged features, and bilinear upsampling, by their formulas."""

import ladder_networks
import pytest
import torch
import torch.nn.functional as F
from ladder_networks import DISCRIMINATORS, GENERATORS

from translate.conversion.tiling.windowed_forward import WindowedForward
from translate.nn import networks
from translate.nn.features import load_features

from ..conversion.tiling.networks import cut
from ..helpers import random_tensor
from ..nn.networks.helpers import make_averaging, receptive_range


def discriminator(name, condition=0):
    """A discriminator with heads of two channels, in float64."""
    net = DISCRIMINATORS[name](3 + condition, 4, "batch", 3, 64, condition_channels=condition)
    return net.initialise(net, 0, "d").double()


@pytest.mark.parametrize("condition", [0, 3])
def test_vision_aided_heads_see_the_features_of_their_tap(condition, small_features):
    """1×1, 3×3 and 1×1 convolutions on the maps of the image, and on those of the condition behind them."""
    net, x = discriminator("vision_aided+pixel", condition), random_tensor(2, 3 + condition, 32, 32)
    found, w = net(x), net.state_dict()
    maps = small_features().double()(x[:, condition:])
    if condition:
        of_condition = small_features().double()(x[:, :condition])
        maps = [torch.cat(pair, 1) for pair in zip(maps, of_condition, strict=True)]
    assert len(found) == 4
    for i, y in enumerate(maps):
        for layer, padding in ((0, 0), (2, 1), (4, 0)):
            y = F.leaky_relu(y, 0.2) if layer else y
            y = F.conv2d(y, w[f"heads.{i}.{layer}.weight"], w[f"heads.{i}.{layer}.bias"], padding=padding)
        torch.testing.assert_close(found[i], y)
    assert not [name for name in w if "mixing" in name]


def test_vision_aided_weights_are_a_function_of_the_key(small_features):
    """Drawn as PyTorch does: the first head has 5 inputs, so its ten weights are within 1/√5, and not all below half."""
    first, again = (discriminator("vision_aided+pixel").state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert 0.5 * 5**-0.5 < first["heads.0.0.weight"].abs().max() <= 5**-0.5


def test_enlarged_features_are_those_of_an_enlarged_image():
    """Maps have twice the height and width; the network that others share the weights with is as it was."""
    net, x = discriminator("projected_x2+pixel"), random_tensor(2, 3, 32, 32)
    twice = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    plain = load_features("efficientnet-lite0").double()
    view = net.view(x)
    for found, expected in zip(view.features, plain(twice), strict=True):
        torch.testing.assert_close(found, expected)
    assert [y.shape[2] for y in view.features] == [16, 8, 4]
    assert (net.features.strides, plain.strides) == ((2, 4, 8), (4, 8, 16))
    assert [y.shape[2] for y in net(x)] == [16, 8, 4, 8]


def test_enlarged_features_judge_the_smallest_image(small_features):
    net = discriminator("projected_x2+pixel")
    assert net.minimum == 8
    assert all(logits.numel() for logits in net(torch.zeros(1, 3, 8, 8, dtype=torch.float64)))


@pytest.mark.parametrize("name", GENERATORS)
def test_only_the_last_upsampling_is_bilinear(name):
    """A step from 0 to 1 becomes 0, ¼, ¾, 1 in the last step, and 0, 0, 1, 1 before."""
    layers = GENERATORS[name](3, 3, 4, "batch", False).model[0]
    step = torch.tensor([0.0, 1.0]).expand(1, 1, 2, 2)
    assert layers.last_up[1](step)[0, 0, 0].tolist() == [0, 0.25, 0.75, 1]
    assert all(up[1](step)[0, 0, 0].tolist() == [0, 0, 1, 1] for up in layers.ups)


@pytest.mark.parametrize("name", GENERATORS)
def test_all_else_is_the_networks_of_the_package(name):
    net, base = GENERATORS[name](3, 3, 4, "batch", False), networks.find(name.removesuffix("_bilinear"))(3, 3, 4)
    own, other = (x.initialise(x, 1, "g").state_dict() for x in (net, base))
    assert own.keys() == other.keys() and all(torch.equal(own[key], other[key]) for key in own)
    assert (net.multiple_of, net.minimum) == (base.multiple_of, base.minimum)


@pytest.mark.parametrize("name", ["resize_unet_1levels_1blocks", "resize_unet_2levels_1blocks_2last"])
def test_the_receptive_radius_is_exact(name):
    """No pixel farther away has any influence, and some at the radius have."""
    net = ladder_networks.build_bilinear(name, 1, 1, 1, "none", False)
    radius, cell = net.receptive_radius, net.multiple_of
    middle = (-(-radius // cell) + 2) * cell
    before_tanh = make_averaging(net.model[:-1])
    x = torch.rand(1, 1, net.minimum, 2 * middle, dtype=torch.float64) + 0.5
    reaches = []
    for place in range(middle, middle + cell):
        first, last = receptive_range(before_tanh, x, 3, place)
        reaches += [place - first, last - place]
    assert max(reaches) == radius


def test_large_images_are_converted_in_exact_windows():
    net = ladder_networks.build_bilinear("resize_unet_2levels_1blocks", 3, 3, 4, "instance", False).double().eval()
    net.initialise(net, 0)
    net.model[0].out[1].weight.data.mul_(5)
    x = random_tensor(1, 3, 96, 120)
    found = torch.full_like(x, torch.nan)
    with torch.inference_mode():
        whole = net(x)
        forward = WindowedForward(net, (96, 120), lambda region: cut(x, region), 16)
        forward.run(lambda region, part: cut(found, region).copy_(part))
    assert whole.std() > 0.1
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)  # sums of statistics come in another order
