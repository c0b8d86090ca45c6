"""Training session: its phases, what they check before the folder is touched, and when nothing is left to train."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from translate import locks
from translate.api.run_record import RunRecord, check_same_settings
from translate.api.session import TrainingSession
from translate.config import resolve
from translate.errors import BusyError, DataError, UsageError
from translate.methods import METHODS
from translate.run_folder import CONFIG_FILE, MODEL, list_checkpoints

from ..helpers import write_smooth_image

CYCLEGAN = METHODS["cyclegan"]
SMALL = {
    "crop_size": 32, "load_size": 32, "g_width": 4, "d_width": 4, "generator": "resnet_3blocks", "device": "cpu",
    "watch": False, "images": 2,
}  # fmt: skip


@pytest.fixture
def session(unpaired_root, tmp_path):
    """A function that makes the session of a run of two images, and the lines that it says."""

    def make(**settings):
        cfg = CYCLEGAN.resolve_config(resolve(CYCLEGAN.Config, ("test", {**SMALL, **settings})))
        lines: list[str] = []
        return TrainingSession(CYCLEGAN, cfg, unpaired_root, tmp_path / "run", lines.append), lines

    return make


def test_a_run_leaves_its_record_a_checkpoint_and_a_model(session, tmp_path):
    run, lines = session()
    assert run.run() == 2
    assert {CONFIG_FILE, MODEL} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert [path.name for path in list_checkpoints(tmp_path / "run")] == ["state-2.ckpt"]
    assert lines[-1].startswith("trained on 2 images")
    settings = RunRecord.read(tmp_path / "run").settings
    assert not settings.keys() & {"range_a", "range_b"}, "files of 8 bits have the range of their type"


def test_a_finished_run_builds_no_networks_and_changes_nothing(session, tmp_path):
    session()[0].run()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    run, lines = session()
    assert run.run() == 2
    assert not hasattr(run, "engine")
    assert "finished after 2 images" in lines[-1]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_a_longer_plan_resumes(session):
    session()[0].run()
    run, lines = session(images=4)
    assert run.run() == 4
    assert any("resuming after 2 images" in line for line in lines)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"background": "no colour"}, "--background"),
        ({"decoder": "nvjpeg"}, "--decoder"),
        ({"range_a": "2:1"}, "--range-a '2:1'"),
        ({"augment": "nothing"}, "--augment"),
        ({"images": None, "epochs": 0, "decay_epochs": 0}, "--epochs"),
        ({"auto_batch": True, "norm": "batch"}, "--auto-batch"),
        ({"hold_out": 0.0, "evaluate_every": 1, "evaluate_metrics": "beauty"}, "beauty"),
        ({"skip_unmatched": True}, "--skip-unmatched: is for paired methods, and cyclegan needs no partners"),
        ({"skip_unmatched": True, "truth": "none"}, "--skip-unmatched: is for paired methods"),
    ],
)
def test_wrong_settings_leave_no_folder(session, tmp_path, settings, named):
    with pytest.raises(UsageError, match=named):
        session(**settings)[0].run()
    assert not (tmp_path / "run").exists()


@pytest.fixture
def pairs(tmp_path):
    """Two pairs of other names, and one image without a partner."""
    for name in ("trainA/1_a", "trainA/2_a", "trainA/3_a", "trainB/1_b", "trainB/2_b"):
        write_smooth_image(tmp_path / "set" / f"{name}.png", 32, 32, len(name))
    return tmp_path / "set"


def paired_session(root, tmp_path, **settings):
    cls = METHODS["pix2pix"]
    cfg = cls.resolve_config(resolve(cls.Config, ("test", {**SMALL, **settings})))
    lines: list[str] = []
    return TrainingSession(cls, cfg, root, tmp_path / "run", lines.append), lines


def test_images_without_a_partner_are_left_out_told_and_recorded(pairs, tmp_path):
    with pytest.raises(DataError, match=r"trainA/3_a; .*--skip-unmatched"):
        paired_session(pairs, tmp_path)[0].run()
    run, lines = paired_session(pairs, tmp_path, skip_unmatched=True)
    assert run.run() == 2
    assert len(run.split) == 2
    assert [line for line in lines if "2 pairs, matched without the endings '_a' and '_b'" in line]
    assert [line for line in lines if "1 images without a partner of their own are left out: trainA/3_a.png" in line]
    assert RunRecord.read(tmp_path / "run").settings["skip_unmatched"] is True
    with pytest.raises(UsageError, match="--skip-unmatched: True in the run, False now"):
        check_same_settings(
            tmp_path / "run", "pix2pix", paired_session(pairs, tmp_path, images=4)[0].cfg, may_change=False
        )


def test_truth_is_a_setting_of_unpaired_methods(pairs, tmp_path):
    with pytest.raises(UsageError, match="--truth names: is for unpaired methods of two domains, not for pix2pix"):
        paired_session(pairs, tmp_path, truth="names")[0].run()


def test_whole_images_that_do_not_fit_together_are_found_before_the_first_step(session, tmp_path, unpaired_root):
    root = shutil.copytree(unpaired_root, tmp_path / "data")
    write_smooth_image(root / "trainA" / "other.png", 40, 60, 0)
    run, _ = session(preprocess="none", pool_size=0, batch_size=2)
    run.root = root
    with pytest.raises(DataError, match=r"--preprocess none loads .* use --batch-size 1"):
        run.run()
    assert not list_checkpoints(tmp_path / "run")


def test_a_folder_that_another_run_holds_is_left_alone(session, tmp_path):
    (tmp_path / "run").mkdir()
    with locks.lock_folder(tmp_path / "run", "wait"), pytest.raises(BusyError):
        session()[0].run()


@pytest.mark.parametrize(("before", "given", "now"), [(4, 1, 4), (4, 8, 8), (3, 2, 2)])
def test_automatic_batches_are_split_at_least_as_far_as_before(session, before, given, now):
    """A number of micro-batches that does not divide the batch is not taken over."""
    run, _ = session(batch_size=8, auto_batch=True, accumulate=given)
    run.state = {"accumulate": before}
    assert run.accumulate == now
    run.cfg = replace(run.cfg, auto_batch=False)
    assert run.accumulate == given


# Ranges of values.


@pytest.fixture
def heights(tmp_path, monkeypatch):
    """A folder of float heights in A and signed integers in B, and the session of a run on it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "heights"
    for name, dtype, low in (("trainA", np.float32, 0.5), ("trainB", np.int16, -400)):
        (root / name).mkdir(parents=True)
        for i in range(2):
            array = np.linspace(low, low + 600 * (i + 1), 32 * 32).reshape(32, 32).astype(dtype)
            np.save(root / name / f"{i}.npy", array)

    def make(**settings):
        given = {**SMALL, "input_channels": 1, "output_channels": 1, **settings}
        cfg = CYCLEGAN.resolve_config(resolve(CYCLEGAN.Config, ("test", given)))
        lines: list[str] = []
        return TrainingSession(CYCLEGAN, cfg, root, tmp_path / "run", lines.append), lines

    return root, make


def test_the_range_of_the_set_is_told_and_stored_with_the_run_and_the_model(heights, tmp_path):
    run, lines = heights[1]()
    run.run()
    told = [line for line in lines if "range of the set" in line]
    assert ["0.5 to 1200.5" in told[0], "-400 to 800" in told[1]] == [True, True]
    assert RunRecord.read(tmp_path / "run").settings["range_a"] == "0.5:1200.5"
    domains = json.loads((tmp_path / "run" / MODEL / "config.json").read_text())["domains"]
    assert [domains[name]["values"] for name in "ab"] == [[0.5, 1200.5], [-400, 800]]


def test_a_run_keeps_its_range_when_the_set_grows(heights, tmp_path):
    root, make = heights
    make()[0].run()
    np.save(root / "trainA" / "2.npy", np.full((32, 32), -7000, np.float32))
    run, lines = make(images=4)
    assert run.run() == 4
    assert not any("range of the set" in line for line in lines)
    assert RunRecord.read(tmp_path / "run").settings["range_a"] == "0.5:1200.5"


def test_a_range_that_is_declared_is_not_looked_for(heights):
    run, _ = heights[1](range_a="0:1000", range_b="-500:2000")
    run.divide_data()
    run.find_value_ranges()
    assert (run.cfg.range_a, run.cfg.range_b) == ("0:1000", "-500:2000")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("0.png,1.png\n3.png,2.png\n")
    return path


def test_a_run_on_known_pairs_logs_their_losses_and_resumes_on_the_same_ones(session, table, tmp_path):
    run, lines = session(pairs=str(table), log_every=1)
    run.run()
    assert [line for line in lines if line.startswith("pairs: 2 images of domain a and 2 images of domain b")]
    point = json.loads((tmp_path / "run" / "stats.jsonl").read_text().splitlines()[0])
    assert {"loss/g/pairs_ab", "loss/g/pairs_ba"} <= point.keys()
    table.write_text("from,to\n3.png,2.png\n0.png,1.png\n")
    moved = table.rename(table.with_name("moved.csv"))
    run, lines = session(pairs=str(moved), images=3)
    assert run.run() == 3
    assert not [line for line in lines if "warning" in line]


def test_other_pairs_are_another_run_unless_they_are_meant(session, table):
    session(pairs=str(table))[0].run()
    table.write_text("0.png,2.png\n3.png,1.png\n")
    with pytest.raises(UsageError, match=r"other settings:\n  --pairs: other pairs in the run, the file has changed\n"):
        session(pairs=str(table), images=3)[0].run()
    with pytest.raises(UsageError, match=r"--pairs: .*pairs.csv in the run, names now"):
        session(pairs="names", images=3)[0].run()
    run, lines = session(pairs=str(table), images=3)
    run.may_change = True
    assert run.run() == 3
    assert [line for line in lines if line.startswith("warning: --pairs: holds other pairs than those of the run")]


def test_pairs_whose_images_are_held_out_are_not_trained_on(session, table):
    run, lines = session(pairs="names", hold_out=0.3)
    run.divide_data()
    used = {*run.split.a, *run.split.b}
    assert 0 < len(run.pairs.split) < 5
    assert {*run.pairs.split.a, *run.pairs.split.b} <= used
    assert [line for line in lines if line.startswith("pairs: ") and "are left out, since an image of each" in line]


@pytest.mark.parametrize(
    ("text", "kind", "named"),
    [
        (None, UsageError, "--pairs .*: no such file"),
        ("", DataError, "holds no pair"),
        ("0.png,9.png", DataError, "line 1: '9.png' is no image of .*trainB"),
    ],
)
def test_wrong_pairs_leave_no_folder(session, tmp_path, text, kind, named):
    path = tmp_path / "wrong.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(kind, match=named):
        session(pairs=str(path))[0].run()
    assert not (tmp_path / "run").exists()
