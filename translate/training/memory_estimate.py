"""How much memory a training takes, known before its first step: the step is rehearsed on tensors that have no memory."""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from translate.errors import UsageError
from translate.methods.base import Batch, Clock, Method, Step
from translate.runtime import memory
from translate.runtime.precision import Precision
from translate.training.engine import split_batch
from translate.training.optimizers import build_optimizers, parameters_by_update

GIB = 2**30

LIBRARIES = 90 << 20
"""On the CPU: what libraries load and generate when they first compute, as the kernels of oneDNN. Measured."""
FRAGMENTATION = 0.10
"""On the CPU: what malloc keeps in gaps between tensors, as a share of the activations. Measured with glibc."""

NEAR, LATE = 32, 10**8
"""Steps among which every phase of a method is looked for, and where the late ones begin."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a training takes at the peak of a step, by what they are for."""

    weights: int
    optimizers: int
    averages: int
    """The second, averaged copy of the generators."""
    buffers: int
    """State of the method that is not trained, as pools of images."""
    batch: int
    data: int
    """Data set that is kept on the device."""
    activations: int
    """What the forward pass keeps for the backward pass, and what both are at work on, the gradients with it."""
    scratch: int
    """On the CPU: what convolutions and the allocator take beside the tensors."""

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        trained = self.weights + self.optimizers + self.averages
        parts = {
            "weights and optimizers": trained,
            "activations": self.activations,
            "images": self.batch + self.buffers + self.data,
            "scratch": self.scratch,
        }
        digits = 1 if self.total >= GIB else 2
        listed = [
            f"{name} {count / GIB:.{digits}f}" for name, count in parts.items() if count >= 0.6 * GIB / 10**digits
        ]
        return f"about {self.total / GIB:.{digits}f} GiB" + (f" ({', '.join(listed)})" if listed else "")


def estimate(
    cls: type[Method],
    cfg: Any,
    example: Mapping[str, Tensor],
    device: torch.device,
    precision: Precision,
    data: int = 0,
) -> MemoryEstimate:
    """Bytes of a step of the method with these settings, without running it; a second or two.

    `example` is a batch of any length whose names, channels and types those of the training have; their height and width
    too where images are taken whole (`preprocess none`), so that larger ones take more. `data`: bytes of the data set that
    stay on the device. Of several phases of a method it is the largest that counts. What cuDNN takes beside the tensors is
    not known; `scratch` is for the CPU.
    """
    meter = MemoryMeter(scratch=device.type == "cpu")
    shapes = cls.on_meta(cfg).to(precision.weights)
    with _alone(), FakeTensorMode(allow_non_fake_inputs=True), meter:
        method = shapes.to_empty(device=device)
        weights, buffers = _bytes(method.parameters()), _bytes(method.buffers())
        batch = _batch(cfg, example, device)
        rehearsal = _Rehearsal(method, device, precision)
        before = meter.live
        rehearsal.fill_states()
        optimizers = meter.live - before
        meter.reset_peak()
        lasting = meter.live
        for clock in phase_clocks(method, cfg.batch_size):
            rehearsal.step(split_batch(batch, cfg.accumulate), clock)
        del rehearsal
    activations = meter.live_at_peak - lasting
    scratch = meter.scratch_at_peak
    if device.type == "cpu":
        scratch += LIBRARIES + int(FRAGMENTATION * activations)
    return MemoryEstimate(
        weights=weights,
        optimizers=optimizers,
        averages=_averaged(method) if cfg.ema_half_life else 0,
        buffers=buffers,
        batch=_bytes(batch.values()),
        data=data,
        activations=activations,
        scratch=scratch,
    )


def phase_clocks(method: Method, batch_size: int) -> list[Clock]:
    """A moment of each phase that the method is in near the start of a run, or late in it; the first is the start."""
    steps = [*range(NEAR), *range(LATE, LATE + NEAR)]
    clocks = [Clock(images=step * batch_size, step=step, epoch=0, progress=0.0) for step in reversed(steps)]
    return sorted({method.phase(clock): clock for clock in clocks}.values(), key=lambda clock: clock.step)


def _batch(cfg: Any, example: Mapping[str, Tensor], device: torch.device) -> Batch:
    """A batch of the training, with the keys that the engine gives it; images are (N, C, H, W), all else has no size."""

    def shape(x: Tensor) -> tuple[int, ...]:
        cut = x.ndim == 4 and cfg.preprocess != "none"
        return (cfg.batch_size, *((x.shape[1], cfg.crop_size, cfg.crop_size) if cut else x.shape[1:]))

    batch = {name: torch.empty(shape(x), dtype=x.dtype, device=device) for name, x in example.items()}
    return {**batch, "key": torch.empty(cfg.batch_size, dtype=torch.int64, device=device)}


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)


def _averaged(method: Method) -> int:
    """Bytes of the networks of which averages are kept."""
    return _bytes(p for name in method.ema for p in method.get_submodule(name).parameters())


class MemoryMeter(TorchDispatchMode):
    """Within it, the bytes of all tensors that operations make, as long as anything refers to them.

    With `scratch` a convolution takes, while it computes, a copy of all that it reads and writes: oneDNN has its own order
    of channels and blocks, and reorders.
    """

    def __init__(self, *, scratch: bool) -> None:
        super().__init__()
        self.scratch = scratch
        self.live = self.live_at_peak = self.scratch_at_peak = 0
        self._held: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # a hook of torch's: else the first operation imports torch._dynamo, which takes seconds

    def reset_peak(self) -> None:
        self.live_at_peak, self.scratch_at_peak = self.live, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        for x in made:
            self._hold(x.untyped_storage())
        convolves = self.scratch and func in (
            torch.ops.aten.convolution.default,
            torch.ops.aten.convolution_backward.default,
        )
        scratch = self.convolution_scratch(args, made) if convolves else 0
        if self.live + scratch > self.live_at_peak + self.scratch_at_peak:
            self.live_at_peak, self.scratch_at_peak = self.live, scratch
        return out

    def convolution_scratch(self, args: Sequence[Any], made: Sequence[Tensor]) -> int:
        """Return the bytes that a convolution of these arguments and results takes beside them."""
        return _bytes([*(x for x in args if isinstance(x, Tensor)), *made])

    def _hold(self, storage: torch.UntypedStorage) -> None:
        name = storage._cdata
        if name not in self._held:
            self._held[name] = storage.nbytes()
            self.live += storage.nbytes()
            weakref.finalize(storage, self._release, name)

    def _release(self, name: int) -> None:
        self.live -= self._held.pop(name)


class _Rehearsal:
    """What an engine does in a step, as far as memory goes: it knows neither rates nor what is logged."""

    def __init__(self, method: Method, device: torch.device, precision: Precision) -> None:
        self.method, self.device, self.precision = method, device, precision
        self.parameters = parameters_by_update(method)
        self.optimizers = build_optimizers(method, self.parameters)

    def fill_states(self) -> None:
        for name, optimizer in self.optimizers.items():
            for parameter in self.parameters[name]:
                parameter.grad = torch.empty_like(parameter)
            optimizer.step()
            optimizer.zero_grad()

    def step(self, micro_batches: Sequence[Batch], clock: Clock) -> None:
        if clock.step == 0:
            self.method.prepare(micro_batches[0])
        running = [self.method.step(batch, clock) for batch in micro_batches]
        while self._advance(running):
            pass

    def _advance(self, running: Sequence[Step]) -> bool:
        """Every micro-batch to its next yield and backward, in lockstep as in the engine; False at the end."""
        update = ""
        for generator in running:
            with self.precision.autocast(self.device):
                item = next(generator, None)
            if item is None:
                return False
            update, losses = item
            torch.stack(list(losses.values())).sum().backward(inputs=self.parameters[update])
        self.optimizers[update].zero_grad()
        return True


@contextmanager
def _alone() -> Iterator[None]:
    """Within it there are no other processes, for which a step would wait."""
    group = dist.group.WORLD
    dist.distributed_c10d._update_default_pg(None)
    try:
        yield
    finally:
        dist.distributed_c10d._update_default_pg(group)


def check_memory(
    cls: type[Method],
    cfg: Any,
    example: Mapping[str, Tensor],
    device: torch.device,
    precision: Precision,
    data: int = 0,
) -> str:
    """What `estimate` says, in a line for people. UsageError with what would fit if it is above `cfg.max_memory` GiB."""

    def measure(settings: Any) -> MemoryEstimate:
        return estimate(cls, settings, example, device, precision, data)

    found = measure(cfg)
    whole = " for images as large as those of the samples" if cfg.preprocess == "none" else ""
    if cfg.max_memory is None or found.total <= cfg.max_memory * GIB:
        return f"memory: {found}{whole}, {memory.free_memory(device) / GIB:.1f} GiB free"
    fits = _fitting(cls, cfg, lambda settings: measure(settings).total <= cfg.max_memory * GIB)
    advice = (
        f"use {' or '.join(fits)}" if fits else "no batch size or crop size fits; use a smaller --g-width and --d-width"
    )
    raise UsageError(f"--max-memory {cfg.max_memory:g}: training takes {found}{whole}; {advice}")


SUGGESTED = 2
"""Ways out that a refusal names."""


def _fitting(cls: type[Method], cfg: Any, fits: Callable[[Any], bool]) -> list[str]:
    """Flags that make it fit: of each way the least that suffices, those first that do not change what is learned."""
    found: list[str] = []
    for way in _ways_out(cls, cfg):
        least = next((settings for settings in way if fits(settings)), None)
        if least is not None:
            found.append(_flags(cfg, least))
        if len(found) == SUGGESTED:
            break
    return found


def _ways_out(cls: type[Method], cfg: Any) -> Iterator[Iterable[Any]]:
    """Settings that take less memory, way by way, each from the least change to the greatest."""
    recomputing = replace(cfg, gradient_checkpointing=True)
    if not cfg.gradient_checkpointing:
        yield [recomputing]
    method = cls.on_meta(cfg)
    smaller = cfg.batch_size // method.batch_multiple
    if not method.coupled:
        parts = [n for n in range(cfg.accumulate + 1, smaller + 1) if cfg.batch_size % (n * method.batch_multiple) == 0]
        yield (replace(cfg, accumulate=n) for n in parts)
        if not cfg.gradient_checkpointing:
            yield (replace(recomputing, accumulate=n) for n in parts)
    yield (replace(cfg, batch_size=n * method.batch_multiple, accumulate=1) for n in _halves(smaller))
    if cfg.preprocess != "none":
        yield _smaller_crops(cls, cfg)


def _halves(n: int) -> Iterator[int]:
    while n > 1:
        n //= 2
        yield n


def _smaller_crops(cls: type[Method], cfg: Any) -> Iterator[Any]:
    """Halves of the crop size that the networks take, or those that the method chooses for it where it chooses."""
    chosen = {"generator": None} if _default(cfg, "generator") is None else {}
    for crop in _halves(cfg.crop_size):
        try:
            yield cls.resolve_config(replace(cfg, crop_size=crop, load_size=crop, **chosen))
        except UsageError:
            return


def _default(cfg: Any, name: str) -> Any:
    return next((field.default for field in fields(cfg) if field.name == name), "")


def _flags(before: Any, after: Any) -> str:
    """What is changed, as flags; the load size follows the crop size."""
    changed = [
        f.name for f in fields(after) if getattr(before, f.name) != getattr(after, f.name) and f.name != "load_size"
    ]
    values = {name: getattr(after, name) for name in changed}
    return " ".join(f"--{n.replace('_', '-')} {'on' if v is True else v}" for n, v in values.items())
