"""Training loop: steps, and between them what is due after so many images or minutes."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from translate import atomic, images, run_folder
from translate.callbacks import ProgressCallback
from translate.errors import DivergedError, Interrupted, UsageError
from translate.methods.base import Batch
from translate.run_folder import BEST_MODEL, CONFIG_FILE, MODEL
from translate.runtime import devices, distributed, memory, signals
from translate.runtime.signals import StopRequest
from translate.training import checkpoint, recovery
from translate.training.cadence import Cadence, Due, crosses_multiple
from translate.training.callback_list import CallbackList
from translate.training.engine import Engine
from translate.training.forecast import FORECAST_STEPS, Forecast
from translate.training.log import Log, LogInterval
from translate.training.loss_names import LossNames
from translate.training.micro_batches import next_micro_batch_count, split_batch
from translate.training.nonfinite import Divergence
from translate.training.sample_grid import preview
from translate.training.validation import Validation

CHECKPOINT_SECONDS = 300.0
"""Longest time between checkpoints where `--save-every` is not given."""
SAMPLE_TIME_SHARE = 0.02
"""Share of the time that sample grids and monitors may take where neither `--sample-every` nor `--save-every` is given."""
REPORT_SECONDS = 300.0
"""Longest time between reports where there are no validations."""
MAX_ROLLBACKS = 1
"""Times that a run may roll back to a checkpoint because its numbers were no longer finite."""


@dataclass(frozen=True)
class TrainingData:
    """Batches of a run, the files that they come from, and the batch of the sample grids."""

    batches: Callable[[int, int], Iterator[Batch]]
    """(image, seed of draws) → endless batches from that image of the run on."""
    files: Callable[[range], list[Path]]
    """Images of the run, as numbers → the files that they come from, as last drawn."""
    sample: Batch
    """Fixed batch of the sample grids: images (N, C, H, W) in [-1, 1] by domain."""


class Monitor(Protocol):
    """Observer of a training, called with each sample grid; changes nothing of the training."""

    def on_log(self, values: Mapping[str, float]) -> None:
        """Take the scalars of a log point."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the state for the checkpoint."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; begin anew where it is empty."""
        ...

    def __call__(self, engine: Engine) -> tuple[dict[str, float], list[str]]:
        """Return scalars for the next log point, and lines of advice for the console."""
        ...


@dataclass
class Training:
    """A training run: `run` steps until the plan is fulfilled or a signal comes, and saves checkpoints on the way."""

    engine: Engine
    data: TrainingData
    folder: Path
    cadence: Cadence
    write_model: Callable[[Path], None]
    """Fills a model folder from the method's networks; called while their averages are swapped in, where EMA is on."""
    extra_state: dict[str, Any]
    """Entries added to every checkpoint."""
    say: Callable[[str], None]
    accumulate: int = 1
    """Micro-batches of a step; more of them with `auto_batch` once memory has run out."""
    auto_batch: bool = False
    monitors: Sequence[Monitor] = ()
    validation: Validation | None = None
    """Validation of the main process; None on the others, or where there is none. It may end the run early."""
    progress: ProgressCallback | None = None
    """Called after each step with the images seen, 0 and the images planned, by the main process; None: lines by the clock."""
    advise: Callable[[float], list[str]] = lambda seconds: []
    """Returns lines of advice on a training that is forecast to take so many seconds."""
    log_state: Mapping[str, Any] = field(default_factory=dict)
    """State of the logs in the checkpoint that the run resumes from, so that its log points are those of a run without a
    stop; empty in a new run."""
    callbacks: CallbackList = field(default_factory=CallbackList)
    """Callbacks of the caller; none on the other processes."""

    def __post_init__(self) -> None:
        self.is_main_process = distributed.rank() == 0
        self.last_save = time.monotonic()
        self.samples_written_at, self.sample_seconds = time.monotonic(), 0.0
        self.reported_at = time.monotonic()
        self.advised: set[str] = set()
        self.stops_early = False
        self.stop = StopRequest()
        engine, machine = self.engine, "this CPU" if self.engine.device.type == "cpu" else "this GPU"
        self.forecast = Forecast(
            engine.schedule, engine.images, machine, self.say_once, advise=self.advise, by_clock=self.progress is None,
            stages=engine.stages if engine.method.grows else (),
        )  # fmt: skip

    def run(self) -> None:
        """Train until the plan is fulfilled or validation no longer improves.

        Raises Interrupted after a clean save, DivergedError where numbers are no longer finite and rolling back to a checkpoint
        does not help, UsageError where memory does not suffice, StorageError where a checkpoint cannot be written.
        """
        with self.callbacks.calling_at_end(self.engine, lambda: self.stops_early), self.closing_data():
            self.open_data_and_log()
            self.before_first_step()
            with signals.stop_on_signal() as self.stop:
                self.run_deferred_validation()
                self.forecast.restart(self.engine.images)  # what came before is no part of the first step
                while not (self.engine.finished or self.stops_early):
                    before = self.engine.images
                    if self.step():
                        self.report_step()
                        self.after_step(before)
                self.after_last_step()
            self.say_once(self.summary())

    @contextmanager
    def closing_data(self) -> Iterator[None]:
        """End the workers of the data after the block, whoever still holds this training."""
        try:
            yield
        finally:
            nothing: list[Batch] = []
            self.batches = iter(nothing)

    def open_data_and_log(self) -> None:
        """Open batches and logs at the engine's number of images, at the start and after each return to a checkpoint."""
        engine = self.engine
        self.batches = self.data.batches(engine.images, engine.draw_seed)
        self.log = (
            Log(self.folder, engine.images, self.say, LossNames.of(engine.method)) if self.is_main_process else None
        )
        self.interval = LogInterval(engine.images)
        self.saved_at = engine.images
        self.forecast.restart(engine.images)
        self.load_log_state(self.log_state)

    def load_log_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` put into the checkpoint: means, scalars and advice for the next log point, and the monitors."""
        engine = self.engine
        self.interval.means.load_state(state.get("means", {}), engine.device)
        self.monitor_scalars: dict[str, float] = dict(state.get("scalars", {}))
        self.advised |= set(state.get("advised", ()))
        if self.log is not None:
            self.log.pending_advice = list(state.get("advice", ()))
        for monitor in self.monitors:
            monitor.load_state(state.get("monitors", {}).get(type(monitor).__name__, {}))

    def before_first_step(self) -> None:
        """Log the settings and the first sample grid of a new run; save where memory may run out in the first step."""
        if self.engine.images == 0:
            if self.log is not None:
                text = (self.folder / CONFIG_FILE).read_text(encoding="utf-8")
                self.log.add_settings(text, self.engine.method.name, self.engine.method.cfg)
            self.write_sample_grid()
        if self.auto_batch and not run_folder.list_checkpoints(self.folder):
            self.save()  # to return to if the first step is broken off

    def step(self) -> bool:
        """Run one step; False where memory ran out, and the run has returned to a checkpoint with smaller micro-batches."""
        started = time.monotonic()
        batch = next(self.batches)
        self.interval.waited += time.monotonic() - started
        try:
            losses = self.engine.step(split_batch(batch, self.accumulate))
        except (RuntimeError, MemoryError) as e:
            if not memory.is_out_of_memory(e):
                raise
        else:
            self.interval.means.add({f"loss/{name}": loss for name, loss in losses.items()})
            self.interval.means.add({f"grad/{name}": norm for name, norm in self.engine.gradient_norms.items()})
            return True
        self.split_further()  # here, where the exception no longer holds the tensors of the step
        return False

    def report_step(self) -> None:
        """Report progress after a step."""
        if not self.is_main_process:
            return
        if self.forecast.steps + 1 in FORECAST_STEPS:
            devices.synchronize(self.engine.device)  # a step has only been launched on a GPU
        self.forecast.on_step(self.engine.images)
        if self.progress is not None:
            self.progress(self.engine.images, 0, self.engine.schedule.planned)
        self.callbacks.call("on_step", self.engine.images)

    def after_step(self, before: int) -> None:
        """Do whatever is due after a step that began at `before` images; raises Interrupted if a signal asked for the end."""
        due = self.due(before)
        if due.divergence_check and (divergence := self.find_divergence(due)) is not None:
            self.roll_back(divergence)
            return
        stop_signal = due.stop_signal
        if due.samples:
            self.write_sample_grid()
        if due.validation:
            self.validate()  # a signal defers it to the resumed run, so the run must stop at this very step
            stop_signal = max(stop_signal, distributed.all_reduce_max(self.stop.signal))
        if due.log:
            self.write_log()
        if due.checkpoint or stop_signal:
            self.save()
        self.write_report(now=due.validation or bool(stop_signal))
        if stop_signal:
            self.stop.accept(stop_signal)  # another process may have received it first
            done, planned = self.engine.images, self.engine.schedule.planned
            raise Interrupted(
                f"stopped at {done} of {planned} images; run the same command again to resume", stop_signal
            )

    def due(self, before: int) -> Due:
        """Return what is due after a step that began at `before` images; all processes save, and stop, at the same step."""
        cadence, now, finished = self.cadence, self.engine.images, self.engine.finished
        is_late = cadence.save_every is None and time.monotonic() - self.last_save > CHECKPOINT_SECONDS
        agreed = distributed.all_reduce_max(2 * self.stop.signal + is_late)
        saves = bool(agreed) or any(crosses_multiple(before, now, n) for n in (cadence.save_every, cadence.keep_every))
        validates = crosses_multiple(before, now, cadence.evaluate_every) or bool(finished and cadence.evaluate_every)
        logs = crosses_multiple(before, now, cadence.log_every) or finished or validates
        with_checkpoint = cadence.sample_every is None and (cadence.save_every is not None or self.may_write_samples())
        return Due(
            divergence_check=logs
            or saves
            or self.engine.device.type == "cpu",  # it waits for a GPU, so not at every step
            samples=crosses_multiple(before, now, cadence.sample_every) or (saves and with_checkpoint) or finished,
            validation=validates,
            log=logs,
            checkpoint=saves,
            stop_signal=agreed // 2,
        )

    def find_divergence(self, due: Due) -> Divergence | None:
        """Return what is no longer finite, weights included where a model is written; all processes get an answer."""
        return self.engine.find_divergence(weights=due.checkpoint or due.validation or self.engine.finished)

    def after_last_step(self) -> None:
        """Save the end of the run, unless the last step has."""
        no_model = self.is_main_process and not (self.folder / MODEL).is_dir()
        if self.saved_at != self.engine.images or distributed.all_reduce_max(no_model):
            self.save()
        self.write_report(now=True)

    def summary(self) -> str:
        """Return the line that is printed at the end."""
        early = best = ""
        if self.validation is not None:
            early = f"; no better for {self.validation.misses} validations" if self.validation.should_stop else ""
            best = f", the best in {self.folder / BEST_MODEL}" if self.validation.best is not None else ""
        return f"trained on {self.engine.images} images{early}; model in {self.folder / MODEL}{best}"

    def say_once(self, line: str) -> None:
        """Print a line in the main process alone."""
        if self.is_main_process:
            self.say(line)

    # Validation, logs and sample grids.

    def run_deferred_validation(self) -> None:
        """Run the validation that a signal deferred in an earlier process."""
        if distributed.broadcast_object(lambda: self.validation is not None and self.validation.is_deferred):
            self.validate()
            self.add_log_point(self.monitor_scalars)
            self.monitor_scalars = {}

    def validate(self) -> None:
        """Compute the metrics of the validation set, for the next log point; they may end the run early."""
        if self.validation is not None:
            values = self.validation(self.engine.images, lambda: bool(self.stop))
            self.monitor_scalars |= values
            if any(name.startswith("val/") for name in values):  # a validation that was deferred or failed has none
                self.callbacks.call("on_validation", {"images": self.engine.images, **values})
        self.stops_early = distributed.broadcast_object(
            lambda: self.validation is not None and self.validation.should_stop
        )

    def add_log_point(self, values: Mapping[str, float]) -> None:
        """Write a log point, and show it to the callbacks."""
        if self.log is not None:
            self.callbacks.call("on_log", self.log.add_scalars(self.engine.images, values))

    def write_log(self) -> None:
        """Write a log point: means since the last one, scalars of monitors and validation, rates, speed and memory."""
        engine, now = self.engine, self.engine.images
        values = self.interval.means.read() | self.monitor_scalars
        values |= {f"lr/{name}": rate for name, rate in engine.learning_rates().items()}
        values |= {"epoch": engine.clock.epoch, "progress": engine.clock.progress}
        values |= self.interval.speed(now)
        if (allocated := memory.allocated_memory(engine.device)) is not None:
            values["memory/gib"] = allocated / 2**30
        self.add_log_point(values)
        if self.log is not None:
            self.log.print_progress(now, engine.schedule.planned, values)
            self.forecast.on_line(now)
        for monitor in self.monitors:
            monitor.on_log(values)
        self.monitor_scalars = {}
        self.interval.restart(now)

    def write_report(self, *, now: bool) -> None:
        """Write the report of the run: `now`, or if the last one is REPORT_SECONDS old."""
        is_due = now or time.monotonic() - self.reported_at > REPORT_SECONDS
        if self.log is not None and is_due and self.folder.is_dir():
            self.log.write_report()
            self.reported_at = time.monotonic()

    def write_sample_grid(self) -> None:
        """Write a sample grid, and run the monitors."""
        if (
            self.log is None or not self.folder.is_dir()
        ):  # a folder that has vanished is reported by the next checkpoint
            return
        started = time.monotonic()
        grid = images.make_comparison_grid(preview(self.engine, self.data.sample))
        path = self.log.add_sample_grid(self.engine.images, grid)
        if path.is_file():
            self.callbacks.call("on_sample", path)
        self.run_monitors(self.log)
        self.samples_written_at = time.monotonic()
        self.sample_seconds = self.samples_written_at - started

    def run_monitors(self, log: Log) -> None:
        """Collect the monitors' scalars for the next log point, and print advice that is new."""
        for monitor in self.monitors:
            if self.stop:  # who asks for the end does not wait for monitors
                break
            scalars, advice = monitor(self.engine)
            self.monitor_scalars |= scalars
            for line in advice:
                if line not in self.advised:
                    self.advised.add(line)
                    self.say_once(line)
                    log.add_advice(self.engine.images, line)

    def may_write_samples(self) -> bool:
        """Return True if sample grids stay within SAMPLE_TIME_SHARE of the time, should one take as long as the last."""
        return self.sample_seconds <= SAMPLE_TIME_SHARE * (time.monotonic() - self.samples_written_at)

    # Checkpoints, and the return to one.

    def save(self) -> None:
        """Write a checkpoint and the model folder."""
        state = self.engine.state()
        means = self.interval.means.state()
        if self.log is not None:
            state |= {**self.extra_state, "accumulate": self.accumulate}
            state["log"] = {
                "means": means,
                "scalars": self.monitor_scalars,
                "advice": self.log.pending_advice,
                "advised": sorted(self.advised),
                "monitors": {type(monitor).__name__: monitor.state() for monitor in self.monitors},
            }
            state |= {"validation": self.validation.state()} if self.validation else {}
            path = checkpoint.save(self.folder, state, self.cadence.keep_every)
            models = [self.folder / MODEL]
            if path in checkpoint.kept_for_good(run_folder.list_checkpoints(self.folder), self.cadence.keep_every):
                models.append(run_folder.kept_model_path(self.folder, self.engine.images))
            with self.engine.ema.swapped_in():
                for model in models:
                    atomic.replace_folder(model, self.write_model)
        self.last_save, self.saved_at = time.monotonic(), self.engine.images

    def restore_checkpoint(self) -> bool:
        """Restore the last checkpoint; False if there is none."""
        state = distributed.broadcast_object(lambda: checkpoint.load_newest(self.folder, self.say_once))
        if state is None:
            return False
        self.engine.load_state(state)
        self.log_state = state.get("log", {})  # checkpoints of version 0.1 have none
        if self.validation is not None:
            self.validation.load_state(state.get("validation", {}))
        return True

    def roll_back(self, divergence: Divergence) -> None:
        """Return to the last checkpoint, with other random draws from there on.

        DivergedError where the run has rolled back before, or there is no checkpoint whose weights are finite.
        """
        engine = self.engine
        remedy = recovery.divergence_remedy(self.folder, engine.method.cfg.lr)
        step_images = range(divergence.images, divergence.images + engine.batch_size)
        cause = recovery.describe_divergence(divergence, self.data.files(step_images))
        if engine.rollbacks >= MAX_ROLLBACKS:
            raise DivergedError(f"training diverged again after it was rolled back: {cause}; {remedy}")
        if not self.restore_checkpoint():
            raise DivergedError(f"training diverged before its first checkpoint: {cause}; {remedy}")
        if engine.nonfinite_weights():
            raise DivergedError(f"training diverged: {cause}, and the last checkpoint is not finite either; {remedy}")
        engine.rollbacks += 1
        self.open_data_and_log()
        self.save()  # so that a run that is killed from here on resumes with the new draws too
        self.say_once(
            f"training diverged: {cause}; rolled back to {engine.images} images, with other random draws from here"
        )

    def split_further(self) -> None:
        """Return to the last checkpoint after a step that ran out of memory, and take smaller micro-batches from there on.

        UsageError with the remedy where `auto_batch` is off, or where a micro-batch cannot be smaller.
        """
        engine = self.engine
        cause = recovery.describe_out_of_memory(engine, self.accumulate)
        method = engine.method
        parts = next_micro_batch_count(
            method.cfg.batch_size, self.accumulate, method.batch_multiple, method.smallest_micro_batch
        )
        if not self.auto_batch or parts is None:
            raise UsageError(f"{cause}; {recovery.out_of_memory_remedy(parts)}")
        memory.empty_cache(engine.device)
        has_checkpoint = self.restore_checkpoint()
        assert has_checkpoint, "one is made before the first step"
        self.accumulate = parts
        self.open_data_and_log()
        self.say_once(
            f"{cause}; resuming after {engine.images} images with --accumulate {parts}: the same batch in more parts"
        )
