"""Whole trainings through `translate.train`, and what happens to them."""

import gc
import hashlib
import multiprocessing
import os
import signal
import sys
import time
from contextlib import contextmanager

import pytest
import torch
from PIL import Image

import translate
from translate import cli, errors, run_folder
from translate.data.loader import Loader
from translate.methods import METHODS
from translate.training import checkpoint
from translate.training.log import ScalarMeans
from translate.training.monitors.health_checks import HealthMonitor

from ..helpers import method_of_each_layout, read_stats, root_of, server_of_processes, small_settings
from .helpers import PowerCut, act_before_image

FLAGS = {"load_size": 36, "log_every": 2, "save_every": 4, "device": "cpu"}


@pytest.fixture
def root(request):
    return lambda name: request.getfixturevalue(root_of(name))


def quiet(line):
    pass


def train(name, root, run, **flags):
    return translate.train(name, root(name), run=run, say=quiet, **settings(name, **flags))


def settings(name, **flags):
    return small_settings(name, **{**FLAGS, **flags})


def first_at(images, every):
    """The images seen when a multiple of `every` has just been reached, in steps of `images`."""
    return -(-every // images) * images


def weights(run):
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", METHODS)
def test_the_run_folder_holds_what_the_contract_says_and_the_same_command_leaves_it_so(name, root, tmp_path):
    flags = {"images": 6, "sample_every": 3}
    run = train(name, root, tmp_path / "run", **flags)
    assert run.path == tmp_path / "run"
    assert run.images == 6
    names = {path.name.split(".")[0] if "tfevents" in path.name else path.name for path in run.path.iterdir()}
    logs = {"events", "discriminator", "stats.jsonl", "samples", "report.html"}
    assert names == {"config.toml", "model", "state-4.ckpt", "state-6.ckpt", *logs}
    assert {path.name for path in (run.path / "model").iterdir()} == {"config.json", "model.safetensors", "README.md"}
    shown = [0, first_at(settings(name)["batch_size"], 3), 6]
    assert sorted(path.name for path in (run.path / "samples").iterdir()) == [f"{images:08}.png" for images in shown]
    stats = read_stats(run.path)
    assert [line["images"] for line in stats] == [2, 4, 6]
    assert {"lr/g", "lr/d", "epoch", "time/images_per_second", "time/data_wait"} <= stats[0].keys()
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.path.rglob("*")}
    said = []
    again = translate.train(name, root(name), run=run.path, say=said.append, **settings(name, **flags))
    assert again.images == 6
    assert any("finished after 6 images" in line for line in said)
    assert before == {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.path.rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("name", method_of_each_layout())
def test_a_longer_plan_goes_on_and_equals_one_run(name, root, tmp_path):
    """The contract tests resume each method; here files are read and written by layout."""
    train(name, root, tmp_path / "whole", images=8)
    train(name, root, tmp_path / "parts", images=3)
    train(name, root, tmp_path / "parts", images=8)
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")


@pytest.mark.slow
def test_the_loader_and_its_workers_change_nothing(root, tmp_path):
    train("cyclegan", root, tmp_path / "resident", images=6, loader="resident")
    train("cyclegan", root, tmp_path / "stream", images=6, loader="stream", workers=0)
    assert weights(tmp_path / "resident") == weights(tmp_path / "stream")


def test_the_seed_decides_the_weights(root, tmp_path):
    for run, seed in (("a", 0), ("b", 0), ("c", 1)):
        train("cyclegan", root, tmp_path / run, images=2, seed=seed)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_other_settings_on_the_same_run_are_refused_and_named(root, tmp_path):
    train("cyclegan", root, tmp_path, images=2)
    with pytest.raises(
        errors.UsageError, match=r"(?s)--lr: 0.0002 in the run, 0.001 now.*--lambda-cycle: 10.0 in the run, 5.0 now"
    ):
        train("cyclegan", root, tmp_path, images=4, lr=1e-3, lambda_cycle=5.0)
    with pytest.raises(errors.UsageError, match="images: 2 in the run, 1 now"):
        train("cyclegan", root, tmp_path, images=1)
    with pytest.raises(errors.UsageError, match="method: cyclegan in the run, pix2pix now"):
        train("pix2pix", root, tmp_path, images=2)


def test_free_settings_may_change(root, tmp_path):
    train("cyclegan", root, tmp_path, images=2)
    run = train("cyclegan", root, tmp_path, images=4, log_every=1, loader="stream", workers=0, sample_every=1)
    assert run.images == 4


def test_it_is_the_batch_over_all_processes_that_counts(root, tmp_path):
    train("cyclegan", root, tmp_path, images=2, batch_size=2)
    record = tmp_path / "config.toml"
    record.write_text(record.read_text().replace("processes = 1", "processes = 2"))  # as if two had trained it
    with pytest.raises(errors.UsageError, match="--batch-size: 4 in the run, 2 now"):
        train("cyclegan", root, tmp_path, images=4, batch_size=2)
    assert train("cyclegan", root, tmp_path, images=4, batch_size=4).images == 6


def test_resume_changes_settings_on_purpose(root, tmp_path):
    train("cyclegan", root, tmp_path, images=2)
    run = translate.api.resume(tmp_path, say=quiet, images=4, lr=1e-3)
    assert run.images == 4
    assert "lr = 0.001" in (tmp_path / "config.toml").read_text()


def test_changed_data_is_said(unpaired_root, tmp_path):
    import shutil

    data = shutil.copytree(unpaired_root, tmp_path / "data")
    train("cyclegan", lambda name: data, tmp_path / "run", images=2)
    Image.new("RGB", (40, 40)).save(data / "trainA" / "new.png")
    said = []
    translate.train("cyclegan", data, run=tmp_path / "run", say=said.append, **settings("cyclegan", images=4))
    assert any("has changed since this run was started" in line for line in said)


def test_the_place_of_the_data_is_free(unpaired_root, tmp_path):
    import shutil

    train("cyclegan", lambda name: unpaired_root, tmp_path / "run", images=2)
    moved = shutil.copytree(unpaired_root, tmp_path / "moved")
    said = []
    translate.train("cyclegan", moved, run=tmp_path / "run", say=said.append, **settings("cyclegan", images=4))
    assert not any("changed" in line for line in said)


@pytest.mark.parametrize("name", method_of_each_layout())
def test_a_loss_that_is_not_finite_ends_the_run_with_the_last_checkpoint_whole(name, root, tmp_path, monkeypatch):
    batches, count = Loader.batches, settings(name)["batch_size"]

    def poisoned(self, start):
        for n, batch in enumerate(batches(self, start)):
            yield {**batch, "a": batch["a"] * float("nan")} if start + n * count == 5 * count else batch

    monkeypatch.setattr(Loader, "batches", poisoned)
    with pytest.raises(errors.DivergedError, match="step 6") as caught:
        train(name, root, tmp_path, images=20)
    assert caught.value.exit_code == 7
    state = checkpoint.load_newest(tmp_path, pytest.fail)
    assert state["images"] == 5 * count // 4 * 4  # the last multiple of save_every
    assert all(torch.isfinite(tensor).all() for tensor in state["method"].values())


def test_init_from_starts_with_the_models_weights(root, tmp_path):
    first = train("cyclegan", root, tmp_path / "first", images=4)
    second = train("cyclegan", root, tmp_path / "second", images=1, init_from=str(first.path), lr=1e-12)
    left, right = (translate.load(run.path).method.state_dict() for run in (first, second))
    for key, value in left.items():
        if key.startswith(("g_ab", "g_ba")):
            torch.testing.assert_close(value, right[key], rtol=0, atol=1e-9)
    with pytest.raises(errors.UsageError, match="--g-width"):
        train("cyclegan", root, tmp_path / "third", images=1, init_from=str(first.path), g_width=8)


def test_side_by_side_files_serve_an_unpaired_method(paired_root, tmp_path):
    assert train("cyclegan", lambda name: paired_root, tmp_path, images=2).images == 2


def test_direction_b2a_trains_the_other_way(paired_root, tmp_path):
    """Swapping the folders when read is the same as having them the other way round."""
    import numpy as np

    swapped = tmp_path / "swapped" / "train"
    swapped.mkdir(parents=True)
    for path in (paired_root / "train").iterdir():
        pixels = np.asarray(Image.open(path))
        Image.fromarray(np.concatenate([pixels[:, 40:], pixels[:, :40]], axis=1)).save(swapped / path.name)
    train("pix2pix", lambda name: paired_root, tmp_path / "one", images=2, direction="b2a")
    train("pix2pix", lambda name: tmp_path / "swapped", tmp_path / "two", images=2)
    assert weights(tmp_path / "one") == weights(tmp_path / "two")


FLAGS_OF_COMMAND = [
    "--crop-size", "32", "--load-size", "36", "--g-width", "4", "--d-width", "4", "--generator", "resnet_3blocks",
    "--log-every", "1", "--threads", "1", "--save-every", "1000", "--device", "cpu",
]  # fmt: skip


def run_command(words, console):
    sys.stderr = open(console, "w", buffering=1)  # noqa: SIM115
    os._exit(cli.run(words))


@contextmanager
def training_process(root, run, images):
    """A training in a process of its own, and its standard error."""
    console = root.with_name(f"{root.name}-console")
    os.mkfifo(console)
    words = ["train", "cyclegan", str(root), "--run", str(run), "--images", str(images), *FLAGS_OF_COMMAND]
    process = server_of_processes().Process(target=run_command, args=(words, console))
    process.start()
    with open(console) as stderr:
        yield process, stderr
    process.join(600)
    console.unlink()


@pytest.mark.slow
def test_a_signal_saves_and_the_same_command_goes_on_to_the_same_weights(unpaired_root, tmp_path):
    """Ctrl-C, in a process of its own; other signals and kills: test_faults.py."""
    with training_process(unpaired_root, tmp_path / "cut", 60) as (process, stderr):
        for line in stderr:
            if "/60 images" in line:
                os.kill(process.pid, signal.SIGINT)
                break
        rest = stderr.read()
    assert process.exitcode == 130
    assert "the same command again to resume" in rest
    assert "Traceback" not in rest
    assert not (tmp_path / "cut" / "run.lock").exists()
    (saved,) = run_folder.list_checkpoints(tmp_path / "cut")
    assert 1 <= checkpoint.load(saved)["images"] < 60
    torch.set_num_threads(1)
    flags = {"images": 60, "save_every": 1000, "log_every": 1, "threads": 1}
    train("cyclegan", lambda name: unpaired_root, tmp_path / "cut", **{**flags, "pool_size": 50})
    train("cyclegan", lambda name: unpaired_root, tmp_path / "whole", **{**flags, "pool_size": 50})
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


@pytest.mark.slow
def test_a_second_signal_ends_at_once_and_leaves_no_half_file(unpaired_root, tmp_path):
    with training_process(unpaired_root, tmp_path / "run", 100000) as (process, stderr):
        for line in stderr:
            if "/100000 images" in line:
                break
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):  # both while it does not run
            os.kill(process.pid, number)
        assert "the same command again to resume" not in stderr.read()
    assert process.exitcode in (130, 143)
    for path in run_folder.list_checkpoints(tmp_path / "run"):
        checkpoint.load(path)


def test_checkpoints_are_made_by_the_clock_where_no_interval_is_given(root, tmp_path, monkeypatch):
    """Time jumps by 100 s with each look at it, and the longest interval is 300 s."""
    ticks = iter(range(0, 10**9, 100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda folder, state, keep_every: saved.append(state["images"]))
    train("cyclegan", root, tmp_path, images=8, save_every=None)
    assert len(saved) > 2


def test_logged_losses_are_means_over_the_steps_that_had_them():
    means = ScalarMeans()
    for losses in ({"d": 1.0, "g": 5.0}, {"d": 2.0}, {"d": 6.0, "g": 7.0}):
        means.add({name: torch.tensor(loss) for name, loss in losses.items()})
    assert means.read() == {"d": 3.0, "g": 6.0}
    means.add({"d": torch.tensor(4.0)})
    assert means.read() == {"d": 4.0}


OF_THE_CLOCK = ("time/", "memory/")


@pytest.mark.slow
def test_log_points_after_a_kill_are_those_of_a_run_without_one(root, tmp_path, monkeypatch):
    """Means, sentinels, discriminator outputs and advice: of the points before the checkpoint, and what waits for the next."""
    measure = HealthMonitor.__call__

    def advising(self, engine):
        return measure(self, engine)[0], ["always the same", f"after {engine.images} images"]

    monkeypatch.setattr(HealthMonitor, "__call__", advising)
    flags = {"images": 12, "log_every": 3, "save_every": 4}
    whole = train("cyclegan", root, tmp_path / "whole", **flags)

    def cut():
        raise PowerCut

    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        act_before_image(patch, 6, cut)
        train("cyclegan", root, tmp_path / "cut", **flags)
    resumed = train("cyclegan", root, tmp_path / "cut", **flags)
    found, expected = (
        [{key: value for key, value in point.items() if not key.startswith(OF_THE_CLOCK)} for point in read_stats(run)]
        for run in (resumed.path, whole.path)
    )
    assert found == expected
    assert any("watch/d_gap_b" in point for point in found)
    advice = [line for point in found for line in point.get("advice", ())]
    assert advice == ["always the same", *(f"after {n} images" for n in (0, 4, 8, 12))]


@pytest.mark.slow
def test_the_workers_of_a_training_end_with_it(root, quick_workers, tmp_path):
    """Although the training is held in a cycle of references, as by the forecast's function that prints a line."""
    gc.collect()
    gc.disable()
    try:
        train("cyclegan", root, tmp_path, images=2, loader="stream", workers=1)
        assert not multiprocessing.active_children()
    finally:
        gc.enable()
