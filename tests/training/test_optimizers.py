"""Optimizers of the updates, and their state."""

import copy
import math

import pytest
import torch
from torch import nn

from translate.methods import METHODS
from translate.training.optimizers import (
    OPTIMIZERS,
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


def test_rmsprop_is_tensorflow_s():
    """s = 1, 0.9 · 1 + 0.1 · 2² = 1.3, 0.9 · 1.3 + 0.1 · 0² = 1.17, 0.9 · 1.17 + 0.1 · 3² = 1.953."""
    p = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = OPTIMIZERS["rmsprop"]([p], 0.5, decay=0.9, eps=0.01)
    path = []
    for gradient in (2.0, 0.0, 3.0):
        p.grad = torch.full_like(p, gradient)
        optimizer.step()
        path.append(p[0].item())
    first = -0.5 * 2 / math.sqrt(1.31)
    assert path == pytest.approx([first, first, first - 0.5 * 3 / math.sqrt(1.963)], abs=1e-14)


def test_rmsprop_divides_a_scale_of_gradients_out_and_does_nothing_where_they_overflow():
    """As torch's fused optimizers, by tensors that `GradScaler` gives them; 1024 is a power of two, so that bits are equal."""
    plain, scaled = weight(3.0), weight(3.0 * 1024)
    one, other = (OPTIMIZERS["rmsprop"]([p], 0.5) for p in (plain, scaled))
    other.grad_scale, other.found_inf = torch.tensor(1024.0), torch.tensor(0.0)
    one.step()
    other.step()
    assert torch.equal(plain, scaled)
    before, moment = scaled.clone(), other.state[scaled]["square"].clone()
    scaled.grad, other.found_inf = torch.tensor([float("inf")]), torch.tensor(1.0)
    other.step()
    assert torch.equal(scaled, before)
    assert torch.equal(other.state[scaled]["square"], moment)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_continues_from_its_state(name):
    whole, first = weight(0.5), weight(0.5)
    optimizer, before = (OPTIMIZERS[name]([{"params": [w]}], 0.1) for w in (whole, first))
    optimizer.step()
    before.step()
    second = copy.deepcopy(first)
    second.grad = first.grad.clone()
    after = OPTIMIZERS[name]([{"params": [second]}], 0.1)
    load_optimizer_state(after, copy.deepcopy(optimizer_state(before)))
    optimizer.step()
    after.step()
    assert torch.equal(whole, second)


def test_a_rate_in_a_tensor_is_saved_as_a_number():
    optimizer = OPTIMIZERS["adam"]([{"params": [weight(1.0)]}], 0.5)
    optimizer.param_groups[0]["lr"] = torch.tensor(0.25)
    assert optimizer_state(optimizer)["param_groups"][0]["lr"] == 0.25


@pytest.mark.parametrize("name", METHODS)
def test_every_update_has_an_optimizer_of_its_own_parameters(name):
    method = METHODS[name].on_meta(small_config(name))
    parameters = parameters_by_update(method)
    for update, optimizer in build_optimizers(method, parameters).items():
        own = [p for group in optimizer.param_groups for p in group["params"]]
        assert [id(p) for p in own] == [id(p) for p in dict.fromkeys(parameters[update])]
        factors, networks = method.updates[update].network_factors, method.updates[update].networks
        rates = [factors.get(network, 1.0) for network in networks] if factors else [1.0]  # of groups
        assert [group.get("factor", 1.0) for group in optimizer.param_groups] == rates
