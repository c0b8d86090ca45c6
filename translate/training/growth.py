"""Check of a training whose images grow: what each size of them takes, before the first step of the first one."""

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from translate.config import TrainConfig
from translate.errors import UsageError
from translate.methods.base import DataStage, Method
from translate.runtime import devices, memory
from translate.runtime.precision import Precision
from translate.text import duration, memory_size
from translate.training import memory_estimate
from translate.training.memory_estimate import GIB, MemoryEstimate, PhaseEstimate, estimate_phases
from translate.training.schedule import Schedule


def check_memory(
    cls: type[Method],
    cfg: TrainConfig,
    example: Mapping[str, Tensor],
    device: torch.device,
    precision: Precision,
    data: int,
    schedule: Schedule,
    seen: int = 0,
) -> list[str]:
    """Return lines for people on the memory that a training takes; arguments as of `memory_estimate.estimate`.

    A resumed training has `seen` images; UsageError with flags that fit if memory is too small.
    """
    if cls.grows:
        return _check_sizes(cls, cfg, example, device, precision, data, schedule, seen)
    return [memory_estimate.check_memory(cls, cfg, example, device, precision, data, schedule)]


def _check_sizes(
    cls: type[Method],
    cfg: TrainConfig,
    example: Mapping[str, Tensor],
    device: torch.device,
    precision: Precision,
    data: int,
    schedule: Schedule,
    seen: int,
) -> list[str]:
    """Return lines for people with the images, the batch, the memory and the least time of each size that is still to come.

    Weights and averages are on the device already. UsageError if a size takes more than `cfg.max_memory` GiB or, where that is
    None, more than is free.
    """
    estimates = estimate_phases(cls, cfg, example, device, precision, data, schedule)
    operations = operations_by_size(estimates, schedule.planned, seen)
    largest: dict[int, tuple[DataStage, MemoryEstimate]] = {}
    for phase in estimates:
        size = phase.stage.crop_size
        if size in operations and (size not in largest or phase.memory.total > largest[size][1].total):
            largest[size] = phase.stage, phase.memory
    held = estimates[0].memory.weights + estimates[0].memory.averages
    free = memory.free_memory(device) + held
    limit = free if cfg.max_memory is None else cfg.max_memory * GIB
    fits = [size for size, (_, found) in largest.items() if found.total <= limit]
    for size, (stage, found) in largest.items():
        if size not in fits:
            _refuse(cfg, size, stage, found, free, fits)
    starts: dict[int, int] = {}
    for phase in estimates:
        starts.setdefault(phase.stage.crop_size, phase.stage.image)
    rate = operation_rate(device, precision)
    lines = [
        f"{size:4} px from image {starts[size]:,}, {stage.batch_size} a step: memory {found}, at least "
        f"{duration(operations[size] / rate)}"
        for size, (stage, found) in largest.items()
    ]
    if missing := [size for size, image in starts.items() if image >= schedule.planned]:
        lines.append(
            f"the run ends before it reaches {missing[0]} px, which begins at image {starts[missing[0]]:,}"
            + (f"; {missing[-1]} px begins at image {starts[missing[-1]]:,}" if len(missing) > 1 else "")
        )
    return [*lines, f"{memory_size(free)} free"]


def operations_by_size(estimates: Sequence[PhaseEstimate], planned: int, seen: int = 0) -> dict[int, float]:
    """Return the operations of the steps after `seen` of `planned` images, by the size of images; phases count evenly.

    Sizes without such steps are left out.
    """
    phases: dict[DataStage, list[int]] = {}
    for phase in estimates:
        if phase.stage.image < planned:
            phases.setdefault(phase.stage, []).append(phase.operations)
    found: dict[int, float] = {}
    for (stage, operations), end in zip(phases.items(), [*(stage.image for stage in phases), planned][1:], strict=True):
        if end <= seen:
            continue
        steps = (end - max(stage.image, seen)) / stage.batch_size
        found[stage.crop_size] = found.get(stage.crop_size, 0.0) + steps * sum(operations) / len(operations)
    return found


PROBE = (16, 64, 32, 3)
"""Images, channels, side and kernel of the convolution that is timed."""


def operation_rate(device: torch.device, precision: Precision) -> float:
    """Return the operations a second of a convolution on the device, forward and backward, the fastest of five passes.

    Few layers are faster, so that a time which follows from it is a lower bound.
    """
    count, channels, side, kernel = PROBE
    x = torch.zeros(count, channels, side, side, device=device, dtype=precision.weights, requires_grad=True)
    weight = torch.zeros(channels, channels, kernel, kernel, device=device, dtype=precision.weights, requires_grad=True)
    best = float("inf")
    for _ in range(5):
        devices.synchronize(device)
        started = time.perf_counter()
        with precision.autocast(device):
            y = torch.nn.functional.conv2d(x, weight, padding=kernel // 2)
        torch.autograd.grad(y.sum(), (x, weight))
        devices.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 3 * 2 * count * side**2 * channels**2 * kernel**2 / best


def _refuse(cfg: TrainConfig, size: int, stage: DataStage, found: MemoryEstimate, free: int, fits: list[int]) -> None:
    """Raise UsageError for a size that takes too much memory, with what would fit."""
    room = f"{memory_size(free)} are free" if cfg.max_memory is None else f"--max-memory is {cfg.max_memory:g} GiB"
    remedies = [f"--crop-size {fits[-1]}"] if fits else []
    if stage.batch_size > 1:
        remedies.append("a smaller --batch-size")
    remedies.append("a smaller --g-width and --d-width")
    if cfg.max_memory is None:
        remedies.append("--max-memory to try it all the same")
    raise UsageError(
        f"--crop-size {cfg.crop_size}: at {size} px a step of {stage.batch_size} images takes {found}, and {room}; use "
        f"{', '.join(remedies[:-1])}{' or ' if len(remedies) > 1 else ''}{remedies[-1]}"
    )
