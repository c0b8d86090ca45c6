"""Growth of time and memory: fitted slopes of a training step, of conversion and of the loaders, over their sizes.

    uv run python tools/bench_growth.py [--cases step,files,image,loader] [--quick] [--json FILE]

A slope is that of log(seconds) against log(size) by least squares, with its standard error: 1 is linear growth, less means
that fixed costs count. Since they count at small sizes, the slope between the two largest sizes stands beside it. Seconds are
the processor's, on one thread of torch, medians of rounds that are interleaved over the sizes. Every size is measured in a
process of its own, forked once all is imported; memory is the growth of its peak resident set from then on. Linux only.
"""

import argparse
import json
import math
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import numpy as np
import torch
import torch._dynamo  # optimizers load it when the first one is built
from bench_common import proc_status_bytes, reset_peak_memory
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from translate import config
from translate.api import models
from translate.data import layouts
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing
from translate.methods import METHODS
from translate.runtime.precision import resolve_precision
from translate.trained.folder import write_trained_model
from translate.training.engine import Engine
from translate.training.micro_batches import split_batch
from translate.training.schedule import Schedule

CPU = torch.device("cpu")
FORK = multiprocessing.get_context("fork")
WIDTH = 16
"""Width of the networks that train, where it is not what grows."""


@dataclass(frozen=True)
class GrowthCase:
    """Quantity that grows, its sizes, and the measurement at each."""

    name: str
    unit: str
    sizes: tuple[int, ...]
    start: Callable[[int], Iterator[Any]]
    """Gets ready for a size and yields once; then works each time that it is asked for more, and yields what to add to the
    row of that size."""
    rounds: int = 5
    against: str = ""
    """Other quantity that seconds are fitted against, a key of what `start` yields."""
    grows: Callable[[int], float] = float
    """Return the quantity of a size that the slope is taken against."""


# A training step.


def steps(method, **flags):
    """Measure steps of the engine on random images."""
    cls = METHODS[method]
    small = {"generator": "resnet_6blocks", "g_width": WIDTH, "d_width": WIDTH, "load_size": flags["crop_size"]}
    cfg = cls.resolve_config(config.resolve(cls.Config, ("growth", small | flags)))
    precision = resolve_precision("fp32", CPU)
    engine = Engine(cls(cfg), Schedule(100, 1, 0), seed=0, device=CPU, precision=precision, batch_size=cfg.batch_size)
    shape = cfg.batch_size, 3, cfg.crop_size, cfg.crop_size
    batch = {name: torch.rand(shape) * 2 - 1 for name in "ab"}
    with FlopCounterMode(display=False) as counter:
        engine.step(split_batch(batch, 1))
    yield
    while True:
        engine.step(split_batch(batch, 1))
        yield {"gflop": counter.get_total_flops() / 1e9}


def step_cases(quick):
    crops = (64, 96, 128, 192) if quick else (64, 96, 128, 192, 256)
    for method in ("pix2pix", "cyclegan"):
        yield GrowthCase(
            f"{method}: a step, by side of the crop", "px", crops,
            lambda side, method=method: steps(method, crop_size=side, batch_size=1), against="gflop", grows=squared,
        )  # fmt: skip
        yield GrowthCase(
            f"{method}: a step of 64 px, by batch", "images", (1, 2, 4, 8),
            lambda count, method=method: steps(method, crop_size=64, batch_size=count), against="gflop",
        )  # fmt: skip
        yield GrowthCase(
            f"{method}: a step of 64 px, by width of the networks", "channels", (8, 16, 32, 64),
            lambda width, method=method: steps(method, crop_size=64, batch_size=1, g_width=width, d_width=width),
            against="gflop",
        )  # fmt: skip


def squared(side):
    return float(side * side)


# Conversion.


def untrained(folder):
    """Write a model folder of a small network."""
    cls = METHODS["cyclegan"]
    settings = {"generator": "resnet_3blocks", "g_width": 4, "d_width": 4, "crop_size": 64, "load_size": 64}
    folder.mkdir()
    write_trained_model(folder, cls(cls.resolve_config(cls.Config(**settings))), title="nothing", seen=0)
    return folder


def picture(path, side):
    """Write a photo-like image file."""
    coarse = np.random.default_rng(side).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
    return path


def links(folder, count, files=8, side=16):
    """Make a folder of links to the same few images."""
    folder.mkdir()
    real = [picture(folder.parent / f"{folder.name}-{i}.jpg", side) for i in range(files)]
    for i in range(count):
        (folder / f"{i:06}.jpg").symlink_to(real[i % files])
    return folder


def conversions(count, again):
    """Measure the conversion of a folder of that many files; `again`: once more, when nothing is left to do."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        source, translator = links(place / "in", count), models.load(untrained(place / "model"), device="cpu")
        if again:
            models.convert(translator, source, place / "out")
        yield
        for number in range(1_000_000):
            result = models.convert(translator, source, place / ("out" if again else f"out{number}"))
            assert result.skipped == count if again else result.done == count
            yield {}


def enlargements(side, tile):
    """Measure the conversion of one image."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        source, translator = picture(place / "a.jpg", side), models.load(untrained(place / "model"), device="cpu")
        yield
        while True:
            result = models.convert(translator, source, place / "b.jpg", tile=tile, overwrite=True)
            assert result.done == 1
            yield {}


def file_cases(quick):
    counts = (1, 100, 1000) if quick else (1, 100, 1000, 10_000)
    yield GrowthCase("a folder of 16-px images", "files", counts, lambda count: conversions(count, again=False), 1)
    yield GrowthCase(
        "the same again: nothing is left to do", "files", counts, lambda count: conversions(count, again=True), 3
    )


def image_cases(quick):
    sides = (64, 128, 256, 512, 1024) if quick else (64, 128, 256, 512, 1024, 2048)
    for tile, name in (("off", "off"), ("auto", "auto"), (256, "256")):
        yield GrowthCase(
            f"one image, --tile {name}", "px", sides, lambda side, tile=tile: enlargements(side, tile), 3, grows=squared
        )


# Loaders.


def first_batches(count, tier):
    """From the listing to the first batch, of two domains of `count` images together."""
    with two_domains(count) as root:
        yield
        while True:
            loader = opened(root, tier)
            next(loader)
            loader.close()
            yield {}


def later_batches(count, tier):
    """25 at a time, of 4 images."""
    with two_domains(count) as root:
        loader = opened(root, tier)
        next(loader)
        yield
        while True:
            for _ in range(25):
                next(loader)
            yield {}


@contextmanager
def two_domains(count):
    with tempfile.TemporaryDirectory() as temporary:
        for side in "AB":
            links(Path(temporary) / f"train{side}", count // 2, side=40)
        yield Path(temporary)


def opened(root, tier):
    recipe = Preprocessing(32, 32, True, (3, 3))
    options = LoaderOptions(batch_size=4, seed=0, tier=tier, workers=0)
    split = layouts.find_split(root, "unpaired")
    loader = Loader(split, recipe, options, device=CPU, say=lambda line: None)
    return loader.batches(0)


def loader_cases(quick):
    counts = (100, 1000, 10_000) if quick else (100, 1000, 10_000, 100_000)
    for tier in ("resident", "stream"):
        yield GrowthCase(
            f"{tier}: from the listing to the first batch", "images", counts,
            lambda count, tier=tier: first_batches(count, tier), 1 if tier == "resident" else 3,
        )  # fmt: skip
        yield GrowthCase(
            f"{tier}: 25 batches of 4", "images", counts, lambda count, tier=tier: later_batches(count, tier), 7
        )


CASES = {"step": step_cases, "files": file_cases, "image": image_cases, "loader": loader_cases}


# Measuring.


class GrowthPoint:
    """A size of a case, at work in a process of its own."""

    def __init__(self, case, size):
        self.size, self.seconds, self.more = size, [], {}
        self.pipe, theirs = FORK.Pipe()
        self.process = FORK.Process(target=_serve, args=(theirs, case, size), daemon=True)
        self.process.start()
        self.pipe.recv()

    def work(self):
        self.pipe.send("work")
        seconds, more = self.pipe.recv()
        self.seconds.append(seconds)
        self.more = more

    def row(self):
        """End the process."""
        self.pipe.send("end")
        peak = self.pipe.recv()
        self.process.join()
        return {"size": self.size, "seconds": statistics.median(self.seconds), "mib": peak / 2**20, **self.more}


def _serve(pipe, case, size):
    torch.set_num_threads(1)
    reset_peak_memory()
    before = proc_status_bytes("VmRSS")
    work = case.start(size)
    next(work)
    pipe.send("ready")
    while pipe.recv() == "work":
        started = time.process_time()
        more = next(work)
        pipe.send((time.process_time() - started, more))
    work.close()
    pipe.send(proc_status_bytes("VmHWM") - before)


def fit(x, y):
    """Slope of log y against log x by least squares, and its standard error (0 for two points)."""
    u, v = np.log(x), np.log(y)
    du, dv = u - u.mean(), v - v.mean()
    slope = float((du * dv).sum() / (du * du).sum())
    rest = float(((dv - slope * du) ** 2).sum() / max(len(x) - 2, 1))
    return slope, math.sqrt(rest / float((du * du).sum()))


def measured(case, rounds):
    """Rows by size, and slopes by what they are taken against."""
    points = [GrowthPoint(case, size) for size in case.sizes]
    for _ in range(rounds):
        for point in points:
            point.work()
    rows = [point.row() for point in points]
    sizes = [case.grows(size) for size in case.sizes]
    seconds, mib = ([row[name] for row in rows] for name in ("seconds", "mib"))
    fitted = {"seconds against size": (sizes, seconds), "memory against size": (sizes, mib)}
    if case.against:
        fitted[f"seconds against {case.against}"] = [row[case.against] for row in rows], seconds
    slopes = {name: (*fit(x, y), fit(x[-2:], y[-2:])[0]) for name, (x, y) in fitted.items()}
    return {"unit": case.unit, "rounds": rounds, "rows": rows, "slopes": slopes}


def show(case, found):
    names = [case.unit, "CPU-s", "MiB", *([case.against] if case.against else [])]
    print(f"\n### {case.name}\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in found["rows"]:
        more = [f"{row[case.against]:.2f}"] if case.against else []
        cells = [f"{row['size']:,}", f"{row['seconds']:.4g}", f"{row['mib']:.1f}", *more]
        print(f"| {' | '.join(cells)} |")
    for name, (slope, error, last) in found["slopes"].items():
        what = name.replace("size", "pixels" if case.grows is squared else case.unit)
        print(f"\n{what}: slope {slope:.2f} ± {error:.2f}; between the two largest {last:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="with commas")
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--rounds", type=int, help="of every case [default: what each is worth]")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name in args.cases.split(","):
        for case in CASES[name](args.quick):
            found[case.name] = measured(case, args.rounds or case.rounds)
            show(case, found[case.name])
    if args.json:
        args.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
