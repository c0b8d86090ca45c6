"""Gradient checkpointing in training: every method gives the same weights to the bit."""

import pytest
import torch

from translate.methods import METHODS
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.micro_batches import split_batch
from translate.training.schedule import Schedule

from ..helpers import batch_like, default, distinct_methods, random_batch, same_tensors, small_config

CPU = torch.device("cpu")


@pytest.mark.slow
@pytest.mark.parametrize("method", distinct_methods())
def test_training_gives_the_same_weights_to_the_bit(method):
    """Two steps of two micro-batches, with batch norm and dropout; where a graph outlives a yield too."""
    cls, states = METHODS[method], []
    for on in (False, True):
        flags = {"generator": default(method, "generator"), "norm": "batch", "dropout": True, "batch_size": 4}
        cfg = small_config(method, **flags, gradient_checkpointing=on)
        precision = PRECISIONS["fp32"]
        engine = Engine(cls(cfg), Schedule(100, 1, 0), seed=0, device=CPU, precision=precision, batch_size=4)
        for _ in range(2):
            engine.step(split_batch(batch_like(method, random_batch(4), random_batch(4).flip(3)), 2))
        states.append(list(engine.method.state_dict().values()))
    assert same_tensors(*states)
