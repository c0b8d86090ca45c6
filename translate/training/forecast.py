"""Lines on the speed of a training and the time that it will take: after its first steps, and then by the clock."""

import time
from collections.abc import Callable, Sequence

from translate.methods.base import DataStage
from translate.text import duration, step_rate
from translate.training.schedule import Schedule
from translate.training.stats_file import SpeedMeter

FORECAST_STEPS = (1, 3, 10)
"""Steps of a process after which the time of the whole training is forecast; from the third on without the first one."""
LINE_SECONDS = 15.0
"""Longest time between two lines, if a step does not take longer."""


def describe_length(schedule: Schedule, images_seen: int = 0) -> str:
    """Return the length of a training as "200 epochs of 1,334 images", or that of its rest."""
    if images_seen:
        return f"the remaining {schedule.planned - images_seen:,} images"
    if schedule.images is not None:
        return f"{schedule.images:,} images"
    epochs = schedule.epochs + schedule.decay_epochs
    return f"{epochs} epoch{'s' if epochs != 1 else ''} of {schedule.per_epoch:,} images"


class Forecast:
    """Sayer of forecasts and, where no bar shows progress, of a line every LINE_SECONDS.

    Args:
        schedule: Plan of the training.
        images_seen: Images seen when this process begins.
        machine: What computes, for the lines: "this CPU".
        say: Prints a line.
        advise: Called with the forecast in seconds after the first step; returns lines of advice on a faster way.
        by_clock: Say lines by the clock.
        clock: Clock in seconds.
        stages: Stages of the data, if their images grow: then each size has forecasts of its own, to the beginning of the next.
    """

    def __init__(
        self,
        schedule: Schedule,
        images_seen: int,
        machine: str,
        say: Callable[[str], None],
        *,
        advise: Callable[[float], list[str]] = lambda seconds: [],
        by_clock: bool = True,
        clock: Callable[[], float] = time.monotonic,
        stages: Sequence[DataStage] = (),
    ) -> None:
        self.schedule, self.machine, self.say, self.advise = schedule, machine, say, advise
        self.by_clock, self.clock = by_clock, clock
        self.stages = stages
        self.length = describe_length(schedule, images_seen)
        self.end = schedule.planned
        self.begun_at = images_seen
        self.size = ""
        self.steps = 0
        self.later_size = False
        self._enter_size(images_seen)
        self.restart(images_seen)

    def restart(self, images_seen: int) -> None:
        """Measure anew from `images_seen` on: at the start, and after a return to a checkpoint."""
        self._measured_from = self._said_at = self.clock()
        self._measured_images = self._said_images = images_seen
        self._speed = SpeedMeter()

    def on_step(self, images_seen: int) -> None:
        """Say what is due after a step, when so many images have been seen."""
        self.steps += 1
        if self.stages and images_seen >= self.end:
            self._enter_size(images_seen)
            self.restart(images_seen)
        if images_seen >= self.schedule.planned or images_seen <= self._said_images:
            return
        now = self.clock()
        if self.steps == 1 and self.later_size:  # a new size is read and decoded before its first step
            self.restart(images_seen)
            return
        if self.steps in FORECAST_STEPS:
            self._say_forecast(images_seen, now)
        elif self.by_clock and now - self._said_at >= LINE_SECONDS:
            self.say(self._progress(images_seen, now))
        else:
            return
        self.on_line(images_seen)

    def on_line(self, images_seen: int) -> None:
        """Take note that a line about progress has just been printed."""
        now = self.clock()
        if images_seen > self._said_images:
            self._speed.add(images_seen - self._said_images, max(now - self._said_at, 1e-9))
        self._said_at, self._said_images = now, images_seen

    def _enter_size(self, images_seen: int) -> None:
        """Begin the forecasts of a size of images, where the data has several."""
        if not self.stages:
            return
        size = [stage for stage in self.stages if stage.image <= images_seen][-1].crop_size
        later = [stage.image for stage in self.stages if stage.crop_size > size]
        self.end = min([*later, self.schedule.planned])
        self.size = f" at {size} px"
        self.length = f"{self.end - images_seen:,} images{self.size}"
        self.later_size = images_seen > self.begun_at
        self.begun_at, self.steps = images_seen, 0

    def _say_forecast(self, images_seen: int, now: float) -> None:
        """Say how long a step takes and the whole training will."""
        steps = self.steps - 1 or 1
        seconds = now - self._measured_from
        whole = (self.end - self.begun_at) * seconds / (images_seen - self._measured_images)
        step = f"first step {duration(seconds)}" if self.steps == 1 else f"{duration(seconds / steps)} a step"
        self.say(f"{step}; {self.length} ≈ {duration(whole)} on {self.machine}")
        if self.steps == 1:
            for line in self.advise(whole) if not self.stages else ():
                self.say(line)
            self._measured_from, self._measured_images = self.clock(), images_seen

    def _progress(self, images_seen: int, now: float) -> str:
        """Return images seen, speed since the last line, and time left."""
        images, seconds = images_seen - self._said_images, now - self._said_at
        self._speed.add(images, seconds)
        left = self._speed.seconds_for(self.end - images_seen)
        self._said_at, self._said_images = now, images_seen
        assert left is not None, "images were added"
        speed = step_rate(images / seconds)
        return f"{images_seen}/{self.schedule.planned} images · {speed} · {duration(left)} left{self.size}"
