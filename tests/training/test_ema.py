"""Averages of weights: their arithmetic, and that they are what is exported, resumed and shown."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import translate
from translate import api
from translate.methods import METHODS
from translate.training import checkpoint
from translate.training.ema import EMA
from translate.training.sample_grid import preview

from ..helpers import root_of, small_settings

QUIET = {"load_size": 36, "log_every": 2, "save_every": 4, "device": "cpu", "watch": False, "say": lambda line: None}


class Two(nn.Module):
    """A network of one weight and a buffer, and another that is not averaged, both a level down."""

    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleDict({"g": nn.BatchNorm1d(1), "d": nn.Linear(1, 1)})


def test_a_constant_weight_is_its_average_and_a_step_decays_by_half_in_a_half_life():
    """From 0, weights of 1 from then on: after a half-life the average has gone half of the way, after two three quarters."""
    method = Two()
    averages = EMA(method, ("inner.g",), half_life=8)
    average = averages.networks["inner.g"].weight
    average.data.zero_()
    long_after = 10**6  # where the ramp is over
    for half in (0.5, 0.75):
        for _ in range(4):
            averages.update(1 - averages.decay(long_after, count=2))
        assert average.item() == pytest.approx(half, abs=1e-6)


@pytest.mark.parametrize(
    ("images", "count", "decay"),
    [
        (20, 1, 0.5),  # 5 % of 20 images: a half-life of one image
        (20, 2, 0.25),
        (1000, 50, 0.5),  # of 50
        (4000, 100, 0.5),  # 200 would be more than is asked for
    ],
)
def test_the_half_life_grows_to_what_is_asked_for(images, count, decay):
    assert EMA(Two(), ("inner.g",), half_life=100).decay(images, count) == pytest.approx(decay)


def test_the_batch_size_does_not_decide_how_fast_it_follows():
    averages = EMA(Two(), ("inner.g",), half_life=100)
    assert averages.decay(10**6, 1) ** 8 == pytest.approx(averages.decay(10**6, 8))


def test_buffers_are_those_of_now():
    method = Two()
    averages = EMA(method, ("inner.g",), half_life=10)
    method.inner.g(torch.tensor([[1.0], [3.0]]))
    averages.update(1 - averages.decay(10**6, 1))
    assert averages.networks["inner.g"].running_mean.item() == method.inner.g.running_mean.item() != 0


def test_the_state_holds_the_weights_alone_and_gives_the_buffers_of_the_network():
    """A state of version 0.1, which holds the buffers too, gives the same."""
    method = Two()
    averages = EMA(method, ("inner.g",), half_life=10)
    method.inner.g(torch.tensor([[1.0], [3.0]]))
    averages.networks["inner.g"].weight.data.fill_(0.25)
    state = averages.state()
    assert list(state["inner.g"]) == ["weight", "bias"]
    for stored in (state, {"inner.g": {**method.inner.g.state_dict(), **state["inner.g"]}}):
        other = EMA(method, ("inner.g",), half_life=10)
        other.load_state(stored)
        known = other.networks["inner.g"]
        assert (known.weight.item(), known.running_mean.item()) == (0.25, method.inner.g.running_mean.item())
        assert other.state().keys() == state.keys()


def test_networks_are_put_in_place_and_back_also_after_an_error():
    method = Two()
    averages = EMA(method, ("inner.g",), half_life=10)
    own, average = method.inner.g, averages.networks["inner.g"]
    with pytest.raises(ZeroDivisionError), averages.swapped_in():
        assert method.inner.g is average is not own
        assert list(method.inner) == ["g", "d"]
        raise ZeroDivisionError
    assert method.inner.g is own
    assert not any(p.requires_grad for p in average.parameters())


def test_without_a_half_life_there_are_none():
    averages = EMA(Two(), ("inner.g",), half_life=0)
    assert not averages
    averages.update(0.5)
    assert averages.state() == {}


def train(name, request, run, **flags):
    root = request.getfixturevalue(root_of(name))
    return translate.train(name, root, run=run, **small_settings(name, **{**QUIET, **flags}))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cyclegan", *(name for name, cls in METHODS.items() if cls.sampling_networks)])
def test_they_are_exported_and_the_raw_weights_train_on(name, request, tmp_path):
    """Training itself is bit for bit that without averages; the model folder holds the averages. Which networks a method
    averages are those that it converts with; two that translate, and those that make images of noise, stand for all.
    """
    for run, half_life in (("with", 3), ("without", 0)):
        train(name, request, tmp_path / run, images=6, ema_half_life=half_life)
    left, right = (checkpoint.load_newest(tmp_path / run, pytest.fail) for run in ("with", "without"))
    assert all(torch.equal(x, right["method"][key]) for key, x in left["method"].items())
    exported = load_file(tmp_path / "with" / "model" / "model.safetensors")
    for key, x in exported.items():
        network, _, rest = key.partition(".")
        # Buffers are the network's, as are the weights of one that is not averaged, such as an encoder of texts.
        assert torch.equal(x, left["averages"].get(network, {}).get(rest, left["method"][key]))
    raw = load_file(tmp_path / "without" / "model" / "model.safetensors")
    assert any(not torch.equal(x, raw[key]) for key, x in exported.items())


def test_a_run_may_begin_to_keep_them_on_purpose(request, tmp_path):
    train("cyclegan", request, tmp_path, images=1)
    api.resume(tmp_path, images=2, ema_half_life=3, say=lambda line: None)
    assert checkpoint.load_newest(tmp_path, pytest.fail)["averages"]


def test_what_they_make_stands_beside_what_the_raw_weights_make(tmp_path, monkeypatch, request):
    shown = []
    monkeypatch.setattr("translate.training.loop.preview", lambda *words: shown.append(preview(*words)) or shown[-1])
    train("cyclegan", request, tmp_path, images=8, ema_half_life=3)
    first, last = list(shown[0]), list(shown[-1])
    assert first == [
        "real a",
        "fake b",
        "cycle a",
        "real b",
        "fake a",
        "cycle b",
    ]  # before the first step they are equal
    assert last == [
        "real a", "fake b", "fake b ema", "cycle a", "cycle a ema", "real b", "fake a", "fake a ema", "cycle b", "cycle b ema",
    ]  # fmt: skip
