"""DualGAN's networks, initial weights and optimizer: TensorFlow's rules by hand."""

import math

import pytest
import torch
from torch import nn

from translate.nn.blocks import AffineInstanceNorm2d
from translate.nn.init import truncated_normal_
from translate.nn.networks import DISCRIMINATORS, GENERATORS, find
from translate.nn.networks.dualgan import NORM_EPS, SameConv2d, SameConvTranspose2d
from translate.training.optimizers import OPTIMIZERS


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


def test_of_a_single_pixel_the_norm_leaves_the_shift():
    norm = AffineInstanceNorm2d(3, NORM_EPS)
    nn.init.constant_(norm.bias, 0.25)
    x = torch.rand(2, 3, 1, 1, requires_grad=True)
    y = norm(x)
    assert torch.equal(y, torch.full((2, 3, 1, 1), 0.25))
    y.sum().backward()
    assert not x.grad.any()
    assert not norm.weight.grad.any()
    assert torch.equal(norm.bias.grad, torch.full((3,), 2.0))


def test_the_norm_scales_and_shifts_with_the_authors_epsilon():
    norm = AffineInstanceNorm2d(1, NORM_EPS)
    nn.init.constant_(norm.weight, 3.0)
    nn.init.constant_(norm.bias, 0.5)
    x = torch.tensor([[[[0.001, -0.001]]]])  # variance 1e-6, as large as epsilon: 0.001 / √2e-6 = √½
    torch.testing.assert_close(norm(x), torch.tensor([[[[1, -1]]]]) * 3 * math.sqrt(0.5) + 0.5)


def on_meta(build, *args, **kwargs):
    with torch.device("meta"):
        return build(*args, **kwargs)


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def test_networks_for_256_pixels_have_the_layers_of_the_authors():
    """Weights and biases of every convolution, scale and shift of every norm."""
    encoder = [(3, 64, 5), (64, 128, 3), (128, 256, 3), (256, 512, 3), *[(512, 512, 3)] * 4]
    decoder = [(512, 512, 3), *[(1024, 512, 3)] * 3, (1024, 256, 3), (512, 128, 3), (256, 64, 3), (128, 3, 5)]
    norms = [cout for _, cout, _ in encoder[1:] + decoder[:-1]]
    count = sum(cin * cout * k * k + cout for cin, cout, k in encoder + decoder) + 2 * sum(norms)
    assert parameters(on_meta(find("dual_unet_256"), 3, 3)) == count

    judge = [(3, 64, 5), (64, 128, 3), (128, 256, 3), (256, 512, 3), (512, 512, 3)]
    count = sum(cin * cout * k * k + cout for cin, cout, k in judge) + 2 * (128 + 256 + 512 + 512)
    assert parameters(on_meta(DISCRIMINATORS["dualgan"], 3, 64, "instance", 3)) == count + 8 * 8 * 512 + 1
    assert parameters(on_meta(DISCRIMINATORS["dualgan_patch"], 3, 64, "instance", 3)) == count + 9 * 512 + 1


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


def test_initial_weights_are_truncated_where_the_authors_truncate():
    net = nn.ModuleList([nn.Conv2d(10, 100, 5), nn.ConvTranspose2d(10, 100, 5), AffineInstanceNorm2d(20_000)])
    truncated_normal_(net, 3)
    conv, transposed, norm = net
    assert conv.weight.abs().max() <= 0.04 < transposed.weight.abs().max()
    spread = 0.02 * math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))  # of what is left
    assert abs(conv.weight.std() - spread) < 4 * spread / math.sqrt(2 * 25_000)
    for weight, mean in ((transposed.weight, 0), (norm.weight, 1)):
        error = 4 * 0.02 / math.sqrt(weight.numel())
        assert abs(weight.mean() - mean) < error
        assert abs(weight.std() - 0.02) < error
    assert not any(layer.bias.any() for layer in net)


def test_initial_weights_are_a_function_of_the_key_alone():
    first, again, other = (truncated_normal_(nn.Conv2d(2, 3, 3), *key).weight for key in ((1, "g"), (1, "g"), (2, "g")))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_rmsprop_is_tensorflow_s():
    """s = 1, 0.9 · 1 + 0.1 · 2² = 1.3, 0.9 · 1.3 + 0.1 · 0² = 1.17, 0.9 · 1.17 + 0.1 · 3² = 1.953."""
    p = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = OPTIMIZERS["rmsprop"]([p], 0.5, decay=0.9, eps=0.01)
    path = []
    for gradient in (2.0, 0.0, 3.0):
        p.grad = torch.full_like(p, gradient)
        optimizer.step()
        path.append(p[0].item())
    first = -0.5 * 2 / math.sqrt(1.31)
    assert path == pytest.approx([first, first, first - 0.5 * 3 / math.sqrt(1.963)], abs=1e-14)


def test_rmsprop_resumes():
    def run(steps, state=None):
        p = nn.Parameter(torch.full((1,), 0.5 if state is None else state["p"]))
        optimizer = OPTIMIZERS["rmsprop"]([p], 0.1)
        if state is not None:
            optimizer.load_state_dict(state["optimizer"])
        for _ in range(steps):
            p.grad = p.detach().clone()
            optimizer.step()
        return {"p": p.item(), "optimizer": optimizer.state_dict()}

    assert run(2, run(3))["p"] == run(5)["p"]
