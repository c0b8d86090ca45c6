"""DualGAN's networks, initial weights and optimizer: TensorFlow's rules by hand."""

import pytest
import torch
from torch import nn

from translate.nn.init import truncated_normal_
from translate.nn.networks import DISCRIMINATORS, GENERATORS, find
from translate.nn.networks.dualgan import SameConv2d, SameConvTranspose2d

from ...helpers import on_meta, parameter_count


def ones(layer):
    """The layer with weights of 1 and biases of 0."""
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@pytest.mark.parametrize(
    ("kernel", "length", "seen"),
    [
        (3, 4, [3, 2]),  # rows 0–2, and 2 and 3: nothing before, one row behind
        (5, 4, [4, 3]),  # rows 0–3, and 1–3: one before, two behind
        (3, 3, [2, 2]),  # odd: rows 0 and 1, 1 and 2: one on both sides
        (5, 1, [1]),
    ],
)
def test_a_convolution_sees_what_it_sees_in_tensorflow(kernel, length, seen):
    given = ones(SameConv2d(1, 1, kernel))(torch.ones(1, 1, length, length))
    rows = torch.tensor(seen, dtype=torch.float32)
    assert torch.equal(given[0, 0], rows[:, None] * rows)


@pytest.mark.parametrize(("kernel", "reached"), [(3, [1, 1, 2, 1]), (5, [1, 2, 2, 2])])
def test_a_transposed_convolution_reaches_what_it_reaches_in_tensorflow(kernel, reached):
    given = ones(SameConvTranspose2d(1, 1, kernel))(torch.ones(1, 1, 2, 2))
    rows = torch.tensor(reached, dtype=torch.float32)
    assert torch.equal(given[0, 0], rows[:, None] * rows)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("length", [5, 8])
def test_sizes_are_as_the_layers_tell_by_their_padding(kernel, length):
    down, up = SameConv2d(1, 1, kernel), SameConvTranspose2d(1, 1, kernel)
    x = torch.zeros(1, 1, length, length)
    assert down(x).shape == nn.Conv2d(1, 1, kernel, down.stride, down.padding)(x).shape
    like = nn.ConvTranspose2d(1, 1, kernel, up.stride, up.padding, up.output_padding)
    assert up(x).shape == like(x).shape == (1, 1, 2 * length, 2 * length)


def test_networks_for_256_pixels_have_the_layers_of_the_authors():
    """Weights and biases of every convolution, scale and shift of every norm."""
    encoder = [(3, 64, 5), (64, 128, 3), (128, 256, 3), (256, 512, 3), *[(512, 512, 3)] * 4]
    decoder = [(512, 512, 3), *[(1024, 512, 3)] * 3, (1024, 256, 3), (512, 128, 3), (256, 64, 3), (128, 3, 5)]
    norms = [cout for _, cout, _ in encoder[1:] + decoder[:-1]]
    count = sum(cin * cout * k * k + cout for cin, cout, k in encoder + decoder) + 2 * sum(norms)
    assert parameter_count(on_meta(find("dual_unet_256"), 3, 3)) == count

    judge = [(3, 64, 5), (64, 128, 3), (128, 256, 3), (256, 512, 3), (512, 512, 3)]
    count = sum(cin * cout * k * k + cout for cin, cout, k in judge) + 2 * (128 + 256 + 512 + 512)
    assert parameter_count(on_meta(DISCRIMINATORS["dualgan"], 3, 64, "instance", 3)) == count + 8 * 8 * 512 + 1
    assert parameter_count(on_meta(DISCRIMINATORS["dualgan_patch"], 3, 64, "instance", 3)) == count + 9 * 512 + 1


@pytest.mark.parametrize(("crop", "patches"), [(256, 4), (128, 2), (96, 3), (64, 2), (32, 2), (16, 2)])
def test_discriminators_of_smaller_crops_have_fewer_halvings(crop, patches):
    x = torch.zeros(2, 3, crop, crop, device="meta")
    assert on_meta(DISCRIMINATORS["dualgan"], 3, 4, "instance", 3, crop)(x).shape == (2, 1, 1, 1)
    assert on_meta(DISCRIMINATORS["dualgan_patch"], 3, 4, "instance", 3, crop)(x).shape == (2, 1, patches, patches)


@pytest.mark.parametrize("crop", [32, 64, 256])
def test_no_discriminator_is_blind(crop):
    """At a single pixel its last norm would say the same of every image."""
    net = truncated_normal_(DISCRIMINATORS["dualgan"](3, 2, "instance", 3, crop), 0, gain=0.3)
    x = torch.rand(2, 3, crop, crop, generator=torch.Generator().manual_seed(0))
    left, right = net(x).flatten()
    assert abs(left - right) > 1e-3


def test_an_image_of_another_size_than_the_crop_is_refused():
    net = on_meta(DISCRIMINATORS["dualgan"], 3, 4, "instance", 3, 64)
    with pytest.raises(ValueError, match="64 a side"):
        net(torch.zeros(1, 3, 64, 80, device="meta"))


def test_a_patch_is_129_pixels():
    net = DISCRIMINATORS["dualgan_patch"](1, 1, "none", 3).double()
    for p in net.parameters():
        nn.init.constant_(p, 1 / p[0].numel())
    x = torch.rand(1, 1, 512, 512, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[0, 0, 4, 4], x)
    assert gradient[0, 0].any(1).sum() == 129


@pytest.mark.parametrize(("levels", "count"), [(8, 3), (7, 2), (6, 1), (5, 0)])
def test_dropout_is_in_the_innermost_blocks_of_the_decoder(levels, count):
    from translate.nn.blocks import Dropout

    net = on_meta(GENERATORS[f"dual_unet_{2**levels}"], 3, 3, 4, "instance", True)
    innermost = "model.model.1.model" + ".3.model" * (levels - 2)
    expected = {f"{innermost}.6"} | {f"{innermost.removesuffix('.3.model' * n)}.7" for n in range(1, count)}
    assert {k for k, m in net.named_modules() if isinstance(m, Dropout)} == (expected if count else set())


def test_a_deeper_u_net_can_be_asked_for():
    assert on_meta(find("dual_unet_512"), 3, 3, 1).minimum == 512
    assert find("dual_unet_3") is None
