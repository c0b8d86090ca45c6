"""A run records how it computes convolutions and is resumed so, bit for bit, on a machine on which another way is faster."""

import pytest

from translate.api.run_record import RunRecord
from translate.api.session import TrainingSession
from translate.config import resolve
from translate.methods import METHODS
from translate.nn.tuned_conv import TunedConvolution
from translate.runtime import distributed
from translate.training import checkpoint

from ..helpers import assert_equal_state

SMALL = {
    "crop_size": 32, "load_size": 32, "g_width": 4, "d_width": 4, "generator": "resnet_1blocks", "device": "cpu",
    "watch": False, "save_every": 1000, "sample_every": 1000, "precision": "fp32",
}  # fmt: skip
SHAPE = "training 16 to 16, 1x8x8, padding 0"
CYCLEGAN = METHODS["cyclegan"]


@pytest.fixture
def train(unpaired_root, tmp_path):
    """Trains a run up to so many images, and returns the session and the state."""

    def run(name, images, **settings):
        cfg = CYCLEGAN.resolve_config(resolve(CYCLEGAN.Config, ("test", {**SMALL, "images": images, **settings})))
        session = TrainingSession(CYCLEGAN, cfg, unpaired_root, tmp_path / name, lambda line: None)
        session.run()
        return session, checkpoint.load_newest(tmp_path / name, pytest.fail)

    return run


def ways(net):
    return {
        layer.algorithm for layer in net.modules() if isinstance(layer, TunedConvolution) and layer.is_winograd_shape
    }


def weights(state):
    return {key: state[key] for key in ("images", "method", "averages", "optimizers")}


@pytest.mark.parametrize(
    ("algorithm", "other"), [("direct", "winograd"), pytest.param("winograd", "direct", marks=pytest.mark.slow)]
)
def test_a_run_is_resumed_as_it_was_begun(train, faster, algorithm, other):
    faster(algorithm)
    session, state = train("cut", 2, ema_half_life=4)
    assert state["convolutions"] == {SHAPE: algorithm}
    assert ways(session.method) == {algorithm}
    assert {way for average in session.engine.ema.networks.values() for way in ways(average)} == {algorithm}
    _, whole = train("whole", 4, ema_half_life=4)
    faster(other)
    _, resumed = train("cut", 4, ema_half_life=4)
    assert resumed["convolutions"] == {SHAPE: algorithm}
    assert_equal_state(weights(whole), weights(resumed))
    _, anew = train("anew", 4, ema_half_life=4)
    assert anew["convolutions"] == {SHAPE: other}
    with pytest.raises(AssertionError):
        assert_equal_state(weights(anew), weights(resumed))


def test_a_run_of_version_0_1_is_resumed_with_winograds_algorithm(train, faster, tmp_path):
    faster("winograd")
    _, state = train("old", 2)
    del state["convolutions"]
    checkpoint.save(tmp_path / "old", state)
    faster("direct")
    session, resumed = train("old", 3)
    assert ways(session.method) == {"winograd"}
    assert resumed["convolutions"] is None
    session, _ = train("old", 4)
    assert ways(session.method) == {"winograd"}


def test_what_is_asked_for_is_no_other_run(train, faster):
    faster("winograd")
    train("run", 1)
    session, state = train("run", 2, convolution="direct")
    assert ways(session.method) == {"direct"}
    assert state["images"] == 2
    session, _ = train("run", 3)
    assert ways(session.method) == {"winograd"}


def test_all_processes_take_the_choice_of_the_first(train, faster, monkeypatch):
    faster("winograd")
    asked = []

    def from_another_process(make):
        found = make()
        if isinstance(found, dict) and SHAPE in found:
            asked.append(found)
            return {SHAPE: "direct"}
        return found

    monkeypatch.setattr(distributed, "broadcast_object", from_another_process)
    session, _ = train("run", 1)
    assert asked == [{SHAPE: "winograd"}]
    assert ways(session.method) == {"direct"}


@pytest.mark.slow
def test_the_validation_is_recorded_too(train, faster):
    """So that metrics that choose the best model are the same after a restart."""
    faster("direct")
    validation = {"evaluate_every": 1, "evaluate_metrics": "swd", "hold_out": 0.4, "evaluate_images": 2}
    _, state = train("run", 2, **validation)
    conversion = "conversion 16 to 16, 1x64x64, padding 0, channels last"
    assert state["convolutions"] == {SHAPE: "direct", conversion: "direct"}
    faster("winograd")
    session, state = train("run", 3, **validation)
    assert session.evaluator.convolutions == state["convolutions"] == {SHAPE: "direct", conversion: "direct"}


def test_fp64_leaves_nothing_to_choose(train, faster):
    faster("winograd")
    _, state = train("run", 1, precision="fp64")
    assert state["convolutions"] == {}


def test_a_run_in_bf16_is_resumed_as_it_was_begun(train, faster):
    """In float32, where layers are as small as these; one of another machine may be in bfloat16, too."""
    faster("winograd")
    session, state = train("run", 1, precision="bf16")
    assert set(state["convolutions"].values()) == ways(session.method) == {"float32"}
    assert all(shape.endswith(", bf16") for shape in state["convolutions"])
    state["convolutions"] = dict.fromkeys(state["convolutions"], "bf16")
    checkpoint.save(session.folder, state)
    session, resumed = train("run", 2, precision="bf16")
    assert ways(session.method) == {"bf16"}
    assert resumed["convolutions"] == state["convolutions"]


def test_the_shape_follows_from_crop_and_batch(train, faster, unpaired_root):
    faster("direct")
    _, state = train("run", 4, batch_size=4, accumulate=2, crop_size=40, load_size=40)
    assert list(state["convolutions"]) == ["training 16 to 16, 2x10x10, padding 0"]


def test_the_record_of_a_run_counts_how_convolutions_are_computed(train, faster, tmp_path):
    faster("winograd")
    train("run", 1)
    record = RunRecord.read(tmp_path / "run")
    assert record.convolutions == {"winograd": 1}
    assert record.settings["tune"] == "fast"


def test_off_times_nothing_and_is_direct(train, faster):
    faster("winograd")
    session, state = train("run", 1, tune="off")
    assert ways(session.method) == {"direct"}
    assert state["convolutions"] == {}
