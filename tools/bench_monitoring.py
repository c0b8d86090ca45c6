"""Cost of monitoring a training: log points, sample grids, sentinels and the monitor of discriminator outputs.

    uv run python tools/bench_monitoring.py [--method cyclegan] [--size 256] [--width 16] [--rounds 5] [--device cpu]

Steps and looks are timed in turn, and medians are shown. On the CPU time is that of the processor with one thread, so that
other load on the machine counts little; with --device cuda it is that of the clock. The share is that of a run with the
defaults: a log point every 100 images, a look with the checkpoint, every 5 minutes, or less often where looks are slow.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from translate import config, images
from translate.methods import METHODS
from translate.runtime import devices
from translate.runtime.memory import allocated_memory
from translate.runtime.precision import resolve_precision
from translate.training import loop
from translate.training.engine import Engine
from translate.training.log import Log, ScalarMeans
from translate.training.monitors.discriminator_outputs import DiscriminatorOutputMonitor
from translate.training.monitors.health_checks import HealthMonitor
from translate.training.sample_grid import preview
from translate.training.schedule import Schedule

LOG_EVERY, SAMPLES, PLANNED = 100, 4, 100_000
POINT = "log point"


def main() -> None:
    options = parse()
    device = devices.resolve_device(options.device)
    torch.set_num_threads(1)
    engine = build(options, device)
    shape = (3, options.size, options.size)
    sample = {domain: picture(SAMPLES, shape, engine) for domain in "ab"}
    batch = {domain: picture(1, shape, engine) for domain in "ab"}
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, list[float]] = {}
        parts = dict(monitoring_parts(engine, sample, Log(Path(folder), 0, lambda line: None)))
        for _ in range(options.rounds + 1):  # the first one warms up
            for name, part in {"step": lambda: engine.step([batch]), **parts}.items():
                found.setdefault(name, []).append(seconds(part, device))
    show({name: statistics.median(times[1:]) for name, times in found.items()}, options)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=METHODS, default="cyclegan")
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--width", type=int, default=16, help="of all networks; the defaults have 64")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def build(options: argparse.Namespace, device: torch.device) -> Engine:
    cls = METHODS[options.method]
    flags = {"crop_size": options.size, "load_size": options.size, "g_width": options.width, "d_width": options.width}
    method = cls(cls.resolve_config(config.resolve(cls.Config, ("bench", flags))))
    schedule = Schedule(1000, 0, 0, images=PLANNED)
    precision = resolve_precision("auto", device)
    return Engine(method, schedule, seed=0, device=device, precision=precision, batch_size=1)


def picture(count: int, shape: tuple[int, ...], engine: Engine) -> torch.Tensor:
    """Images with the grain of photographs, which PNG compresses as little: (count, 3, size, size) in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.nn.functional.interpolate(torch.rand(count, 3, 8, 8, generator=generator), shape[1:], mode="bicubic")
    grain = 0.05 * torch.randn(count, *shape, generator=generator)
    return ((coarse + grain).clamp(0, 1) * 2 - 1).to(engine.device, engine.precision.weights)


def monitoring_parts(
    engine: Engine, sample: dict[str, torch.Tensor], log: Log
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the parts of monitoring that are done beside the steps."""
    means, sentinels, judge = ScalarMeans(), HealthMonitor(sample), DiscriminatorOutputMonitor(sample)

    def point() -> None:
        means.add({f"loss/g/{i}": torch.ones((), device=engine.device) for i in range(8)})
        values = means.read() | {f"watch/{i}": 0.5 for i in range(10)} | {f"judge/{i}": 0.5 for i in range(4)}
        values |= {
            "time/images_per_second": 1.0,
            "time/data_wait": 0.0,
            "memory/gib": allocated_memory(engine.device) or 0,
        }
        log.add_scalars(engine.images, values)
        log.print_progress(engine.images, PLANNED, values)

    yield POINT, point
    yield (
        "sample grid",
        lambda: log.add_sample_grid(engine.images, images.make_comparison_grid(preview(engine, sample))),
    )
    yield "sentinels", lambda: sentinels(engine)
    yield "judge", lambda: judge(engine)


def seconds(part: Callable[[], object], device: torch.device) -> float:
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = clock()
    part()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def show(found: dict[str, float], options: argparse.Namespace) -> None:
    step = found.pop("step")
    print(f"{options.method}, {options.size} px, width {options.width}, {options.device}: a step takes {step:.3f} s\n")
    print("| part | seconds | steps | every | share of the time |\n|---|---|---|---|---|")
    looking = sum(taken for name, taken in found.items() if name != POINT)
    pause = max(loop.CHECKPOINT_SECONDS, looking / loop.SAMPLE_TIME_SHARE)
    total = 0.0
    for name, taken in found.items():
        often, between = (f"{LOG_EVERY} images", LOG_EVERY * step) if name == POINT else (f"{pause:.0f} s", pause)
        total += taken / between
        print(f"| {name} | {taken:.3f} | {taken / step:.2f} | {often} | {taken / between:.2%} |")
    print(f"| all | | | | {total:.2%} |")


if __name__ == "__main__":
    main()
