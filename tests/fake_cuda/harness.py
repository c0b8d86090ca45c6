"""CUDA without a device: trainings and conversions on fake tensors that claim to be on a GPU, and a watch over every operation.

Fake tensors have a shape, a type and a device, but no values. So whatever asks for a value raises: that is the proof that the
host does not wait for the device. Autocast chooses types as on a GPU. Nothing is computed, and what needs a driver is stood in
for: the backward engine by zeros, the move of networks by new tensors, streams, events and graphs by nothing.
"""

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from translate.methods import METHODS
from translate.methods.base import Batch
from translate.runtime import devices
from translate.runtime.precision import PRECISIONS
from translate.training.cuda_graphs import StepRunner
from translate.training.engine import Engine
from translate.training.micro_batches import split_batch
from translate.training.schedule import Schedule

from ..helpers import SIZE, batch_like, small_config

CUDA = torch.device("cuda", 0)
HALF_LIFE = 8
FUSED_ADAM = torch.ops.aten._fused_adam_.tensor_lr


def case_of(name: str, precision: str, *, every_day: bool) -> Any:
    """Return the parameters of a test of a method in a precision: in bf16 of all methods, in others of one of each kind."""
    marks = [] if every_day else [pytest.mark.slow] + [pytest.mark.each_kind] * (precision != "bf16")
    return pytest.param(name, precision, marks=marks)


class DeviceWatch(TorchDispatchMode):
    """Fails where an operation touches a tensor that is not on the GPU; keeps the types of each operation's results.

    may_touch_host: work on the host and copies between both are no failure. Operations that mix devices always are.
    """

    def __init__(self, *, may_touch_host: bool = False) -> None:
        super().__init__()
        self.may_touch_host = may_touch_host
        self.counts: Counter[str] = Counter()
        self.dtypes: dict[str, set[torch.dtype]] = defaultdict(set)
        self.reductions: set[torch.dtype] = set()
        """Types of means over whole tensors."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # a hook of torch's: else the first operation imports torch._dynamo, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = check_fused_adam(*args, **kwargs) if func is FUSED_ADAM else func(*args, **kwargs)
        for x in tree_leaves((args, kwargs, out)):
            if isinstance(x, Tensor) and not self.may_touch_host:
                assert x.device == CUDA, f"{func} touches a tensor on {x.device}"
        name = func.overloadpacket.__name__
        self.counts[name] += 1
        self.dtypes[name].update(x.dtype for x in tree_leaves(out) if isinstance(x, Tensor))
        if name == "mean" and out.ndim == 0:
            self.reductions.add(out.dtype)
        return out


def check_fused_adam(
    parameters: Any, gradients: Any, averages: Any, squares: Any, largest: Any, steps: Any, *, lr: Tensor,
    grad_scale: Tensor | None = None, found_inf: Tensor | None = None, **options: Any,
) -> None:  # fmt: skip
    """Check what the kernel of fused Adam on CUDA asks of its arguments; torch has no form of it for fake tensors."""
    for p, *alike in zip(parameters, gradients, averages, squares, strict=True):
        assert all((x.shape, x.dtype) == (p.shape, p.dtype) for x in alike)
    assert len(steps) == len(parameters)
    for x in (lr, *steps, *(x for x in (grad_scale, found_inf) if x is not None)):
        assert (x.dtype, x.numel()) == (torch.float32, 1)


def zero_backward(self: Tensor, *args: Any, inputs: Any, **kwargs: Any) -> None:
    """Stand in for `Tensor.backward`: zeros are added to the gradients of the inputs."""
    assert self.requires_grad and self.ndim == 0, "the loss has no graph"
    for p in inputs:
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad + torch.zeros_like(p)


def zero_gradients(outputs: Tensor, inputs: Tensor, *, create_graph: bool = False) -> tuple[Tensor, ...]:
    """Stand in for `torch.autograd.grad`: zeros, which depend on the outputs if they are to be differentiated again."""
    assert outputs.requires_grad and inputs.requires_grad, "nothing to differentiate"
    zeros = torch.zeros_like(inputs)
    return (zeros + 0 * outputs if create_graph else zeros,)


def put_on_device(module: nn.Module, *args: Any, memory_format: torch.memory_format | None = None) -> nn.Module:
    """Stand in for `Module.to`, which cannot move fake tensors: put new tensors of the same shapes into their places."""
    device, dtype, *_ = torch._C._nn._parse_to(*args) if args else (None, None)
    made: dict[int, Tensor] = {}

    def moved(x: Tensor) -> Tensor:
        if id(x) not in made:
            kind = dtype if dtype is not None and x.is_floating_point() else x.dtype
            new = torch.empty(x.shape, dtype=kind, device=device or x.device)
            if memory_format is not None and x.ndim == 4:
                new = new.contiguous(memory_format=memory_format)
            made[id(x)] = nn.Parameter(new, x.requires_grad) if isinstance(x, nn.Parameter) else new
        return made[id(x)]

    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, x in tensors.items():
                tensors[name] = None if x is None else moved(x)
    return module


class IdleStream:
    """Stream or event that waits for nothing."""

    def wait_stream(self, other: Any) -> None: ...
    def wait_event(self, event: Any) -> None: ...
    def record(self) -> None: ...
    def synchronize(self) -> None: ...


STAND_INS = {
    "has_cuda": lambda: True,
    "has_bf16_arithmetic": lambda device: True,
    "new_stream": lambda device: IdleStream(),
    "current_stream": lambda device: IdleStream(),
    "new_event": IdleStream,
    "on_stream": lambda stream: nullcontext(),
    "new_graph": lambda: SimpleNamespace(replay=lambda: None),
    "new_graph_pool": lambda: None,
    "capture": lambda graph, pool, stream: nullcontext(),
}
"""What stands for the functions of `devices` that need a driver."""


@contextmanager
def cuda_without_device() -> Iterator[None]:
    """Within the block tensors are fake, and may be on CUDA."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Accessing the data pointer of FakeTensor"
        )  # deepcopy looks whether it is null
        for name, stand_in in STAND_INS.items():
            patch.setattr(devices, name, stand_in)
        patch.setattr(
            torch.cuda.amp.common, "amp_definitely_not_available", lambda: False
        )  # else autocast is turned off
        patch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
        patch.setattr(Tensor, "backward", zero_backward)
        patch.setattr(Tensor, "record_stream", lambda self, stream: None)
        patch.setattr(torch.autograd, "grad", zero_gradients)
        patch.setattr(nn.Module, "to", put_on_device)
        patch.setattr(
            FakeTensorMode, "__deepcopy__", lambda self, memo: self, raising=False
        )  # averages: of the same mode
        with FakeTensorMode():
            yield


def empty_batch(name: str, cfg: Any, height: int = SIZE, width: int = SIZE) -> Batch:
    """Return a batch of the method on the GPU, without values."""
    shapes = ((cfg.batch_size, channels, height, width) for channels in (cfg.input_channels, cfg.output_channels))
    batch = batch_like(name, *(torch.empty(shape, device=CUDA) for shape in shapes))
    return {key: torch.empty(x.shape, dtype=x.dtype, device=CUDA) for key, x in batch.items()}


def fake_engine(
    name: str, precision: str = "bf16", *, channels_last: bool = False, runner: StepRunner | None = None, **flags: Any
) -> Engine:  # fmt: skip
    """Return an engine on the GPU; its method is built without weights."""
    cfg = small_config(name, **flags)
    return Engine(
        METHODS[name].on_meta(cfg), Schedule(per_epoch=4, epochs=1, decay_epochs=9), seed=0, device=CUDA,
        precision=PRECISIONS[precision], batch_size=cfg.batch_size, ema_half_life=HALF_LIFE,
        channels_last=channels_last, fixed_size=True, runner=runner,
    )  # fmt: skip


def watched_steps(name: str, engine: Engine, steps: int = 2, parts: int = 1) -> tuple[dict[str, Tensor], DeviceWatch]:
    """Run steps under the watch; returns the losses of the last one, and the watch."""
    batch = empty_batch(name, engine.method.cfg)
    losses: dict[str, Tensor] = {}
    with DeviceWatch() as watch:
        for _ in range(steps):
            losses = engine.step(split_batch(batch, parts))
    return losses, watch
