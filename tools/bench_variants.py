"""Ways to run the same training step, interleaved in one process: precisions, memory formats, CUDA graphs, torch.compile.

    uv run python tools/bench_variants.py [--method cyclegan] [--preset modern] [--crop 256] [--batch 4]
        [--variants fp32 bf16 bf16-last bf16-graph bf16-last-graph fp16 bf16-compile] [--rounds 7] [--device auto] [--json FILE]

A variant is a precision, and any of last (channels last), graph (CUDA graphs), compile. Milliseconds a step: medians over
rounds of one variant after the other, whose order alternates, and their quartiles; the ratio is the median of the rounds'
ratios to the first variant. On CUDA a round is several steps without waiting in between, "launch" the time in which the host
has launched one, and MiB the memory that the variant's first steps took at most beside what was held before. "finite" says
whether all losses,
gradients and weights are. A variant that fails has a row with the reason.
"""

import argparse
import statistics
import sys
import time

import torch
from bench_common import parse_arguments, write_rows

from translate import config, keyed_random
from translate.api.presets import sized_settings
from translate.methods import METHODS
from translate.runtime import devices
from translate.runtime.precision import PRECISIONS, configure_tf32
from translate.training import cuda_graphs
from translate.training.engine import Engine
from translate.training.schedule import Schedule

WARMUP, STEPS = 6, {"cpu": 1, "cuda": 10}
WAYS = "last", "graph", "compile"


def print_to_stderr(line):
    print(line, file=sys.stderr)


def parse_variant(text):
    """Return the precision and the ways of a variant."""
    precision, *ways = text.split("-")
    if precision not in PRECISIONS or set(ways) - set(WAYS):
        raise argparse.ArgumentTypeError(f"{text}: a precision ({', '.join(PRECISIONS)}) and any of {', '.join(WAYS)}")
    return text


class Variant:
    """A training that is run in one way."""

    def __init__(self, text, args):
        precision, *ways = text.split("-")
        cls = METHODS[args.method]
        sizes = {"crop_size": args.crop, "load_size": args.crop, "batch_size": args.batch}
        narrow = {"g_width": args.width, "d_width": args.width} if args.width else {}
        flags = {**sized_settings(cls, args.preset, sizes), **sizes, **narrow}
        cfg = cls.resolve_config(config.resolve(cls.Config, ("bench", flags)))
        self.device, self.precision = args.device, PRECISIONS[precision]
        self.memory = -self._allocated()
        self.engine = Engine(
            cls(cfg), Schedule(10**6, 1, 0), seed=0, device=args.device, precision=self.precision,
            batch_size=args.batch, ema_half_life=cfg.ema_half_life, channels_last="last" in ways,
            compiled="compile" in ways, fixed_size=True,
            runner=cuda_graphs.build_runner(
                "on" if "graph" in ways else "off", args.device, self.precision, print_to_stderr
            ),
        )  # fmt: skip
        key = keyed_random.image_keys(7, torch.arange(args.batch))
        channels = {"a": cfg.input_channels, "b": cfg.output_channels}
        self.batch = {
            side: (keyed_random.uniform(key, side, count, args.crop, args.crop) * 2 - 1).to(args.device)
            for side, count in channels.items()
        }
        if args.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(args.device)
        for _ in range(
            WARMUP if args.device.type == "cuda" else 1
        ):  # cuDNN's choice, compilation, the recording of graphs
            self.run(1)
        self.memory += self._allocated(peak=True)

    def _allocated(self, *, peak=False):
        if self.device.type != "cuda":
            return 0
        return (torch.cuda.max_memory_allocated if peak else torch.cuda.memory_allocated)(self.device)

    def run(self, count):
        """Return the milliseconds of a step, and those until it was launched."""
        configure_tf32(self.device, self.precision)
        devices.synchronize(self.device)
        begun = time.perf_counter()
        for _ in range(count):
            self.engine.step([self.batch])
        launched = time.perf_counter()
        devices.synchronize(self.device)
        return (time.perf_counter() - begun) * 1e3 / count, (launched - begun) * 1e3 / count


def build_all(args):
    """Return the variants that can be built, and the reasons of the others."""
    built, failed = {}, {}
    for text in args.variants:
        try:
            built[text] = Variant(text, args)
        except Exception as e:  # whatever a device or a compiler raises is the result
            failed[text] = next(iter(str(e).splitlines()), type(e).__name__)
    return built, failed


def time_all(variants, rounds, steps):
    """Return milliseconds and launch times of each round by variant."""
    found = {text: [] for text in variants}
    for n in range(rounds):
        for text in list(variants)[:: 1 if n % 2 else -1]:
            found[text].append(variants[text].run(steps))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="cyclegan", choices=("cyclegan", "pix2pix", "cut", "fastcut"))
    parser.add_argument("--preset", default="modern")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--width", type=int, help="of the first layers, instead of the preset's")
    default = ["fp32", "bf16", "bf16-last", "bf16-graph", "bf16-last-graph", "fp16", "bf16-compile"]
    parser.add_argument("--variants", nargs="+", type=parse_variant, default=default)
    args = parse_arguments(parser)
    variants, failed = build_all(args)
    times = time_all(variants, args.rounds, STEPS[args.device.type])
    print("| step | variant | ms | quartiles | ratio | images/s | launch, ms | MiB | finite |\n" + "|---" * 9 + "|")
    rows, name = [], f"{args.method} {args.preset}, {args.crop} px, batch {args.batch}"
    for text, measured in times.items():
        steps, launches = zip(*measured, strict=True)
        low, _, high = statistics.quantiles(steps, n=4) if len(steps) > 1 else steps * 3
        first = [one for one, _ in next(iter(times.values()))]
        ratio = statistics.median(a / b for a, b in zip(first, steps, strict=True))
        median, launch = statistics.median(steps), statistics.median(launches)
        is_finite = variants[text].engine.find_divergence(weights=True) is None
        memory = variants[text].memory / 2**20
        rows.append(
            {"variant": text, "ms": steps, "launch": launches, "ratio": ratio, "MiB": memory, "finite": is_finite}
        )
        speed = args.batch * 1e3 / median
        print(
            f"| {name} | {text} | {median:.4g} | {low:.4g}–{high:.4g} | **{ratio:.2f}** | {speed:.4g} | {launch:.4g} "
            f"| {memory:.0f} | {'yes' if is_finite else '**no**'} |",
            flush=True,
        )
    for text, reason in failed.items():
        rows.append({"variant": text, "failed": reason})
        print(f"| {name} | {text} | failed: {reason} | | | | | | |")
    write_rows(args, rows)


if __name__ == "__main__":
    main()
