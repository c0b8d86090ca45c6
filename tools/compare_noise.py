"""Methods of images from noise compared at equal CPU time: KID by two networks, and a sheet of samples of each.

    uv run translate data get fashion_mnist
    uv run --extra metrics python tools/compare_noise.py datasets/fashion_mnist --seconds 1200 --jobs 2

Each training is a process of its own with one thread. It is stopped, as by Ctrl-C, once it has used its CPU time, user and
system, from its first step on, which includes logs and checkpoints but not the check of the data. As many samples as --samples
says are then compared with as many images of test/; the reference are as many of train/. Each training is a line of
results.jsonl; what is there is not computed again.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from ladder import append_line, read_lines
from method_examples import draw_samples

import translate
from translate import images
from translate.data import layouts
from translate.errors import Interrupted
from translate.runtime import devices

SHARED: dict[str, Any] = {
    "crop_size": 32, "load_size": 32, "input_channels": 1, "output_channels": 1, "device": "cpu", "loader": "resident",
    "threads": 1, "log_every": 2000, "sample_every": 10_000_000, "save_every": 10_000_000, "images": 10_000_000,
}  # fmt: skip
"""Settings of every training; it is stopped long before the images are seen."""
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "dcgan": ("paper", {
        "batch_size": 32, "g_width": 32, "d_width": 32, "lr": 5e-4, "real_label": 0.9, "ema_half_life": 5000,
    }),
    "pggan": ("quick", {
        "g_width": 64, "d_width": 64, "full_width_size": 8, "max_batch_size": 64, "stable_images": 8_000, "fade_images": 8_000,
    }),
    # 60,000 images need no augmentation
    "stylegan2": ("quick", {
        "g_width": 64, "d_width": 64, "full_width_size": 8, "diffaugment": "", "lambda_r1": 0.05,
    }),
    "biggan": ("quick", {"g_width": 8, "d_width": 8, "lr": 4e-4, "d_lr": 4e-4}),
}  # fmt: skip
"""Preset and settings of each method."""
EXTRACTORS = {"KID-EL0": "efficientnet-lite0", "KID-R50": "thin-resnet50"}


class Budget(translate.TrainingCallback):
    """Callback that ends the training, as Ctrl-C does, once the process has used its CPU time."""

    strict = True

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.images = 0
        self.started: float | None = None

    @property
    def used(self) -> float:
        """CPU seconds since the first step."""
        return 0.0 if self.started is None else time.process_time() - self.started

    def on_step(self, images: int) -> None:
        self.started = self.started or time.process_time()
        self.images = images
        if self.used >= self.seconds:
            signal.raise_signal(signal.SIGINT)


def train(method: str, root: Path, run: Path, seed: int, seconds: float) -> dict[str, Any]:
    """Train for CPU seconds, and return the images seen and the time used."""
    preset, settings = METHODS[method]
    budget = Budget(seconds)
    with suppress(Interrupted):
        translate.train(
            method, root, run=run, preset=preset, watch=False, callbacks=[budget], seed=seed, **SHARED, **settings
        )
    return {"images": budget.images, "cpu_seconds": round(budget.used, 1)}


def copy_images(root: Path, split: str, count: int, target: Path) -> Path:
    """Copy evenly spaced images of a split, and return their folder; it is not made anew."""
    if not target.exists():
        target.mkdir(parents=True)
        for number, ref in enumerate(layouts.find_split(root, "domains", split).subsample(count).a):
            shutil.copy(ref.path, target / f"{number:05}.png")
    return target


def measure(made: Path, real: Path) -> dict[str, Any]:
    """Return KID and its error of a folder of images, by both networks."""
    return {
        name: translate.evaluate(real=real, fake=made, metrics=["kid"], extractor=extractor, device="cpu")["metrics"]["kid"]
        for name, extractor in EXTRACTORS.items()
    }  # fmt: skip


def work(task: dict[str, Any]) -> dict[str, Any]:
    """Train and measure one method, or measure real images."""
    torch.set_num_threads(1)
    root, place, count = Path(task["root"]), Path(task["place"]), task["samples"]
    real = place.parent / f"test-{count}"
    if task["method"] == "real":
        return measure(copy_images(root, "train", count, place), copy_images(root, "test", count, real))
    made = place.with_name(f"{place.name}-samples")
    # What a comparison that was stopped has left: to go on with it would take more than the time of the others.
    for folder in (place, made):
        shutil.rmtree(folder, ignore_errors=True)
    spent = train(task["method"], root, place, task["seed"], task["seconds"])
    images.write_png(place.with_suffix(".png"), draw_samples(place))
    translate.sample(place, made, count=count, device="cpu")
    return {**spent, **measure(made, copy_images(root, "test", count, real))}


def compute(task: dict[str, Any], results: Path) -> None:
    """Run a task in a process of its own, and append its line."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(f"{task['place']}.log", "w") as log:
        done = subprocess.run(
            [sys.executable, __file__, task["root"], "--task", json.dumps(task)],
            env=env, stdout=subprocess.PIPE, stderr=log, text=True, check=True,
        )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    machine = {"cpu": devices.cpu_model(), "torch": str(torch.__version__)}
    append_line(results, {name: task[name] for name in ("method", "seed", "seconds", "samples")} | machine | found)
    print(f"{task['method']} {task['seed']}: {found}", file=sys.stderr, flush=True)


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table of the lines."""
    rows = ["| method | seed | images | CPU s | KID-EL0 ↓ | KID-R50 ↓ |", "|---|---|---|---|---|---|"]
    for line in lines:
        kids = [f"{line[name]['value']:.4f} ± {line[name]['error']:.4f}" for name in EXTRACTORS]
        if line["method"] == "real":
            rows.append(f"| real images of `train` | | | | {' | '.join(kids)} |")
        else:
            seen = f"{line['images']:,} | {line['cpu_seconds']:.0f}"
            rows.append(f"| `{line['method']}` | {line['seed']} | {seen} | {' | '.join(kids)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="data folder with train/<class>/ and test/<class>/")
    parser.add_argument("--out", type=Path, default=Path("runs/noise"), help="folder of runs, sheets and results")
    parser.add_argument("--seconds", type=float, default=1200, help="CPU seconds of each training")
    parser.add_argument("--samples", type=int, default=1000, help="samples of each model that are compared")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each method")
    parser.add_argument("--methods", default=",".join(METHODS), help="methods to train")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side, one thread each")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task is not None:
        print(json.dumps(work(args.task)))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    results = args.out / "results.jsonl"
    shared = {"root": str(args.root), "seconds": args.seconds, "samples": args.samples}
    tasks = [{**shared, "method": "real", "seed": 0}]
    tasks += [
        {**shared, "method": name, "seed": seed} for seed in range(args.seeds) for name in args.methods.split(",")
    ]
    key = ("method", "seed", "seconds", "samples")
    known = {tuple(line[name] for name in key) for line in read_lines(results)}
    with ThreadPoolExecutor(args.jobs) as pool:
        waiting = [
            pool.submit(compute, {**task, "place": str(args.out / f"{task['method']}-{task['seed']}")}, results)
            for task in tasks
            if tuple(task[name] for name in key) not in known
        ]
        for each in waiting:
            each.result()
    print(table(read_lines(results)))


if __name__ == "__main__":
    main()
