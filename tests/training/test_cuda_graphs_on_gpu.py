"""Trainings on a GPU: recorded steps are launched steps, and the host waits for none."""

import copy

import pytest
import torch

from translate import api
from translate.methods import METHODS
from translate.training.cuda_graphs import CudaGraphRecorder, EagerRunner, GraphRunner
from translate.training.loop import Training

from ..helpers import assert_equal_state, root_of, small_settings
from .recording import CUDA, PENALTY, build, line, ones, train

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("name", METHODS)
def test_on_cuda_a_replayed_training_is_the_launched_one(name, parts):
    """In float64, because sums of a GPU depend on their order: the backward pass of reflection padding adds in any."""
    parts = 1 if name == "stargan" else parts
    launched = build(name, EagerRunner(CUDA), CUDA, "fp64")
    replayed = build(name, GraphRunner(CUDA, CudaGraphRecorder(CUDA), pytest.fail), CUDA, "fp64")
    for left, right in zip(train(name, launched, 9, parts), train(name, replayed, 9, parts), strict=True):
        assert left.pop("phase") == right.pop("phase")
        torch.testing.assert_close(right, left, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(replayed.method.state_dict(), launched.method.state_dict(), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(replayed.ema.state(), launched.ema.state(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_on_cuda_steps_in_the_precision_of_gpus_are_recorded(name):
    replayed = build(name, GraphRunner(CUDA, CudaGraphRecorder(CUDA), pytest.fail), CUDA, "bf16", **PENALTY)
    train(name, replayed, 12)
    assert replayed.find_divergence(weights=True) is None


def test_on_cuda_dropout_of_a_replay_is_of_its_own_step_and_that_of_a_launched_one():
    engines = [
        line(runner, CUDA) for runner in (EagerRunner(CUDA), GraphRunner(CUDA, CudaGraphRecorder(CUDA), pytest.fail))
    ]
    losses = [torch.stack([engine.step(ones(CUDA))["g/loss"] for _ in range(9)]).tolist() for engine in engines]
    assert losses[0] == losses[1]
    assert len(set(losses[0])) > 3


def test_on_cuda_a_roll_back_is_recorded_anew():
    launched, replayed = (
        build("pix2pix", runner, CUDA, "fp64")
        for runner in (EagerRunner(CUDA), GraphRunner(CUDA, CudaGraphRecorder(CUDA), pytest.fail))
    )
    for engine in (launched, replayed):
        train("pix2pix", engine, 4)
        state = copy.deepcopy(engine.state())
        train("pix2pix", engine, 2)
        engine.load_state(state)
        train("pix2pix", engine, 4)
    torch.testing.assert_close(replayed.method.state_dict(), launched.method.state_dict(), rtol=1e-6, atol=1e-9)


def test_on_cuda_a_recording_that_fails_leaves_nothing_behind():
    """Dropout goes on as if there had been none, and memory that a second stream has used is given out again."""
    said = []
    launched, falls_back = (
        line(EagerRunner(CUDA), CUDA, waits=True),
        line(GraphRunner(CUDA, CudaGraphRecorder(CUDA), said.append), CUDA, waits=True),
    )
    for _ in range(4):
        assert_equal_state(launched.step(ones(CUDA)), falls_back.step(ones(CUDA)))
    assert len(said) == 1
    held = []
    for _ in range(40):
        batch = torch.ones(2**22, device=CUDA)
        batch.record_stream(torch.cuda.Stream(CUDA))
        del batch
        falls_back.step(ones(CUDA))
        held.append(torch.cuda.memory_allocated(CUDA))
    assert max(held[20:]) <= max(held[:20])


@pytest.mark.parametrize("choice", ["on", "off"])
@pytest.mark.parametrize("name", METHODS)
def test_on_cuda_the_host_waits_for_nothing_in_a_step(name, choice, request, tmp_path, monkeypatch):
    """Neither where batches are made nor where they are trained on; what is due between steps may wait."""
    step, watched = Training.step, []

    def watch(training):
        watched.append(training.engine.steps >= 16)  # when each kind of step has been recorded
        torch.cuda.set_sync_debug_mode("error" if watched[-1] else "default")
        try:
            return step(training)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Training, "step", watch)
    settings = small_settings(name, batch_size=2, images=48, log_every=1000, save_every=1000, watch=False)
    root = request.getfixturevalue(root_of(name))
    api.train(name, root, run=tmp_path / "run", device="cuda", loader="resident", graph=choice, **settings)
    assert sum(watched) == 8
