"""Estimate of the memory that a training takes, before its first step: the step is run on fake tensors, which have no data."""

import math
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

from translate.config import TrainConfig
from translate.errors import UsageError
from translate.methods.base import Batch, Clock, DataStage, Method, Step
from translate.nn.frozen import freeze
from translate.runtime import memory
from translate.runtime.precision import Precision
from translate.text import flag_name, memory_size
from translate.training.micro_batches import next_losses, split_batch
from translate.training.optimizers import build_optimizers, parameters_by_update
from translate.training.schedule import Schedule

GIB = 2**30

LIBRARIES = 90 << 20
"""Bytes on the CPU that libraries load and generate when they first compute, as the kernels of oneDNN. Measured."""
FRAGMENTATION = 0.10
"""Share of the activations that malloc keeps on the CPU in gaps between tensors. Measured with glibc."""

FIRST_STEPS, LATE = 32, 10**8
"""Number of steps, from a stage's first and from LATE on or its last, among which every phase of a method is looked for."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a training takes at the peak of a step, by purpose."""

    weights: int
    """Weights of all networks, frozen ones too."""
    optimizers: int
    averages: int
    """Averaged copies of the networks (EMA)."""
    buffers: int
    """Buffers of the method, as image pools."""
    batch: int
    data: int
    """Part of the data set that is kept on the device."""
    activations: int
    """Tensors that the forward pass keeps for the backward pass, temporary tensors of both, and gradients."""
    scratch: int
    """Bytes that convolutions and the allocator take beside the tensors, on the CPU."""

    @property
    def total(self) -> int:
        """Sum of all parts."""
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


@dataclass(frozen=True)
class PhaseEstimate:
    """Memory and operations of a step of one phase of a method, in one stage of the data."""

    stage: DataStage
    memory: MemoryEstimate
    operations: int
    """Additions and multiplications of convolutions and matrix products, forward and backward."""


def estimate(
    cls: type[Method],
    cfg: TrainConfig,
    example: Mapping[str, Tensor],
    device: torch.device,
    precision: Precision,
    data: int = 0,
    schedule: Schedule | None = None,
) -> MemoryEstimate:
    """Return the memory that a step of the method takes with these settings, in a second or two, without computing anything.

    Args:
        example: batch of any length with the names, channels and types of those of the training; where images
            are taken whole (`cfg.crops` is off), also with their height and width, so that larger images take more.
        data: bytes of the data set that stay on the device.
        schedule: length of the training, which decides the stages of its data; None: one stage of the settings' sizes.

    Of several phases of a method, and of several stages, the one that takes most counts. What cuDNN takes beside the tensors
    is not known; `scratch` is for the CPU.
    """
    phases = estimate_phases(cls, cfg, example, device, precision, data, schedule)
    return max((phase.memory for phase in phases), key=lambda found: found.total)


def estimate_phases(
    cls: type[Method],
    cfg: TrainConfig,
    example: Mapping[str, Tensor],
    device: torch.device,
    precision: Precision,
    data: int = 0,
    schedule: Schedule | None = None,
) -> list[PhaseEstimate]:
    """Return what `estimate` does, for a step of each phase of each stage, in the order of the run."""
    meter = StepMeter(scratch=device.type == "cpu")
    shapes = cls.on_meta(cfg).to(precision.weights)
    with _single_process(), FakeTensorMode(allow_non_fake_inputs=True), meter:
        method = shapes.to_empty(device=device)
        frozen = _bytes(
            x for network in map(freeze, map(method.get_submodule, method.frozen_networks)) for x in network.buffers()
        )
        weights, buffers = _bytes(method.parameters()) + frozen, _bytes(method.buffers()) - frozen
        rehearsal = _Rehearsal(method, device, precision)
        before = meter.live
        rehearsal.fill_states()
        optimizers = meter.live - before
        pairs = phase_clocks(method, _stages(cls, cfg, schedule))
        steps = [_measure_step(rehearsal, meter, _batch(cfg, stage, example, device), clock) for stage, clock in pairs]
        del rehearsal
    averages = _averaged_bytes(method) if cfg.ema_half_life else 0
    return [
        PhaseEstimate(
            stage, MemoryEstimate(weights, optimizers, averages, buffers, batch, data, activations, scratch), operations
        )
        for (stage, _), (batch, activations, scratch, operations) in zip(pairs, steps, strict=True)
    ]


def _measure_step(rehearsal: "_Rehearsal", meter: "StepMeter", batch: Batch, clock: Clock) -> tuple[int, int, int, int]:
    """Return the bytes of the batch, of the activations and of the scratch memory of a step, and its operations."""
    meter.reset_peak()
    persistent, before = meter.live, meter.operations
    rehearsal.step(split_batch(batch, rehearsal.method.cfg.accumulate), clock)
    activations, scratch = meter.live_at_peak - persistent, meter.scratch_at_peak
    if rehearsal.device.type == "cpu":
        scratch += LIBRARIES + int(FRAGMENTATION * activations)
    return _bytes(batch.values()), activations, scratch, meter.operations - before


def _stages(cls: type[Method], cfg: TrainConfig, schedule: Schedule | None) -> Sequence[DataStage]:
    """Return the stages of the data in a training of this length, or one of the settings' sizes if it is not known."""
    if schedule is None:
        return (DataStage(0, cfg.load_size or cfg.crop_size, cfg.crop_size, cfg.batch_size),)
    return cls.stages(cfg, schedule.planned, schedule.decays_from)


def phase_clocks(method: Method, stages: Sequence[DataStage]) -> list[tuple[DataStage, Clock]]:
    """Return a stage and a clock for each size of batches and each phase among its first or late steps, in their order."""
    found: dict[tuple[int, int, str], tuple[DataStage, Clock]] = {}
    for stage, end in zip(stages, [*(following.image for following in stages[1:]), math.inf], strict=True):
        size = stage.batch_size
        first = -(-stage.image // size)
        late = int(max(first, min(LATE, end // size - FIRST_STEPS)))
        for step in (*range(first, first + FIRST_STEPS), *range(late, late + FIRST_STEPS)):
            clock = Clock(images=step * size, step=step, epoch=0, progress=0.0)
            if clock.images < end:
                found.setdefault((stage.crop_size, size, method.phase(clock)), (stage, clock))
    return sorted(found.values(), key=lambda pair: pair[1].step)


def _batch(cfg: TrainConfig, stage: DataStage, example: Mapping[str, Tensor], device: torch.device) -> Batch:
    """Return an empty batch of a stage, with keys (N,); images are (N, C, H, W), other tensors keep their shape."""
    count, size = stage.batch_size, stage.crop_size

    def shape(x: Tensor) -> tuple[int, ...]:
        is_cropped = x.ndim == 4 and cfg.crops
        return (count, *((x.shape[1], size, size) if is_cropped else x.shape[1:]))

    batch = {name: torch.empty(shape(x), dtype=x.dtype, device=device) for name, x in example.items()}
    return {**batch, "key": torch.empty(count, dtype=torch.int64, device=device)}


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)


def _averaged_bytes(method: Method) -> int:
    """Return the bytes of the networks of which averages are kept."""
    return _bytes(p for name in method.ema for p in method.get_submodule(name).parameters())


class MemoryMeter(TorchDispatchMode):
    """Meter of the bytes of all tensors that operations create within the block, as long as anything refers to them.

    `live`: bytes now. `live_at_peak`, `scratch_at_peak`: those at the moment when their sum was largest since the block or
    `reset_peak`. With `scratch` a convolution takes, while it computes, a copy of all that it reads and writes, for oneDNN
    reorders channels and blocks; without it, `scratch_at_peak` is 0. Works on fake and on real tensors.
    """

    def __init__(self, *, scratch: bool) -> None:
        super().__init__()
        self.scratch = scratch
        self.live = self.live_at_peak = self.scratch_at_peak = 0
        self._storages: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # a hook of torch's: else the first operation imports torch._dynamo, which takes seconds

    def reset_peak(self) -> None:
        """Forget the peak so far."""
        self.live_at_peak, self.scratch_at_peak = self.live, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        outputs = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        for x in outputs:
            self._add(x.untyped_storage())
        is_convolution = self.scratch and func in (
            torch.ops.aten.convolution.default,
            torch.ops.aten.convolution_backward.default,
        )
        scratch = self.convolution_scratch(args, outputs) if is_convolution else 0
        if self.live + scratch > self.live_at_peak + self.scratch_at_peak:
            self.live_at_peak, self.scratch_at_peak = self.live, scratch
        return out

    def convolution_scratch(self, args: Sequence[Any], outputs: Sequence[Tensor]) -> int:
        """Return the bytes that a convolution of these arguments and results takes beside them."""
        return _bytes([*(x for x in args if isinstance(x, Tensor)), *outputs])

    def _add(self, storage: torch.UntypedStorage) -> None:
        name = storage._cdata
        if name not in self._storages:
            self._storages[name] = storage.nbytes()
            self.live += storage.nbytes()
            weakref.finalize(storage, self._release, name)

    def _release(self, name: int) -> None:
        self.live -= self._storages.pop(name)


class StepMeter(MemoryMeter):
    """Meter of bytes, and of `operations`: additions and multiplications of convolutions and matrix products in the block."""

    def __init__(self, *, scratch: bool) -> None:
        # It imports triton, which conversion, another user of meters, must not load.
        from torch.utils.flop_counter import flop_registry

        super().__init__(scratch=scratch)
        self.operations = 0
        self._counts = flop_registry

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if (count := self._counts.get(func._overloadpacket)) is not None:
            self.operations += count(*args, **(kwargs or {}), out_val=out)
        return out


class _Rehearsal:
    """Engine without learning rates and logs: a step of it allocates what a step of `Engine` does."""

    def __init__(self, method: Method, device: torch.device, precision: Precision) -> None:
        self.method, self.device, self.precision = method, device, precision
        self.parameters = parameters_by_update(method)
        self.optimizers = build_optimizers(method, self.parameters)

    def fill_states(self) -> None:
        """Allocate the optimizers' moments."""
        for name, optimizer in self.optimizers.items():
            for parameter in self.parameters[name]:
                parameter.grad = torch.empty_like(parameter)
            optimizer.step()
            optimizer.zero_grad()

    def step(self, micro_batches: Sequence[Batch], clock: Clock) -> None:
        """Run a step of the method on all micro-batches, as `Engine.step` does."""
        scheduled = {name: torch.empty((), device=self.device) for name in self.method.scheduled_values(clock)}
        steps = [self.method.training_step(batch, clock, scheduled) for batch in micro_batches]
        while (update := self._backward(steps)) is not None:
            self.optimizers[update].zero_grad()

    def _backward(self, steps: Sequence[Step]) -> str | None:
        """Run every micro-batch to its next yield and backward; the update's name, None at the end."""
        update: str | None = None
        for update, losses in next_losses(steps, self.precision, self.device):
            torch.stack(list(losses.values())).sum().backward(inputs=self.parameters[update])
        return update


@contextmanager
def _single_process() -> Iterator[None]:
    """Hide other processes within the block, for a step would wait for them."""
    group = dist.group.WORLD
    dist.distributed_c10d._update_default_pg(None)
    try:
        yield
    finally:
        dist.distributed_c10d._update_default_pg(group)


def check_memory(
    cls: type[Method],
    cfg: TrainConfig,
    example: Mapping[str, Tensor],
    device: torch.device,
    precision: Precision,
    data: int = 0,
    schedule: Schedule | None = None,
) -> str:
    """Return the estimate in a line for people; UsageError with flags that fit if it is above `cfg.max_memory` GiB."""

    def measure(settings: TrainConfig) -> MemoryEstimate:
        return estimate(cls, settings, example, device, precision, data, schedule)

    needed = measure(cfg)
    whole = " for images as large as those of the samples" if not cfg.crops else ""
    limit = needed.total if cfg.max_memory is None else cfg.max_memory * GIB
    if needed.total <= limit:
        return f"memory: {needed}{whole}, {memory_size(memory.free_memory(device))} free"
    fits = _fitting(cls, cfg, lambda settings: measure(settings).total <= limit)
    advice = (
        f"use {' or '.join(fits)}" if fits else "no batch size or crop size fits; use a smaller --g-width and --d-width"
    )
    raise UsageError(f"--max-memory {cfg.max_memory:g}: training takes {needed}{whole}; {advice}")


MAX_SUGGESTIONS = 2
"""Alternatives that the error names."""


def _fitting(cls: type[Method], cfg: TrainConfig, fits: Callable[[TrainConfig], bool]) -> list[str]:
    """Return flags with which it fits: of each kind the smallest change, those first that do not change what is learned."""
    suggestions: list[str] = []
    for alternatives in _alternatives(cls, cfg):
        smallest = next((settings for settings in alternatives if fits(settings)), None)
        if smallest is not None:
            suggestions.append(_changed_flags(cfg, smallest))
        if len(suggestions) == MAX_SUGGESTIONS:
            break
    return suggestions


def _alternatives(cls: type[Method], cfg: TrainConfig) -> Iterator[Iterable[TrainConfig]]:
    """Yield settings that take less memory, by kind of change, each from the smallest change to the largest."""
    checkpointing = replace(cfg, gradient_checkpointing=True)
    if not cfg.gradient_checkpointing:
        yield [checkpointing]
    method = cls.on_meta(cfg)
    smaller, least = cfg.batch_size // method.batch_multiple, method.smallest_micro_batch
    if not method.coupled:
        most = min(smaller, cfg.batch_size // least)
        parts = [n for n in range(cfg.accumulate + 1, most + 1) if cfg.batch_size % (n * method.batch_multiple) == 0]
        yield (replace(cfg, accumulate=n) for n in parts)
        if not cfg.gradient_checkpointing:
            yield (replace(checkpointing, accumulate=n) for n in parts)
    sizes = (n * method.batch_multiple for n in _halves(smaller))
    yield (replace(cfg, batch_size=size, accumulate=1) for size in sizes if size >= least)
    if cfg.crops:
        yield _smaller_crops(cls, cfg)


def _halves(n: int) -> Iterator[int]:
    while n > 1:
        n //= 2
        yield n


def _smaller_crops(cls: type[Method], cfg: TrainConfig) -> Iterator[TrainConfig]:
    """Yield settings with half the crop size, a quarter, …, as far as the method has networks for it."""
    chosen: dict[str, Any] = {"generator": None} if _default(cfg, "generator") is None else {}
    for crop in _halves(cfg.crop_size):
        try:
            yield cls.resolve_config(replace(cfg, crop_size=crop, load_size=crop, **chosen))
        except UsageError:
            return


def _default(cfg: TrainConfig, name: str) -> Any:
    return next((field.default for field in fields(cfg) if field.name == name), "")


def _changed_flags(before: TrainConfig, after: TrainConfig) -> str:
    """Return the flags of the settings that differ; the load size is left out, because it follows the crop size."""
    changed = [
        f.name for f in fields(after) if getattr(before, f.name) != getattr(after, f.name) and f.name != "load_size"
    ]
    values = {name: getattr(after, name) for name in changed}
    return " ".join(f"{flag_name(n)} {'on' if v is True else v}" for n, v in values.items())
