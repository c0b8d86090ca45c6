"""How a step may be written, for every method."""

import ast
import copy
import inspect
import random
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from translate import methods
from translate.methods import METHODS

SHARED_BASES = {"TwoWayMethod", "PairedMethod", "LatentCodeMethod", "PhotoPairs"}
"""Classes of what several methods have alike."""


class Trace(TorchDispatchMode):
    """Records the operations on tensors, their shapes, and the Python numbers among their arguments.

    A recorded step has these numbers for ever: one that changes from step to step must be a tensor.
    """

    def __init__(self):
        super().__init__()
        self.ops = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        numbers = [x for x in tree_leaves((args, kwargs)) if isinstance(x, (bool, int, float))]
        self.ops.append((str(func), tuple(out.shape) if isinstance(out, torch.Tensor) else None, numbers))
        return out


@pytest.mark.parametrize("name", METHODS)
def test_a_phase_always_runs_the_same_operations(name, tiny):
    method = tiny.method(name)
    traces = defaultdict(list)
    for clock in tiny.clocks():
        batch, scheduled = tiny.batch(name, first=clock.images), tiny.scheduled(method, clock)
        with Trace() as trace:
            for _ in method.step(batch, clock, scheduled):
                pass
        traces[method.phase(clock)].append(trace.ops)
    for phase, runs in traces.items():
        assert all(run == runs[0] for run in runs), phase
        assert runs[0]


@pytest.mark.parametrize("name", METHODS)
def test_a_step_runs_without_memory(name, tiny):
    """On the meta device every host value, constant of the wrong device and data-dependent shape is an error."""
    with torch.device("meta"):
        method = METHODS[name](tiny.config(name, adversarial="lsgan"))  # penalties turn autocast off, which meta lacks
    batch = {key: value.to("meta") for key, value in tiny.batch(name).items()}
    for clock in tiny.clocks():
        for _, losses in method.step(batch, clock, tiny.scheduled(method, clock)):
            assert all(loss.device.type == "meta" and loss.ndim == 0 for loss in losses.values())


class Fading(methods.Method):
    """Adds a number that changes with each step to a loss: as a Python number, or as a scheduled value."""

    def __init__(self, baked):
        super().__init__(methods.METHODS["pix2pix"].Config())
        self.baked = baked

    def scheduled_values(self, clock):
        return {"alpha": clock.step / 8}

    def step(self, batch, clock, scheduled):
        yield "g", {"loss": batch["a"].mean() * (clock.step / 8 if self.baked else scheduled["alpha"])}


@pytest.mark.parametrize("baked", [False, True])
def test_a_number_that_a_recording_would_repeat_is_seen_in_the_trace(baked, tiny):
    method, runs = Fading(baked), []
    for clock in tiny.clocks()[1:3]:
        batch, scheduled = tiny.batch("pix2pix"), tiny.scheduled(method, clock)
        with Trace() as trace:
            list(method.step(batch, clock, scheduled))
        runs.append(trace.ops)
    assert (runs[0] == runs[1]) is not baked


def python_state(module):
    return {
        f"{path}.{key}": copy.deepcopy(value)
        for path, part in module.named_modules()
        for key, value in vars(part).items()
        if not key.startswith("_") and not isinstance(value, (torch.Tensor, torch.nn.Module))
    }


@pytest.mark.parametrize("name", METHODS)
def test_a_step_keeps_no_python_state_and_uses_no_host_generator(name, tiny):
    method = tiny.method(name, dropout=False)
    random.seed(1)
    np.random.seed(1)
    before = python_state(method), random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    for clock in tiny.clocks()[:3]:
        for _, losses in method.step(tiny.batch(name), clock, tiny.scheduled(method, clock)):
            sum(losses.values()).backward()
    after = python_state(method), random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert before[0].keys() == after[0].keys()
    assert repr(before[0]) == repr(after[0])
    assert before[1:] == after[1:]


@pytest.mark.parametrize("name", METHODS)
def test_steps_are_written_by_the_rules(name):
    """No yield inside with or try; no host copies, backward, data pokes, host generators or freezing."""
    source = inspect.getsource(inspect.getmodule(METHODS[name]))
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.With, ast.Try)):
            assert not any(isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in ast.walk(node))
        if isinstance(node, ast.Attribute):
            forbidden = {"item", "tolist", "cpu", "cuda", "numpy", "backward", "data", "requires_grad_", "manual_seed"}
            assert node.attr not in forbidden, f"line {node.lineno}: .{node.attr}"
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & {"random", "numpy"}


def test_methods_do_not_extend_one_another():
    """But for rows that are another's recipe with other defaults, in the same file, and nothing else."""
    for method in METHODS.values():
        rows = [base for base in method.__bases__ if base in METHODS.values()]
        if rows:
            (base,) = method.__bases__
            assert base.__bases__ == (methods.Method,)
            assert inspect.getmodule(base) is inspect.getmodule(method)
            assert {name for name in vars(method) if not name.startswith("__")} == {"name", "summary", "Config"}
        else:
            assert {base.__name__ for base in method.__mro__} & SHARED_BASES or method.__bases__ == (methods.Method,)
        assert method.name in METHODS and METHODS[method.name] is method
