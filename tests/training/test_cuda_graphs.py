"""Steps that are recorded and replayed are steps that are launched, tried on the CPU with a stand-in for CUDA graphs."""

import copy
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from translate import api
from translate.errors import UsageError
from translate.runtime.precision import PRECISIONS
from translate.training import cuda_graphs
from translate.training.cuda_graphs import CudaGraphRecorder, EagerRunner, GraphRunner
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from ..helpers import SIZE, assert_equal_state, distinct_methods, small_settings, smallest_micro_batch
from .recording import CPU, CUDA, PENALTY, Line, TapeRecorder, batch_of, build, line, ones, train


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """One step of each kind is launched before it is recorded."""
    monkeypatch.setattr(cuda_graphs, "WARMUP_STEPS", 1)


def captured(said=None, recorder=None):
    return GraphRunner(CPU, recorder or TapeRecorder(), pytest.fail if said is None else said.append)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parts", "flags"),
    [
        pytest.param(1, {}, id="recipe"),
        pytest.param(2, PENALTY, id="penalty in 2 parts", marks=pytest.mark.each_kind),
    ],
)
@pytest.mark.parametrize("name", distinct_methods())
def test_a_replayed_training_is_the_launched_one(name, parts, flags):
    """Losses, weights, moments, averages and pools, while the rate and the averages' share change."""
    if smallest_micro_batch(name) > 1:
        parts = (
            1  # its two images belong together: labels or texts of one are given to the other, or both have one domain
        )
    recorder = TapeRecorder()
    launched, replayed = build(name, **flags), build(name, captured(recorder=recorder), **flags)
    steps = 7  # of two phases that take turns, so many until one has come more often than WARMUP_STEPS
    told = train(name, launched, steps, parts)
    assert_equal_state(told, train(name, replayed, steps, parts))
    seen = Counter(step["phase"] for step in told)
    assert recorder.recorded == sum(count > cuda_graphs.WARMUP_STEPS for count in seen.values()) > 0
    assert_equal_state(launched.state(), replayed.state())
    assert launched.find_divergence(weights=True) is None is replayed.find_divergence(weights=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cyclegan", "dualgan"])
def test_a_roll_back_and_a_checkpoint_put_a_replayed_training_where_they_put_a_launched_one(name):
    """Optimizers' moments are other tensors afterwards, and the draws other ones."""
    launched, replayed, resumed = build(name), build(name, captured()), build(name, captured())
    for engine in (launched, replayed):
        train(name, engine, 3)
        state = copy.deepcopy(engine.state())
        train(name, engine, 2)
        engine.load_state(state)
        engine.rollbacks += 1
        train(name, engine, 1)
        after = copy.deepcopy(engine.state())
        train(name, engine, 3)
    resumed.load_state(after)
    train(name, resumed, 3)
    assert_equal_state(launched.state(), replayed.state())
    assert_equal_state(launched.state(), resumed.state())


def test_a_step_that_is_not_finite_is_named_by_its_number():
    found = []
    for runner in (None, captured()):
        engine = build("pix2pix", runner)
        train("pix2pix", engine, 4)
        bad = batch_of("pix2pix", engine)
        bad["a"][0, 0, 0, 0] = float("nan")
        engine.step([bad])
        train("pix2pix", engine, 1)
        found.append(engine.find_divergence())
    assert found[0] == found[1]
    assert (found[1].step, found[1].images) == (5, 8)


def test_a_look_at_the_method_between_steps_leaves_no_trace():
    launched, replayed = build("pix2pix"), build("pix2pix", captured())
    for engine in (launched, replayed):
        train("pix2pix", engine, 3)
        for context in (engine.evaluation_mode, engine.ema.swapped_in):
            with context():
                engine.method.translate(torch.zeros(1, 3, SIZE, SIZE), "b")
        train("pix2pix", engine, 2)
    assert_equal_state(launched.state(), replayed.state())


@pytest.mark.slow
def test_each_shape_is_recorded_and_too_many_are_not(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MAX_SHAPES", 2)
    said, recorder = [], TapeRecorder()
    launched = build("cyclegan", pool_size=0)
    replayed = build("cyclegan", captured(said, recorder), pool_size=0)
    for size in (SIZE, 40, SIZE, 40, SIZE, 40):
        assert_equal_state(train("cyclegan", launched, 1, size=size), train("cyclegan", replayed, 1, size=size))
    assert (recorder.recorded, said) == (2, [])
    for size in (48, 48, SIZE, 56):
        assert_equal_state(train("cyclegan", launched, 1, size=size), train("cyclegan", replayed, 1, size=size))
    assert said == ["steps run without CUDA graphs: batches have more than 2 shapes"]
    assert recorder.recorded == 2
    assert_equal_state(launched.state(), replayed.state())


def test_three_steps_are_launched_one_is_recorded_and_the_others_run_no_python(monkeypatch):
    monkeypatch.undo()
    recorder = TapeRecorder()
    engine = line(captured(recorder=recorder))
    seen = []
    for _ in range(8):
        engine.step(ones())
        seen.append((engine.method.runs, recorder.recorded))
    assert seen == [(1, 0), (2, 0), (3, 0)] + [(4, 1)] * 5
    assert engine.steps == 8


def test_recording_executes_nothing():
    """Neither weights nor draws have moved when it ends, and what it tells is not there yet."""
    engine = line(captured())
    engine.step(ones())
    before, drawn = engine.method.g.weight.clone(), torch.get_rng_state()
    batches, numbers = [{**ones()[0], "key": torch.arange(2)}], engine.runner.scalars(engine._step_scalars())
    replay, told = TapeRecorder().record(lambda: engine._work(engine.clock, batches, numbers))
    assert torch.equal(engine.method.g.weight, before)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert told.losses["g/loss"].isnan()
    replay()
    assert not told.losses["g/loss"].isnan()
    assert not torch.equal(engine.method.g.weight, before)


def test_dropout_of_a_replay_is_of_its_own_step():
    launched, replayed = line(), line(captured())
    losses = [[engine.step(ones())["g/loss"].item() for _ in range(6)] for engine in (launched, replayed)]
    assert losses[0] == losses[1]
    assert len(set(losses[0])) > 2


def test_where_recording_fails_one_line_says_why_and_the_same_step_is_launched():
    said = []
    launched, falls_back = line(waits=True), line(captured(said), waits=True)
    for _ in range(5):
        assert_equal_state(launched.step(ones()), falls_back.step(ones()))
    reason = "aten._local_scalar_dense.default: operation not permitted when stream is capturing"
    assert said == [f"steps run without CUDA graphs: recording a step failed ({reason})"]
    assert falls_back.runner.is_disabled
    assert not falls_back.mid_step
    assert_equal_state(launched.state(), falls_back.state())


def test_the_first_of_several_errors_is_said():
    """CUDA raises another one where a recording is broken off."""
    said = []

    class Broken(TapeRecorder):
        def record(self, work):
            try:
                raise ValueError("the cause")
            finally:
                raise RuntimeError("operation failed due to a previous error during capture")

    engine = line(captured(said, Broken()))
    for _ in range(3):
        engine.step(ones())
    assert len(said) == 1
    assert said[0].endswith("recording a step failed (the cause)")


def test_what_is_wrong_with_a_method_is_raised_as_ever():
    class Branching(Line):
        def step(self, batch, clock, scheduled):
            yield from super().step(batch, clock, scheduled)
            if clock.step > 0:
                yield from super().step(batch, clock, scheduled)

    said = []
    engine = Engine(
        Branching(), Schedule(10, 0, 0, images=100), seed=0, device=CPU, precision=PRECISIONS["fp32"],
        batch_size=2, runner=captured(said),
    )  # fmt: skip
    engine.step(ones())
    with pytest.raises(RuntimeError, match="a phase must always yield the same"):
        engine.step(ones())
    assert len(said) == 1


def test_launched_steps_on_the_cpu_use_plain_numbers():
    """Nothing is different there from a training that knows no graphs."""
    engine = line()
    engine.step(ones())
    assert engine.optimizers["g"].param_groups[0]["lr"] == 0.1
    assert isinstance(engine.optimizers["g"].param_groups[0]["lr"], float)


def test_a_checkpoint_holds_plain_rates_and_not_how_the_optimizer_worked_there():
    engine = line(captured())
    for _ in range(3):
        engine.step(ones())
    state = copy.deepcopy(engine.state())
    (group,) = state["optimizers"]["g"]["param_groups"]
    assert isinstance(group["lr"], float)
    group["capturable"] = True  # as on CUDA
    other = line()
    other.load_state(state)
    assert other.optimizers["g"].param_groups[0]["capturable"] is False
    assert_equal_state(other.step(ones()), engine.step(ones()))


FP32, FP16 = PRECISIONS["fp32"], PRECISIONS["fp16"]


@pytest.mark.parametrize("device", [CPU, torch.device("mps")])
def test_without_cuda_steps_are_launched_and_nothing_is_said(device):
    for choice in ("auto", "off"):
        assert isinstance(cuda_graphs.build_runner(choice, device, FP32, pytest.fail), EagerRunner)
    with pytest.raises(UsageError, match=f"--graph on.*not {device.type}"):
        cuda_graphs.build_runner("on", device, FP32, pytest.fail)


def test_on_cuda_steps_are_recorded_where_that_is_asked_for_unless_something_stands_against_it(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "CudaGraphRecorder", lambda device: TapeRecorder())
    for choice in ("auto", "off"):
        assert isinstance(cuda_graphs.build_runner(choice, CUDA, FP32, pytest.fail), EagerRunner)
    assert isinstance(cuda_graphs.build_runner("on", CUDA, FP32, pytest.fail), GraphRunner)
    assert isinstance(cuda_graphs.build_runner("off", CUDA, FP16, pytest.fail), EagerRunner)
    said = []
    assert isinstance(cuda_graphs.build_runner("on", CUDA, FP16, said.append), EagerRunner)
    monkeypatch.setattr("translate.runtime.distributed.world_size", lambda: 2)
    assert isinstance(cuda_graphs.build_runner("on", CUDA, FP32, said.append), EagerRunner)
    assert ["fp16" in line for line in said] == [True, False]
    assert ["several processes" in line for line in said] == [False, True]


def test_asked_for_without_cuda_it_is_refused_before_anything_is_written(unpaired_root, tmp_path):
    with pytest.raises(UsageError, match="--graph on") as caught:
        api.train(
            "cyclegan", unpaired_root, run=tmp_path / "run", graph="on", device="cpu", **small_settings("cyclegan")
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


class Stream:
    def __init__(self, name, log):
        self.name, self.log = name, log

    def wait_stream(self, other):
        self.log.append(f"{self.name} waits for {other.name}")


def test_cuda_graphs_are_launched_and_recorded_on_one_stream_and_share_a_pool(monkeypatch):
    """What torch asks for: a side stream, that waits for the main one before and is waited for afterwards."""
    log, pools = [], iter(["pool 1", "pool 2"])
    main, side = Stream("main", log), Stream("side", log)

    @contextmanager
    def entered(*what, **more):
        log.append(("enter", *what, *more.values()))
        yield
        log.append("leave")

    fakes = {
        "Stream": lambda device: side, "current_stream": lambda device: main, "stream": entered, "graph": entered,
        "graph_pool_handle": lambda: next(pools), "CUDAGraph": lambda: SimpleNamespace(replay="replay"),
    }  # fmt: skip
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    recorder = CudaGraphRecorder(CUDA)
    with recorder.on_capture_stream():
        log.append("launch")
    assert log == ["side waits for main", ("enter", side), "launch", "leave", "main waits for side"]
    with pytest.raises(MemoryError), recorder.on_capture_stream():
        raise MemoryError
    assert log[-1] == "main waits for side"  # what had been launched is still at work
    log.clear()
    for _ in range(2):
        assert recorder.record(lambda: log.append("work") or "told") == ("replay", "told")
    recorder.invalidate()
    recorder.record(lambda: log.append("work"))
    entries = [entry for entry in log if entry[0] == "enter"]
    assert [entry[2:] for entry in entries] == [(pool, side, "thread_local") for pool in ("pool 1", "pool 1", "pool 2")]
    assert [entry for entry in log if isinstance(entry, str)] == ["work", "leave"] * 3
