"""What each size of a growing training takes, said before the first step, and refused where memory cannot hold it."""

from dataclasses import replace

import pytest
import torch

from translate import config
from translate.errors import UsageError
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
        stage.crop_size: max(found.total for other, found in estimates if other.crop_size == stage.crop_size)
        for stage, _ in estimates
    }


@pytest.fixture
def check(estimates, monkeypatch):
    """The check of a run of so many images."""
    monkeypatch.setattr(growth, "estimate_phases", lambda *given: estimates)

    def run(cfg=CFG, images=1000):
        return growth.check_memory(PGGAN, cfg, EXAMPLE, CPU, FP32, 0, Schedule(10, 0, 0, images=images))

    return run


def test_a_line_for_each_size_with_its_first_image_and_batch(check):
    lines = check()
    assert [line.split(": memory about ")[0].strip() for line in lines[:-1]] == [
        "4 px from image 0, 128 a step", "8 px from image 100, 128 a step", "16 px from image 250, 128 a step",
        "32 px from image 400, 64 a step",
    ]  # fmt: skip
    assert lines[-1].endswith("free")


def test_the_estimate_of_the_whole_is_that_of_the_largest(needs):
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
