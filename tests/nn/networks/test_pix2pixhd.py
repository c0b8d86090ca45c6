"""pix2pixHD's networks: their sizes and names, the scales of the discriminators, and the global part of the local enhancer."""

import pytest
import torch
import torch.nn.functional as F

from translate.errors import UsageError
from translate.nn.blocks import halve
from translate.nn.init import normal_
from translate.nn.networks import find, find_discriminator
from translate.nn.networks.pix2pixhd import GlobalGenerator, LocalEnhancer, Pix2PixHDDiscriminator

from ...helpers import on_meta, parameter_count, random_tensor


def enhancer(**more):
    """A small local enhancer in float64 whose weights are large enough to matter."""
    return normal_(LocalEnhancer(3, 3, 2, downs=1, blocks=2, **more).double(), 0, gain=0.2)


def discriminator(scales=2, layers=3):
    return normal_(Pix2PixHDDiscriminator(6, 4, layers=layers, scales=scales).double(), 0, gain=0.2)


# Sizes and names.


@pytest.mark.parametrize(
    ("name", "width", "channels", "parameters"),
    [
        ("pix2pixhd_global", 64, 3, 182_443_267),
        ("pix2pixhd_global", 64, 36, 182_546_755),
        ("pix2pixhd_global", 64, 39, 182_556_163),
        ("pix2pixhd_local", 32, 3, 182_701_827),
        ("pix2pixhd_local", 32, 36, 182_857_059),
        ("pix2pixhd_local", 32, 39, 182_871_171),
        ("pix2pixhd_global_2downs_3blocks", 16, 3, 272_515),
    ],
)
def test_generators_are_as_large_as_the_authors(name, width, channels, parameters):
    assert parameter_count(on_meta(find(name), channels, 3, width)) == parameters


@pytest.mark.parametrize(
    ("scales", "channels", "parameters"),
    [(1, 6, 2_767_809), (2, 6, 5_535_618), (3, 6, 8_303_427), (2, 39, 5_603_202), (3, 39, 8_404_803)],
)
def test_discriminators_are_as_large_as_the_authors(scales, channels, parameters):
    build = find_discriminator(f"pix2pixhd_{scales}scales")
    assert parameter_count(on_meta(build, channels, 64, "instance", 3)) == parameters
    if scales == 2:
        assert parameter_count(on_meta(find_discriminator("pix2pixhd"), channels, 64, "instance", 3)) == parameters


@pytest.mark.parametrize(
    ("side", "logits"), [(256, [35, 19]), (64, [11, 7]), (32, [7, 5])]
)  # of 256: 129, 65, 33, 34, 35
def test_the_maps_of_logits_are_as_large_as_the_authors(side, logits):
    found = on_meta(Pix2PixHDDiscriminator, 6)(torch.empty(1, 6, side, side, device="meta"))
    assert [x.shape[2] for x in found] == logits


@pytest.mark.parametrize(
    ("name", "key", "shape"),
    [
        ("pix2pixhd_global", "model.1.weight", (64, 3, 7, 7)),
        ("pix2pixhd_global", "model.13.weight", (1024, 512, 3, 3)),
        ("pix2pixhd_global", "model.16.conv_block.5.bias", (1024,)),
        ("pix2pixhd_global", "model.25.weight", (1024, 512, 3, 3)),
        ("pix2pixhd_global", "model.38.weight", (3, 64, 7, 7)),
        ("pix2pixhd_local", "model.34.weight", (128, 64, 3, 3)),
        ("pix2pixhd_local", "model1_1.4.weight", (64, 32, 3, 3)),
        ("pix2pixhd_local", "model1_2.0.conv_block.1.weight", (64, 64, 3, 3)),
        ("pix2pixhd_local", "model1_2.3.weight", (64, 32, 3, 3)),
        ("pix2pixhd_local", "model1_2.7.bias", (3,)),
    ],
)
def test_layers_have_the_names_of_the_authors(name, key, shape):
    """By their numbers in the lists: padding, convolution, norm and ReLU are 4 layers, each block is one."""
    net = on_meta(find(name), 3, 3, 32 if "local" in name else 64)
    assert net.state_dict()[key].shape == shape
    assert all("bias" in key or key.replace("weight", "bias") in net.state_dict() for key in net.state_dict())


@pytest.mark.parametrize("name", ["pix2pixhd_global_7downs_1blocks", "pix2pixhd_local_0downs_1blocks", "pix2pixhd"])
def test_there_are_no_other_generators(name):
    assert find(name) is None
    assert find_discriminator("pix2pixhd_0scales") is find_discriminator("pix2pixhd_global") is None


# Discriminators of several scales.


def test_halving_is_a_mean_of_the_pixels_that_there_are():
    x = torch.arange(12.0).view(1, 1, 3, 4)
    above = [(0 + 1 + 4 + 5) / 4, (1 + 2 + 3 + 5 + 6 + 7) / 6]
    below = [(4 + 5 + 8 + 9) / 4, (5 + 6 + 7 + 9 + 10 + 11) / 6]
    torch.testing.assert_close(halve(x), torch.tensor([[[above, below]]]))


def test_each_scale_judges_images_of_half_the_size_of_the_one_before_the_coarsest_by_scale0():
    d, x = discriminator(scales=3), random_tensor(2, 6, 40, 40)
    features, logits = d.features_and_logits(x)
    for scale, maps, out in zip((2, 1, 0), features, logits, strict=True):
        y, seen = x, []
        for number in range(5):
            y = d.get_submodule(f"scale{scale}_layer{number}")(y)
            seen.append(y)
        assert all(torch.equal(a, b) for a, b in zip([*maps, out], seen, strict=True))
        x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    assert [len(maps) for maps in features] == [4, 4, 4]
    assert all(torch.equal(a, b) for a, b in zip(d(random_tensor(2, 6, 40, 40)), logits, strict=True))


def test_the_weights_of_two_scales_judge_the_same_images_within_three():
    """Images twice as large: the two networks see what they saw before."""
    two, three = discriminator(2), discriminator(3)
    three.load_state_dict(three.state_dict() | two.state_dict())
    x = random_tensor(1, 6, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(two(halve(x)), three(x)[1:], strict=True))


# The local enhancer.


def test_the_local_enhancer_adds_the_maps_of_the_global_generator_to_its_own():
    net, whole = enhancer(), normal_(GlobalGenerator(3, 3, 4, downs=1, blocks=2).double(), 7, gain=0.2)
    net.load_state_dict(net.with_global(whole.state_dict()))
    x = random_tensor(2, 3, 16, 24)
    maps = whole.model[:-3](F.avg_pool2d(x, 3, 2, 1, count_include_pad=False))
    assert maps.shape == (2, 4, 8, 12)
    torch.testing.assert_close(net(x), net.model1_2(net.model1_1(x) + maps), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [({"width": 8}, "--g-width 4"), ({"blocks": 3}, "NdownsBblocks"), ({"downs": 2}, "NdownsBblocks")],
)
def test_another_global_generator_is_refused_with_the_remedy(given, remedy):
    other = GlobalGenerator(3, 3, **{"width": 4, "downs": 1, "blocks": 2, **given})
    with pytest.raises(UsageError, match=f"--init-from: .*{remedy}"):
        enhancer().with_global(other.state_dict())


def test_a_fixed_global_generator_gets_no_gradient_and_changes_no_value():
    net, x = enhancer(), random_tensor(2, 3, 16, 16)
    free = net(x)
    fixed = net(x, fixed_global=True)
    torch.testing.assert_close(free, fixed, rtol=0, atol=1e-12)  # without gradients instance norm is another kernel
    fixed.square().mean().backward()
    assert {key.split(".")[0] for key, p in net.named_parameters() if p.grad is not None} == {"model1_1", "model1_2"}


@pytest.mark.parametrize("fixed", [False, True])
def test_checkpointing_gives_the_same_gradients_to_the_bit(fixed):
    gradients = []
    for on in (False, True):
        net = enhancer(dropout=True)
        net.gradient_checkpointing = on
        torch.manual_seed(3)
        net(random_tensor(2, 3, 16, 16), fixed_global=fixed).square().mean().backward()
        gradients.append([p.grad for p in net.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 10
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
