"""What may happen to a training, done to it: kills, signals, numbers that are not finite, memory and disks that run out."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import translate
from translate import atomic, run_folder
from translate.data.loader import Loader
from translate.errors import BusyError, DivergedError, ModelError, StorageError, UsageError
from translate.methods.cyclegan import CycleGAN
from translate.runtime import devices
from translate.training import checkpoint
from translate.training.micro_batches import next_micro_batch_count

SMALL = {"crop_size": 32, "load_size": 36, "g_width": 4, "d_width": 4, "log_every": 2, "save_every": 4, "device": "cpu"}
CYCLEGAN = {**SMALL, "generator": "resnet_3blocks", "pool_size": 3, "sample_every": 1000}

SERVER = '''
"""Trains in children of one process that has imported torch, and stops each at a random moment. Tells what happened."""
import hashlib, json, os, random, signal, sys, time
from pathlib import Path

import torch
import torch._dynamo
import torch.utils.tensorboard

torch.set_num_threads(1)
from translate import api, cli
from translate.cli import train
from translate.data.loader import Loader
from translate.training import checkpoint


def start(command, run):
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.dup2(os.open(run.with_name("console"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            code = cli.run([*command, "--run", str(run)])
        finally:
            os._exit(code)
    return child


def code_of(child):
    """As a shell gives it."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def digest(value, sha):
    """SHA-256 of nested dicts and lists of tensors."""
    if isinstance(value, torch.Tensor):
        sha.update(str(value.dtype).encode() + value.contiguous().view(-1).numpy().tobytes())
    elif isinstance(value, (dict, list, tuple)):
        for item in value.items() if isinstance(value, dict) else value:
            digest(item, sha)
    else:
        sha.update(repr(value).encode())
    return sha


def final(run):
    state = checkpoint.newest(run, print)
    wanted = ("images", "steps", "rollbacks", "method", "averages", "buffers", "optimizers")
    return digest({name: state[name] for name in wanted}, hashlib.sha256()).hexdigest()


def wait_for(checkpoints, run, child):
    """Until so many more have been made, or the training has ended."""
    before = {path.name for path in checkpoint.saved(run)}
    while len({path.name for path in checkpoint.saved(run)} - before) < checkpoints:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.005)


def stopped(number, stops, folder, command, more):
    folder, rng = Path(folder), random.Random(0)
    began = time.monotonic()
    codes, slowest = [code_of(start(command, folder / "whole"))], 0.0
    seconds = time.monotonic() - began
    command += more
    for n in range(stops):
        child = start(command, folder / "run")
        wait_for(rng.randint(n % 2 == 0, 2), folder / "run", child)
        time.sleep(rng.uniform(0, 0.1 * seconds))
        asked = time.monotonic()
        os.kill(child, number)
        codes.append(code_of(child))
        slowest = max(slowest, time.monotonic() - asked)
        for path in checkpoint.saved(folder / "run"):
            checkpoint.load(path)
    codes.append(code_of(start(command, folder / "run")))
    return {
        "codes": codes,
        "equal": final(folder / "run") == final(folder / "whole"),
        "left": sorted(path.name for path in (folder / "run").iterdir() if path.name.startswith(".")),
        "slowest": round(slowest, 2),
        "seconds": round(seconds, 2),
    }


def long(folder, command):
    """Step, MiB and descriptors that a training has, after each 50 steps."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            batches, held = Loader.batches, []

            def watched(self, start):
                for n, batch in enumerate(batches(self, start)):
                    if n % 50 == 0:
                        pages = int(Path("/proc/self/statm").read_text().split()[1])
                        handles = len(os.listdir("/proc/self/fd"))
                        held.append((n, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, handles))
                    yield batch

            Loader.batches = watched
            code = cli.run([*command, "--run", folder + "/run"])
            Path(folder, "held").write_text(json.dumps(held))
        finally:
            os._exit(code)
    assert code_of(child) == 0
    return json.loads(Path(folder, "held").read_text())


signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever started the tests may ignore it
for line in sys.stdin:
    name, *arguments = json.loads(line)
    print(json.dumps({"stopped": stopped, "long": long}[name](*arguments)), flush=True)
'''


@pytest.fixture(scope="module")
def server():
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def ask(server):
    """Has the server do something."""

    def ask(*words):
        print(json.dumps(words), file=server.stdin, flush=True)
        return json.loads(server.stdout.readline())

    return ask


@pytest.fixture
def stopped(ask, tmp_path):
    """What became of a training that was stopped so many times by a signal; the first code is of one that was not.

    `more` are flags of the stopped one.
    """

    def stop(number, stops, words, more=()):
        told = ask("stopped", number, stops, str(tmp_path), words, list(more))
        print(told)  # noqa: T201
        assert "Traceback" not in (tmp_path / "console").read_text()
        return told

    return stop


def command(method, root, images, every=5):
    sizes = ["--crop-size", "32", "--load-size", "36", "--g-width", "4", "--d-width", "4", "--threads", "1"]
    small = ["--generator", "resnet_3blocks"] if method == "cyclegan" else []
    often = ["--log-every", str(every), "--save-every", str(every), "--sample-every", str(4 * every)]
    averaged = ["--ema-half-life", "10"]
    return ["train", method, str(root), "--images", str(images), *sizes, *small, *often, *averaged, "--device", "cpu"]


LOADERS = {
    "resident": ["--loader", "resident"],
    "ram": ["--loader", "ram"],
    "stream": ["--loader", "stream", "--workers", "2"],
}


@pytest.mark.parametrize(
    ("method", "loader", "kills", "images"),
    [
        ("pix2pix", "resident", 3, 30),
        ("cyclegan", "resident", 3, 30),
        ("cyclegan", "stream", 1, 20),
        ("pix2pix", "ram", 1, 20),
        pytest.param("pix2pix", "stream", 1, 20, marks=pytest.mark.slow),
        *(
            pytest.param(method, loader, 50, 500, marks=pytest.mark.hours)
            for method in ("pix2pix", "cyclegan")
            for loader in ("resident", "stream")
        ),
    ],
)
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bits(
    method, loader, kills, images, paired_root, stopped
):
    told = stopped(9, kills, command(method, paired_root, images), LOADERS[loader])
    assert (told["codes"][0], told["codes"][-1], told["equal"], told["left"]) == (0, 0, True, [])
    assert 137 in told["codes"]


@pytest.mark.parametrize(
    ("number", "stops", "images"),
    [(signal.SIGTERM, 5, 40), (signal.SIGHUP, 2, 40), pytest.param(signal.SIGTERM, 50, 500, marks=pytest.mark.hours)],
)
def test_a_training_that_is_asked_to_stop_saves_and_ends_with_the_same_bits(
    number, stops, images, paired_root, stopped
):
    """At any moment: while it starts the system ends it, later it ends itself, to a shell in the same way."""
    told = stopped(number, stops, command("pix2pix", paired_root, images))
    assert (told["codes"][0], told["codes"][-1], told["equal"], told["left"]) == (0, 0, True, [])
    assert 128 + number in told["codes"]
    assert set(told["codes"]) <= {128 + number, 0}


SEED = 0


def poison(monkeypatch, when):
    """NaN in the images of a batch for which `when(first image, seed of draws)` holds."""
    batches = Loader.batches

    def poisoned(self, start):
        for n, batch in enumerate(batches(self, start)):
            bad = when(start + n, self.context.sampler.seed)
            yield {name: x * float("nan") for name, x in batch.items()} if bad else batch

    monkeypatch.setattr(Loader, "batches", poisoned)


def train(root, run, say=lambda line: None, **flags):
    return translate.train("cyclegan", root, run=run, say=say, **{**CYCLEGAN, **flags})


def weights(run):
    return (run / "model" / "model.safetensors").read_bytes()


def test_a_run_is_rolled_back_once_and_goes_on_with_other_draws(unpaired_root, tmp_path, monkeypatch):
    poison(monkeypatch, lambda n, seed: n == 5 and seed == SEED)
    said = []
    train(unpaired_root, tmp_path, said.append, images=10)
    (line,) = (line for line in said if "rolled back" in line)
    assert "g/cycle_a" in line
    assert "was not finite in step 6 (after 5 images)" in line
    assert "trainA" in line
    assert "rolled back to 4 images" in line
    state = checkpoint.load_newest(tmp_path, pytest.fail)
    assert (state["images"], state["rollbacks"]) == (10, 1)
    assert all(torch.isfinite(x).all() for x in state["method"].values())
    stats = [json.loads(line)["images"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert stats == [2, 4, 6, 8, 10]


def test_after_a_roll_back_the_order_dropout_and_keys_are_others(unpaired_root, tmp_path, monkeypatch):
    """The run that met the bad batch and one that did not part at the checkpoint and not before."""
    train(unpaired_root, tmp_path / "spared", images=10, keep_every=4)
    poison(monkeypatch, lambda n, seed: n == 5 and seed == SEED)
    train(unpaired_root, tmp_path / "met", images=10, keep_every=4)
    left, right = (checkpoint.load(tmp_path / run / "state-4.ckpt")["method"] for run in ("spared", "met"))
    assert all(torch.equal(x, right[name]) for name, x in left.items())
    assert weights(tmp_path / "spared") != weights(tmp_path / "met")


def test_a_run_that_is_cut_after_its_roll_back_ends_with_the_same_bits(unpaired_root, tmp_path, monkeypatch):
    poison(monkeypatch, lambda n, seed: n == 5 and seed == SEED)
    train(unpaired_root, tmp_path / "whole", images=10)
    for images in (6, 9, 10):
        train(unpaired_root, tmp_path / "cut", images=images)
    assert weights(tmp_path / "whole") == weights(tmp_path / "cut")


def test_a_run_that_is_killed_in_its_roll_back_ends_with_the_same_bits(unpaired_root, tmp_path, monkeypatch):
    poison(monkeypatch, lambda n, seed: n == 5 and seed == SEED)
    train(unpaired_root, tmp_path / "whole", images=10)
    for place in ("fsync", "rename"):  # before the state with the new draws is on disk, and after
        with monkeypatch.context() as patch:
            at(patch, 5, lambda place=place, patch=patch: patch.setattr(os, place, power_cut))
            with pytest.raises(PowerCut):
                train(unpaired_root, tmp_path / place, images=10)
        train(unpaired_root, tmp_path / place, images=10)
        assert weights(tmp_path / "whole") == weights(tmp_path / place)


def test_a_second_divergence_ends_the_run_and_names_the_images(unpaired_root, tmp_path, monkeypatch):
    poison(monkeypatch, lambda n, seed: n == (5 if seed == SEED else 7))
    seen, batches = [], Loader.batches

    def watched(self, start):
        for n, batch in enumerate(batches(self, start)):
            if start + n == 7 and self.context.sampler.seed != SEED:
                seen.extend(self.context.sampler.files(torch.tensor([7])))
            yield batch

    monkeypatch.setattr(Loader, "batches", watched)
    with pytest.raises(DivergedError, match=r"diverged again .*g/adv_ab.* step 8 \(after 7 images\)") as caught:
        train(unpaired_root, tmp_path, images=10)
    assert caught.value.exit_code == 7
    assert "\n" not in str(caught.value)
    assert len(seen) == 2
    assert all(repr(str(path)) in str(caught.value) for path in seen)
    state = checkpoint.load_newest(tmp_path, pytest.fail)
    assert (state["images"], state["rollbacks"]) == (4, 1)
    with pytest.raises(DivergedError, match="diverged again"):  # the same command again: the count is in the checkpoint
        train(unpaired_root, tmp_path, images=10)


def test_a_divergence_before_the_first_checkpoint_ends_the_run(unpaired_root, tmp_path, monkeypatch):
    poison(monkeypatch, lambda n, seed: n == 1)
    with pytest.raises(DivergedError, match="before its first checkpoint"):
        train(unpaired_root, tmp_path, images=10)


def test_a_checkpoint_that_is_not_finite_is_nothing_to_go_back_to(unpaired_root, tmp_path, monkeypatch):
    train(unpaired_root, tmp_path, images=4)
    state = checkpoint.load_newest(tmp_path, pytest.fail)
    state["method"]["g_ab.model.1.weight"].view(-1)[0] = float("inf")
    checkpoint.save(tmp_path, state)
    with pytest.raises(DivergedError, match="the last checkpoint is not finite either"):
        train(unpaired_root, tmp_path, images=8)


def test_weights_that_are_not_finite_are_never_saved(unpaired_root, tmp_path, monkeypatch):
    """A rate so large that the weights overflow in the step before the save, while its losses were finite."""
    with pytest.raises(DivergedError, match="weights of g, weights of d was not finite in step 1"):
        train(unpaired_root, tmp_path, images=8, save_every=1, lr=1e39)
    assert run_folder.list_checkpoints(tmp_path) == []


class Short:
    """CycleGAN's step, out of memory after its first update wherever a micro-batch is too large."""

    def __init__(self, most, step):
        self.most, self.at, self.real = most, step, CycleGAN.step

    def __call__(self, method, batch, clock):
        for number, update in enumerate(self.real(method, batch, clock)):
            if number == 1 and clock.step >= self.at and len(batch["a"]) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
            yield update


LARGE = {"batch_size": 4, "images": 16, "precision": "fp64", "save_every": 8}


def run_short(monkeypatch, short):
    monkeypatch.setattr(CycleGAN, "step", lambda method, batch, clock: short(method, batch, clock))


@pytest.mark.parametrize(("most", "step", "parts"), [(2, 3, 2), (1, 0, 4)])
def test_out_of_memory_splits_the_batch_and_changes_nothing_else(
    most, step, parts, unpaired_root, tmp_path, monkeypatch
):
    train(unpaired_root, tmp_path / "roomy", **LARGE)
    run_short(monkeypatch, Short(most, step))
    said = []
    train(unpaired_root, tmp_path / "short", said.append, auto_batch=True, **LARGE)
    lines = [line for line in said if "out of memory" in line]
    assert len(lines) == (2 if most == 1 else 1)
    assert f"after {8 if step else 0} images with --accumulate {parts}" in lines[-1]
    left, right = (checkpoint.load_newest(tmp_path / run, pytest.fail) for run in ("roomy", "short"))
    assert right["accumulate"] == parts
    for name, x in left["method"].items():
        torch.testing.assert_close(x, right["method"][name], rtol=0, atol=1e-6)  # as in tests/contract
    said.clear()
    train(unpaired_root, tmp_path / "short", said.append, auto_batch=True, **{**LARGE, "images": 20})
    assert not [line for line in said if "out of memory" in line]  # what was learnt is kept


def test_out_of_memory_is_one_line_of_advice(unpaired_root, tmp_path, monkeypatch):
    run_short(monkeypatch, Short(1, 3))
    numbers = (
        r"--batch-size 4 --crop-size 32 --accumulate 1: [\d.]+ [GM]iB are free, this process has used [\d.]+ [GM]iB"
    )
    with pytest.raises(UsageError, match=rf"step 4 with {numbers}; use --accumulate 2 or --auto-batch on") as caught:
        train(unpaired_root, tmp_path, **LARGE)
    assert "\n" not in str(caught.value)
    assert checkpoint.load_newest(tmp_path, pytest.fail)["images"] == 8
    run_short(monkeypatch, Short(0, 0))
    with pytest.raises(UsageError, match="use a smaller --crop-size"):
        train(unpaired_root, tmp_path / "least", auto_batch=True, **LARGE)


def test_other_errors_of_a_step_are_not_taken_for_it(unpaired_root, tmp_path, monkeypatch):
    def broken(method, batch, clock):
        raise RuntimeError("a bug")
        yield

    monkeypatch.setattr(CycleGAN, "step", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        train(unpaired_root, tmp_path, auto_batch=True, **LARGE)


def test_a_batch_whose_images_influence_each_other_is_not_split_by_itself(paired_root, tmp_path):
    with pytest.raises(UsageError, match=r"--auto-batch on: .*\(batch norm\).*--norm instance --dropout off"):
        translate.train("pix2pix", paired_root, run=tmp_path, say=pytest.fail, images=2, auto_batch=True, **SMALL)


def test_micro_batches_may_change_where_they_decide_nothing(unpaired_root, paired_root, tmp_path):
    train(unpaired_root, tmp_path / "a", images=4, batch_size=2)
    train(unpaired_root, tmp_path / "a", images=8, batch_size=2, accumulate=2)
    flags = {**SMALL, "batch_size": 2, "say": lambda line: None}
    translate.train("pix2pix", paired_root, run=tmp_path / "b", images=4, **flags)
    with pytest.raises(UsageError, match="accumulate: 1 in the run, 2 now"):
        translate.train("pix2pix", paired_root, run=tmp_path / "b", images=8, accumulate=2, **flags)


@pytest.mark.parametrize(
    ("batch", "parts", "multiple", "next_parts"),
    [
        (8, 1, 1, 2),
        (8, 2, 1, 4),
        (6, 1, 1, 2),
        (6, 2, 1, 6),
        (3, 1, 1, 3),
        (1, 1, 1, None),
        (8, 4, 2, None),
        (8, 2, 2, 4),
    ],
)
def test_the_next_number_of_micro_batches(batch, parts, multiple, next_parts):
    assert next_micro_batch_count(batch, parts, multiple) == next_parts


class PowerCut(BaseException):
    pass


def power_cut(*args):
    raise PowerCut


def at(monkeypatch, image, action):
    """Does something to a running training before the step of an image."""
    batches = Loader.batches

    def acting(self, start):
        for n, batch in enumerate(batches(self, start)):
            if start + n == image:
                action()
            yield batch

    monkeypatch.setattr(Loader, "batches", acting)


def test_a_run_folder_that_vanishes_ends_the_run_at_the_next_save(unpaired_root, tmp_path, monkeypatch):
    at(monkeypatch, 5, lambda: shutil.rmtree(tmp_path / "run"))
    with pytest.raises(StorageError, match=r"run: cannot be written: No such file") as caught:
        train(unpaired_root, tmp_path / "run", images=10, sample_every=1)
    assert caught.value.exit_code == 6
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_becomes_read_only_ends_the_run_at_the_next_save(unpaired_root, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    at(monkeypatch, 5, lambda: monkeypatch.setattr(os, "replace", refuse))
    with pytest.raises(StorageError, match="Read-only file system"):
        train(unpaired_root, tmp_path, images=10)
    assert [path.name for path in run_folder.list_checkpoints(tmp_path)] == ["state-4.ckpt"]
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".translate")]


def test_logs_on_a_full_disk_are_said_once_and_the_training_ends_well(unpaired_root, tmp_path, monkeypatch):
    def fill():
        (tmp_path / "stats.jsonl").unlink()
        (tmp_path / "stats.jsonl").symlink_to("/dev/full")
        shutil.rmtree(tmp_path / "samples")
        (tmp_path / "samples").write_bytes(b"")

    at(monkeypatch, 3, fill)
    said = []
    assert train(unpaired_root, tmp_path, said.append, images=10, sample_every=2).images == 10
    assert sum("stats.jsonl cannot be written ([Errno 28] No space left on device)" in line for line in said) == 1
    assert sum("samples cannot be written" in line for line in said) == 1
    assert checkpoint.load_newest(tmp_path, pytest.fail)["images"] == 10


def test_a_clock_that_is_set_back_and_forth_changes_nothing(unpaired_root, tmp_path, monkeypatch):
    train(unpaired_root, tmp_path / "steady", images=8)
    real, jumps = time.time, iter([0, -3600, 31536000] * 10000)
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    train(unpaired_root, tmp_path / "jumping", images=5)
    train(unpaired_root, tmp_path / "jumping", images=8)
    assert weights(tmp_path / "steady") == weights(tmp_path / "jumping")


def test_a_lock_that_a_dead_run_left_is_taken_over(unpaired_root, tmp_path):
    (tmp_path / "run.lock").write_text("process 1 on elsewhere")
    assert train(unpaired_root, tmp_path, images=2).images == 2
    with atomic.lock_folder(tmp_path, "wait"), pytest.raises(BusyError, match="in use by process"):
        train(unpaired_root, tmp_path, images=4)


def test_what_decides_the_last_bits_is_recorded_and_a_difference_said(unpaired_root, tmp_path, monkeypatch):
    said = []
    train(unpaired_root, tmp_path, images=2)
    assert checkpoint.load_newest(tmp_path, pytest.fail)["environment"]["threads"] == 1
    train(unpaired_root, tmp_path, said.append, images=3)
    assert not [line for line in said if "last bits" in line]
    known = devices.numerical_environment
    monkeypatch.setattr(
        devices, "numerical_environment", lambda device: {**known(device), "threads": 4, "torch": "9.9"}
    )
    train(unpaired_root, tmp_path, said.append, images=4)
    (line,) = (line for line in said if "last bits" in line)
    differences = f"torch 9.9 instead of {torch.__version__}, threads 4 instead of 1"
    assert line == f"resumed with {differences}: weights may differ in the last bits"


def test_checkpoints_at_multiples_are_kept_and_pruning_never_ends_a_run(unpaired_root, tmp_path, monkeypatch):
    train(unpaired_root, tmp_path, images=24, save_every=3, keep_every=7)
    assert [path.name for path in run_folder.list_checkpoints(tmp_path)] == [f"state-{n}.ckpt" for n in (24, 21, 14, 7)]


def real_state(root, folder):
    """A checkpoint of a real training, as bytes."""
    train(root, folder, images=4, pool_size=0)
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


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize(("steps", "most"), [(500, 60), pytest.param(5000, 4, marks=pytest.mark.hours)])
def test_a_long_run_holds_no_more_memory_or_files_than_a_short_one(steps, most, paired_root, tmp_path, ask):
    """MiB per 1,000 steps: two images of 32×32 that each step kept would be 24, and −2 were measured over 5,000 steps. In a
    short run an allocator still takes what it will use again, so that the slope only shows whether several are kept."""
    held = ask("long", str(tmp_path), command("pix2pix", paired_root, steps, every=100))
    when, memory, handles = zip(*held[3:], strict=True)  # once all is warm
    slope = np.polyfit(when, memory, 1)[0] * 1000
    print(f"{steps} steps: {slope:.2f} MiB per 1,000, {handles[0]} to {handles[-1]} descriptors")  # noqa: T201
    assert slope < most
    assert len(set(handles)) == 1
