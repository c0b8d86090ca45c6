"""Images per second of each loader tier against a loader that does what the reference does, interleaved in one run.

    uv run python tools/bench_loader.py [--images 500] [--rounds 5] [--device cpu]

The reference-style loader: a `torch.utils.data.DataLoader` whose dataset opens two files with Pillow and applies torchvision's
Resize(286, bicubic), RandomCrop(256), RandomHorizontalFlip, ToTensor, Normalize. An image is one of A or of B. Time is that of the
CPU where the work is on the CPU alone (so that other load on the machine does not count), of the clock otherwise.
"""

import argparse
import itertools
import os
import platform
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torchvision import transforms

from translate.data import layouts
from translate.data.decode import Recipe
from translate.data.loader import Loader, Options

LOAD, CROP = 286, 256


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


def photos(folder, count, seed=0):
    """JPEG files of 256 to 512 pixels, quality 90, as busy as photos are."""
    rng = np.random.default_rng(seed)
    for side in "AB":
        (folder / f"train{side}").mkdir(parents=True)
        for i in range(count // 2):
            width, height = rng.integers(256, 513, 2)
            layers = [
                np.asarray(Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((width, height), 3), float)
                for n in (4, 16, 64, 200)
            ]
            pixels = np.average(layers, axis=0, weights=(8, 4, 2, 1))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"train{side}/{i:05}.jpg", quality=90)
    return folder


def endless(loader):
    while True:
        yield from loader


def rate(batches, batch_size, count, clock):
    """Images per second over at least `count` images."""
    steps = max(count // (2 * batch_size), 2)
    started = clock()
    for _ in itertools.islice(batches, steps):
        pass
    return 2 * batch_size * steps / (clock() - started)


def cpu_seconds():
    """Of this process and of its workers that have ended."""
    own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(args.device)
    on_cpu = device.type == "cpu"
    with tempfile.TemporaryDirectory() as temporary:
        split = layouts.find(photos(Path(temporary) / "set", args.images), "unpaired")
        variants = {}
        for batch_size in (1, 4, 16):
            dataset = ReferenceStyle(split)
            reference = torch.utils.data.DataLoader(dataset, batch_size, shuffle=True, drop_last=True)
            rows = {"reference-style": endless(reference)}
            for tier, decoder, resize in tiers(on_cpu):
                recipe = Recipe(LOAD, CROP, True, (3, 3), decoder=decoder, resize=resize)
                options = Options(tier=tier, workers=0 if on_cpu else 8)
                made = Loader(split, recipe, batch_size=batch_size, seed=0, device=device, options=options, say=lambda line: None)
                rows[f"{tier}, {decoder} + {resize}"] = made.batches(0)
            variants[batch_size] = rows
        print(
            f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch "
            f"{torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}; {args.images} JPEG files of "
            f"256-512 px, {LOAD} to {CROP} px, {args.rounds} rounds, median of images per {'CPU-' if on_cpu else ''}second"
        )
        clock = time.process_time if on_cpu else time.perf_counter
        print(f"{'batch':>5}  {'loader':34} {'images/s':>9} {'ratio':>7}")
        for batch_size, rows in variants.items():
            found = {name: [] for name in rows}
            for _ in range(args.rounds):
                for name, batches in rows.items():
                    resident = name.startswith(("resident", "ram"))
                    found[name].append(rate(batches, batch_size, 2000 if resident else 160, clock))
            base = statistics.median(found["reference-style"])
            for name, rates in found.items():
                middle = statistics.median(rates)
                print(f"{batch_size:5}  {name:34} {middle:9.0f} {middle / base:7.1f}", flush=True)


def tiers(on_cpu):
    """(tier, decoder, resizer) that this machine can run."""
    rows = [("resident", "pillow", "pillow"), ("stream", "pillow", "pillow"), ("stream", "pillow", "torch")]
    try:
        import torchcodec  # noqa: F401
    except ImportError:
        print("torchcodec is not installed (extra gpu): its rows are left out", file=sys.stderr)
    else:
        rows.append(("stream", "torchcodec", "torch"))
    if not on_cpu:
        rows.insert(1, ("ram", "pillow", "pillow"))
        rows.append(("stream", "nvjpeg", "torch"))
    return rows


if __name__ == "__main__":
    main()
