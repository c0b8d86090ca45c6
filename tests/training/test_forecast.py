"""Forecast of a training: what is said when, with a clock that the tests set."""

import pytest

from translate.methods.base import DataStage
from translate.training.forecast import Forecast, describe_length
from translate.training.schedule import Schedule

MINUTE, HOUR = 60, 3600


class Watch:
    """A training of 2 images a step, on a clock, and what the forecast says of it."""

    def __init__(self, schedule, images=0, **options):
        self.now, self.images, self.lines = 1000.0, images, []
        self.forecast = Forecast(schedule, images, "this CPU", self.lines.append, clock=lambda: self.now, **options)

    def steps(self, count, seconds):
        """Do steps, and return what was said after each."""
        said = []
        for _ in range(count):
            self.now += seconds
            self.images += 2
            before = len(self.lines)
            self.forecast.on_step(self.images)
            said.append("; ".join(self.lines[before:]))
        return said


@pytest.mark.parametrize(
    ("schedule", "seen", "text"),
    [
        (Schedule(1334, 100, 100), 0, "200 epochs of 1,334 images"),
        (Schedule(60, 1, 0), 0, "1 epoch of 60 images"),
        (Schedule(60, 100, 100, images=16_000), 0, "16,000 images"),
        (Schedule(60, 1, 1), 20, "the remaining 100 images"),
    ],
)
def test_the_length_of_a_training(schedule, seen, text):
    assert describe_length(schedule, seen) == text


def test_a_forecast_after_the_steps_1_3_and_10():
    """The first takes 10 s, the others 2 s: 1 s an image, so 1,000 images take 1,000 s, less the first step's share."""
    watch = Watch(Schedule(500, 2, 0), by_clock=False)
    said = watch.steps(1, 10) + watch.steps(11, 2)
    assert [n for n, line in enumerate(said, 1) if line] == [1, 3, 10]
    assert said[0] == "first step 10 s; 2 epochs of 500 images ≈ 83 min on this CPU"  # 5 s an image
    assert said[2] == said[9] == "2.0 s a step; 2 epochs of 500 images ≈ 17 min on this CPU"


def test_a_line_every_15_seconds_unless_another_was_printed():
    watch = Watch(Schedule(1000, 1, 0))
    watch.steps(10, 1)
    said = watch.steps(40, 1)
    assert [n for n, line in enumerate(said, 1) if line] == [15, 30]
    assert said[14] == "50/1000 images · 2.0/s · 8 min left"
    watch.forecast.on_line(watch.images)  # at 40, as a log line is
    assert [n for n, line in enumerate(watch.steps(30, 1), 1) if line] == [15, 30]


def test_a_slow_step_has_its_line():
    watch = Watch(Schedule(1000, 1, 0))
    watch.steps(3, 40)
    assert watch.steps(1, 40) == ["8/1000 images · 0.05/s · 5 h 31 min left"]  # 992 images of 20 s


def test_a_bar_takes_the_place_of_lines_by_the_clock():
    watch = Watch(Schedule(1000, 1, 0), by_clock=False)
    watch.steps(10, 20)
    assert watch.steps(50, 20) == [""] * 50


def test_a_resumed_run_forecasts_its_rest():
    watch = Watch(Schedule(1000, 1, 0), images=400)
    assert watch.steps(1, 2) == ["first step 2.0 s; the remaining 600 images ≈ 10 min on this CPU"]


def test_advice_is_asked_for_once_and_its_time_is_no_part_of_a_step():
    asked = []

    def advise(seconds):
        asked.append(seconds)
        watch.now += 100
        return ["quicker: so"]

    watch = Watch(Schedule(1000, 1, 0), advise=advise)
    assert watch.steps(1, 4)[0].endswith("; quicker: so")
    assert asked == [2000]  # 2 s an image
    assert watch.steps(2, 4)[1].startswith("4.0 s a step; ")
    assert len(asked) == 1


def test_the_end_and_a_return_to_a_checkpoint_say_nothing():
    watch = Watch(Schedule(4, 1, 0))
    assert watch.steps(2, 100)[1] == ""
    watch = Watch(Schedule(1000, 1, 0))
    watch.steps(12, 1)
    watch.images = 8
    watch.forecast.restart(8)
    assert watch.steps(16, 1)[14] == "38/1000 images · 2.0/s · 8 min left"


def test_each_size_of_growing_images_has_forecasts_of_its_own():
    """20 images of 4 px, then 8 px in two stages: 2 s an image at 4 px, 5 s at 8 px, but for the first steps."""
    stages = [DataStage(image, size, size, 2) for image, size in ((0, 4), (20, 8), (40, 8))]
    watch = Watch(Schedule(1, 0, 0, images=100), by_clock=False, stages=stages, advise=lambda seconds: ["advice"])
    said = watch.steps(10, 4) + watch.steps(20, 10)
    assert {n: line for n, line in enumerate(said, 1) if line} == {
        1: "first step 4.0 s; 20 images at 4 px ≈ 40 s on this CPU",
        3: "4.0 s a step; 20 images at 4 px ≈ 40 s on this CPU",
        13: "10 s a step; 80 images at 8 px ≈ 7 min on this CPU",
        20: "10 s a step; 80 images at 8 px ≈ 7 min on this CPU",
    }
    resumed = Watch(Schedule(1, 0, 0, images=100), images=60, by_clock=False, stages=stages)
    assert resumed.steps(1, 10) == ["first step 10 s; 40 images at 8 px ≈ 3 min on this CPU"]
    assert (
        Watch(Schedule(1, 0, 0, images=100), stages=stages).steps(4, 15)[3]
        == "8/100 images · 0.13/s · 2 min left at 4 px"
    )
