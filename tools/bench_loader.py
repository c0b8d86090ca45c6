"""Speed and memory of each loader tier against a loader that does what the reference does, interleaved in one run.

    uv run python tools/bench_loader.py [--images 200] [--large 40] [--rounds 5] [--device cpu]

The reference-style loader: a `torch.utils.data.DataLoader` whose dataset opens two files with Pillow and applies torchvision's
Resize(286, bicubic), RandomCrop(256), RandomHorizontalFlip, ToTensor, Normalize. An image is one of A or of B. On the CPU time
is that of the processor, of this process and of its workers, so that other load on the machine counts little; with --device
cuda it is that of the clock. Memory is measured with each loader in a process of its own. Linux only: it reads /proc.
"""

import argparse
import itertools
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torchvision import transforms

import translate
from translate.data import layouts
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing

LOAD, CROP = 286, 256
SIZES = {"256-512 px": (256, 512), "1024-2048 px": (1024, 2048)}


@dataclass(frozen=True)
class Variant:
    """One way to load; tier "" is the reference-style loader."""

    tier: str
    decoder: str
    resize: str
    batch_size: int
    workers: int

    @property
    def name(self):
        return f"{self.tier}, {self.decoder} + {self.resize}" if self.tier else "reference-style"

    def batches(self, split, device):
        """Without end."""
        if not self.tier:
            dataset = ReferenceStyle(split)
            return endless(
                torch.utils.data.DataLoader(
                    dataset, self.batch_size, shuffle=True, drop_last=True, num_workers=self.workers,
                    persistent_workers=self.workers > 0, multiprocessing_context="spawn" if self.workers else None,
                )
            )  # fmt: skip
        recipe = Preprocessing(LOAD, CROP, True, (3, 3), decoder=self.decoder, resize=self.resize)
        options = LoaderOptions(batch_size=self.batch_size, seed=0, tier=self.tier, workers=self.workers)
        loader = Loader(split, recipe, options, device=device, say=lambda line: None)
        return loader.batches(0)


class ReferenceStyle(torch.utils.data.Dataset):
    """A by index, B at random, each through its own torchvision transforms."""

    def __init__(self, split):
        self.split = split
        self.transform = transforms.Compose([
            transforms.Resize([LOAD, LOAD], transforms.InterpolationMode.BICUBIC), transforms.RandomCrop(CROP),
            transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ])  # fmt: skip

    def __len__(self):
        return len(self.split)

    def __getitem__(self, n):
        a = self.split.a[n % len(self.split.a)].path
        b = random.choice(self.split.b).path
        return {name: self.transform(Image.open(path).convert("RGB")) for name, path in (("a", a), ("b", b))}


def endless(loader):
    while True:
        yield from loader


def photos(folder, count, low=256, high=512, seed=0):
    """JPEG files of `low` to `high` pixels, quality 90, as busy as photos are: about 32 KiB at 256 to 512 pixels."""
    rng = np.random.default_rng(seed)
    for side in "AB":
        (folder / f"train{side}").mkdir(parents=True)
        for i in range(count // 2):
            width, height = (int(n) for n in rng.integers(low, high + 1, 2))
            pixels = np.zeros((height, width, 3), np.float32)
            for n, share in ((4, 8), (16, 4), (64, 2), (200, 1)):
                layer = Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((width, height), 3)
                pixels += np.asarray(layer, np.float32) * (share / 15)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"train{side}/{i:05}.jpg", quality=90)
    return folder


def variants(on_cpu, batch_size, workers):
    """Those that this machine can run."""
    rows = [
        ("", "", ""),
        ("resident", "pillow", "pillow"),
        ("stream", "pillow", "pillow"),
        ("stream", "pillow", "torch"),
    ]
    try:
        import torchcodec  # noqa: F401
    except ImportError:
        print("torchcodec is not installed (extra gpu): its rows are left out", file=sys.stderr)
    else:
        rows.append(("stream", "torchcodec", "torch"))
    if not on_cpu:
        rows += [("ram", "pillow", "pillow"), ("stream", "nvjpeg", "torch")]
    if workers:
        rows = [row for row in rows if row[0] in ("", "stream")]
    return [Variant(*row, batch_size, workers) for row in rows]


# Speed.


def children():
    """Return the processes that this one has started."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def seconds_of(pid):
    """Processor time of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Measured:
    """A loader at work, and its rates."""

    def __init__(self, variant, split, device):
        self.variant, self.on_cpu = variant, device.type == "cpu"
        before = children()
        self.batches = variant.batches(split, device)
        next(self.batches)
        self.workers = children() - before
        self.rates = []

    def clock(self):
        return time.process_time() + sum(map(seconds_of, self.workers)) if self.on_cpu else time.perf_counter()

    def run(self, count):
        """Over at least `count` images."""
        steps = max(count // (2 * self.variant.batch_size), 2)
        started = self.clock()
        for _ in itertools.islice(self.batches, steps):
            pass
        self.rates.append(2 * self.variant.batch_size * steps / (self.clock() - started))


def compare(label, split, rows, device, rounds, count):
    """Print the median rate of each variant, measured in turn, and at batch 4 the memory of each."""
    measured = [Measured(variant, split, device) for variant in rows]
    for _ in range(rounds):
        for one in measured:
            in_memory = one.variant.tier in ("resident", "ram")
            one.run(2000 if in_memory else count * (1 + 3 * (one.variant.workers > 0)))
    base = statistics.median(measured[0].rates)
    for one in measured:
        rate = statistics.median(one.rates)
        variant = one.variant
        one.batches.close()  # ends its workers
        sizes = memory(variant, split, device) if variant.batch_size == 4 else ()
        columns = (
            f"{label:13} {variant.batch_size:5} {variant.workers:7}  {variant.name:27} {rate:8.0f} {rate / base:6.1f}"
        )
        print(columns, *(f"{size:7.0f}" for size in sizes), flush=True)


# Memory.


def peak(pid):
    """MiB that a process has had in memory at most."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def memory(variant, split, device):
    """Measure a loader in a process of its own: MiB above what the imports took, and of its largest worker."""
    asked = json.dumps({"variant": asdict(variant), "root": str(split.a[0].path.parents[1]), "device": str(device)})
    done = subprocess.run([sys.executable, __file__, "--memory", asked], capture_output=True, text=True, check=True)
    return [size for size in json.loads(done.stdout.splitlines()[-1]) if size]


def tell_memory(asked):
    """Print what `memory` returns."""
    start = peak("self")
    split = layouts.find_split(Path(asked["root"]), "unpaired")
    variant = Variant(**asked["variant"])
    batches = variant.batches(split, torch.device(asked["device"]))
    for _ in itertools.islice(batches, max(160 // (2 * variant.batch_size), 4)):
        pass
    print(json.dumps([peak("self") - start, max(map(peak, children()), default=0) if variant.workers else 0]))


# The share of a training step.


def share_of_a_step(root):
    """Print how much of a small CycleGAN's training on the CPU is waiting for batches."""
    for crop in (128, 256):
        with tempfile.TemporaryDirectory() as run:
            translate.train(
                "cyclegan", root, run=run, images=10, crop_size=crop, g_width=8, d_width=8, log_every=10, save_every=10,
                sample_every=10, loader="resident", device="cpu", threads=1, say=lambda line: None,
            )  # fmt: skip
            logged = [json.loads(line) for line in (Path(run) / "stats.jsonl").read_text().splitlines()]
        last = logged[-1]
        step = 1 / last["time/images_per_second"]
        print(
            f"cyclegan, {crop} px, width 8, batch 1: {1000 * step:.0f} ms a step, of which "
            f"{100 * last['time/data_wait']:.2f} % waiting for the resident loader"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--large", type=int, default=40, help="images of 1,024 to 2,048 px")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.memory is not None:
        tell_memory(args.memory)
        return
    device = torch.device(args.device)
    on_cpu = device.type == "cpu"
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch "
        f"{torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}; {args.images} and "
        f"{args.large} JPEG files, {LOAD} to {CROP} px, {args.rounds} rounds, median of images per "
        f"{'CPU-' if on_cpu else ''}second; MiB at most above the start, and of a worker"
    )
    print(
        f"{'files':13} {'batch':>5} {'workers':>7}  {'loader':27} {'images/s':>8} {'ratio':>6}  {'MiB':>5} {'worker':>7}"
    )
    with tempfile.TemporaryDirectory() as temporary:
        roots = {
            name: photos(Path(temporary) / name, count, *ends)
            for (name, ends), count in zip(SIZES.items(), (args.images, args.large), strict=True)
        }
        for (label, root), count in zip(roots.items(), (160, 32), strict=True):
            split = layouts.find_split(root, "unpaired")
            for batch_size, workers in ((1, 0), (4, 0), (16, 0), (4, 2)) if count > 100 else ((4, 0), (4, 2)):
                compare(label, split, variants(on_cpu, batch_size, workers), device, args.rounds, count)
        share_of_a_step(roots["256-512 px"])


if __name__ == "__main__":
    main()
