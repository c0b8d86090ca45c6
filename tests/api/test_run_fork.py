"""Fork of a run: a new run that begins with a checkpoint of another one."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

import translate
from translate import api
from translate.api.run_fork import ForkPoint
from translate.api.run_record import RunRecord
from translate.errors import ModelError, UsageError
from translate.training import checkpoint

from ..helpers import read_files, read_stats, same_tensors


@pytest.fixture
def here(kept_run, tmp_path, monkeypatch):
    """A working directory with checkpoints/night, a run that may be changed."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(kept_run, "checkpoints/night")
    return Path("checkpoints/night")


def fork(run="night", **options):
    said = []
    return api.resume(run, say=said.append, **{"from_images": 8, "new_run": "day", **options}), said


def of_the_training(points):
    return [{k: v for k, v in point.items() if not k.startswith(("time/", "memory/"))} for point in points]


def test_without_other_settings_it_ends_as_the_run_did(here):
    """Weights and log points, those before the fork included. The run itself keeps every byte."""
    before = read_files(here)
    run, said = fork()
    assert read_files(here) == before
    assert (run.path, run.images) == (Path("checkpoints/day"), 10)
    assert any("begins with checkpoints/night after 8 images" in line for line in said)
    found, known = (load_file(folder / "model" / "model.safetensors") for folder in (run.path, here))
    assert same_tensors([*found.values()], [*known.values()])
    assert of_the_training(read_stats(run.path)) == of_the_training(read_stats(here))
    assert RunRecord.read(run.path).forked_from == "../night@8"


def test_the_same_call_again_resumes_the_new_run(here):
    fork(images=9)
    run, said = fork(images=10)
    assert run.images == 10
    assert any("resuming after 9 images" in line for line in said)
    assert not any("begins with" in line for line in said)
    run, said = fork(images=10)
    assert any("finished after 10 images" in line for line in said)
    assert (
        translate.load("day@8", device="cpu").info.trained_on["images"] == 8
    )  # it holds the checkpoint that it began with


def test_runs_that_are_moved_together_stay_parent_and_fork(here, tmp_path):
    fork(images=9)
    shutil.move("checkpoints", "moved")
    _, said = fork("moved/night", new_run="moved/day", images=9)
    assert any("finished after 9 images" in line for line in said)


def test_a_fork_may_change_settings(here):
    fork(lr=1e-3, images=9)
    assert RunRecord.read(Path("checkpoints/day")).settings["lr"] == 1e-3
    assert RunRecord.read(here).settings["lr"] == 2e-4


@pytest.mark.parametrize("options", [{"new_run": None}, {"from_images": None}])
def test_both_flags_are_needed(here, options):
    with pytest.raises(UsageError, match=r"--run NEW|--from N"):
        fork(**options)
    assert not Path("checkpoints/day").exists()


@pytest.mark.parametrize("new_run", ["night", "other"])
def test_another_run_is_not_overwritten(here, new_run, kept_run):
    shutil.copytree(kept_run, "checkpoints/other")
    with pytest.raises(UsageError, match="holds another run"):
        fork(new_run=new_run)
    assert read_files(Path("checkpoints/other")) == read_files(kept_run)


def test_checkpoints_of_nobody_are_not_mixed_with_it(here):
    Path("checkpoints/day").mkdir()
    Path("checkpoints/day/state-99.ckpt").touch()
    with pytest.raises(UsageError, match="holds another run"):
        fork()


def test_a_checkpoint_that_is_not_there(here):
    with pytest.raises(ModelError, match=r"night@7: nothing was kept after 7 images; there is night@4, night@8"):
        fork(from_images=7)
    (here / "state-4.ckpt").unlink()
    with pytest.raises(ModelError, match=r"without a checkpoint.*--init-from night@4"):
        fork(from_images=4)
    (here / "state-8.ckpt").write_bytes(b"half")
    with pytest.raises(ModelError, match=r"state-8\.ckpt: damaged"):
        fork()
    assert not Path("checkpoints/day").exists()


def test_a_checkpoint_is_no_run_to_resume(here):
    with pytest.raises(ModelError, match="translate resume night --from 8 --run NEW"):
        api.resume("night@8", say=print)


def begin(run, folder, images):
    said = []
    folder.mkdir(exist_ok=True)
    ForkPoint(run, images).begin(folder, said.append)
    return checkpoint.load_newest(folder, pytest.fail), said


def test_the_best_model_up_to_there_comes_along(here):
    state, said = begin(here, Path("day"), 8)
    best_at = state["validation"]["best_at"]
    assert best_at in (4, 8)
    found, known = (
        read_files(folder, "model.safetensors") for folder in (Path("day/model-best"), here / f"model-{best_at}")
    )
    assert found == known
    assert len(said) == 1


def test_without_that_model_the_search_begins_anew(here):
    """Or a worse one would be refused for the sake of one that is nowhere."""
    for path in here.glob("model-*"):
        shutil.rmtree(path)
    state, said = begin(here, Path("day"), 8)
    assert (state["validation"]["best"], state["validation"]["misses"]) == (None, 0)
    assert not Path("day/model-best").exists()
    assert "begins anew" in said[0]
