"""SPADE's networks: sizes of the authors', formulas, receptive field, codes of styles."""

import pytest
import torch
import torch.nn.functional as F

from translate.nn import networks
from translate.nn.networks.spade import (
    LATENT,
    SPADEDiscriminator,
    SPADEEncoder,
    SPADEGenerator,
    SPADENorm,
    spade_generator_for,
)

from ...helpers import on_meta, parameter_count, random_tensor
from .helpers import make_averaging, receptive_range


@pytest.mark.parametrize(
    ("labels", "count"), [(36, 93_048_003), (151, 96_492_483), (184, 97_480_899), (13, 92_359_107)]
)
def test_the_generator_is_as_large_as_the_authors(labels, count):
    """Cityscapes with edges, ADE20K, COCO-Stuff with edges, facades."""
    assert parameter_count(on_meta(SPADEGenerator, labels, 3)) == count


def test_discriminator_and_encoder_are_as_large_as_the_authors():
    assert parameter_count(on_meta(SPADEDiscriminator, 39)) == 5_601_410
    assert parameter_count(on_meta(SPADEDiscriminator, 16)) == 5_554_306
    assert parameter_count(on_meta(SPADEEncoder, 3)) == 10_463_424


def test_logits_have_the_sizes_of_the_layers():
    """n → n/2 + 1 by each stride of 2, + 1 by each of 1; the second scale sees half of the size."""
    d = on_meta(SPADEDiscriminator, 6)
    features, logits = d.features_and_logits(torch.zeros(1, 6, 256, 256, device="meta"))
    assert [[x.shape[2] for x in maps] for maps in features] == [[129, 65, 33, 34], [65, 33, 17, 18]]
    assert [y.shape for y in logits] == [(1, 1, 35, 35), (1, 1, 19, 19)]


def test_a_region_of_one_class_is_scaled_and_shifted_alike():
    """Away from other classes, scale and shift are one number for each channel, and other classes give others."""
    torch.manual_seed(0)
    norm = SPADENorm(3, 2, 4, "none").double()
    labels = F.one_hot((torch.arange(32) // 16).expand(16, 32), 2).permute(2, 0, 1)[None].double()
    x = random_tensor(1, 3, 16, 32)
    hidden = norm.shared(labels)
    expected = x * (1 + norm.gamma(hidden)) + norm.beta(hidden)
    torch.testing.assert_close(norm(x, labels), expected, rtol=0, atol=1e-14)
    shift = norm(torch.zeros_like(x), labels)[:, :, 2:-2]
    left, right = shift[..., 2:14], shift[..., 18:30]
    for region in (left, right):
        torch.testing.assert_close(region, region[..., :1].expand_as(region), rtol=0, atol=1e-14)
    assert (left[..., 0] - right[..., 0]).abs().min() > 1e-3


def test_label_maps_are_read_at_the_size_of_each_map():
    torch.manual_seed(0)
    norm = SPADENorm(2, 3, 4, "batch").double()
    labels, x = random_tensor(1, 3, 16, 24), random_tensor(1, 2, 4, 6)
    torch.testing.assert_close(norm(x, labels), norm(x, labels[:, :, ::4, ::4]), rtol=0, atol=0)


@pytest.mark.parametrize("axis", [2, 3], ids=["rows", "columns"])
@pytest.mark.parametrize("ups", [1, 2])
def test_receptive_radius_is_exact(ups, axis):
    net = SPADEGenerator(1, 1, 1, "none", ups=ups)
    cell = net.multiple_of
    middle = (net.receptive_radius // cell + 2) * cell
    shape = (2 * middle, net.minimum) if axis == 2 else (net.minimum, 2 * middle)
    x = torch.rand(1, 1, *shape, dtype=torch.float64) + 0.5
    layers = make_averaging(net.model[:-1])
    reached = [(place, *receptive_range(layers, x, axis, place)) for place in range(middle, middle + cell)]
    assert max(max(place - first, last - place) for place, first, last in reached) == net.receptive_radius


@pytest.mark.parametrize(
    ("crop", "name"),
    [(256, "spade"), (128, "spade"), (64, "spade_4ups"), (32, "spade_3ups"), (96, "spade_4ups"), (9, None)],
)
def test_the_first_map_has_four_pixels_a_side_or_more(crop, name):
    assert spade_generator_for(crop) == name
    if name is not None:
        assert networks.find(name)(3, 3, 1, "batch", False).multiple_of * 4 <= crop


@pytest.mark.parametrize(("name", "ups"), [("spade_1ups", 1), ("spade_5ups", 5), ("spade_7ups", 7)])
def test_names_say_the_number_of_upsamplings(name, ups):
    assert networks.find(name)(3, 3, 1, "batch", False).multiple_of == 2**ups
    assert networks.find("spade_8ups") is None


def test_a_code_decides_the_first_map_at_any_size():
    net = SPADEGenerator(2, 3, 2, "instance", ups=2)
    net.use_latent(16)
    net.initialise(net, 0, "g").double().eval()
    labels, codes = random_tensor(2, 2, 16, 16), random_tensor(2, LATENT)
    with torch.no_grad():
        assert not torch.equal(net(labels, codes), net(labels, -codes))
        assert torch.equal(net(labels), net(labels, torch.zeros(2, LATENT, dtype=torch.float64)))
        assert net(random_tensor(1, 2, 24, 32), codes[:1]).shape == (1, 3, 24, 32)


def test_the_encoder_sees_images_of_any_size_at_its_own():
    net = SPADEEncoder(3, 2, 32)
    net.initialise(net, 0, "e").double().eval()
    x = random_tensor(1, 3, 32, 32)
    with torch.no_grad():
        means = [net(y)[0] for y in (x, x.repeat_interleave(2, 2).repeat_interleave(2, 3))]
    torch.testing.assert_close(*means, rtol=0, atol=1e-12)  # halved linearly, four equal pixels give their value
