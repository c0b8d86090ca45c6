"""Speed-up of a second process on a machine of two cores: two processes of one thread each, against one of two threads.

Both take the same images a step. The runs are interleaved, each in fresh processes; a row is a method and a crop, with
medians over the rounds of the seconds that a step took after the first two.

    uv run python tools/bench_ranks.py --rounds 3
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time

CASES = {
    "cyclegan, 64 px, width 32, batch 4": ("cyclegan", 64, {"g_width": 32, "d_width": 32, "generator": "resnet_6blocks"}),
    "pix2pix, 128 px, width 32, batch 4": ("pix2pix", 128, {"g_width": 32, "d_width": 32}),
}  # fmt: skip
BATCH = 4
STEPS, WARM = 8, 2


def work(name: str, crop: int, flags: dict, threads: int) -> None:
    """One process: prints the seconds of each step where it is the first."""
    import torch

    from translate import config, keyed_random
    from translate.methods import METHODS
    from translate.runtime import distributed
    from translate.runtime.precision import PRECISIONS
    from translate.training.engine import Engine
    from translate.training.schedule import Schedule

    torch.set_num_threads(threads)
    device = torch.device("cpu")
    distributed.init_process_group(device)
    batch_size = BATCH // distributed.world_size()
    cls = METHODS[name]
    sizes = {"crop_size": crop, "load_size": crop, "batch_size": batch_size}
    cfg = cls.resolve_config(config.resolve(cls.Config, ("bench", {**sizes, **flags})))
    plan = Schedule(per_epoch=100, epochs=0, decay_epochs=0, images=10**6)
    precision = PRECISIONS["fp32"]
    engine = Engine(cls(cfg), plan, seed=0, device=device, precision=precision, batch_size=batch_size)
    seconds = []
    for step in range(WARM + STEPS):
        key = keyed_random.image_keys(step, torch.arange(batch_size) + batch_size * distributed.rank())
        batch = {side: keyed_random.uniform(key, side, 3, crop, crop) * 2 - 1 for side in "ab"}
        began = time.perf_counter()
        engine.step([batch])
        seconds.append(time.perf_counter() - began)
    if distributed.rank() == 0:
        print(json.dumps(seconds[WARM:]))


def measure(case: str, processes: int) -> float:
    """Median seconds of a step."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    words = [sys.executable, __file__, "--work", case, "--threads", str(2 // processes)]
    running = []
    for rank in range(processes):
        where = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": processes,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        env = {**os.environ, "GOMP_SPINCOUNT": "10000", **{k: str(v) for k, v in where.items()}}
        running.append(subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("a process of the benchmark failed")
    return statistics.median(json.loads(outputs[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(*CASES[args.work], args.threads)
        return
    print("| step of | one process, two threads | two processes, one thread each | ratio |\n|---|---|---|---|")
    for case in CASES:
        rounds = [(measure(case, 1), measure(case, 2)) for _ in range(args.rounds)]
        one, two = (statistics.median(times) for times in zip(*rounds, strict=True))
        ratio = statistics.median(a / b for a, b in rounds)
        print(f"| {case} | {one:.3f} s | {two:.3f} s | {ratio:.2f}× |", flush=True)


if __name__ == "__main__":
    main()
