"""A training step of ours in processes that differ in their environment: the C library's allocator, huge pages.

    uv run python tools/bench_environment.py [--method cyclegan] [--crop 128] [--width 64] [--convolution direct]
        [--rounds 5] [--json FILE]

One process for each row of ENVIRONMENTS takes a step in turn, in an order that alternates. Shown are medians of the processor
time of a step (user and system), the median of the rounds' ratios to the first row, page faults of the last step, and the peak
of the resident set. Linux and glibc only: other allocators ignore these variables.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from dataclasses import asdict

import torch
from bench_common import CONVOLUTION_WAYS, parse_arguments, write_rows
from bench_train import OurTraining, TrainingCase, batch_of

KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2000000000"}
ENVIRONMENTS = {
    "default": {},
    "freed memory kept": KEPT,
    "huge pages of torch": {"THP_MEM_ALLOC_ENABLE": "1"},
    "both": {"THP_MEM_ALLOC_ENABLE": "1", **KEPT},
    "huge pages of glibc, memory kept": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", **KEPT},
}


def serve_steps(asked):
    """Take a step for each line of standard input, and print its processor time, page faults and the peak in MiB."""
    torch.set_num_threads(asked["threads"])
    case, cpu = TrainingCase(**asked["case"]), torch.device("cpu")
    training = OurTraining(case, cpu, asked["convolution"])
    batches = [batch_of(case, n, cpu, torch.float32) for n in range(2)]
    for batch in batches:  # warms up
        training.step(batch)
    print("ready", flush=True)
    for n, _ in enumerate(sys.stdin):
        before = resource.getrusage(resource.RUSAGE_SELF)
        training.step(batches[n % 2])
        after = resource.getrusage(resource.RUSAGE_SELF)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps([seconds, after.ru_minflt - before.ru_minflt, after.ru_maxrss / 2**10]), flush=True)


def start(environment, asked):
    """Start a process with more variables in its environment, and wait until it has warmed up."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--peak", json.dumps(asked)], env={**os.environ, **environment}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while (line := process.stdout.readline()).strip() != "ready":
        if not line:
            raise SystemExit(f"a step with {environment} failed (exit code {process.wait()})")
    return process


def take_step(process):
    """Have a process take a step; what it prints."""
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="cyclegan", choices=["cyclegan", "pix2pix"])
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--convolution", default="direct", choices=CONVOLUTION_WAYS)
    args = parse_arguments(parser, rounds=5)
    if args.peak is not None:
        serve_steps(args.peak)
        return
    case = TrainingCase(args.method, args.crop, 1, width=args.width)
    asked = {"case": asdict(case), "convolution": args.convolution, "threads": args.threads}
    processes = {name: start(environment, asked) for name, environment in ENVIRONMENTS.items()}
    steps = {name: [] for name in processes}
    for n in range(args.rounds):
        for name in list(processes)[:: 1 if n % 2 else -1]:
            steps[name].append(take_step(processes[name]))
    for process in processes.values():
        process.communicate()
    seconds = {name: [step[0] for step in taken] for name, taken in steps.items()}
    rows = [
        {
            "environment": name, "seconds": statistics.median(seconds[name]),
            "speed_up": statistics.median(a / b for a, b in zip(seconds["default"], seconds[name], strict=True)),
            "faults": steps[name][-1][1], "mib": steps[name][-1][2],
        }
        for name in processes
    ]  # fmt: skip
    write_rows(args, rows)
    print(f"\n{case}\n\n| environment | s a step | speed-up | page faults | MiB |\n|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['environment']} | {row['seconds']:.3g} | {row['speed_up']:.2f} | {row['faults']:,} | {row['mib']:,.0f} |"
        )


if __name__ == "__main__":
    main()
