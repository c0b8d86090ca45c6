"""What may happen to a training, done to it: kills, signals, numbers that are not finite, memory and disks that run out."""

import errno
import os
import random
import shutil
import time

import pytest
import torch

import translate
from translate import locks, run_folder
from translate.errors import BusyError, ModelError, StorageError
from translate.runtime import devices
from translate.training import checkpoint

from .helpers import act_before_image, model_bytes, train_cyclegan


def test_a_run_folder_that_vanishes_ends_the_run_at_the_next_save(unpaired_root, tmp_path, monkeypatch):
    act_before_image(monkeypatch, 5, lambda: shutil.rmtree(tmp_path / "run"))
    with pytest.raises(StorageError, match=r"run: cannot be written: No such file") as caught:
        train_cyclegan(unpaired_root, tmp_path / "run", images=10, sample_every=1)
    assert caught.value.exit_code == 6
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_becomes_read_only_ends_the_run_at_the_next_save(unpaired_root, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    act_before_image(monkeypatch, 5, lambda: monkeypatch.setattr(os, "replace", refuse))
    with pytest.raises(StorageError, match="Read-only file system"):
        train_cyclegan(unpaired_root, tmp_path, images=10)
    assert [path.name for path in run_folder.list_checkpoints(tmp_path)] == ["state-4.ckpt"]
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".translate")]


def test_logs_on_a_full_disk_are_said_once_and_the_training_ends_well(unpaired_root, tmp_path, monkeypatch):
    def fill():
        (tmp_path / "stats.jsonl").unlink()
        (tmp_path / "stats.jsonl").symlink_to("/dev/full")
        shutil.rmtree(tmp_path / "samples")
        (tmp_path / "samples").write_bytes(b"")

    act_before_image(monkeypatch, 3, fill)
    said = []
    assert train_cyclegan(unpaired_root, tmp_path, said.append, images=10, sample_every=2).images == 10
    assert sum("stats.jsonl cannot be written ([Errno 28] No space left on device)" in line for line in said) == 1
    assert sum("samples cannot be written" in line for line in said) == 1
    assert checkpoint.load_newest(tmp_path, pytest.fail)["images"] == 10


@pytest.mark.slow
def test_a_clock_that_is_set_back_and_forth_changes_nothing(unpaired_root, tmp_path, monkeypatch):
    train_cyclegan(unpaired_root, tmp_path / "steady", images=8)
    real, jumps = time.time, iter([0, -3600, 31536000] * 10000)
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    train_cyclegan(unpaired_root, tmp_path / "jumping", images=5)
    train_cyclegan(unpaired_root, tmp_path / "jumping", images=8)
    assert model_bytes(tmp_path / "steady") == model_bytes(tmp_path / "jumping")


def test_a_lock_that_a_dead_run_left_is_taken_over(unpaired_root, tmp_path):
    (tmp_path / "run.lock").write_text("process 1 on elsewhere")
    assert train_cyclegan(unpaired_root, tmp_path, images=2).images == 2
    with locks.lock_folder(tmp_path, "wait"), pytest.raises(BusyError, match="in use by process"):
        train_cyclegan(unpaired_root, tmp_path, images=4)


def test_what_decides_the_last_bits_is_recorded_and_a_difference_said(unpaired_root, tmp_path, monkeypatch):
    said = []
    train_cyclegan(unpaired_root, tmp_path, images=2)
    assert checkpoint.load_newest(tmp_path, pytest.fail)["environment"]["threads"] == 1
    train_cyclegan(unpaired_root, tmp_path, said.append, images=3)
    assert not [line for line in said if "last bits" in line]
    known = devices.numerical_environment
    monkeypatch.setattr(
        devices, "numerical_environment", lambda device: {**known(device), "threads": 4, "torch": "9.9"}
    )
    train_cyclegan(unpaired_root, tmp_path, said.append, images=4)
    (line,) = (line for line in said if "last bits" in line)
    differences = f"torch 9.9 instead of {torch.__version__}, threads 4 instead of 1"
    assert line == f"resumed with {differences}: weights may differ in the last bits"


@pytest.mark.slow
def test_checkpoints_at_multiples_are_kept_and_pruning_never_ends_a_run(unpaired_root, tmp_path, monkeypatch):
    train_cyclegan(unpaired_root, tmp_path, images=24, save_every=3, keep_every=7)
    assert [path.name for path in run_folder.list_checkpoints(tmp_path)] == [f"state-{n}.ckpt" for n in (24, 21, 14, 7)]
    models = {path.name: translate.load(path, device="cpu") for path in run_folder.list_model_folders(tmp_path)}
    seen = {name: model.info.trained_on["images"] for name, model in models.items()}
    assert seen == {"model": 24, "model-7": 7, "model-14": 14, "model-21": 21}
    assert len({model.sha256 for model in models.values()}) == 4


def test_a_kept_model_that_a_kill_left_half_written_is_removed(unpaired_root, tmp_path):
    train_cyclegan(unpaired_root, tmp_path, images=4)
    for name in (".model-3-new", ".model-new", ".model-best-old"):
        (tmp_path / name).mkdir()
    train_cyclegan(unpaired_root, tmp_path, images=5)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {
        "model", "model-best", "samples", "discriminator",
    }  # fmt: skip


def real_state(root, folder):
    """A checkpoint of a real training, as bytes."""
    train_cyclegan(root, folder, images=4, pool_size=0)
    return run_folder.list_checkpoints(folder)[0]


@pytest.mark.parametrize(("cuts", "flips"), [(20, 50), pytest.param(200, 1000, marks=pytest.mark.slow)])
def test_a_cut_or_flipped_checkpoint_of_a_training_is_never_taken(cuts, flips, unpaired_root, tmp_path):
    path, rng = real_state(unpaired_root, tmp_path), random.Random(0)
    whole = path.read_bytes()
    for length in rng.sample(range(len(whole)), cuts):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="damaged"):
            checkpoint.load(path)
    for place in rng.sample(range(len(whole) * 8), flips):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        with pytest.raises(ModelError, match="damaged"):
            checkpoint.load(path)
