"""Logs: what they hold, and that they never stop training."""

import errno
import io
import math
import mmap
import os
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata

import translate
from translate import atomic
from translate.methods import METHODS
from translate.runtime.memory import allocated_memory
from translate.training import loop, stats_file
from translate.training.log import Log, format_losses
from translate.training.tensorboard import Event, EventFileWriter

from ..helpers import read_stats


def read(folder):
    return EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0, "scalars": 0}).Reload()


def points(accumulator, name):
    return [(point.step, point.value) for point in accumulator.Scalars(name)]


def test_stats_and_tensorboard_hold_the_same_points(tmp_path):
    writer = Log(tmp_path, 0, pytest.fail)
    for images in (10, 20):
        writer.add_scalars(images, {"loss/g/adv": images / 8, "progress": images / 64})
    assert read_stats(tmp_path) == [
        {"images": 10, "loss/g/adv": 1.25, "progress": 10 / 64},
        {"images": 20, "loss/g/adv": 2.5, "progress": 20 / 64},
    ]
    page = read(tmp_path)
    assert points(page, "loss/g/adv") == [(10, 1.25), (20, 2.5)]
    assert points(page, "progress") == [(10, 10 / 64), (20, 20 / 64)]


def test_records_are_what_tensorboards_own_reader_takes(tmp_path):
    """It compares both checksums of each record; here all there is, in order."""
    page = EventFileWriter(tmp_path, 0)
    page.add_text(0, "config", "    lr = 1")
    page.add_scalars(5, {"loss/x": 0.5, "loss/y": float("inf")})
    events = [Event.FromString(record) for record in RawEventFileLoader(str(page.path)).Load()]
    assert [event.file_version for event in events] == ["brain.Event:2", "", ""]
    assert [[value.tag for value in event.summary.value] for event in events] == [
        [], ["config/text_summary"], ["loss/x", "loss/y"],
    ]  # fmt: skip
    assert [event.step for event in events] == [0, 0, 5]


def test_curves_do_not_double_back_after_a_resume(tmp_path):
    """Nor do images and what the discriminators say."""
    first = Log(tmp_path, 0, pytest.fail)
    for images in (10, 20, 30):
        first.add_scalars(images, {"loss/x": 1.0, "judge/real": 1.0})
        first.add_sample_grid(images, Image.new("RGB", (12, 8), "red"))
    with open(tmp_path / "stats.jsonl", "a") as file:
        file.write('{"images": 4')  # a line that a kill cut off
    second = Log(tmp_path, 20, pytest.fail)  # the checkpoint was made at 20
    second.add_scalars(30, {"loss/x": 2.0, "judge/real": 2.0})
    second.add_sample_grid(30, Image.new("RGB", (12, 8), "blue"))
    assert [(line["images"], line["loss/x"]) for line in read_stats(tmp_path)] == [(10, 1.0), (20, 1.0), (30, 2.0)]
    page = read(tmp_path)
    for name in ("loss/x", "judge/real"):
        assert points(page, name) == [(10, 1.0), (20, 1.0), (30, 2.0)]
    grids = page.Images("samples")
    assert [grid.step for grid in grids] == [10, 20, 30]
    with Image.open(io.BytesIO(grids[-1].encoded_image_string)) as image:
        assert image.getpixel((0, 0)) == (0, 0, 255)


def test_the_second_event_file_repeats_what_discriminators_learn(tmp_path):
    """Their losses and outputs for real images, in a folder that TensorBoard takes for another run; resumes cut it, too."""
    first = Log(tmp_path, 0, pytest.fail)
    for images in (10, 20):
        first.add_scalars(images, {"loss/d/adv_b": 1.0, "loss/g/adv_ab": 2.0, "judge/real_b": 3.0, "judge/fake_b": 4.0})
    Log(tmp_path, 10, pytest.fail).add_scalars(20, {"loss/d/adv_b": 5.0})
    page = read(tmp_path / "discriminator")
    assert page.Tags()["scalars"] == ["discriminator/adv_b", "discriminator/real_b"]
    assert points(page, "discriminator/adv_b") == [(10, 1.0), (20, 5.0)]
    assert points(page, "discriminator/real_b") == [(10, 3.0)]


def test_two_resumes_within_a_second_are_read_in_order(tmp_path):
    """Readers sort the files of a run by name."""
    files = [EventFileWriter(tmp_path, images).path.name for images in (0, 5, 5)]
    assert files == sorted(files)
    assert len(set(files)) == 3


def test_grids_are_files_and_pages_of_tensorboard(tmp_path):
    Log(tmp_path, 0, pytest.fail).add_sample_grid(7, Image.new("RGB", (12, 8), "red"))
    file = tmp_path / "samples" / "00000007.png"
    with Image.open(file) as image:
        assert image.size == (12, 8)
    (grid,) = read(tmp_path).Images("samples")
    assert (grid.step, grid.width, grid.height, grid.encoded_image_string) == (7, 12, 8, file.read_bytes())


def test_advice_stands_in_the_next_line_of_the_statistics_alone(tmp_path):
    writer = Log(tmp_path, 0, pytest.fail)
    writer.add_advice(9, "warning: too red")
    writer.add_scalars(10, {"loss/x": 1.0})
    writer.add_scalars(20, {"loss/x": 1.0})
    assert [line.get("advice") for line in read_stats(tmp_path)] == [["warning: too red"], None]
    (event,) = read(tmp_path).Tensors("advice/text_summary")
    assert (event.step, event.tensor_proto.string_val[0]) == (9, b"warning: too red")


# The page of custom scalars and that of settings.


def shown_layout(folder):
    (*_, last) = read(folder).Tensors("custom_scalars__config__")
    return layout_pb2.Layout.FromString(last.tensor_proto.string_val[0])


def test_the_page_grows_with_what_is_logged_and_outlives_a_resume(tmp_path):
    writer = Log(tmp_path, 0, pytest.fail)
    writer.add_scalars(10, {"loss/d/adv": 1.0, "loss/g/adv": 1.0})
    assert [category.title for category in shown_layout(tmp_path).category] == ["Generators against discriminators"]
    writer.add_scalars(20, {"judge/real": 1.0})
    resumed = Log(tmp_path, 20, pytest.fail)
    resumed.add_scalars(30, {"loss/d/adv": 1.0, "loss/g/adv": 1.0})
    duels, outputs = shown_layout(tmp_path).category
    assert [duels.title, outputs.title] == ["Generators against discriminators", "Discriminator outputs"]
    (chart,) = duels.chart
    names = ["loss/d/adv", "discriminator/adv", "discriminator/adv_b", "loss/g/adv"]
    assert [[name for name in names if re.match(tag, name)] for tag in chart.multiline.tag] == [
        ["discriminator/adv"],  # in a file of its own, so that it has its own colour
        ["loss/g/adv"],
    ]


def test_settings_are_a_text_and_a_row_to_compare_by(tmp_path):
    cfg = METHODS["cyclegan"].Config(images=40, flip=False, log_every=7)
    writer = Log(tmp_path, 0, pytest.fail)
    writer.add_settings("lr = 0.1\nflip = false", "cyclegan", cfg)
    page = read(tmp_path)
    (text,) = page.Tensors("config/text_summary")
    assert text.tensor_proto.string_val[0] == b"    lr = 0.1\n    flip = false"
    content = page.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    row = metadata.parse_session_start_info_plugin_data(content).hparams
    assert (row["method"].string_value, row["images"].number_value) == ("cyclegan", 40)
    assert (row["flip"].string_value, row["lr"].number_value) == ("off", 2e-4)
    assert "log_every" not in row  # decides nothing
    assert "_hparams_/experiment" not in page.Tags()["tensors"]


# Disks that fail.


class Full(io.FileIO):
    """A file on a disk that is full after ten more bytes."""

    def write(self, data):
        super().write(bytes(data)[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_cannot_be_written_whole_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "x"
    atomic.append(path, b"one\n")
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", lambda path, mode: Full(path, mode))
        with pytest.raises(OSError, match="No space left"):
            atomic.append(path, b"two, which is longer\n")
    assert path.read_bytes() == b"one\n"
    atomic.append(path, b"three\n")
    assert path.read_bytes() == b"one\nthree\n"


def test_a_disk_that_fails_for_a_while_costs_the_points_of_that_while(tmp_path, monkeypatch, capfd, recwarn):
    """One line for each log; no traceback, no thread that dies; afterwards both logs go on."""
    said = []
    writer = Log(tmp_path, 0, said.append)
    writer.add_scalars(10, {"loss/x": 1.0})
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", lambda path, mode: Full(path, mode))
        for images in (20, 30):
            writer.add_scalars(images, {"loss/x": 1.0, "loss/new": 1.0})
            writer.add_sample_grid(images, Image.new("RGB", (4, 4)))
    writer.add_scalars(40, {"loss/x": 1.0})
    assert [line.split(" (")[0] for line in said] == [
        "warning: stats.jsonl cannot be written",
        "warning: TensorBoard cannot be written",
        "warning: samples cannot be written",
    ]
    assert [line["images"] for line in read_stats(tmp_path)] == [10, 40]
    assert points(read(tmp_path), "loss/x") == [(10, 1.0), (40, 1.0)]
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_without_a_board_the_other_logs_are_written(tmp_path, monkeypatch):
    def fails(*args):
        raise OSError("disk on fire")

    said = []
    monkeypatch.setattr(EventFileWriter, "_write", fails)
    writer = Log(tmp_path, 0, said.append)
    writer.add_settings("lr = 1", "cyclegan", METHODS["cyclegan"].Config())
    writer.add_scalars(1, {"loss/x": 1.0})
    writer.add_sample_grid(1, Image.new("RGB", (4, 4)))
    assert said == ["warning: TensorBoard cannot be written (disk on fire); training continues without it"]
    assert [line["images"] for line in read_stats(tmp_path)] == [1]
    assert (tmp_path / "samples" / "00000001.png").exists()


# The console.


def test_the_console_line_says_how_far_how_fast_and_how_long(tmp_path):
    said = []
    writer = Log(tmp_path, 100, said.append)
    speed = {"time/images_per_second": 2.0, "time/data_wait": 0.126}
    for images in (120, 140):
        writer.print_progress(
            images, 140, speed | {"loss/d/adv": 0.5, "loss/g/adv": 1.25, "loss/g/l1": 12.345, "lr/g": 1.0}
        )
    assert said == [
        "120/140 images · 2.0/s · data wait 13% · 10 s left · d adv 0.500 · g adv 1.250 l1 12.35",
        "140/140 images · 2.0/s · data wait 13% · 0.0 s left · d adv 0.500 · g adv 1.250 l1 12.35",
    ]


def test_losses_in_short():
    losses = ("g/adv_ab", "g/adv_ba", "g/cycle_a", "g/cycle_b", "g/identity_a", "g/identity_b", "d/adv_a", "d/adv_b")
    values = {f"loss/{name}": 0.5 + i for i, name in enumerate(losses)} | {"epoch": 3.0}
    assert format_losses(values) == ["g adv 0.500/1.500 cycle 2.500/3.500 identity 4.500/5.500", "d adv 6.500/7.500"]


def test_the_time_left_heeds_what_is_so_now(tmp_path):
    """2/s for an hour, then 1/s for a minute, which makes up 1 − 1/e of the mean: 2/e + (1 − 1/e) = 1 + 1/e a second, however
    finely it is told. The whole run's mean would say 2/s."""
    pace = stats_file.SpeedMeter()
    assert pace.seconds_for(100) is None
    for _ in range(3600):
        pace.add(2, 1)
    assert pace.seconds_for(100) == pytest.approx(50)
    for images in (10, 50):
        pace.add(images, images)
    assert pace.seconds_for(100) == pytest.approx(100 / (1 + 1 / math.e))


# Looks by the clock.


@pytest.mark.parametrize(
    ("share", "flags", "looks"),
    [
        (1e9, {}, [0, 1, 2, 3]),
        (0.0, {}, [0, 3]),
        (0.0, {"save_every": 2}, [0, 2, 3]),
        (0.0, {"sample_every": 2}, [0, 2, 3]),
    ],
)
def test_looks_that_are_not_asked_for_take_their_share_of_the_time_at_most(
    share, flags, looks, paired_root, tmp_path, monkeypatch
):
    """A checkpoint is due at every step here; the first and the last look are always taken."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(loop, "SAMPLE_TIME_SHARE", share)
    small = {"crop_size": 32, "load_size": 32, "g_width": 4, "d_width": 4, "device": "cpu", "images": 3, **flags}
    translate.train("pix2pix", paired_root, run=tmp_path / "run", say=lambda line: None, **small)
    assert sorted(int(path.stem) for path in (tmp_path / "run/samples").iterdir()) == looks


# Statistics.


def test_damaged_lines_are_passed_over(tmp_path):
    path = tmp_path / "stats.jsonl"
    path.write_bytes(
        b'{"images": 1, "loss/x": 1.5}\n\n[1]\nnull\n{"loss/x": 2}\n{"images": true}\n{"images": "2"}\n\xff\xfe\n'
        b'{"images": 3, "advice": ["w"], "loss/x": null, "lr/g": 1}\n{"images": 4, "loss/x": 1'
    )
    found = stats_file.read(path)
    assert [point["images"] for point in found] == [1, 3]
    assert stats_file.scalar_names(found) == ["loss/x", "lr/g"]
    assert stats_file.curve(found, "loss/x") == [(1, 1.5)]
    assert stats_file.read(tmp_path / "none") == []


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_is_that_of_this_process():
    """The resident set grows by pages that are new and written to."""
    size = 64 << 20
    before = allocated_memory(torch.device("cpu"))
    with mmap.mmap(-1, size) as pages:
        pages.write(bytes(size))
        grown = allocated_memory(torch.device("cpu")) - before
    assert 0.9 * size < grown < 3 * size


@pytest.mark.gpu
def test_memory_on_cuda_is_the_most_since_the_last_call():
    device = torch.device("cuda")
    allocated_memory(device)
    base = allocated_memory(device)
    torch.ones(2**20, device=device)
    assert allocated_memory(device) >= base + 2**22
    assert allocated_memory(device) == base
