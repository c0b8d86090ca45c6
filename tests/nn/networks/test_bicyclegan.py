"""BicycleGAN's networks: sizes, the places of the latent code, the encoder's means and the discriminator's scales."""

import pytest
import torch
import torch.nn.functional as F

from translate.nn.blocks import Dropout
from translate.nn.networks.bicyclegan import (
    BicycleGenerator,
    CodeBesideImage,
    LatentEncoder,
    MultiscaleDiscriminator,
    encoder_halvings,
    minimum_crop,
)
from translate.nn.networks.resize_unet import ResizeUnetGenerator

from ...helpers import on_meta, parameter_count, random_tensor

DOUBLE = torch.float64


@pytest.mark.parametrize(
    ("build", "arguments", "options", "parameters"),
    [
        (BicycleGenerator, (3, 3), {}, 54_794_627),
        (BicycleGenerator, (1, 3), {}, 54_792_579),
        (BicycleGenerator, (3, 3), {"z_at": "input"}, 54_417_795),
        (BicycleGenerator, (3, 3), {"levels": 7}, 42_145_155),
        (BicycleGenerator, (3, 3), {"levels": 7, "z_at": "input"}, 41_833_859),
        (BicycleGenerator, (3, 3), {"levels": 6}, 29_495_683),
        (LatentEncoder, (3,), {"halvings": 5}, 2_590_032),
        (LatentEncoder, (3,), {"halvings": 4}, 1_344_080),
        (MultiscaleDiscriminator, (3,), {}, 3_458_978),
        (MultiscaleDiscriminator, (6,), {}, 3_463_586),
        (MultiscaleDiscriminator, (3,), {"layers": 2}, 830_626),
    ],
)
def test_networks_are_as_large_as_the_authors(build, arguments, options, parameters):
    assert parameter_count(on_meta(build, *arguments, **options)) == parameters


@pytest.mark.parametrize("z_at", ["all", "input"])
def test_every_number_of_the_code_changes_the_output(z_at):
    net = BicycleGenerator(3, 3, 4, levels=3, latent=5, z_at=z_at, dropout=False).double()
    x, z = random_tensor(1, 3, 16, 16), torch.zeros(1, 5, dtype=DOUBLE, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x, z).square().sum(), z)
    assert (gradient != 0).all()
    assert torch.equal(net(x), net(x, torch.zeros(1, 5, dtype=DOUBLE)))


def test_the_code_is_one_for_the_whole_image():
    """Far from the border, a constant image becomes a constant one, by steps of the pixels that become one in the middle."""
    net = BicycleGenerator(3, 3, 4, levels=2, latent=5, norm="none", dropout=False).double()
    y = net(torch.zeros(1, 3, 64, 64, dtype=DOUBLE), random_tensor(1, 5))[:, :, 24:40, 24:40]
    torch.testing.assert_close(y[:, :, :8, :8], y[:, :, 8:, 8:], rtol=0, atol=1e-15)


def test_a_code_beside_the_image_is_a_plane_for_each_of_its_numbers():
    inner = ResizeUnetGenerator(3 + 2, 3, 4, "none", levels=2, blocks=1).double()
    net, x = CodeBesideImage(inner, latent=2), random_tensor(2, 3, 16, 16)
    z = torch.tensor([[0.5, -1.0], [2.0, 0.0]], dtype=DOUBLE)
    planes = torch.ones(2, 2, 16, 16, dtype=DOUBLE) * z.view(2, 2, 1, 1)
    assert torch.equal(net(x, z), inner(torch.cat([x, planes], 1)))
    assert torch.equal(net(x), inner(torch.cat([x, 0 * planes], 1)))
    assert (net.multiple_of, net.minimum, net.receptive_radius) == (4, 8, inner.receptive_radius)


def test_dropout_is_on_the_inner_levels_but_the_innermost():
    def count(levels):
        return sum(isinstance(m, Dropout) for m in on_meta(BicycleGenerator, 3, 3, levels=levels).modules())

    assert [count(levels) for levels in (4, 5, 6, 8)] == [0, 0, 1, 3]


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        net = BicycleGenerator(3, 3, 4, levels=3, dropout=False).double()
        net.initialise(net, "g")
        net.gradient_checkpointing = checkpointing
        z = random_tensor(2, 8).requires_grad_()
        loss = net(random_tensor(2, 3, 16, 16), z).square().sum()
        gradients.append(torch.autograd.grad(loss, [z, *net.parameters()]))
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


@pytest.mark.parametrize(("crop", "halvings"), [(16, 2), (32, 2), (64, 3), (96, 3), (128, 4), (256, 5)])
def test_the_encoder_ends_at_maps_of_eight_pixels(crop, halvings):
    assert encoder_halvings(crop) == halvings
    net = on_meta(LatentEncoder, 3, halvings=halvings)
    side = net.model(torch.zeros(1, 3, crop, crop, device="meta")).shape[2]
    assert side == {16: 4, 96: 12}.get(crop, 8)
    mean, log_variance = net(torch.zeros(2, 3, crop, crop, device="meta"))
    assert mean.shape == log_variance.shape == (2, 8)


def test_the_second_scale_is_half_as_large_and_half_as_wide():
    net = MultiscaleDiscriminator(3, 4, layers=2).double()
    x = random_tensor(1, 3, 32, 32)
    first, second = net(x)
    assert (first.shape[2:], second.shape[2:]) == ((6, 6), (2, 2))
    inner = F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2) * 9
    counts = F.avg_pool2d(F.pad(torch.ones_like(x), (1, 1, 1, 1)), 3, 2) * 9
    torch.testing.assert_close(second, net.scales[1](inner / counts))
    assert [scale.model[0].out_channels for scale in net.scales] == [4, 2]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_smallest_crop_is_the_smallest(layers):
    net, side = MultiscaleDiscriminator(3, 4, layers=layers), minimum_crop(layers)
    assert net.minimum == side
    assert all(logits.numel() for logits in net(torch.zeros(1, 3, side, side)))
    with pytest.raises((ValueError, RuntimeError), match=r"more than 1|too small|can't be greater"):
        net(torch.zeros(1, 3, side - 1, side - 1))
