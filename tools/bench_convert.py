"""Seconds of a folder's conversion against the reference's way, interleaved in one run.

    uv run python tools/bench_convert.py [--rounds 5] [--device auto] [--scale 1]
    uv run --extra export python tools/bench_convert.py --runtime onnx    # a column for the same conversion by ONNX Runtime

The reference's way: one image after another; Pillow opens it, torchvision makes a tensor, the network runs, Pillow writes PNG
at its default level 6. Both ways see the same JPEG files and the same untrained network. Rows: 256-px photos by resnet_9blocks,
1,024-px photos by a narrow network of one block, and 512-px photos by no network at all, which leaves the pipeline alone.
"""

import argparse
import copy
import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command line has it; before torch is imported

import platform
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision import transforms

from translate import api
from translate.conversion.options import ConversionOptions
from translate.methods import METHODS
from translate.nn.base import Generator
from translate.nn.tuned_conv import direct_convolution
from translate.runtime import devices
from translate.trained.call_options import RUNTIMES
from translate.trained.folder import write_trained_model
from translate.trained.translator import Translator


@dataclass(frozen=True)
class ConversionRow:
    title: str
    pixels: int
    """Pixels of a side."""
    images: int
    blocks: int
    """0: no network."""
    width: int = 64


ROWS = (
    ConversionRow("256 px, resnet_9blocks, width 64", 256, 12, 9),
    ConversionRow("1,024 px, one block, width 4", 1024, 16, 1, 4),
    ConversionRow("512 px, no network", 512, 120, 0),
)


def photos(folder, count, side, seed=0):
    """JPEG files, quality 90, about as busy as photos are."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        layers = [
            np.asarray(Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((side, side), 3), float)
            for n in (4, 16, 64, side // 3)
        ]
        pixels = np.average(layers, axis=0, weights=(8, 4, 2, 1))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:05}.jpg", quality=90)
    return folder


class NoOpGenerator(Generator):
    """Gives back what it is given."""

    multiple_of, minimum, receptive_radius = 4, 8, 0

    def __init__(self):
        super().__init__()
        self.model = nn.Identity()


def translator_for(row, folder, device):
    """Return an untrained CycleGAN generator, or a NoOpGenerator."""
    cls = METHODS["cyclegan"]
    cfg = cls.resolve_config(
        cls.Config(generator=f"resnet_{row.blocks or 1}blocks", g_width=row.width if row.blocks else 4, load_size=256)
    )
    folder.mkdir()
    write_trained_model(folder, cls(cfg), title="untrained", seen=0)
    loaded = api.load(folder, device=device)
    if not row.blocks:
        loaded.method.g_ab = NoOpGenerator()
    return loaded


def with_runtime(row, folder, runtime):
    """Return the translator of a row by another runtime, exported and warm; None for the row without a network."""
    if runtime == "torch" or not row.blocks:
        return None
    loaded = api.load(folder, runtime=runtime)
    loaded(np.zeros((row.pixels, row.pixels, 3), np.uint8))
    return loaded


def reference_way(translator: Translator, source, output, level):
    """Return the seconds that the network took."""
    network = copy.deepcopy(translator.method.g_ab).to(memory_format=torch.contiguous_format)
    device = translator.device
    to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    output.mkdir()
    inside = 0.0
    for path in sorted(source.iterdir()):
        x = to_tensor(Image.open(path).convert("RGB"))[None].to(device)
        started = time.perf_counter()
        with torch.no_grad(), direct_convolution():
            y = network(x)[0]
        if device.type == "cuda":
            torch.cuda.synchronize()
        inside += time.perf_counter() - started
        pixels = ((y.cpu().float().numpy().transpose(1, 2, 0) + 1) / 2 * 255).astype(np.uint8)
        Image.fromarray(pixels).save(output / f"{path.stem}.png", compress_level=level)
    return inside


def ours(translator, source, output, options):
    result = api.convert(translator, source, output, **options)
    assert not result.failures, result.failures


def seconds(call, *args):
    started = time.perf_counter()
    inside = call(*args)
    return time.perf_counter() - started, inside


def size(folder):
    return sum(path.stat().st_size for path in folder.glob("*.png"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--row", type=int, choices=range(len(ROWS)), help="only this one")
    parser.add_argument("--scale", type=int, default=1, help="as many times the images")
    parser.add_argument("--runtime", default="torch", choices=RUNTIMES, help="compare with this one, too")
    parser.add_argument("--batch-size", type=int, default=ConversionOptions().batch_size)
    args = parser.parse_args()
    device = devices.resolve_device(args.device)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {device}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}; medians of "
        f"{args.rounds} rounds"
    )
    print(
        f"{'':36}{'reference':>10}{'level 1':>9}{'ours':>9}{'ratio':>7}{'network':>9}{'PNG':>7}"
        + (f"{args.runtime:>9}" if args.runtime != "torch" else "")
    )
    for row in ROWS if args.row is None else [ROWS[args.row]]:
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary)
            source = photos(place / "in", row.images * args.scale, row.pixels)
            loaded = translator_for(row, place / "model", args.device)
            other = with_runtime(row, place / "model", args.runtime)
            options = {"format": "png", "batch_size": args.batch_size}
            found = {name: [] for name in ("reference", "level 1", "ours", "network", "other")}
            ratios = []
            for _ in range(args.rounds):
                for name in ("a", "b", "c", "d"):
                    shutil.rmtree(place / name, ignore_errors=True)
                whole, inside = seconds(reference_way, loaded, source, place / "a", 6)
                found["reference"].append(whole)
                found["network"].append(inside)
                found["level 1"].append(seconds(reference_way, loaded, source, place / "b", 1)[0])
                found["ours"].append(seconds(ours, loaded, source, place / "c", options)[0])
                if other is not None:
                    found["other"].append(seconds(ours, other, source, place / "d", options)[0])
                ratios.append(whole / found["ours"][-1])
            grown = size(place / "b") / size(place / "a")
            middle = {name: statistics.median(times) for name, times in found.items() if times}
            by_other = f"{middle['other']:9.2f}" if other else ""
            print(
                f"{row.title:36}{middle['reference']:10.2f}{middle['level 1']:9.2f}{middle['ours']:9.2f}"
                f"{statistics.median(ratios):7.2f}{middle['network']:9.2f}{grown:7.2f}{by_other}", flush=True
            )  # fmt: skip


if __name__ == "__main__":
    main()
