"""Training of pix2pixHD goes where the double's training goes, step by step, in both stages.

In float64, because float32's rounding is amplified step by step whatever the code.
"""

from itertools import pairwise

import pytest
import torch
from torch import nn

from translate import config, keyed_random
from translate.methods.pix2pixhd import Pix2PixHD
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from . import pix2pixhd_double as double

STEPS_PER_EPOCH, EPOCHS, DECAY_EPOCHS = 2, 2, 4  # so that the rate falls within the steps
STEPS = 12
IDLE = 1e-7  # their gradient is rounding alone, which Adam turns into steps of up to its rate
SMALL = {"crop_size": 32, "g_width": 4, "d_width": 4}
STAGES = {
    "global": {"generator": "pix2pixhd_global_2downs_2blocks", "batch_size": 2},
    "local, all at once": {"generator": "pix2pixhd_local_1downs_1blocks", "discriminator": "pix2pixhd_3scales"},
    "local, fixed first": {
        "generator": "pix2pixhd_local_1downs_1blocks", "fix_global": STEPS_PER_EPOCH, "init_from": "a global generator",
        "d_layers": 2,
    },
}  # fmt: skip


def engine_of(settings):
    """pix2pixHD with small networks and images."""
    cfg = Pix2PixHD.resolve_config(config.resolve(Pix2PixHD.Config, ("test", {**SMALL, **settings})))
    schedule = Schedule(STEPS_PER_EPOCH * cfg.batch_size, EPOCHS, DECAY_EPOCHS, rule=cfg.schedule)
    return Engine(
        Pix2PixHD(cfg), schedule, seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp64"],
        batch_size=cfg.batch_size,
    )  # fmt: skip


def twin_of(engine):
    """The double's trainer with the engine's initial weights."""
    cfg, method = engine.method.cfg, engine.method
    _, kind, downs, blocks = cfg.generator.split("_")
    build = double.GlobalGenerator if kind == "global" else double.LocalEnhancer
    g = build(3, 3, cfg.g_width, int(downs.removesuffix("downs")), int(blocks.removesuffix("blocks")))
    d = double.Critics(6, cfg.d_width, method.d.scales, cfg.d_layers)
    for net, ours in ((g, method.g), (d, method.d)):
        net.double().load_state_dict(ours.state_dict(), strict=True)
    fixed_epochs = cfg.fix_global // (STEPS_PER_EPOCH * cfg.batch_size)
    return double.Trainer(
        g, d, epochs=EPOCHS, decay_epochs=DECAY_EPOCHS, steps_per_epoch=STEPS_PER_EPOCH, fixed_epochs=fixed_epochs
    )


def batch_of(engine):
    """The images of the engine's next step: noise with large patches."""
    key = keyed_random.image_keys(7, torch.arange(engine.images, engine.images + engine.method.cfg.batch_size))
    batch = {}
    for side in "ab":
        coarse, fine = (keyed_random.uniform(key, f"{side} {size}", 3, size, size).double() for size in (4, 32))
        batch[side] = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3) + fine - 1
    return batch


def idle_biases(net):
    """Names of the biases that the instance norm behind them takes away again."""
    return {
        f"{path}.{name}.bias"
        for path, stack in net.named_modules()
        if isinstance(stack, nn.Sequential)
        for (name, conv), (_, norm) in pairwise(stack.named_children())
        if isinstance(norm, nn.InstanceNorm2d) and not isinstance(conv, double.Block)
    }


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(flags, id=name, marks=[] if "fix_global" in flags else pytest.mark.slow)
        for name, flags in STAGES.items()
    ],
)
def test_training_in_float64_goes_the_same_way(settings):
    engine = engine_of(settings)
    twin, rates, moved = twin_of(engine), [], []
    start = {key: p.clone() for key, p in engine.method.g.named_parameters()}
    for _ in range(STEPS):
        batch, rate = batch_of(engine), twin.optimizer_d.param_groups[0]["lr"]
        got = {name.replace("g_local/", "g/"): loss for name, loss in engine.step([batch]).items()}
        expected = twin.step(batch["a"], batch["b"])
        assert engine.optimizers["d"].param_groups[0]["lr"] == pytest.approx(rate)
        rates.append(rate)
        assert got.keys() == expected.keys()
        for name, loss in expected.items():
            assert abs(got[name] - loss) <= 1e-10 * max(1, abs(loss)), name
        for name, theirs in (("g", twin.g), ("d", twin.d)):
            weights, idle = dict(engine.method.get_submodule(name).named_parameters()), idle_biases(theirs)
            for key, p in theirs.named_parameters():
                assert (weights[key] - p).abs().max() <= (IDLE if key in idle else 1e-10), f"{name}.{key}"
        moved.append({key.split(".")[0] for key, p in engine.method.g.named_parameters() if (p != start[key]).any()})
    assert len(set(rates)) == DECAY_EPOCHS
    if "fix_global" in settings:
        assert moved[STEPS_PER_EPOCH - 1] == {"model1_1", "model1_2"}
        assert moved[-1] == {"model", "model1_1", "model1_2"}


def test_the_default_recipe_is_the_authors():
    cfg = config.to_dict(Pix2PixHD.resolve_config(Pix2PixHD.Config()))
    expected = {
        "generator": "pix2pixhd_global", "discriminator": "pix2pixhd", "norm": "instance", "dropout": False,
        "g_width": 64, "d_width": 64, "d_layers": 3, "adversarial": "lsgan", "lambda_feature_matching": 10, "lr": 2e-4,
        "batch_size": 1, "epochs": 100, "decay_epochs": 100, "ema_half_life": 0, "flip": True,
    }  # fmt: skip
    assert {key: cfg[key] for key in expected} == expected
    assert Pix2PixHD.presets["paper"] == {}
