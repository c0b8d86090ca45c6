"""Optimizers of the updates, and their state."""

import copy

import pytest
import torch
from torch import nn

from translate.methods import METHODS
from translate.training.optimizers import (
    OPTIMIZERS,
    RMSpropTF,
    build_optimizers,
    load_optimizer_state,
    optimizer_state,
    parameters_by_update,
)

from ..helpers import small_config


def weight(gradient):
    parameter = nn.Parameter(torch.tensor([1.0]))
    parameter.grad = torch.tensor([gradient])
    return parameter


def test_rmsprop_of_tensorflow_by_hand():
    """s = 0.9 · 1 + 0.1 · 4 = 1.3 after the first step, and w = 1 − 0.1 · 2 / √1.3."""
    parameter = weight(2.0)
    RMSpropTF([parameter], 0.1).step()
    assert parameter.item() == pytest.approx(1 - 0.1 * 2 / 1.3**0.5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_continues_from_its_state(name):
    whole, first = weight(0.5), weight(0.5)
    optimizer, before = OPTIMIZERS[name]([whole], 0.1), OPTIMIZERS[name]([first], 0.1)
    optimizer.step()
    before.step()
    second = copy.deepcopy(first)
    second.grad = first.grad.clone()
    after = OPTIMIZERS[name]([second], 0.1)
    load_optimizer_state(after, copy.deepcopy(optimizer_state(before)))
    optimizer.step()
    after.step()
    assert torch.equal(whole, second)


def test_a_rate_in_a_tensor_is_saved_as_a_number():
    optimizer = OPTIMIZERS["adam"]([weight(1.0)], 0.5)
    optimizer.param_groups[0]["lr"] = torch.tensor(0.25)
    assert optimizer_state(optimizer)["param_groups"][0]["lr"] == 0.25


@pytest.mark.parametrize("name", METHODS)
def test_every_update_has_an_optimizer_of_its_own_parameters(name):
    method = METHODS[name].on_meta(small_config(name))
    parameters = parameters_by_update(method)
    for update, optimizer in build_optimizers(method, parameters).items():
        (group,) = optimizer.param_groups
        assert [id(p) for p in group["params"]] == [id(p) for p in dict.fromkeys(parameters[update])]
