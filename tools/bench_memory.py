"""The memory that training is estimated to take beside what it takes, for a row of settings.

    uv run python tools/bench_memory.py [--rows 0,3,5] [--steps 2]

Each row is trained in a process of its own for a few steps on the CPU with one thread: the growth of the resident set is the
peak in these steps less what the process had when torch was loaded and no network built. Buffers are written first, as pools
of images are full in a long training. The last column is processor time of a step. Linux only: it reads /proc.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # optimizers load it when the first one is built

from translate import config
from translate.methods import METHODS
from translate.runtime.precision import resolve_precision
from translate.training import memory_estimate
from translate.training.engine import Engine
from translate.training.micro_batches import split_batch
from translate.training.schedule import Schedule

CPU = torch.device("cpu")
ROWS = [
    ("pix2pix", {"crop_size": 64, "batch_size": 8}),
    ("pix2pix", {"crop_size": 128, "batch_size": 4}),
    ("pix2pix", {}),
    ("pix2pix", {"batch_size": 4, "g_width": 32}),
    ("pix2pix", {"batch_size": 4, "g_width": 32, "accumulate": 2}),
    ("pix2pix", {"batch_size": 4, "g_width": 32, "gradient_checkpointing": True}),
    ("pix2pix", {"batch_size": 4, "g_width": 32, "gradient_checkpointing": True, "accumulate": 2}),
    ("cyclegan", {"crop_size": 64, "batch_size": 8, "g_width": 32}),
    ("cyclegan", {"crop_size": 128, "batch_size": 2, "g_width": 32}),
    ("cyclegan", {"crop_size": 128, "batch_size": 2, "g_width": 32, "accumulate": 2}),
    ("cyclegan", {"crop_size": 128}),
    ("cyclegan", {"crop_size": 128, "gradient_checkpointing": True}),
    ("cyclegan", {"batch_size": 2, "g_width": 16}),
    ("cyclegan", {"batch_size": 2, "g_width": 16, "gradient_checkpointing": True}),
    ("cyclegan", {}),
    ("cyclegan", {"gradient_checkpointing": True}),
]


def settings(method, flags):
    cls = METHODS[method]
    return cls, cls.resolve_config(config.resolve(cls.Config, ("row", flags)))


def random_batch(cfg, precision):
    size = cfg.batch_size, 3, cfg.crop_size, cfg.crop_size
    return {name: torch.rand(size, dtype=precision.weights) * 2 - 1 for name in "ab"}


def estimated(method, flags):
    """Return the estimate in bytes and the seconds it took."""
    cls, cfg = settings(method, flags)
    precision = resolve_precision(cfg.precision, CPU)
    example = {name: x[:1] for name, x in random_batch(cfg, precision).items()}
    start = time.process_time()
    found = memory_estimate.estimate(cls, cfg, example, CPU, precision)
    return found.total, time.process_time() - start


def measured(method, flags, steps):
    """Growth of the resident set in bytes and processor seconds of the last step; of this process, to be called once."""
    torch.set_num_threads(1)
    cls, cfg = settings(method, flags)
    precision = resolve_precision(cfg.precision, CPU)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = proc_status_bytes("VmRSS")
    engine = Engine(cls(cfg), Schedule(100, 1, 0), seed=0, device=CPU, precision=precision, batch_size=cfg.batch_size)
    for buffer in engine.method.buffers():
        buffer.add_(0)
    for _ in range(steps):
        start = time.process_time()
        engine.step(split_batch(random_batch(cfg, precision), cfg.accumulate))
    return proc_status_bytes("VmHWM") - before, time.process_time() - start


def proc_status_bytes(name):
    """Return a value of /proc/self/status in bytes."""
    return int(re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def measure_in_new_process(method, flags, steps):
    command = [sys.executable, __file__, "--measure", json.dumps([method, flags, steps])]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", help="numbers of rows, with commas (all)")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measured(*json.loads(args.measure))))
        return
    print(
        "| | estimated, MiB | measured, MiB | estimated / measured | s to estimate | s a step |\n|---|---|---|---|---|---|"
    )
    for row in map(int, args.rows.split(",")) if args.rows else range(len(ROWS)):
        method, flags = ROWS[row]
        guess, guessing = estimated(method, flags)
        found, step = measure_in_new_process(method, flags, args.steps)
        name = " ".join([method, *(f"{key} {value}" for key, value in flags.items())])
        print(
            f"| {name} | {guess / 2**20:.0f} | {found / 2**20:.0f} | {guess / found:.2f} | {guessing:.1f} | {step:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
