"""The memory of a step, estimated before it is run, against what is derived by hand and against what an engine holds."""

import gc
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

import translate
from translate.config import TrainConfig
from translate.errors import UsageError
from translate.methods import METHODS
from translate.methods.base import DataStage, Method, Update
from translate.runtime.precision import PRECISIONS
from translate.training import memory_estimate
from translate.training.engine import Engine
from translate.training.micro_batches import split_batch
from translate.training.schedule import Schedule

from ..helpers import batch_like, distinct_methods, small_config

CPU, FP32 = torch.device("cpu"), PRECISIONS["fp32"]
GREY = {"a": torch.empty(1, 1, 8, 8)}
FEW = {"crop_size": 64, "load_size": None, "g_width": 8, "d_width": 8, "pool_size": 50, "lambda_identity": 0.0}


@dataclass(frozen=True)
class ToyConfig(TrainConfig):
    layers: int = 1


class Layer(nn.Module):
    """x → sigmoid(w x): keeps its output, which is also what the next layer keeps; its own input is kept already."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return (self.w * x).sigmoid()


class Toy(Method):
    """Layers on images; no convolution, so no scratch for any."""

    Config = ToyConfig
    generator_names = {}

    def __init__(self, cfg):
        super().__init__(cfg)
        self.g, self.d = nn.Sequential(*(Layer() for _ in range(cfg.layers))), Layer()
        self.updates = {"g": Update(("g",)), "d": Update(("d",))}

    def step(self, batch, clock, scheduled):
        yield "g", {"loss": self.g(batch["a"]).mean()}


class Outliving(Toy):
    """Its generator's graph is alive when the other network is stepped."""

    def step(self, batch, clock, scheduled):
        out = self.g(batch["a"])
        yield "d", {"loss": self.d(batch["a"]).mean()}
        yield "g", {"loss": out.mean()}


def settings(method, **flags):
    return METHODS[method], small_config(method, **{**FEW, **flags})


def colour(method):
    """A batch of the method's layout."""
    return batch_like(method, torch.empty(1, 3, 8, 8), torch.empty(1, 3, 8, 8))


def estimate(method, **flags):
    cls, cfg = settings(method, **flags)
    return memory_estimate.estimate(cls, cfg, colour(method), CPU, PRECISIONS.get(cfg.precision, FP32))


def toy(cls, **flags):
    return memory_estimate.estimate(cls, ToyConfig(crop_size=64, **flags), GREY, CPU, FP32)


def one_stage(cfg):
    return (DataStage(0, cfg.crop_size, cfg.crop_size, cfg.batch_size),)


def maps(n, size=64):
    """Bytes of n square images in float32."""
    return n * size**2 * 4


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_activations_are_the_kept_maps_and_two_gradients(layers):
    """Each layer keeps its output; the deepest, at work, has the gradient that comes in and the one that goes out."""
    assert toy(Toy, layers=layers, batch_size=4).activations == pytest.approx(maps(4 * (layers + 2)), abs=1000)


def test_micro_batches_divide_activations_unless_their_graphs_outlive_a_yield():
    """k = 4 graphs of one image each, and beside them the other network at work, which is one layer."""
    flags = {"layers": 5, "batch_size": 4, "accumulate": 4}
    assert toy(Toy, **flags).activations == pytest.approx(maps(5 + 2), abs=2000)
    assert toy(Outliving, **flags).activations == pytest.approx(maps(4 * 5 + 1 + 2), abs=2000)


def test_weights_optimizers_buffers_and_averages_are_exact():
    """Adam keeps two numbers for each weight, and one for each tensor that counts steps."""
    found = estimate("cyclegan", ema_half_life=100, batch_size=2, pool_size=10)
    nets = METHODS["cyclegan"].on_meta(settings("cyclegan")[1])
    count, tensors = sum(p.numel() for p in nets.parameters()), len(list(nets.parameters()))
    assert found.weights == 4 * count
    assert found.optimizers == 2 * 4 * count + 4 * tensors
    assert found.averages == 2 * 4 * sum(p.numel() for p in nets.g_ab.parameters())
    pool, counter = 10 * 3 * 64 * 64 * 4, 8
    assert found.buffers == 2 * (pool + counter)
    images, keys = 2 * 3 * 64 * 64 * 4, 8
    assert found.batch == 2 * images + 2 * keys


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "flags"),
    [
        ("pix2pix", {}),
        ("pix2pix", {"batch_size": 4, "accumulate": 2, "gradient_checkpointing": True}),
        ("cyclegan", {}),
    ],
)
def test_the_rehearsal_holds_what_an_engine_holds_in_its_second_step(method, flags):
    """The same meter around real tensors: same peak, but for the numbers that an engine logs."""
    cls, cfg = settings(method, **flags)
    batch = {name: torch.zeros(cfg.batch_size, 3, 64, 64) for name in "ab"}
    run = Engine(cls(cfg), Schedule(100, 1, 0), seed=0, device=CPU, precision=FP32, batch_size=cfg.batch_size)
    meter = memory_estimate.MemoryMeter(scratch=True)
    with meter:
        run.step(split_batch(batch, cfg.accumulate))
        gc.collect()
        lasting = meter.live
        meter.reset_peak()
        run.step(split_batch(batch, cfg.accumulate))
    found = memory_estimate.estimate(cls, cfg, colour(method), CPU, FP32)
    share = memory_estimate.LIBRARIES + int(memory_estimate.FRAGMENTATION * found.activations)
    assert found.activations == pytest.approx(meter.live_at_peak - lasting, rel=0.03)
    assert found.scratch - share == pytest.approx(meter.scratch_at_peak, rel=0.01)


@pytest.mark.parametrize(
    ("method", "flags", "steps"),
    [
        ("cyclegan", {}, [0]),
        ("stargan", {"n_critic": 5}, [0, 4]),
        (
            "discogan",
            {"update_interval": 3, "gan_curriculum": 10_000},
            [0, 1, memory_estimate.LATE],
        ),  # 10⁸ = 1 modulo 3
        (
            "dcgan",
            {"n_critic": 2, "d_warmup": 10},
            [0, 5, 6],
        ),  # 10 images are seen before step 5, which is the generator's
    ],
)
def test_each_phase_is_found_and_the_first_step_is_first(method, flags, steps):
    cls, cfg = settings(method, batch_size=2, **flags)
    clocks = [clock for _, clock in memory_estimate.phase_clocks(cls.on_meta(cfg), one_stage(cfg))]
    assert [clock.step for clock in clocks] == steps
    assert all(clock.images == 2 * clock.step for clock in clocks)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["discogan", "stargan"])
def test_the_phase_that_takes_most_counts(method, monkeypatch):
    """Their generators do not learn in the first step, and take more than what does."""
    cls, cfg = settings(method, n_critic=2, batch_size=16)
    pairs = memory_estimate.phase_clocks(cls.on_meta(cfg), one_stage(cfg))
    whole, alone = memory_estimate.estimate(cls, cfg, colour(method), CPU, FP32), []
    for pair in pairs:
        monkeypatch.setattr(memory_estimate, "phase_clocks", lambda method, stages, pair=pair: [pair])
        alone.append(memory_estimate.estimate(cls, cfg, colour(method), CPU, FP32).activations)
    assert whole.activations == pytest.approx(max(alone), rel=1e-3)
    assert alone[0] < 0.9 * max(alone)


class Growing(Toy):
    """Half the size at first and at the end, the whole size in between; the number of images tells which it is."""

    counts = 8, 3

    @classmethod
    def stages(cls, cfg, planned, decays_from):
        few, many = cls.counts
        return DataStage(0, 32, 32, few), DataStage(400, 64, 64, many), DataStage(planned - 100, 32, 32, few)

    def phase(self, clock):
        return "whole" if 400 <= clock.images < 1100 else ""

    def step(self, batch, clock, scheduled):
        assert batch["a"].shape[-1] == (64 if self.phase(clock) else 32)
        return super().step(batch, clock, scheduled)


@pytest.mark.parametrize(("counts", "most"), [((8, 3), maps(3)), ((16, 3), maps(16, 32))])
def test_the_stage_that_takes_most_counts(counts, most, monkeypatch):
    """Twelve images of 32 × 32 take what three of 64 × 64 do."""
    monkeypatch.setattr(Growing, "counts", counts)
    cfg, length = ToyConfig(crop_size=32, layers=5), Schedule(100, 12, 0)
    found = memory_estimate.estimate(Growing, cfg, GREY, CPU, FP32, schedule=length)
    assert found.activations == pytest.approx((5 + 2) * most, abs=2000)
    assert found.batch == pytest.approx(most, abs=8 * 16)


def test_a_stage_with_the_sizes_of_another_is_not_tried_again():
    method = Growing.on_meta(ToyConfig())
    stages = tuple(DataStage(image, 64, 64, 2) for image in (0, 400, 800))
    pairs = memory_estimate.phase_clocks(method, stages)
    assert [(stage.image, clock.images) for stage, clock in pairs] == [(0, 0), (400, 400)]


DISCRIMINATOR_TAKES_MOST = {"pggan", "stylegan2"}
"""Methods whose step takes most memory in the penalty of the discriminator, of which nothing is computed again."""
GENERATOR_TAKES_MOST = {"sgan": {"crop_size": 32, "g_width": 64, "d_width": 4, "batch_size": 256}}
"""Settings of methods whose discriminator would else take most memory, as a classifier of three times as many images does:
one that is narrow, and so many images that maps of the generator outweigh its weights."""


@pytest.mark.slow
@pytest.mark.each_kind
@pytest.mark.parametrize("method", [name for name in distinct_methods() if name not in DISCRIMINATOR_TAKES_MOST])
def test_checkpointing_lowers_it(method):
    flags = {"batch_size": 16, **GENERATOR_TAKES_MOST.get(method, {})}
    plain = estimate(method, **flags)
    assert estimate(method, **flags, gradient_checkpointing=True).activations < 0.92 * plain.activations


@pytest.mark.slow
def test_half_precision_lowers_it():
    assert estimate("cyclegan", precision="bf16").activations < 0.8 * estimate("cyclegan").activations


def test_other_processes_are_not_waited_for():
    """Within the rehearsal there are none, and afterwards they are there again."""
    seen = []

    class Asking(Toy):
        def step(self, batch, clock, scheduled):
            seen.append(dist.is_initialized())
            return super().step(batch, clock, scheduled)

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        toy(Asking)
        assert seen == [False]
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()


def test_the_line_names_total_and_parts():
    parts = {"weights": 1, "optimizers": 3, "averages": 0, "buffers": 0, "batch": 0, "data": 1}
    found = memory_estimate.MemoryEstimate(**{k: v << 29 for k, v in parts.items()}, activations=3 << 30, scratch=1)
    assert str(found) == "about 5.5 GiB (weights and optimizers 2.0, activations 3.0, images 0.5)"


def test_what_fits_is_accepted_with_a_line():
    cls, cfg = settings("cyclegan", max_memory=64.0)
    assert memory_estimate.check_memory(cls, cfg, colour("cyclegan"), CPU, FP32).startswith("memory: about 0.")


@pytest.mark.slow
@pytest.mark.parametrize(("method", "flags"), [("cyclegan", {"batch_size": 16}), ("pix2pix", {"batch_size": 16})])
def test_a_refusal_names_flags_that_fit(method, flags):
    cls, cfg = settings(method, **flags)
    most = memory_estimate.estimate(cls, cfg, colour(method), CPU, FP32).total - (1 << 20)
    with pytest.raises(UsageError) as refused:
        memory_estimate.check_memory(cls, replace(cfg, max_memory=most / 2**30), colour(method), CPU, FP32)
    advice = str(refused.value).split("; use ")[1].split(" or ")
    assert advice[0] == "--gradient-checkpointing on"
    assert len(advice) == 2
    for remedy in advice:
        words = remedy.replace("--", "").replace("-", "_").split()
        pairs = zip(words[::2], words[1::2], strict=True)
        changed = {name: int(value) if value.isdigit() else value for name, value in pairs}
        found = memory_estimate.estimate(*settings(method, **{**flags, **changed}), colour(method), CPU, FP32)
        assert found.total <= most


@pytest.mark.slow
def test_training_is_refused_before_its_first_step(unpaired_root, tmp_path):
    with pytest.raises(
        UsageError, match=r"--max-memory 0.01: training takes about .* GiB .*no batch size or crop size fits"
    ):
        translate.train(
            "cyclegan", unpaired_root, run=tmp_path / "run", crop_size=32, generator="resnet_3blocks", g_width=4,
            d_width=4, images=1, device="cpu", max_memory=0.01, say=lambda line: None,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads /proc")
@pytest.mark.parametrize("row", [1, pytest.param(8, marks=pytest.mark.hours)])
def test_the_estimate_is_near_what_a_process_takes(row):
    spec = importlib.util.spec_from_file_location("bench", Path(__file__).parents[2] / "tools/bench_memory.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    found, _ = bench.measure_in_new_process(*bench.ROWS[row], 2)
    assert bench.estimated(*bench.ROWS[row])[0] == pytest.approx(found, rel=0.2)
