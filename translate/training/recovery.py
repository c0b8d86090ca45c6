"""Messages of a training that ran out of memory or diverged: the cause, the files concerned, and the remedy."""

from collections.abc import Sequence
from pathlib import Path

from translate.invocation import command_line
from translate.runtime import memory
from translate.text import memory_size
from translate.training.engine import Engine
from translate.training.nonfinite import Divergence

MAX_FILES_NAMED = 16
"""Files named at most where a step diverged."""


def divergence_remedy(folder: Path, lr: float) -> str:
    """Return what to do about a run in a folder that has diverged at a learning rate."""
    command = command_line("resume", folder, "--lr", f"{lr / 2:g}")
    return f"look at these images, or resume with a lower rate: {command}"


def describe_divergence(divergence: Divergence, files: Sequence[Path]) -> str:
    """Return what diverged when, and the files of the images of that step."""
    named = ", ".join(repr(str(path)) for path in files[:MAX_FILES_NAMED])
    more = f" and {len(files) - MAX_FILES_NAMED} more" if len(files) > MAX_FILES_NAMED else ""
    return f"{divergence}, whose images come from {named}{more}"


def describe_out_of_memory(engine: Engine, accumulate: int) -> str:
    """Return the step that ran out of memory, with the settings that decide its size and the memory free and used."""
    cfg, device = engine.method.cfg, engine.device
    used = memory.peak_memory(device)
    return (
        f"out of memory on {device} in step {engine.steps + 1} with --batch-size {cfg.batch_size} --crop-size "
        f"{cfg.crop_size} --accumulate {accumulate}: {memory_size(memory.free_memory(device))} are free"
        + (f", this process has used {memory_size(used)}" if used else "")
    )


def out_of_memory_remedy(parts: int | None) -> str:
    """Return the flags that take less memory; `parts` is the next number of micro-batches, None if there is none."""
    finer = "a smaller --crop-size or --g-width" if parts is None else f"--accumulate {parts} or --auto-batch on"
    return f"use {finer}, or a smaller --batch-size; the last checkpoint is whole"
