"""Training session: its phases, what they check before the folder is touched, and when nothing is left to train."""

import shutil
from dataclasses import replace

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
        ({"range_a": "2:1"}, "range '2:1'"),
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
