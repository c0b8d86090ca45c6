"""A run that was cut goes on bit for bit, for every method."""

import pytest
import torch

from translate import config
from translate.methods import METHODS
from translate.training import checkpoint

from ..helpers import distinct_methods, smallest_micro_batch

STEPS, CUTS = 8, (1, 5)
FLAGS = {"default": {}, "dropout, averages": {"generator": "resnet_3blocks", "dropout": True, "ema_half_life": 6}}


def run(tiny, name, engine, steps, parts):
    for _ in range(steps):
        engine.step(tiny.engine_batch(name, engine, parts, count=max(2, parts * smallest_micro_batch(name))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        pytest.param(flags, parts, id=name, marks=[pytest.mark.each_kind] * (parts > 1))
        for (name, flags), parts in zip(FLAGS.items(), (1, 2), strict=True)
    ],
)
@pytest.mark.parametrize("name", distinct_methods())
def test_a_run_that_was_cut_equals_one_that_was_not(name, flags, parts, tiny, tmp_path):
    """Cut while pools fill and once they swap, and at both of two steps that a method may alternate."""
    whole, first = tiny.engine(name, **flags), tiny.engine(name, **flags)
    run(tiny, name, whole, STEPS, parts)
    for cut in CUTS:
        run(tiny, name, first, cut - first.steps, parts)
        path = checkpoint.save(tmp_path, first.state())
        torch.manual_seed(cut)  # whatever happens to the global generator in between
        second = tiny.engine(name, **flags)
        second.load_state(checkpoint.load(path))
        run(tiny, name, second, STEPS - cut, parts)
        tiny.assert_equal_state(whole.state(), second.state())


@pytest.mark.parametrize("name", METHODS)
def test_the_state_holds_what_training_changes(name, tiny):
    """Guards the test above: a state that is not loaded gives another end."""
    whole, other = tiny.engine(name), tiny.engine(name)
    run(tiny, name, whole, 3, 1)
    run(tiny, name, other, 2, 1)
    with pytest.raises(AssertionError):
        tiny.assert_equal_state(whole.state(), other.state())


UNCOUPLED = {"norm": "instance", "dropout": False, "batch_size": 4}
COUPLED = {
    "discogan": "feature matching",
    "stargan": "targets are permuted",
    "stackgan": "texts are shifted",
    "spade": "power iterations of spectral norm",
    "pggan": "minibatch standard deviation",
    "stylegan2": "minibatch standard deviation",
    "sgan": "feature matching and batch norm",
    "biggan": "power iterations of spectral norm and batch norm",
}
"""What couples a batch under these flags too; of all other methods nothing does."""


@pytest.mark.parametrize("name", COUPLED)
def test_a_coupling_that_no_flag_takes_away_is_said(name, tiny):
    assert tiny.method(name, **UNCOUPLED).coupled == COUPLED[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in METHODS if name not in COUPLED])
def test_micro_batches_are_one_large_batch(name, tiny):
    """k · b = k b in float64, where images of a batch do not influence each other."""
    one, four = (tiny.engine(name, "fp64", **UNCOUPLED) for _ in range(2))
    assert one.method.coupled == ""
    for _ in range(2):
        one.step(tiny.engine_batch(name, one, parts=1, count=4))
        four.step(tiny.engine_batch(name, four, parts=4 // METHODS[name].batch_multiple, count=4))
    for (key, left), right in zip(one.method.state_dict().items(), four.method.state_dict().values(), strict=True):
        torch.testing.assert_close(
            left, right, rtol=0, atol=1e-7, msg=key
        )  # Adam scales rounding where gradients are 0


def assert_couples(cause, name, said):
    """Nothing else is said, but of methods that something else couples too."""
    assert said == cause or (name in COUPLED and said.endswith(cause))


@pytest.mark.parametrize("name", [name for name, cls in METHODS.items() if "norm" in config.setting_names(cls.Config)])
def test_that_batch_norm_couples_a_batch_is_said(name, tiny):
    assert_couples("batch norm", name, tiny.method(name, norm="batch").coupled)


@pytest.mark.parametrize(
    "name", [name for name, cls in METHODS.items() if "dropout" in config.setting_names(cls.Config)]
)
def test_that_dropout_couples_a_batch_is_said(name, tiny):
    assert_couples("dropout", name, tiny.method(name, norm="instance", dropout=True).coupled)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision"), [*((name, "fp16") for name in distinct_methods()), ("cyclegan", "bf16"), ("pix2pix", "bf16")]
)
def test_mixed_precision_resumes_and_keeps_its_weights_in_float32(name, precision, tiny, tmp_path):
    """Where a scaler of gradients is part of the state (fp16), for every method."""
    whole, cut = tiny.engine(name, precision), tiny.engine(name, precision)
    run(tiny, name, whole, 3, 1)
    run(tiny, name, cut, 2, 1)
    again = tiny.engine(name, precision)
    again.load_state(checkpoint.load(checkpoint.save(tmp_path, cut.state())))
    run(tiny, name, again, 1, 1)
    tiny.assert_equal_state(whole.state(), again.state())
    assert {p.dtype for p in whole.method.parameters()} == {torch.float32}
    exact = tiny.engine(name)
    run(tiny, name, exact, 3, 1)
    with pytest.raises(AssertionError):  # it really computes in another precision
        tiny.assert_equal_state(whole.state()["method"], exact.state()["method"])
