"""Callbacks of a training: when each is called, with what, and that neither they nor their errors change the training."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import translate
from translate import api
from translate.errors import Interrupted, UsageError
from translate.training.callback_list import HOOKS, CallbackList

from .helpers import model_bytes, train_cyclegan

FLAGS = {"images": 4, "save_every": 2, "sample_every": 2}


class Recorder(translate.TrainingCallback):
    """Callback that keeps what it is told."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name in HOOKS:
            return lambda value: self.calls.append((name, value))
        return super().__getattribute__(name)

    def told(self, hook):
        return [value for name, value in self.calls if name == hook]


def failing(hook, *, strict=False):
    """A callback, of no base class, one of whose methods fails."""

    def method(self, value):
        raise ValueError("no\nluck")

    return type("Failing", (), {hook: method, "strict": strict})()


@pytest.fixture(scope="module")
def plain(unpaired_root, tmp_path_factory):
    """A run without callbacks."""
    return train_cyclegan(unpaired_root, tmp_path_factory.mktemp("plain") / "run", **FLAGS)


def test_each_is_called_when_it_is_due(unpaired_root, tmp_path):
    seen, counts = Recorder(), []
    run = train_cyclegan(
        unpaired_root, tmp_path / "run", callbacks=[seen], evaluate_every=4, evaluate_metrics="swd",
        progress=lambda *now: counts.append(now), **FLAGS,
    )  # fmt: skip
    assert seen.told("on_step") == [1, 2, 3, 4]
    assert counts == [(1, 0, 4), (2, 0, 4), (3, 0, 4), (4, 0, 4)]
    assert seen.told("on_log") == run.history
    assert [point["images"] for point in run.history] == [2, 4]
    assert seen.told("on_sample") == [run.path / "samples" / f"{n:08d}.png" for n in (0, 2, 4)]
    (validation,) = seen.told("on_validation")
    assert validation["images"] == 4
    assert validation["val/swd"] == run.history[-1]["val/swd"]
    assert seen.calls[-1] == ("on_end", {"images": 4, "planned": 4, "outcome": "finished"})
    assert [name for name, _ in seen.calls].index("on_step") == 1, (
        "only the first sample grid comes before the first step"
    )


def test_the_end_of_a_finished_run_is_told_again_and_a_resumed_one_goes_on(unpaired_root, tmp_path):
    train_cyclegan(unpaired_root, tmp_path / "run", **FLAGS)
    seen = Recorder()
    train_cyclegan(unpaired_root, tmp_path / "run", callbacks=[seen], **FLAGS)
    assert seen.calls == [("on_end", {"images": 4, "planned": 4, "outcome": "finished"})]
    api.resume(tmp_path / "run", images=5, callbacks=[seen], say=None)
    assert seen.told("on_step") == [5]


def test_whatever_callbacks_do_the_weights_have_the_same_bits(unpaired_root, tmp_path, plain):
    class Meddler:
        def on_step(self, images):
            torch.rand(3), random.random(), np.random.rand()

        def on_log(self, values):
            values.clear()

    seen = Recorder()
    run = train_cyclegan(unpaired_root, tmp_path / "run", callbacks=[Meddler(), failing("on_step"), seen], **FLAGS)
    assert seen.told("on_log") == run.history
    assert model_bytes(run.path) == model_bytes(plain.path)
    assert [point.keys() for point in run.history] == [point.keys() for point in plain.history]


def test_an_error_is_reported_in_one_line_once_and_the_others_are_called_all_the_same():
    lines, after = [], Recorder()
    callbacks = CallbackList([failing("on_step"), after], lines.append)
    for images in (1, 2):
        callbacks.call("on_step", images)
    assert after.told("on_step") == [1, 2]
    (line,) = lines
    assert line.startswith("warning: Failing.on_step failed (ValueError: no luck); training continues")


def test_an_error_of_a_strict_callback_ends_the_training(unpaired_root, tmp_path):
    seen = Recorder()
    with pytest.raises(ValueError, match="luck"):
        train_cyclegan(unpaired_root, tmp_path / "run", callbacks=[seen, failing("on_log", strict=True)], **FLAGS)
    assert seen.calls[-1] == ("on_end", {"images": 2, "planned": 4, "outcome": "failed"})


def test_the_end_has_its_outcome_and_never_hides_an_exception():
    seen, engine = Recorder(), SimpleNamespace(images=1, schedule=SimpleNamespace(planned=4))
    for error, outcome in (
        (Interrupted("stop", 2), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (OSError(), "failed"),
    ):
        callbacks = CallbackList([seen, failing("on_end", strict=True)])
        with pytest.raises(type(error)), callbacks.calling_at_end(engine, lambda: False):
            raise error
        assert seen.calls.pop() == ("on_end", {"images": 1, "planned": 4, "outcome": outcome})


@pytest.mark.parametrize(
    ("callback", "words"), [(object(), "none of the methods on_step"), (Recorder, r"Recorder\(\)")]
)
def test_what_is_no_callback_is_refused_before_anything_is_written(unpaired_root, tmp_path, callback, words):
    with pytest.raises(UsageError, match=words):
        train_cyclegan(unpaired_root, tmp_path / "run", callbacks=[callback])
    assert not (tmp_path / "run").exists()
