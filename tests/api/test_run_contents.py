"""Contents of a run folder: metrics of its models, the best one, and disk use by kind."""

import json
import math
from pathlib import Path

import pytest

from translate.api import run_contents
from translate.api.run_contents import describe_disk_use, describe_saved_models, find_best_metric
from translate.training import stats_file

from ..helpers import run_python, write_run_folder


def results(images, split="test", layout="unpaired", best_by=None, **metrics):
    """Results of an evaluation as they are stored."""
    record = {
        "metrics": {name: {"value": value, "error": 0.1} for name, value in metrics.items()},
        "protocol": {"split": split, "layout": layout},
        "subject": {"trained_on": {"images": images}},
    }
    return json.dumps(record | ({"best_by": best_by} if best_by else {}))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_a_real_run_holds(kept_run):
    """Each line's metric is that of the averaged networks, which are what its model holds."""
    points = stats_file.read(kept_run / "stats.jsonl")
    found = describe_saved_models(kept_run, points)
    assert [row["images"] for row in found] == [4, 8, 9, 10]
    assert [row["name"] for row in found] == [f"{kept_run}@{images}" for images in (4, 8, 9, 10)]
    for row in found:
        measured = [point["val_ema/l1"] for point in points if point["images"] == row["images"] and "val/l1" in point]
        assert row["metrics"] == ({"validation": {"l1": measured[0]}} if measured else {}), row["images"]
        assert row["checkpoint_bytes"] == Path(row["checkpoint"]).stat().st_size
        assert row["model_bytes"] == sum(p.stat().st_size for folder in row["models"] for p in Path(folder).iterdir())
    assert [bool(row["models"]) for row in found] == [True, True, False, True]
    assert run_contents.read_results(kept_run / "model-best/metrics.json")["best_by"] == "l1"
    best = min((row for row in found if row["metrics"]), key=lambda row: row["metrics"]["validation"]["l1"])
    assert [row["images"] for row in found if row["best"]] == [best["images"]]
    assert find_best_metric(kept_run, {}) == {
        "metric": "l1",
        "value": best["metrics"]["validation"]["l1"],
        "images": best["images"],
        "split": "test",
    }


def test_evaluations_stand_with_the_model_that_they_are_of(tmp_path):
    for images in (4, 8):
        (tmp_path / f"state-{images}.ckpt").touch()
    write(tmp_path / "metrics.json", results(8, kid=0.5))
    first, second = describe_saved_models(tmp_path, [])
    assert (first["metrics"], second["metrics"]) == ({}, {"test": {"kid": 0.5}})


@pytest.mark.parametrize(
    ("record", "settings", "metric"),
    [
        ({"best_by": "ssim"}, {"best_by": "l1"}, "ssim"),  # a run of now says what chose it
        ({}, {"best_by": "ssim"}, "ssim"),  # before, only the settings did
        ({"layout": "paired"}, {}, "l1"),
        ({}, {}, "swd"),
    ],
)
def test_the_best_metric_is_the_one_that_chose_the_model(tmp_path, record, settings, metric):
    write(tmp_path / "model-best/metrics.json", results(4, **{"l1": 1.0, "ssim": 2.0, "swd": 3.0, **record}))
    write(tmp_path / "metrics.json", results(8, kid=0.5))
    value = {"l1": 1.0, "ssim": 2.0, "swd": 3.0}[metric]
    assert find_best_metric(tmp_path, settings) == {"metric": metric, "value": value, "images": 4, "split": "test"}


def test_without_a_best_model_it_is_the_last_evaluation(tmp_path):
    assert find_best_metric(tmp_path, {}) is None
    write(tmp_path / "metrics.json", results(8, "val", kid=0.5, swd=1.0))
    assert find_best_metric(tmp_path, {}) == {"metric": "kid", "value": 0.5, "images": 8, "split": "val"}


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"metrics": [], "protocol": {}, "subject": {}}', "[" * 100000])
def test_damaged_results_are_none(tmp_path, text):
    write(tmp_path / "metrics.json", text)
    assert run_contents.read_results(tmp_path / "metrics.json") == {}
    assert find_best_metric(tmp_path, {}) is None


def test_values_of_another_kind_are_left_out(tmp_path):
    record = json.loads(results(8, swd=1.0))
    record["metrics"] |= {"kid": {"value": "x"}, "fid": 3, "l1": {"value": True}, "psnr": {"value": 10**400}}
    record |= {"best_by": ["swd"], "subject": {"trained_on": {"images": "x"}}}
    record["protocol"]["split"] = ["test"]
    (tmp_path / "state-8.ckpt").touch()
    write(tmp_path / "metrics.json", json.dumps(record))
    assert find_best_metric(tmp_path, {}) == {"metric": "swd", "value": 1.0, "images": None, "split": "['test']"}
    (row,) = describe_saved_models(tmp_path, [{"images": 8, "val/l1": "x", "val/swd": math.nan, "val/kid": 2.0}])
    assert row["metrics"] == {"validation": {"kid": 2.0}}


def test_disk_use_by_kind(tmp_path):
    """Largest first, after the total; settings and whatever else lies there are other."""
    run = write_run_folder(tmp_path, [], settings="x" * 7)
    for name, size in {
        "state-4.ckpt": 100, "state-8.ckpt": 50, "model/a": 20, "model-8/deep/b": 30, ".model-old/c": 5, "samples/1.png": 11,
        "events.out.tfevents.1": 12, "mine.txt": 1,
    }.items():  # fmt: skip
        write(run / name, "x" * size)
    found = describe_disk_use(run)
    assert found == {"total": 236, "checkpoints": 150, "models": 55, "logs": 12, "samples": 11, "other": 8}
    assert list(found) == ["total", "checkpoints", "models", "logs", "samples", "other"]


def test_it_imports_no_torch():
    code = "import sys, translate.api.run_contents, translate.api.run_list; print('torch' in sys.modules)"
    assert run_python(code).stdout.strip() == "False"
