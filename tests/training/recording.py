"""Small trainings to record, and a stand-in for CUDA graphs on the CPU."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from translate.config import TrainConfig
from translate.methods import METHODS
from translate.methods.base import Method, Update
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.micro_batches import split_batch
from translate.training.schedule import Schedule

from ..helpers import SIZE, batch_like, small_config

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
FLAGS = {"batch_size": 2, "gan_curriculum": 4, "generator": "resnet_1blocks", "dropout": True, "nce_patches": 8}
PENALTY = {
    "adversarial": "relativistic",
    "penalty_every": 2,
    "lambda_path": 0.0,
    "norm": "instance",
    "diffaugment": "color,translation,cutout",
}
HALF_LIFE = 8

FORBIDDEN = {
    torch.ops.aten._local_scalar_dense.default,  # .item() and the like wait for the device
    torch.ops.aten.lift_fresh.default,  # torch.tensor of Python numbers is copied from memory of the host
    torch.ops.aten.nonzero.default,  # the shape of what comes out has to be waited for
    torch.ops.aten.masked_select.default,
}


class Tape(TorchDispatchMode):
    """Every operation with its arguments and results; what was there before is put back when the recording ends.

    As in a CUDA graph, tensors stand for places in memory, Python numbers are what they were, nothing may be read by the
    host, and nothing has been executed: results of the recording are undefined (here nan, or a large number).
    """

    def __init__(self):
        super().__init__()
        self.operations, self.made, self.before = [], set(), {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in FORBIDDEN:
            raise RuntimeError(f"{func}: operation not permitted when stream is capturing\nand a second line")
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        for x in given:  # whatever the schema says: batch norm's does not tell that it moves its statistics
            if place(x) not in self.made:
                self.before.setdefault(place(x), (x, x.untyped_storage().clone()))
        out = func(*args, **kwargs)
        results = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if results or func._schema.is_mutable:
            self.operations.append((func, args, kwargs, results))
        known = {place(x) for x in given}
        self.made |= {place(x) for x in results} - known
        return out

    def undo(self):
        for x, storage in self.before.values():
            x.untyped_storage().copy_(storage)
        for x in (x for *_, results in self.operations for x in results):
            if place(x) in self.made:
                x.fill_(float("nan") if x.is_floating_point() else x.dtype.is_signed * 99)

    def replay(self):
        with torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, results in self.operations:
                again = [x for x in tree_leaves(func(*args, **kwargs)) if isinstance(x, Tensor)]
                for x, new in zip(results, again, strict=True):
                    if place(x) != place(new):
                        x.copy_(new)


def place(x):
    return x.untyped_storage().data_ptr()


class TapeRecorder:
    """Records tapes."""

    def __init__(self):
        self.recorded = 0

    def on_capture_stream(self):
        return nullcontext()

    def record(self, work):
        drawn = torch.get_rng_state()
        tape = Tape()
        try:
            with tape:
                told = work()
        finally:
            torch.set_rng_state(drawn)
            with torch.no_grad():
                tape.undo()
        self.recorded += 1
        return tape.replay, told

    def invalidate(self):
        pass


def build(name, runner=None, device=CPU, precision="fp32", **flags):
    cfg = small_config(name, **{**FLAGS, **flags})
    schedule = Schedule(per_epoch=4, epochs=1, decay_epochs=9)  # the rate falls every second step
    return Engine(
        METHODS[name](cfg), schedule, seed=0, device=device, precision=PRECISIONS[precision], batch_size=2,
        ema_half_life=HALF_LIFE, runner=runner,
    )  # fmt: skip


def batch_of(name, engine, size=SIZE):
    """The batch of the engine's next step."""
    drawn = torch.Generator().manual_seed(engine.images)
    images = (torch.rand(2, 3, size, size, generator=drawn, dtype=engine.precision.weights) * 2 - 1 for _ in "ab")
    return {key: x.to(engine.device) for key, x in batch_like(name, *images).items()}


def train(name, engine, steps, parts=1, **options):
    """What the steps tell: their phase, losses and norms of gradients."""
    told = []
    for _ in range(steps):
        phase = engine.method.phase(engine.clock)
        losses = engine.step(split_batch(batch_of(name, engine, **options), parts))
        told.append({"phase": phase, **losses, **engine.gradient_norms})
    return told


@dataclass(frozen=True)
class NoConfig(TrainConfig):
    pass


class Line(Method):
    """y = w x with dropout; the loss is y."""

    Config = NoConfig
    waits = False
    """Whether the host waits for a number of the device."""

    def __init__(self):
        super().__init__(NoConfig())
        self.g = nn.Linear(4, 1, bias=False)
        nn.init.ones_(self.g.weight)
        self.updates = {"g": Update(("g",), 0.1)}
        self.runs = 0

    def step(self, batch, clock, scheduled):
        self.runs += 1
        loss = self.g(nn.functional.dropout(batch["a"])).mean()
        if self.waits:
            loss.item()
        yield "g", {"loss": loss}


def line(runner=None, device=CPU, **attributes):
    method = Line()
    vars(method).update(attributes)
    plan = Schedule(10, 0, 0, images=1000)
    return Engine(method, plan, seed=0, device=device, precision=PRECISIONS["fp32"], batch_size=2, runner=runner)


def ones(device=CPU):
    return [{"a": torch.ones(2, 4, device=device)}]
