"""`translate status RUN`: what a person sees of a training, without torch, while it runs or after."""

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import translate
from translate import cli, locks
from translate.api import models, run_status
from translate.cli.status import sparkline

from ..helpers import write_run_folder

CONFIG = 'method = "cyclegan"\nroot = "/data/earth"\nimages = 4000\nlambda_identity = 0.5\n'
write_cyclegan_run = partial(write_run_folder, settings=CONFIG)


def point(images, **values):
    speed = {"time/images_per_second": 2.0, "time/data_wait": 0.25, "memory/gib": 1.5}
    return {"images": images, "progress": images / 4000, "epoch": images // 1000, **speed, **values}


@pytest.fixture
def shown(capfd):
    """The lines that the command prints, which must succeed, be silent on stderr and write nothing."""

    def run(folder, *flags):
        before = {path: path.stat().st_mtime_ns for path in Path(folder).parent.rglob("*")}
        assert cli.run(["status", str(folder), *flags]) == 0
        out, err = capfd.readouterr()
        assert err == ""
        assert before == {path: path.stat().st_mtime_ns for path in Path(folder).parent.rglob("*")}
        return out.splitlines()

    return run


def rows(lines):
    """Name → value of the lines before the table."""
    end = lines.index("") if "" in lines else len(lines)
    return {line[:16].strip(): line[16:] for line in lines[:end]}


def row(lines, name):
    (line,) = [line for line in lines if line.startswith(name + " ")]
    return line.removeprefix(name).split()


def test_how_far_and_how_fast(shown, tmp_path):
    run = write_cyclegan_run(tmp_path / "run", [point(images) for images in (1000, 1500)])
    (run / "state-900.ckpt").write_bytes(bytes(1 << 20))
    (run / "state-1400.ckpt").write_bytes(bytes(3 << 19))
    told = rows(shown(run))
    assert told["training"] == "cyclegan on earth: stopped"
    assert told["progress"] == "1,500 of 4,000 images (38%), epoch 1"
    assert told["speed"] == "2.000 images/s, 25% of the time spent waiting for data"
    assert told["memory"] == "1.5 GiB"
    assert re.fullmatch(r"\d\.\d s ago", told["last log"])
    assert re.fullmatch(r"after 1,400 images, 1\.6 MB, \d\.\d s ago", told["checkpoint"])
    assert "time left" not in told  # nobody works on it


def test_a_run_at_work_has_its_time_left(shown, tmp_path):
    """2,500 images at 2 a second. The lock is this process's; it is neither broken nor taken away."""
    run = write_cyclegan_run(tmp_path / "run", [point(1500)])
    with locks.lock_folder(run, "wait"):
        told = rows(shown(run))
        assert told["training"].startswith(f"cyclegan on earth: running (process {os.getpid()} on ")
        assert told["time left"] == "21 min"
        with pytest.raises(translate.errors.BusyError), locks.lock_folder(run, "wait"):
            pass
    assert rows(shown(run))["training"] == "cyclegan on earth: stopped"


def test_a_lock_that_a_killed_run_left_holds_nobody(tmp_path):
    (tmp_path / locks.LOCK_FILE).write_text("process 1 on here")
    assert locks.lock_holder(tmp_path) is None
    assert (tmp_path / locks.LOCK_FILE).exists()


def test_a_finished_run(shown, tmp_path):
    told = rows(shown(write_cyclegan_run(tmp_path / "run", [point(4000)])))
    assert (told["training"], told["progress"]) == (
        "cyclegan on earth: finished", "4,000 of 4,000 images (100%), epoch 4",
    )  # fmt: skip


def test_the_plan_in_epochs_is_known_by_the_progress(tmp_path):
    run = write_cyclegan_run(
        tmp_path, [{"images": 300, "progress": 0.25}], settings='method = "pix2pix"\nroot = "/x"\nepochs = 3\n'
    )
    assert run_status.describe_run(tmp_path)["planned"] == 1200
    assert run_status.describe_run(run)["state"] == "stopped"


def test_before_the_first_point(shown, tmp_path):
    lines = shown(write_cyclegan_run(tmp_path / "run", None))
    assert rows(lines) == {
        "run": str(tmp_path / "run"),
        "training": "cyclegan on earth: stopped",
        "progress": "0 of 4,000 images (0%)",
        "last log": "none yet",
        "checkpoint": "none yet",
        "disk": f"{len(CONFIG)} B (other {len(CONFIG)} B)",
    }


def test_curves_now_and_half_way(shown, tmp_path):
    """Losses 1 … 40 at images 100 … 4000. Now: the mean of 31 … 40. Half way, at 2000: the ten points nearest to it, 16 … 25 or
    15 … 24, whose mean is 20.5 or 19.5; the earlier of two equally near ones is taken."""
    run = write_cyclegan_run(
        tmp_path / "run", [point(100 * i, **{"loss/g/adv": i, "lr/g": i / 1e5}) for i in range(1, 41)]
    )
    known = run_status.describe_run(run)["curves"]
    assert known["loss/g/adv"]["now"] == 35.5
    assert known["loss/g/adv"]["half"] == 19.5
    assert known["loss/g/adv"]["shape"][:3] == [1, 2.5, 4.5]  # 40 points in 24 parts: 1, then 2 and 3, then 4 and 5 …
    assert len(known["loss/g/adv"]["shape"]) == 24
    assert (known["lr/g"]["now"], known["lr/g"]["half"]) == (40 / 1e5, 20 / 1e5)  # as it is, no mean
    now, half, curve = row(shown(run), "loss/g/adv")
    assert (now, half, curve[0], curve[-1], len(curve)) == ("35.50", "19.50", "▁", "█", 24)


def test_one_point_has_no_half_way(shown, tmp_path):
    assert row(shown(write_cyclegan_run(tmp_path / "run", [point(10, **{"loss/g/l1": 3.25})])), "loss/g/l1") == [
        "3.250",
        "–",
        "▁",
    ]


def test_numbers_that_are_none_have_no_place_in_json(shown, tmp_path):
    run = write_cyclegan_run(tmp_path / "run", [point(10, **{"loss/g/l1": float("nan"), "loss/g/x": float("inf")})])
    (line,) = shown(run, "--json")
    assert "NaN" not in line
    assert "Infinity" not in line
    assert json.loads(line)["run"]["curves"]["loss/g/l1"] == {"now": None, "half": None, "shape": [None]}
    assert row(shown(run), "loss/g/l1") == ["–", "–"]


WATCHED = {
    "watch/inversion_b": -0.31, "watch/change_b": 2.5, "watch/error_b": 12.0, "watch/variety_b": 0.06,
    "watch/hidden_a": 2.5, "watch/d_gap_b": 0.94,
}  # fmt: skip


@pytest.mark.parametrize(("images", "beyond"), [(3000, "warns"), (900, "too early")])
def test_sentinels_have_a_word_and_their_limit(shown, tmp_path, images, beyond):
    """An image is a copy where it is four times nearer to the input than to the truth: 2.5 of 12, below 3."""
    lines = shown(write_cyclegan_run(tmp_path / "run", [point(images, **WATCHED), point(images + 1)]))
    told = {name: " ".join(row(lines, name)[3:]) for name in WATCHED}
    assert told == {
        "watch/inversion_b": f"{beyond} (warns below -0.3)",
        "watch/change_b": f"{beyond} (warns below 3)",
        "watch/error_b": "",
        "watch/variety_b": "ok (warns below 0.05)",
        "watch/hidden_a": f"{beyond} (warns above 2)",
        "watch/d_gap_b": "ok (warns above 0.95)",
    }


def test_what_was_advised_is_told(shown, tmp_path):
    points = [point(10 * i, advice=[f"warning: trouble {i}"]) for i in range(1, 6)]
    lines = shown(write_cyclegan_run(tmp_path / "run", points))
    said = [line for line in lines if "warning" in line]
    assert said == [f"after {10 * i} images: warning: trouble {i}" for i in (3, 4, 5)]


def test_damaged_lines_cost_themselves_alone(tmp_path):
    write_cyclegan_run(tmp_path, [point(10, **{"loss/x": 1.0})])
    with open(tmp_path / "stats.jsonl", "ab") as file:
        file.write(b'\x00\xff\n{"images": 20, "loss/x": 2.0, "time/images_per_second": 1')
    assert run_status.describe_run(tmp_path)["images"] == 10


def test_a_run_without_a_record_of_its_settings(shown, tmp_path):
    """config.toml was lost: what the statistics say still stands."""
    (write_cyclegan_run(tmp_path / "run", [point(1000)]) / "config.toml").unlink()
    told = rows(shown(tmp_path / "run"))
    assert (told["training"], told["progress"]) == ("? on ?: stopped", "1,000 of 4,000 images (25%), epoch 1")


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors"])
def test_a_damaged_model_is_named(capfd, tmp_path, damage):
    model = write_cyclegan_run(tmp_path / "run", [point(10)]) / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / damage).write_bytes(b"\xff")
    assert cli.run(["status", str(tmp_path / "run")]) == 4
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"error: {model}: not a usable model: ")
    assert len(err.splitlines()) == 1


def test_a_real_run_by_name_and_its_model_as_it_is_described_elsewhere(paired_root, tmp_path, monkeypatch, shown):
    """A model is described alike with torch and without; statistics of batch norm are no parameters."""
    monkeypatch.chdir(tmp_path)
    small = {"crop_size": 32, "load_size": 32, "g_width": 4, "d_width": 4, "device": "cpu", "images": 4, "log_every": 2}
    for name, precision in (("single", "fp32"), ("double", "fp64")):
        translate.train("pix2pix", paired_root, run=name, say=lambda line: None, precision=precision, **small)
        known = json.loads(shown(Path("checkpoints") / name, "--json")[0])
        run = known.pop("run")
        assert known == models.describe_model(name)
        assert (run["images"], run["planned"], run["state"]) == (4, 4, "finished")
        assert run["checkpoint"]["images"] == 4
        assert {"loss/g/l1", "judge/real", "watch/error_b", "memory/gib", "grad/d"} <= run["curves"].keys()
    lines = shown(Path("checkpoints/single"))
    assert any(line.startswith("trained on") for line in lines)
    assert cli.run(["status", "single"]) == 0


def test_it_is_told_without_torch(tmp_path):
    """torch takes seconds to load."""
    write_cyclegan_run(tmp_path / "run", [point(10)])
    code = (
        "import sys; from translate import cli; assert cli.run(['status', sys.argv[1]]) == 0; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "run"], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([None], " "),
        ([0.0, 0.5, 1.0], "▁▅█"),  # 3.5 of 7 steps is rounded to the even 4
        ([3.0, None, -4.0], "█ ▁"),
        ([100.0, 100.5, 100.0], "▁▁▁"),  # half a per cent is noise
    ],
)
def test_sparks(values, drawn):
    assert sparkline(values) == drawn


def test_the_convolutions_of_a_run_are_told(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.toml").write_text(
        'method = "pix2pix"\nroot = "x"\nprocesses = 1\nconvolution = "auto"\ntune = "full"\n\n'
        "[convolutions]\nwinograd = 1\nchannels_last = 2\n"
    )
    (run / "stats.jsonl").write_text('{"images": 10, "step": 10, "loss/g": 1.0}\n')
    assert cli.run(["status", str(run)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("convolutions"))
    assert line.split(maxsplit=1)[1] == "auto, tuned full: winograd for 1 shapes, channels_last for 2 shapes"
