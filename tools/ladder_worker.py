"""One task of the ladder in a process of its own, with one thread: measure the speed of a training, or train and evaluate.

    python tools/ladder_worker.py '{"task": "train", …}'        # called by ladder.py; prints the result as JSON

Time is the CPU time of this process, user and system, and of its children. Each process first trains for one step in another
folder, which imports all modules and is not counted. Counted is all of the training after that: reading the images, colour map,
steps, logs, sample grids and checkpoints.
"""

import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from ladder_recipes import MEASURES, REFERENCES, Measure

import translate
from translate import atomic, images
from translate.data import layouts
from translate.errors import DataError, DivergedError, Interrupted, TranslateError, UsageError
from translate.evaluation import image_sets
from translate.text import one_line
from translate.trained.translator import Translator

WARM_UP = 2
"""Steps of a training that its speed leaves out."""
PROBE = 12
"""Steps after which the length of the training that is measured is chosen."""
RECORD = "ladder.json"
"""File in a run folder that says how its training went."""
SHOWN = 6
"""Rows of a sheet."""

Mark = tuple[int, float]
"""Images seen and CPU seconds used after a step."""


def cpu_seconds() -> float:
    """Return the CPU time of this process, user and system, and of its children that have ended."""
    return time.process_time() + sum(os.times()[2:4])


@dataclass(frozen=True)
class Calibration:
    """Cost of a training on this machine."""

    rate: float
    """Images per CPU second."""
    setup: float
    """CPU seconds beside the steps."""

    def images(self, budget: float, batch_size: int) -> int:
        """Return the images of whole batches that a training of `budget` CPU seconds sees, at least those of one batch."""
        steps = math.floor((budget - self.setup) * self.rate / batch_size)
        return max(steps, 1) * batch_size


def calibrate_from(marks: Sequence[Mark], seconds: float, count: int) -> Calibration:
    """Return the cost of a training of `count` images that took `seconds` in all, from its marks after each step."""
    (first, started), (last, ended) = marks[WARM_UP - 1], marks[-1]
    rate = (last - first) / (ended - started)
    return Calibration(rate, max(0.0, seconds - count / rate))


class StepClock(translate.TrainingCallback):
    """Callback that notes the CPU time after each step."""

    strict = True

    def __init__(self) -> None:
        self.marks: list[Mark] = []

    def on_step(self, images: int) -> None:
        self.marks.append((images, cpu_seconds()))


def _train(task: Mapping[str, Any], run: Path, length: Mapping[str, Any], clock: StepClock | None = None) -> list[str]:
    """Train, and return the lines that it said."""
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, file=sys.stderr, flush=True)

    translate.train(
        task["method"], task["root"], run=run, preset=task["preset"], callbacks=[clock] if clock else [], say=say,
        **{**task["settings"], **length},
    )  # fmt: skip
    return lines


def calibrate(task: Mapping[str, Any]) -> dict[str, Any]:
    """Measure a training of about `seconds` CPU seconds."""
    batch = task["batch_size"]
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        probe = StepClock()
        _train(task, runs / "probe", {"images": PROBE * batch}, probe)
        rate = calibrate_from(probe.marks, 0.0, 0).rate
        count = max(PROBE, round(rate * task["seconds"] / batch)) * batch
        clock, started = StepClock(), cpu_seconds()
        shares = {name: round(share * count) for name, share in task["length_shares"].items()}
        _train(task, runs / "measured", {"images": count, **shares}, clock)
        return asdict(calibrate_from(clock.marks, cpu_seconds() - started, count))


def train(task: Mapping[str, Any]) -> dict[str, Any]:
    """Train a cell, evaluate it and draw its sheet."""
    spent = read_record(task) or train_anew(task)
    if "divergence" in spent:
        return spent
    started = cpu_seconds()
    result = {**spent, **evaluate(task)}
    if task["sheet"]:
        draw_sheet(task)
    return {**result, "evaluation_seconds": cpu_seconds() - started}


def read_record(task: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the record of a training that has ended, but whose evaluation has failed; None without one of equal settings."""
    path = Path(task["run"]) / RECORD
    record = json.loads(path.read_text()) if path.exists() else {}
    return record["spent"] if record.get("resolved") == task["resolved"] else None


def train_anew(task: Mapping[str, Any]) -> dict[str, Any]:
    """Train, and return the images seen, the time and whether it diverged; a record of it is left in the run folder."""
    run = Path(task["run"])
    shutil.rmtree(run, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        _train(task, Path(folder) / "warm-up", {"images": 1})
    started, clock = cpu_seconds(), time.monotonic()
    try:
        lines = _train(task, run, task["length"])
        outcome: dict[str, Any] = {"diverged": any(line.startswith("training diverged") for line in lines)}
    except DivergedError as e:
        outcome = {"diverged": True, "divergence": one_line(e)}
    spent = {
        "images": task["length"]["images"], "cpu_seconds": cpu_seconds() - started, "wall_seconds": time.monotonic() - clock,
        "commit": task["commit"], **outcome,
    }  # fmt: skip
    atomic.write(run / RECORD, json.dumps({"spent": spent, "resolved": task["resolved"]}).encode())
    return spent


def evaluate(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return `metrics` and `references` by name, and why others are `missing`.

    Each measure is a call of its own: a set that is too small for one has the others.
    """
    metrics: dict[str, Any] = {}
    references: dict[str, dict[str, Any]] = {name: {} for name in REFERENCES}
    missing: dict[str, str] = {}
    options: dict[str, Any] = {"truth": "names"} if task["truth"] == "names" else {}
    for measure in MEASURES:
        if measure.needs_truth and task["truth"] is None:
            continue
        name = "r50" if measure.extractor == "thin-resnet50" else measure.metrics[0]
        if measure.why_missing:
            missing[name] = measure.why_missing
            continue
        try:
            found = translate.evaluate(
                task["run"], task["root"], metrics=measure.metrics, extractor=measure.extractor, size=task["size"],
                device="cpu", **options,
            )  # fmt: skip
        except (DataError, UsageError) as e:
            missing[name] = one_line(e)
            continue
        metrics |= named_estimates(found["metrics"], measure)
        for reference, values in references.items():
            values |= named_estimates(found.get(reference) or {}, measure)
    given = {name: row for name, row in references.items() if row}
    return {"metrics": metrics, "missing": missing, "references": given}


def named_estimates(found: Mapping[str, Any], measure: Measure) -> dict[str, dict[str, float | None]]:
    """Return values and errors by their names in the ladder."""
    return {measure.renamed.get(key, key): {"value": row["value"], "error": row["error"]} for key, row in found.items()}


def draw_sheet(task: Mapping[str, Any]) -> None:
    """Write a picture of test images: input, output, and the truth if it is known."""
    model = translate.load(task["run"], device="cpu")
    paired = task["truth"] is not None
    split = layouts.find_split(Path(task["root"]), "paired" if paired else "unpaired", "test").subsample(SHOWN)
    columns = {"input": _read(split.a, task, model.input_channels("b"))}
    columns["output"] = _translate(model, columns["input"])
    columns["truth" if paired else "real"] = _read(split.b, task, model.output_channels("b"))
    images.write_png(Path(task["sheet"]), images.make_comparison_grid(columns))


def _read(refs: Sequence[Any], task: Mapping[str, Any], channels: int) -> torch.Tensor:
    options = image_sets.ReadOptions(task["size"], channels)
    return image_sets.read_image_set(refs, Path(task["root"]), options).all_normalized()


def _translate(model: Translator, x: torch.Tensor) -> torch.Tensor:
    translated = model(x)
    assert isinstance(translated, torch.Tensor)
    return translated


TASKS = {"calibrate": calibrate, "train": train}


def main() -> None:
    task = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    try:
        for file in task["plugins"]:
            translate.load_plugin(file)
        result = TASKS[task["task"]](task)
    except Interrupted as e:
        sys.exit(e.exit_code)
    except TranslateError as e:
        result = {"error": one_line(e)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
