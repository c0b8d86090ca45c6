"""superres: a step against one written out in plain PyTorch, its recipe, and the settings that it refuses."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import translate
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR
from translate.methods.pix2pix import Pix2Pix
from translate.methods.superres import SuperRes, SuperResConfig
from translate.nn.degradation import DEGRADATIONS
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from ..helpers import small_config
from .helpers import START, noise_batch


def method_of(**flags):
    """Return a small superres in float64, without a discriminator unless it is asked for."""
    return SuperRes(small_config("superres", **{"lambda_gan": 0.0, **flags})).double()


def photos():
    batch = noise_batch()
    return {"a": F.avg_pool2d(batch["a"], 5, 1, 2), "key": batch["key"]}


class PlainSuperRes(nn.Module):
    """MSRResNet of one block, ×4, with the weights of a method's generator, by nothing but PyTorch."""

    def __init__(self, g):
        super().__init__()
        layers = [0, "2.conv_block.0", "2.conv_block.3", 3, 6, 9, 11]
        weights = g.state_dict()
        self.weights = nn.ParameterList(weights[f"model.{name}.weight"].clone() for name in layers)
        self.biases = nn.ParameterList(weights[f"model.{name}.bias"].clone() for name in layers)

    def conv(self, i, x):
        return F.conv2d(x, self.weights[i], self.biases[i], padding=1)

    def forward(self, x):
        y = F.leaky_relu(self.conv(0, x), 0.1)
        y = y + self.conv(2, F.relu(self.conv(1, y)))
        for i in (3, 4):
            y = F.leaky_relu(F.pixel_shuffle(self.conv(i, y), 2), 0.1)
        y = self.conv(6, F.leaky_relu(self.conv(5, y), 0.1))
        return y + F.interpolate(x, scale_factor=4, mode="bicubic", antialias=True)


def plain_input(photo):
    """The photo made small in 8 bits, as a file would hold it."""
    small = F.interpolate(photo, scale_factor=0.25, mode="bicubic", antialias=True)
    return ((small.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def test_three_steps_are_those_of_a_plain_training():
    """L1 and Adam (0.9, 0.99) in float64: rounding alone differs."""
    flags = {"images": 1000, "seed": 1}
    cfg = small_config("superres", precision="fp64", lambda_gan=0.0, **flags)
    engine = Engine(
        SuperRes(cfg), Schedule(10, 0, 0, images=1000), seed=1, device=torch.device("cpu"), precision=PRECISIONS["fp64"],
        batch_size=2, ema_half_life=cfg.ema_half_life,
    )  # fmt: skip
    plain = PlainSuperRes(engine.method.g)
    adam = torch.optim.Adam(plain.parameters(), 2e-4, betas=(0.9, 0.99))
    batch = {"a": photos()["a"]}
    for _ in range(3):
        engine.step([batch])
        loss = (plain(plain_input(batch["a"])) - batch["a"]).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    found = PlainSuperRes(engine.method.g)
    for own, expected in zip(found.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-10)


def test_a_step_with_all_losses_by_hand():
    """The discriminator sees photos and outputs beside the bicubic enlargement of their input, as SRGAN's does alone."""
    method, batch = method_of(lambda_gan=0.005, lambda_l1=0.01, lambda_lowpass=2.0), photos()
    photo = batch["a"]
    (first, d_losses), (second, g_losses) = method.step(batch, START, {})
    x = plain_input(photo)
    fake, beside = method.g(x), F.interpolate(x, scale_factor=4, mode="bicubic", antialias=True).clamp(-1, 1)
    on_real, on_fake = (method.d(torch.cat([beside, image], 1)) for image in (photo, fake))
    assert (first, second) == ("d", "g")
    torch.testing.assert_close(d_losses["adv"], 0.5 * (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()))
    torch.testing.assert_close(g_losses["adv"], 0.005 * F.softplus(-on_fake).mean())
    torch.testing.assert_close(g_losses["l1"], 0.01 * (fake - photo).abs().mean())
    means = F.avg_pool2d(fake, 4) - F.avg_pool2d(photo, 4)
    torch.testing.assert_close(g_losses["lowpass"], 2 * means.abs().mean())
    assert g_losses.keys() == {"adv", "l1", "lowpass"}


@pytest.mark.parametrize("degradation", DEGRADATIONS)
def test_with_unpaired_losses_outputs_made_small_are_the_inputs(degradation):
    method, batch = method_of(loss="cycle", lambda_gan=1.0, degradation=degradation), photos()
    batch["b"] = batch["a"].flip(0)
    _, (_, losses) = method.step(batch, START, {})
    x = method.degradation(batch["a"], batch["key"])
    back = method.degradation(method.g(x), batch["key"])
    torch.testing.assert_close(losses["cycle"], 10 * (back - x).abs().mean())
    losses["cycle"].backward()
    assert all(p.grad.isfinite().all() for p in method.g.parameters())
    assert any(p.grad.abs().max() > 0 for p in method.g.parameters())


@pytest.mark.parametrize("factor", [2, 4])
def test_the_grid_shows_images_of_one_size(factor):
    columns = method_of(factor=factor).eval().preview(photos())
    assert list(columns) == ["input", "output", "truth"]
    assert {tuple(x.shape) for x in columns.values()} == {(2, 3, 32, 32)}
    assert all(x.abs().max() <= 1 for x in columns.values())


def test_the_default_recipe_is_the_first_step_of_basicsr():
    cfg = SuperRes.resolve_config(SuperResConfig())
    assert (cfg.factor, cfg.degradation, cfg.generator, cfg.norm) == (4, "bicubic", "srresnet_16blocks", "none")
    assert (cfg.lambda_l1, cfg.lambda_gan, cfg.lr, cfg.batch_size, cfg.crop_size) == (1, 0, 2e-4, 16, 128)
    method = SuperRes.on_meta(cfg)
    assert {name: update.networks for name, update in method.updates.items()} == {"g": ("g",)}
    assert method.updates["g"].options == {"betas": (0.9, 0.99)}
    assert sum(p.numel() for p in method.parameters()) == 1_517_571
    with_d = SuperRes.on_meta(SuperRes.resolve_config(SuperResConfig(lambda_gan=0.005)))
    assert with_d.updates["d"].role == DISCRIMINATOR
    assert with_d.updates["d"].options == {"betas": (0.9, 0.99)}


def test_the_degradation_is_no_part_of_the_model():
    method = method_of(degradation="real")
    assert not any(key.startswith("degradation") for key in method.state_dict())
    assert "degradation" in method.frozen_networks


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"factor": 3}, "--factor 3: must be 2 or 4"),
        ({"crop_size": 30}, "--crop-size 30: srresnet_1blocks takes multiples of 4 .* use --crop-size 28"),
        ({"generator": "resnet_9blocks"}, "--generator resnet_9blocks: .* use --generator srresnet_16blocks"),
        ({"loss": "cycle", "lambda_gan": 0.0}, "--lambda-gan 0: with --loss cycle"),
        ({"input_channels": 1}, "--input-channels 1, --output-channels 3"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(flags, message):
    with pytest.raises(UsageError, match=message):
        small_config("superres", **flags)


def test_other_methods_have_the_network_at_the_size_of_their_images():
    cfg = small_config("pix2pix", generator="srresnet_1blocks", norm="instance", dropout=False)
    assert Pix2Pix(cfg).g.scale == 1


def test_a_reference_file_is_refused(build, tmp_path):
    with pytest.raises(UsageError, match="no network like that of superres"):
        translate.export(build("superres", generator="srresnet_1blocks"), tmp_path / "x.pth")
