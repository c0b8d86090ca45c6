"""Trainings of several processes: one of them is killed, or its numbers break, and what the others do."""

import os
import signal
import socket
import sys
import time

import pytest
import torch
import torch._dynamo
import torch.utils.tensorboard

from translate import cli
from translate.cli import train  # noqa: F401
from translate.data.loader import Loader
from translate.training import checkpoint

from ..helpers import server_of_processes
from .helpers import model_bytes

SIZES = [
    "--crop-size",
    "32",
    "--load-size",
    "36",
    "--g-width",
    "4",
    "--d-width",
    "4",
    "--threads",
    "1",
    "--device",
    "cpu",
]
OFTEN = ["--log-every", "4", "--save-every", "8", "--sample-every", "1000", "--watch", "off"]


def flags(root, run, images, batch_size=2):
    small = ["--generator", "resnet_3blocks", "--pool-size", "3", "--ema-half-life", "20"]
    plan = ["--images", str(images), "--batch-size", str(batch_size)]
    return ["train", "cyclegan", str(root), "--run", str(run), *plan, *SIZES, *small, *OFTEN]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def work(rank, count, port, words, console, break_at):
    """One process, as torchrun starts it. `break_at`: (image, what happens before its step)."""
    torch.set_num_threads(1)
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), **where)
    sys.stderr = open(console, "a", buffering=1)  # noqa: SIM115
    if break_at is not None:
        image, action = break_at
        batches = Loader.batches

        def broken(self, start):
            seed = self.context.sampler.seed
            for n, batch in enumerate(batches(self, start)):
                yield action(batch, seed) if start + n * len(batch["a"]) * count == image else batch

        Loader.batches = broken
    code = 99
    try:
        code = cli.run(words)
    finally:
        os._exit(code)


def together(words, tmp_path, breaks=(None, None)):
    """Exit code and what was printed of each of two processes."""
    port, consoles = free_port(), [tmp_path / f"console-{rank}" for rank in (0, 1)]
    for console in consoles:
        console.write_bytes(b"")
    processes = [
        server_of_processes().Process(target=work, args=(rank, 2, port, words, consoles[rank], breaks[rank]))
        for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [p.exitcode for p in processes], [c.read_text() for c in consoles]


def kill(batch, seed):
    os.kill(os.getpid(), signal.SIGKILL)


def stop(batch, seed):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
    return batch


def poison(batch, seed):
    return {name: x * float("nan") for name, x in batch.items()} if seed == 0 else batch


@pytest.mark.slow
def test_a_killed_process_ends_the_others_with_one_line_and_all_go_on_exactly(unpaired_root, tmp_path):
    """First one of the two is killed, and later the other."""
    words = flags(unpaired_root, tmp_path / "whole", 24)
    assert together(words, tmp_path)[0] == [0, 0]
    words = flags(unpaired_root, tmp_path / "cut", 24)
    for killed, image in ((0, 12), (1, 20)):
        breaks = [None, None]
        breaks[killed] = (image, kill)
        codes, consoles = together(words, tmp_path, breaks)
        assert codes[killed] == -signal.SIGKILL
        assert codes[1 - killed] == 1
        last = consoles[1 - killed].splitlines()[-1]
        assert last.startswith("error: another process of this training has ended")
        assert "Traceback" not in consoles[1 - killed]
        assert checkpoint.load_newest(tmp_path / "cut", pytest.fail)["images"] == image - 4
    assert together(words, tmp_path)[0] == [0, 0]
    assert model_bytes(tmp_path / "cut") == model_bytes(tmp_path / "whole")


@pytest.mark.slow
def test_all_roll_back_where_one_diverges_and_its_images_are_named(unpaired_root, tmp_path):
    codes, consoles = together(flags(unpaired_root, tmp_path / "run", 16), tmp_path, (None, (12, poison)))
    assert codes == [0, 0]
    (line,) = (line for line in consoles[0].splitlines() if "rolled back" in line)
    assert "g/cycle_a" in line
    assert "was not finite in step 4 (after 12 images)" in line
    assert "rolled back to 8 images" in line
    state = checkpoint.load_newest(tmp_path / "run", pytest.fail)
    assert (state["images"], state["rollbacks"]) == (16, 1)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(unpaired_root, tmp_path):
    """As many images a step: nothing is refused, and the first loss after the change is that of an unchanged run."""
    run = tmp_path / "run"
    assert together(flags(unpaired_root, run, 8), tmp_path)[0] == [0, 0]
    assert cli.run(flags(unpaired_root, run, 12, batch_size=4)) == 0
    assert checkpoint.load_newest(run, pytest.fail)["images"] == 12
    assert together(flags(unpaired_root, run, 16), tmp_path)[0] == [0, 0]
    assert cli.run(flags(unpaired_root, run, 20, batch_size=2)) == 2  # half as many images a step


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_after_a_save(unpaired_root, tmp_path):
    codes, consoles = together(flags(unpaired_root, tmp_path / "run", 40), tmp_path, (None, (12, stop)))
    assert codes == [128 + signal.SIGTERM] * 2
    assert "stopped at 16 of 40 images" in consoles[0]
    assert checkpoint.load_newest(tmp_path / "run", pytest.fail)["images"] == 16
