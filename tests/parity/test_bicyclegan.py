"""Training of BicycleGAN goes where the double's training goes, step by step, in float64."""

import pytest
import torch
from torch import nn

from translate import config, keyed_random
from translate.methods.bicyclegan import BicycleGAN
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from . import bicycle_double as double

STEPS = 5
WIDTH, LATENT = 6, 8
TOLERANCE = 1e-10  # rounding of float64, which a few steps hardly amplify
BIAS_TOLERANCE = 1e-7  # a norm takes most of them away again: their gradient is rounding, which Adam turns into steps
SIZES = {"crop_size": 64, "load_size": 64, "g_width": WIDTH, "d_width": WIDTH, "e_width": WIDTH, "dropout": False}
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def engine_of(batch_size):
    cfg = BicycleGAN.resolve_config(config.resolve(BicycleGAN.Config, ("test", {**SIZES, "batch_size": batch_size})))
    return Engine(
        BicycleGAN(cfg), Schedule(100, 10, 0), seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp64"],
        batch_size=batch_size,
    )  # fmt: skip


def pairs_of(ours, theirs):
    """The layers with weights of both, by the place that they have."""
    generator = [ours.g.first, ours.g.last[1]]
    block = ours.g.below
    while block is not None:
        generator += [block.down[1], block.up[1]]
        block = block.below
    yield from zip(generator, theirs.g.convolutions(), strict=True)
    yield ours.e.model[0], theirs.e.stem
    for block, twin in zip(list(ours.e.model)[1:-1], theirs.e.blocks, strict=True):
        yield block.residual[2], twin.first
        yield block.residual[5], twin.second
        yield block.shortcut[1], twin.side
    yield ours.e.mean, theirs.e.fc
    yield ours.e.log_variance, theirs.e.fc_var
    for critic, twin in ((ours.d, theirs.d), (ours.d2, theirs.d2)):
        layers = ([m for m in net.modules() if isinstance(m, LAYERS)] for net in (critic, twin))
        yield from zip(*layers, strict=True)


def twin_of(method):
    networks = (
        double.Level(3, 3, [WIDTH * min(2**n, 8) for n in range(6)], LATENT, outermost=True),
        double.Encoder(WIDTH, LATENT, 3), double.Critic(WIDTH, 3), double.Critic(WIDTH, 3),
    )  # fmt: skip
    twin = double.BicycleGAN(*(net.double() for net in networks))
    own, total = 0, sum(p.numel() for net in networks for p in net.parameters())
    for ours, theirs in pairs_of(method, twin):
        theirs.load_state_dict(ours.state_dict())
        own += sum(p.numel() for p in theirs.parameters())
    assert own == total == sum(p.numel() for p in method.parameters())
    return twin


def batch_of(engine, count):
    key = keyed_random.image_keys(7, torch.arange(engine.images, engine.images + count))
    return {side: keyed_random.uniform(key, side, 3, 64, 64).double() * 2 - 1 for side in "ab"}


@pytest.mark.parametrize("count", [2, 6])
def test_whole_steps_are_those_of_the_double(count):
    """Its halves are the first and the second half of a batch, ours every other image: so its batch is put in that order."""
    engine = engine_of(count)
    twin = twin_of(engine.method)
    halves = torch.cat([torch.arange(count)[::2], torch.arange(count)[1::2]])
    for _ in range(STEPS):
        batch = batch_of(engine, count)
        key = keyed_random.image_keys(engine.seed, torch.arange(engine.images, engine.images + count))[::2]
        draws = (keyed_random.normal(key, name, LATENT).double() for name in ("encoded", "z"))
        expected = twin.step(batch["a"][halves], batch["b"][halves], *draws)
        got = engine.step([batch])
        assert got.keys() == expected.keys()
        for name, loss in expected.items():
            assert abs(got[name] - loss) < TOLERANCE, name
        for ours, theirs in pairs_of(engine.method, twin):
            assert (ours.weight - theirs.weight).abs().max() < TOLERANCE
            assert (ours.bias - theirs.bias).abs().max() < BIAS_TOLERANCE


DEFAULTS = {
    "g_width": 64, "d_width": 64, "e_width": 64, "latent_size": 8, "z_at": "all", "norm": "instance", "dropout": True,
    "lambda_l1": 10, "lambda_kl": 0.01, "lambda_z": 0.5, "lambda_gan2": 1, "lr": 2e-4, "adversarial": "lsgan", "batch_size": 2,
    "epochs": 200, "decay_epochs": 200, "crop_size": 256, "load_size": None, "g_levels": 8, "d_layers": 3, "flip": True,
}  # fmt: skip


def test_the_default_recipe_is_the_authors():
    cfg = BicycleGAN.resolve_config(BicycleGAN.Config())
    assert {name: getattr(cfg, name) for name in DEFAULTS} == DEFAULTS
    assert cfg.default_load_size == 256
    assert BicycleGAN.presets["paper"] == {}
