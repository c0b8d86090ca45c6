"""The training loop: steps, and between them what has to be done every so many images or minutes."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from translate import atomic, images, run_folder
from translate.errors import DivergedError, Interrupted, UsageError
from translate.methods.base import Batch
from translate.run_folder import BEST_MODEL, CONFIG_FILE, MODEL
from translate.runtime import distributed, memory, signals
from translate.runtime.memory import allocated_memory
from translate.runtime.signals import StopRequest
from translate.training import checkpoint
from translate.training.engine import Engine, split_batch
from translate.training.log import Log
from translate.training.nonfinite import Divergence
from translate.training.validation import Validation

CHECKPOINT_SECONDS = 300.0
"""Longest time between checkpoints where `--save-every` is not given."""
SAMPLE_TIME_SHARE = 0.02
"""Share of the time that looks at the samples may take where neither `--sample-every` nor `--save-every` is given."""
MAX_ROLLBACKS = 1
"""How often a run may go back to a checkpoint because its numbers are no longer finite."""
MAX_FILES_NAMED = 16
"""Files that are named at most where a step went wrong."""


@dataclass(frozen=True)
class Cadence:
    """After how many images each thing is done; None: with each checkpoint, and checkpoints by the clock."""

    log_every: int
    save_every: int | None
    sample_every: int | None
    keep_every: int | None = None
    """Checkpoints that stay; None: none but the newest."""
    evaluate_every: int | None = None
    """Measurements on the validation set; None: none."""


@dataclass(frozen=True)
class TrainingData:
    """What a run is trained on."""

    batches: Callable[[int, int], Iterator[Batch]]
    """(image, seed of draws) → batches from that image of the run on, without end."""
    files: Callable[[range], list[Path]]
    """Where images of the run come from, as last drawn."""
    sample: Batch
    """The fixed batch of the sample grids."""


class Monitor(Protocol):
    """Looks at a training where samples are shown, and leaves no trace in it."""

    def on_log(self, values: Mapping[str, float]) -> None:
        """Takes the scalars of a log point."""
        ...

    def __call__(self, engine: Engine) -> tuple[dict[str, float], list[str]]:
        """Scalars for the next log point, and lines of advice for the console."""
        ...


def crosses_multiple(before: int, now: int, every: int | None) -> bool:
    """Whether a multiple of `every` was reached on the way from `before` to `now`."""
    return every is not None and now // every > before // every


@dataclass
class Training:
    """A training at work: `run` steps until the plan is fulfilled or a signal comes, and saves the whole state then and
    every so often."""

    engine: Engine
    data: TrainingData
    folder: Path
    cadence: Cadence
    write_model: Callable[[Path], None]
    """Fills the model folder, while the averages of networks, if any, are in their place."""
    extra_state: dict[str, Any]
    """Goes into every checkpoint."""
    say: Callable[[str], None]
    accumulate: int = 1
    """Micro-batches of a step, more of them with `auto_batch` where memory runs out."""
    auto_batch: bool = False
    monitors: Sequence[Monitor] = ()
    validation: Validation | None = None
    """Of the first process; may end the run early."""

    def __post_init__(self) -> None:
        self.is_main_process = distributed.rank() == 0
        self.last_save = time.monotonic()
        self.samples_written_at, self.sample_seconds = time.monotonic(), 0.0
        self.advised: set[str] = set()
        self.stops_early = False
        self.stop = StopRequest()

    def run(self) -> None:
        """Raises Interrupted after a clean save, DivergedError where numbers are no longer finite and going back to a
        checkpoint does not help, UsageError where memory does not suffice, StorageError where a checkpoint cannot be written.
        """
        self.open_data_and_log()
        self.before_first_step()
        with signals.stop_on_signal() as self.stop:
            self.run_deferred_validation()
            while not (self.engine.finished or self.stops_early):
                before = self.engine.images
                if self.step():
                    self.after_step(before)
            self.after_last_step()
        self.say_once(self.summary())

    def summary(self) -> str:
        """What is said at the end."""
        early = best = ""
        if self.validation is not None:
            early = f"; no better for {self.validation.misses} validations" if self.validation.should_stop else ""
            best = f", the best in {self.folder / BEST_MODEL}" if self.validation.best is not None else ""
        return f"trained on {self.engine.images} images{early}; model in {self.folder / MODEL}{best}"

    def say_once(self, line: str) -> None:
        """Said by the first process alone."""
        if self.is_main_process:
            self.say(line)

    def open_data_and_log(self) -> None:
        """Batches and logs from where the engine stands, at the start and after going back."""
        engine = self.engine
        self.batches = self.data.batches(engine.images, engine.draw_seed)
        self.log = Log(self.folder, engine.images, self.say) if self.is_main_process else None
        self.means = ScalarMeans()
        self.logged_at, self.waited, self.since_log = time.monotonic(), 0.0, engine.images
        self.saved_at = engine.images
        self.monitor_scalars: dict[str, float] = {}

    def before_first_step(self) -> None:
        """What comes before the first step of a run."""
        if self.engine.images == 0:
            if self.log is not None:
                text = (self.folder / CONFIG_FILE).read_text(encoding="utf-8")
                self.log.add_settings(text, self.engine.method.name, self.engine.method.cfg)
            self.write_sample_grid()
        if self.auto_batch and not run_folder.list_checkpoints(self.folder):
            self.save()  # where to go back to if the first step is broken off

    def step(self) -> bool:
        """One step; False where memory ran out, and the run goes on with smaller micro-batches."""
        asked = time.monotonic()
        batch = next(self.batches)
        self.waited += time.monotonic() - asked
        try:
            losses = self.engine.step(split_batch(batch, self.accumulate))
        except (RuntimeError, MemoryError) as e:
            if not memory.is_out_of_memory(e):
                raise
        else:
            self.means.add({f"loss/{name}": loss for name, loss in losses.items()})
            self.means.add({f"grad/{name}": norm for name, norm in self.engine.gradient_norms.items()})
            return True
        self.split_further()  # here, where what the step had made is no longer held by its exception
        return False

    def after_step(self, before: int) -> None:
        """Whatever is due after a step: checks, logs, samples, checkpoints, and the end if a signal asks for it."""
        engine, cadence, now = self.engine, self.cadence, self.engine.images
        late = cadence.save_every is None and time.monotonic() - self.last_save > CHECKPOINT_SECONDS
        agreed = distributed.all_reduce_max(
            2 * self.stop.signal + late
        )  # all processes save, and stop, at the same step
        saves = bool(agreed) or any(
            crosses_multiple(before, now, every) for every in (cadence.save_every, cadence.keep_every)
        )
        validates = crosses_multiple(before, now, cadence.evaluate_every) or bool(
            engine.finished and cadence.evaluate_every
        )
        logs = crosses_multiple(before, now, cadence.log_every) or engine.finished or validates
        reads_device = (
            logs or saves or engine.device.type == "cpu"
        )  # where there is no device to wait for it costs nothing
        if (
            reads_device
            and (found := engine.find_divergence(weights=saves or validates or engine.finished)) is not None
        ):
            self.roll_back(found)
            return
        samples = crosses_multiple(before, now, cadence.sample_every) or (
            saves and cadence.sample_every is None and (cadence.save_every is not None or self.may_write_samples())
        )
        if samples or engine.finished:
            self.write_sample_grid()
        if validates:
            self.validate()
            agreed = max(
                agreed, distributed.all_reduce_max(2 * self.stop.signal)
            )  # what is put off is made up for at this very step
        if logs:
            self.write_log()
        if saves or agreed:
            self.save()
        if agreed > 1:
            message = f"stopped at {now} of {engine.schedule.planned} images; the same command goes on from there"
            raise Interrupted(message, agreed // 2)

    def after_last_step(self) -> None:
        """What is still to be done when the plan is fulfilled."""
        no_model = self.is_main_process and not (self.folder / MODEL).is_dir()
        if self.saved_at != self.engine.images or distributed.all_reduce_max(no_model):
            self.save()

    def run_deferred_validation(self) -> None:
        """The validation that the end of an earlier process put off."""
        if distributed.broadcast_object(lambda: self.validation is not None and self.validation.is_deferred):
            self.validate()
            if self.log is not None:
                self.log.add_scalars(self.engine.images, self.monitor_scalars)
            self.monitor_scalars = {}

    def validate(self) -> None:
        """Figures on the validation set, which may say that the run is to end."""
        if self.validation is not None:
            self.monitor_scalars |= self.validation(self.engine.images, lambda: bool(self.stop))
        self.stops_early = distributed.broadcast_object(
            lambda: self.validation is not None and self.validation.should_stop
        )

    def write_log(self) -> None:
        """Means of losses and gradients since the last time, what the watches said since then, rates, speed and memory."""
        engine, now = self.engine, self.engine.images
        values = (
            self.means.read()
            | self.monitor_scalars
            | {f"lr/{name}": rate for name, rate in engine.learning_rates().items()}
        )
        values |= {"epoch": engine.clock.epoch, "progress": engine.clock.progress}
        seconds = max(time.monotonic() - self.logged_at, 1e-9)
        values["time/images_per_second"] = (now - self.since_log) / seconds
        values["time/data_wait"] = self.waited / seconds
        if (held := allocated_memory(engine.device)) is not None:
            values["memory/gib"] = held / 2**30
        if self.log is not None:
            self.log.add_scalars(now, values)
            self.log.print_progress(now, engine.schedule.planned, values)
        for watch in self.monitors:
            watch.on_log(values)
        self.monitor_scalars = {}
        self.logged_at, self.waited, self.since_log = time.monotonic(), 0.0, now

    def write_sample_grid(self) -> None:
        """A sample grid, and what the watches say."""
        if self.log is None or not self.folder.is_dir():  # a folder that has vanished is the next checkpoint's to tell
            return
        begun = time.monotonic()
        self.log.grid(self.engine.images, images.make_comparison_grid(preview(self.engine, self.data.sample)))
        for watch in self.monitors:
            if self.stop:  # who asks for the end does not wait for a look
                break
            scalars, advice = watch(self.engine)
            self.monitor_scalars |= scalars
            for line in advice:
                if line not in self.advised:
                    self.advised.add(line)
                    self.say_once(line)
                    self.log.add_advice(self.engine.images, line)
        self.samples_written_at = time.monotonic()
        self.sample_seconds = self.samples_written_at - begun

    def may_write_samples(self) -> bool:
        """Whether looks take no more than LOOK_SHARE of the time if the next is now and takes as long as the last."""
        return self.sample_seconds <= SAMPLE_TIME_SHARE * (time.monotonic() - self.samples_written_at)

    def save(self) -> None:
        """A checkpoint and the model folder."""
        state = self.engine.state()
        if self.is_main_process:
            state |= {**self.extra_state, "accumulate": self.accumulate}
            state |= {"validation": self.validation.state()} if self.validation else {}
            checkpoint.save(self.folder, state, self.cadence.keep_every)
            with self.engine.ema.swapped_in():
                atomic.replace_folder(self.folder / MODEL, self.write_model)
        self.last_save, self.saved_at = time.monotonic(), self.engine.images

    def restore_checkpoint(self) -> bool:
        """Puts everything where the last checkpoint has it; False if there is none."""
        state = distributed.broadcast_object(lambda: checkpoint.load_newest(self.folder, self.say_once))
        if state is None:
            return False
        self.engine.load_state(state)
        if self.validation is not None:
            self.validation.load_state(state.get("validation", {}))
        return True

    def roll_back(self, found: Divergence) -> None:
        """To the last checkpoint, with other draws from there on; DivergedError where that has been tried or cannot be."""
        engine = self.engine
        cause = f"{found}, whose images come from {self.describe_files(found)}"
        remedy = "look at these images, or go on with translate resume RUN and a lower --lr"
        if engine.rollbacks >= MAX_ROLLBACKS:
            raise DivergedError(f"training diverged again after it was rolled back: {cause}; {remedy}")
        if not self.restore_checkpoint():
            raise DivergedError(f"training diverged before its first checkpoint: {cause}; {remedy}")
        if engine.nonfinite_weights():
            raise DivergedError(f"training diverged: {cause}, and the last checkpoint is not finite either; {remedy}")
        engine.rollbacks += 1
        self.open_data_and_log()
        self.save()  # a run that is killed from here on goes on with the new draws too
        self.say_once(
            f"training diverged: {cause}; rolled back to {engine.images} images, with other random draws from here"
        )

    def describe_files(self, found: Divergence) -> str:
        """The files of the images of a step, of all processes."""
        paths = self.data.files(range(found.images, found.images + self.engine.batch_size))
        more = f" and {len(paths) - MAX_FILES_NAMED} more" if len(paths) > MAX_FILES_NAMED else ""
        return ", ".join(repr(str(path)) for path in paths[:MAX_FILES_NAMED]) + more

    def split_further(self) -> None:
        """After a step that ran out of memory: back to the last checkpoint and on with smaller micro-batches.

        UsageError with advice where that is not asked for, or where a micro-batch is a single image already.
        """
        engine, cfg = self.engine, self.engine.method.cfg
        used, free = memory.peak_memory(engine.device), memory.free_memory(engine.device)
        cause = (
            f"out of memory on {engine.device} in step {engine.steps + 1} with --batch-size {cfg.batch_size} --crop-size "
            f"{cfg.crop_size} --accumulate {self.accumulate}: {_gib(free)} are free"
            + (f", this process has held {_gib(used)}" if used else "")
        )
        parts = next_micro_batch_count(cfg.batch_size, self.accumulate, engine.method.batch_multiple)
        if not self.auto_batch or parts is None:
            finest = (
                "a smaller --crop-size or --g-width" if parts is None else f"--accumulate {parts} or --auto-batch on"
            )
            raise UsageError(f"{cause}; use {finest}, or a smaller --batch-size; the last checkpoint is whole")
        memory.empty_cache(engine.device)
        has_checkpoint = self.restore_checkpoint()
        assert has_checkpoint, "one is made before the first step"
        self.accumulate = parts
        self.open_data_and_log()
        self.say_once(
            f"{cause}; going on after {engine.images} images with --accumulate {parts}: the same batch in more parts"
        )


def next_micro_batch_count(batch_size: int, parts: int, multiple: int) -> int | None:
    """The next number of equal micro-batches, at least twice as many, each a multiple of images; None if there is none."""
    return next((n for n in range(2 * parts, batch_size + 1) if batch_size % (n * multiple) == 0), None)


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


class ScalarMeans:
    """The mean of each scalar over the steps that had it, kept on the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()

    def add(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts.update(values.keys())

    def read(self) -> dict[str, float]:
        """The means since the last call, over all processes, by one copy from the device."""
        sums = distributed.all_reduce_mean(torch.stack(list(self._sums.values()))).tolist()
        means = {name: total / self._counts[name] for name, total in zip(self._sums, sums, strict=True)}
        self._sums.clear()
        self._counts.clear()
        return means


def preview(engine: Engine, sample: Batch) -> dict[str, Tensor]:
    """The method's columns of sample images; where averages of networks are kept, what these make stands beside it."""
    batch = engine.with_keys(sample)

    def look() -> dict[str, Tensor]:
        with engine.evaluation_mode():
            return engine.method.preview(batch)

    columns = look()
    if not engine.ema:
        return columns
    with engine.ema.swapped_in():
        averaged = look()
    beside: dict[str, Tensor] = {}
    for name, column in columns.items():
        beside[name] = column
        if not torch.equal(averaged[name], column):
            beside[f"{name} ema"] = averaged[name]
    return beside
