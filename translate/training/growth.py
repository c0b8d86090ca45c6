"""Check of a training whose images grow: what each size of them takes, before the first step of the first one."""

from collections.abc import Mapping

import torch
from torch import Tensor

from translate.config import TrainConfig
from translate.errors import UsageError
from translate.methods.base import DataStage, Method
from translate.runtime import memory
from translate.runtime.precision import Precision
from translate.text import memory_size
from translate.training import memory_estimate
from translate.training.memory_estimate import GIB, MemoryEstimate, estimate_phases
from translate.training.schedule import Schedule


def check_memory(
    cls: type[Method],
    cfg: TrainConfig,
    example: Mapping[str, Tensor],
    device: torch.device,
    precision: Precision,
    data: int,
    schedule: Schedule,
) -> list[str]:
    """Return lines for people on the memory that a training takes; arguments as of `memory_estimate.estimate`.

    UsageError with flags that fit if that is too much.
    """
    if cls.grows:
        return _check_sizes(cls, cfg, example, device, precision, data, schedule)
    return [memory_estimate.check_memory(cls, cfg, example, device, precision, data, schedule)]


def _check_sizes(
    cls: type[Method],
    cfg: TrainConfig,
    example: Mapping[str, Tensor],
    device: torch.device,
    precision: Precision,
    data: int,
    schedule: Schedule,
) -> list[str]:
    """Return lines for people with the images, the batch and the memory of each size that the run comes to.

    Weights and averages are on the device already. UsageError if a size takes more than `cfg.max_memory` GiB or, where that is
    None, more than is free.
    """
    estimates = estimate_phases(cls, cfg, example, device, precision, data, schedule)
    largest: dict[int, tuple[DataStage, MemoryEstimate]] = {}
    for stage, found in estimates:
        before = largest.get(stage.crop_size)
        if stage.image < schedule.planned and (before is None or found.total > before[1].total):
            largest[stage.crop_size] = stage, found
    held = estimates[0][1].weights + estimates[0][1].averages
    free = memory.free_memory(device) + held
    limit = free if cfg.max_memory is None else cfg.max_memory * GIB
    fits = [size for size, (_, found) in largest.items() if found.total <= limit]
    for size, (stage, found) in largest.items():
        if size not in fits:
            _refuse(cfg, size, stage, found, free, fits)
    starts: dict[int, int] = {}
    for stage, _ in estimates:
        starts.setdefault(stage.crop_size, stage.image)
    lines = [
        f"{size:4} px from image {starts[size]:,}, {stage.batch_size} a step: memory {found}"
        for size, (stage, found) in largest.items()
    ]
    if missing := [size for size in starts if size not in largest]:
        lines.append(
            f"the run ends before it reaches {missing[0]} px, which begins at image {starts[missing[0]]:,}"
            + (f"; {missing[-1]} px begins at image {starts[missing[-1]]:,}" if len(missing) > 1 else "")
        )
    return [*lines, f"{memory_size(free)} free"]


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
