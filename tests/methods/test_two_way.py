"""Methods with two generators: what they have in common."""

import pytest
import torch

from translate.methods import METHODS
from translate.methods.two_way import TwoWayMethod

from ..helpers import small_config
from .helpers import noise_batch

TWO_WAY = [name for name, cls in METHODS.items() if issubclass(cls, TwoWayMethod)]


def method_of(name, **flags):
    return METHODS[name](small_config(name, **flags)).double()


def test_there_are_three_of_them():
    assert TWO_WAY == ["cyclegan", "dualgan", "discogan"]


@pytest.mark.parametrize("name", TWO_WAY)
def test_the_grid_shows_translations_and_the_way_back(name):
    method, batch = method_of(name).eval(), noise_batch()
    columns = method.preview(batch)
    assert list(columns) == ["real a", "fake b", "cycle a", "real b", "fake a", "cycle b"]
    assert torch.equal(columns["cycle a"], method.translate(columns["fake b"], "a", batch["key"]))


@pytest.mark.parametrize("name", TWO_WAY)
def test_each_discriminator_is_monitored_on_its_own_domain(name):
    method, batch = method_of(name).eval(), noise_batch()
    outputs = method.discriminator_outputs(batch)
    assert list(outputs) == ["real_a", "fake_a", "real_b", "fake_b"]
    assert torch.equal(outputs["real_a"], method.d_a(batch["a"]))
    assert torch.equal(outputs["fake_b"], method.d_b(method.translate(batch["a"], "b")))


@pytest.mark.parametrize("name", TWO_WAY)
def test_penalties_are_added_in_their_steps_alone(name):
    method, batch = method_of(name, adversarial="wgan-gp", norm="instance", penalty_every=2), noise_batch()
    fakes = batch["b"].flip(3), batch["a"].flip(3)
    due, not_due = (method.discriminator_losses(batch, *fakes, step) for step in (0, 1))
    assert list(due) == ["adv_a", "adv_b", "penalty_a", "penalty_b"]
    assert list(not_due) == ["adv_a", "adv_b"]
    assert all(torch.equal(due[key], loss) for key, loss in not_due.items())
