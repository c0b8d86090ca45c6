"""Logs: what they hold, and that they never stop training."""

import json

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from translate.training import log
from translate.training.log import Log, duration


def lines(folder):
    return [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]


def test_stats_and_tensorboard_hold_the_same_points(tmp_path):
    writer = Log(tmp_path, 0, pytest.fail)
    for images in (10, 20):
        writer.scalars(images, {"loss/g/adv": images / 8})
    writer.close()
    assert lines(tmp_path) == [{"images": 10, "loss/g/adv": 1.25}, {"images": 20, "loss/g/adv": 2.5}]
    board = EventAccumulator(str(tmp_path)).Reload()
    assert [(point.step, point.value) for point in board.Scalars("loss/g/adv")] == [(10, 1.25), (20, 2.5)]


def test_curves_do_not_double_back_after_a_resume(tmp_path):
    first = Log(tmp_path, 0, pytest.fail)
    for images in (10, 20, 30):
        first.scalars(images, {"loss/x": 1.0})
    first.close()
    with open(tmp_path / "stats.jsonl", "a") as file:
        file.write('{"images": 4')  # a line that a kill cut off
    second = Log(tmp_path, 20, pytest.fail)  # the checkpoint was made at 20
    second.scalars(30, {"loss/x": 2.0})
    second.close()
    assert [(line["images"], line["loss/x"]) for line in lines(tmp_path)] == [(10, 1.0), (20, 1.0), (30, 2.0)]
    board = EventAccumulator(str(tmp_path)).Reload()
    assert [(point.step, point.value) for point in board.Scalars("loss/x")] == [(10, 1.0), (20, 1.0), (30, 2.0)]


def test_grids_are_files_and_pages_of_tensorboard(tmp_path):
    writer = Log(tmp_path, 0, pytest.fail)
    writer.grid(7, Image.new("RGB", (12, 8), "red"))
    writer.close()
    with Image.open(tmp_path / "samples" / "00000007.png") as image:
        assert image.size == (12, 8)
    assert [image.step for image in EventAccumulator(str(tmp_path)).Reload().Images("samples")] == [7]


def test_a_failing_writer_is_said_once_and_training_goes_on(tmp_path):
    said = []
    writer = Log(tmp_path, 0, said.append)

    def fails(*args, **kwargs):
        raise OSError("disk on fire")

    writer._writer.add_scalar = fails
    for images in (1, 2, 3):
        writer.scalars(images, {"loss/x": 1.0})
    writer.close()
    assert len(said) == 1
    assert "TensorBoard cannot be written (disk on fire)" in said[0]
    assert [line["images"] for line in lines(tmp_path)] == [1, 2, 3]


def test_the_console_line_says_how_far_how_fast_and_how_long(tmp_path, monkeypatch):
    said = []
    clock = iter([0.0, 10.0, 11.0, 20.0, 20.5])
    monkeypatch.setattr(log.time, "monotonic", lambda: next(clock))
    writer = Log(tmp_path, 100, said.append)
    for images in (120, 125, 130, 140):  # the second comes too soon after the first, the last one is always said
        writer.console(images, 140, {"loss/g/adv": 0.5, "lr/g": 1.0})
    writer.close()
    assert [line.split(" · ")[0] for line in said] == ["120/140 images", "130/140 images", "140/140 images"]
    assert said[0] == "120/140 images · 2.0/s · 10 s left · g/adv 0.500"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (3599, "59 min"),
        (3900, "1 h 05 min"),
        (90000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
