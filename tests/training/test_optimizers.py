"""Optimizers: RMSprop is TensorFlow's, and resumes from its state."""

import math

import pytest
import torch
from torch import nn

from translate.training.optimizers import OPTIMIZERS


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


def test_rmsprop_resumes():
    def run(steps, state=None):
        p = nn.Parameter(torch.full((1,), 0.5 if state is None else state["p"]))
        optimizer = OPTIMIZERS["rmsprop"]([p], 0.1)
        if state is not None:
            optimizer.load_state_dict(state["optimizer"])
        for _ in range(steps):
            p.grad = p.detach().clone()
            optimizer.step()
        return {"p": p.item(), "optimizer": optimizer.state_dict()}

    assert run(2, run(3))["p"] == run(5)["p"]
