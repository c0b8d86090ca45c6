"""The preset modern obeys the rules that every method obeys: frozen networks, several heads and shared views, in every part."""

import pytest
import torch

from translate.api.presets import sized_settings
from translate.methods import METHODS
from translate.nn.features import FeatureNetwork
from translate.training import memory_estimate

from . import test_ranks
from .test_steps import Trace

MODERN = [name for name, cls in METHODS.items() if "modern" in cls.presets]
STEPS = 6


def modern(name, **flags):
    """Settings of the preset for small images; with the pool off, and networks of a few channels."""
    settings = sized_settings(METHODS[name], "modern", {"crop_size": 32})
    small = {"generator": "resize_unet_2levels_1blocks", "g_width": 4, "d_width": 8, "batch_size": 2}
    return {**settings, **small, **flags}


def run(tiny, name, engine, steps, parts=1):
    for _ in range(steps):
        engine.step(tiny.engine_batch(name, engine, parts))


@pytest.mark.parametrize("name", MODERN)
def test_a_step_runs_without_memory_and_the_same_operations_each_time(name, tiny):
    method = tiny.method(name, **modern(name))
    traces = []
    for clock in tiny.clocks()[:2]:
        batch = tiny.batch(name, first=clock.images)
        with Trace() as trace:
            for _ in method.step(batch, clock, {}):
                pass
        traces.append(trace.ops)
    assert traces[0] == traces[1]
    with torch.device("meta"):
        method = METHODS[name](tiny.config(name, **modern(name)))
    for _, losses in method.step({key: x.to("meta") for key, x in tiny.batch(name).items()}, tiny.clocks()[0], {}):
        assert all(loss.device.type == "meta" and loss.ndim == 0 for loss in losses.values())


@pytest.mark.parametrize("name", MODERN)
def test_a_run_that_was_cut_equals_one_that_was_not_and_frozen_weights_are_not_saved(name, tiny):
    flags = modern(name, ema_half_life=6)
    whole, first, second = (tiny.engine(name, **flags) for _ in range(3))
    run(tiny, name, whole, STEPS)
    run(tiny, name, first, 2)
    state = first.state()
    frozen = {id(x) for net in first.method.modules() if isinstance(net, FeatureNetwork) for x in net.buffers()}
    names = {key for key, x in first.method.named_buffers() if id(x) in frozen}
    assert len(frozen) > 50 and not names & {*state["method"], *state["buffers"][0]}
    second.load_state(state)
    run(tiny, name, second, STEPS - 2)
    tiny.assert_equal_state(whole.state(), second.state())


@pytest.mark.parametrize("name", MODERN)
def test_each_update_moves_its_own_networks_and_nothing_that_is_frozen(name, tiny):
    engine = tiny.engine(name, **modern(name))
    frozen = [x for net in engine.method.modules() if isinstance(net, FeatureNetwork) for x in net.buffers()]
    before = [x.clone() for x in frozen]
    weights = {key: p.clone() for key, p in engine.method.named_parameters()}
    run(tiny, name, engine, 3)  # the last layer of a residual generator starts at zero, and passes nothing on at first
    assert all(torch.equal(x, y) for x, y in zip(frozen, before, strict=True))
    still = {key for key, p in engine.method.named_parameters() if torch.equal(p, weights[key])}
    # While all logits lie within ±1, the hinge loss pulls the last bias up for real images as much as down for fakes.
    assert {key.split(".", 1)[1] for key in still} <= {*(f"heads.{n}.4.bias" for n in range(3)), "pixel.6.bias"}


@pytest.mark.slow
def test_the_memory_estimate_counts_frozen_weights(tiny):
    """EfficientNet-Lite0 up to stride 16 has 0.7 million weights; the discriminators share them with nobody on fake tensors."""
    name = "cyclegan"
    parts = {}
    for discriminator in ("pixel", "projected"):
        cfg = tiny.config(name, **modern(name, discriminator=discriminator))
        example = {side: torch.empty(1, 3, 32, 32) for side in "ab"}
        parts[discriminator] = memory_estimate.estimate(
            METHODS[name], cfg, example, torch.device("cpu"), tiny.engine(name).precision
        )
    assert parts["projected"].weights - parts["pixel"].weights > 4 * 600_000
    assert parts["projected"].activations > parts["pixel"].activations


@pytest.mark.slow
@pytest.mark.parametrize("name", MODERN)
def test_two_processes_equal_one_with_twice_the_batch(name, tiny, tmp_path, monkeypatch):
    """A few steps: each has its penalties, its views and its averages, and what methods keep is held by test_ranks."""
    flags = modern(name, ema_half_life=20)
    monkeypatch.setattr(test_ranks, "settings", lambda name, norm, batch_size: {**flags, "batch_size": batch_size})
    monkeypatch.setattr(test_ranks, "STEPS", 3)
    monkeypatch.setattr(test_ranks, "CUT", 1)
    whole = test_ranks.one(tiny, name, "batch", "fp64")
    assert test_ranks.largest(test_ranks.two(tiny, name, "batch", "fp64", tmp_path), whole) < 1e-7
