"""What each size of a growing training takes, said before the first step, and refused where memory cannot hold it."""

from dataclasses import replace

import pytest
import torch

from translate import config
from translate.errors import UsageError
from translate.methods.base import DataStage
from translate.methods.pggan import PGGAN
from translate.runtime import memory
from translate.runtime.precision import PRECISIONS
from translate.training import growth, memory_estimate
from translate.training.schedule import Schedule

CPU, FP32 = torch.device("cpu"), PRECISIONS["fp32"]
EXAMPLE = {"a": torch.empty(1, 3, 8, 8)}
CFG = PGGAN.resolve_config(
    config.resolve(
        PGGAN.Config,
        (
            "test",
            {"crop_size": 32, "load_size": 32, "g_width": 8, "d_width": 8, "stable_images": 100, "fade_images": 50},
        ),
    )
)


@pytest.fixture(scope="module")
def estimates():
    """Estimates of all phases, made once."""
    return memory_estimate.estimate_phases(PGGAN, CFG, EXAMPLE, CPU, FP32, 0, Schedule(10, 0, 0, images=1000))


@pytest.fixture(scope="module")
def needs(estimates):
    """Bytes at each size, at most."""
    return {
        size: max(phase.memory.total for phase in estimates if phase.stage.crop_size == size) for size in (4, 8, 16, 32)
    }


@pytest.fixture
def check(estimates, monkeypatch):
    """The check of a run of so many images."""
    monkeypatch.setattr(growth, "estimate_phases", lambda *given: estimates)

    def run(cfg=CFG, images=1000, seen=0):
        return growth.check_memory(PGGAN, cfg, EXAMPLE, CPU, FP32, 0, Schedule(10, 0, 0, images=images), seen)

    return run


def test_a_line_for_each_size_with_its_first_image_and_batch(check):
    lines = check()
    assert [line.split(": memory about ")[0].strip() for line in lines[:-1]] == [
        "4 px from image 0, 128 a step", "8 px from image 100, 128 a step", "16 px from image 250, 128 a step",
        "32 px from image 400, 64 a step",
    ]  # fmt: skip
    assert all(", at least " in line for line in lines[:-1])
    assert lines[-1].endswith("free")


def test_operations_are_those_of_all_steps_of_a_size():
    """Two phases at 4 px, 30 and 10 operations: 20 in each of 50 steps; two stages at 8 px, 25 · 40 and 100 · 60."""
    stages = [DataStage(0, 4, 4, 2), DataStage(100, 8, 8, 4), DataStage(200, 8, 8, 1), DataStage(300, 16, 16, 1)]
    counts = [(stages[0], 30), (stages[0], 10), (stages[1], 40), (stages[2], 60), (stages[3], 80)]
    phases = [memory_estimate.PhaseEstimate(stage, None, operations) for stage, operations in counts]
    assert growth.operations_by_size(phases, 300) == {4: 1000, 8: 7000}
    assert growth.operations_by_size(phases, 310) == {4: 1000, 8: 7000, 16: 800}
    assert growth.operations_by_size(phases, 310, seen=100) == {8: 7000, 16: 800}
    assert growth.operations_by_size(phases, 310, seen=250) == {8: 3000, 16: 800}


def test_a_resumed_run_is_told_of_the_sizes_to_come(check, needs, monkeypatch):
    sizes = [line.split(" px ")[0].strip() for line in check(seen=260)[:-1]]
    assert sizes == ["16", "32"]
    monkeypatch.setattr(memory, "free_memory", lambda device: needs[4] // 2)
    assert check(images=250, seen=250)[-2] == (
        "the run ends before it reaches 16 px, which begins at image 250; 32 px begins at image 400"
    )


def test_operations_of_a_convolution_and_of_its_gradients():
    """2 · 3 · 5 · 9 for each of 4 · 8 · 8 places, as often for each gradient."""
    x, weight = torch.zeros(4, 3, 8, 8, requires_grad=True), torch.zeros(5, 3, 3, 3, requires_grad=True)
    with memory_estimate.StepMeter(scratch=False) as meter:
        torch.nn.functional.conv2d(x, weight, padding=1).sum().backward()
    assert meter.operations == 3 * 2 * 3 * 5 * 9 * 4 * 8 * 8


def test_the_rate_is_that_of_the_probe(monkeypatch):
    """A clock that ticks a second a call: each pass takes one."""
    ticks = iter(range(100))
    monkeypatch.setattr(growth.time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(growth, "PROBE", (2, 3, 4, 1))
    assert growth.operation_rate(CPU, FP32) == 3 * 2 * 2 * 4 * 4 * 3 * 3


def test_the_estimate_of_the_whole_is_that_of_the_largest(estimates, needs, monkeypatch):
    monkeypatch.setattr(memory_estimate, "estimate_phases", lambda *given: estimates)
    whole = memory_estimate.estimate(PGGAN, CFG, EXAMPLE, CPU, FP32, 0, Schedule(10, 0, 0, images=1000))
    assert whole.total == max(needs.values())
    assert needs[4] < needs[8] < needs[16] < needs[32]


def test_what_memory_cannot_hold_is_refused_with_numbers_and_what_fits(check, needs, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: (needs[8] + needs[16]) // 2)
    with pytest.raises(UsageError) as e:
        check()
    assert "--crop-size 32: at 16 px a step of 128 images takes about 0." in str(e.value)
    assert "are free; use --crop-size 8, a smaller --batch-size" in str(e.value)
    assert check(images=240)  # a run that ends before it
    roomy = replace(CFG, max_memory=1.0)
    assert check(roomy)
    with pytest.raises(
        UsageError, match=r"--max-memory is 0\.01 GiB; use a smaller --batch-size or a smaller --g-width"
    ):
        check(replace(CFG, max_memory=0.01))


def test_a_run_that_ends_early_is_told_so(check):
    assert check(images=120)[-2] == (
        "the run ends before it reaches 16 px, which begins at image 250; 32 px begins at image 400"
    )
