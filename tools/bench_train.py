"""A training step of ours against one of the reference's algorithm in plain PyTorch, interleaved in one process.

    uv run python tools/bench_train.py [--methods cyclegan pix2pix] [--crops 128 256] [--batches 1] [--precisions fp32]
        [--compile off on] [--graphs off] [--convolution auto full direct winograd] [--rounds 7] [--inputs 3] [--device auto]
        [--threads 1] [--json FILE]

"ours" is the engine with a method's default recipe, once for each value of `--convolution`; "double" is that of
`tests/parity`, written from the published rules of the reference implementation: eager, float32, channels first; on CUDA as
the reference runs it, with cuDNN trying its algorithms. All start with the same weights and see the same images, which lie on
the device already.

A case is timed in rounds of one after the other, whose order alternates; what is shown are medians, the quartiles of ours, and
the median of the rounds' ratios. On the CPU time is that of the processor, since others may be at work on the machine; on CUDA
that of the clock, over runs of several steps without waiting in between. The step's peak memory is above what was held before
the networks were built; on the CPU each is measured in a process of its own (Linux only: it reads /proc).

Both must do the same: the first step's losses in float32 are compared, and the gradients of all updates with the double's
in float64, as ‖difference‖ / ‖gradient‖ over all weights, of ours and of the double in float32, root mean squares over several
inputs. One input tells little: the sign of L1 flips where a pixel is nearly right, and a single flip outweighs all rounding.
"""

import argparse
import itertools
import statistics
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import torch
from bench_common import (
    CONVOLUTION_WAYS,
    convolution_settings,
    load_double,
    parse_arguments,
    proc_status_bytes,
    reset_peak_memory,
    run_in_new_process,
    write_rows,
)
from torch import nn

from translate import config, keyed_random
from translate.methods import METHODS
from translate.runtime.precision import PRECISIONS
from translate.training import cuda_graphs
from translate.training.convolutions import choose_convolutions
from translate.training.engine import Engine
from translate.training.schedule import Schedule

double = load_double()
POOL = 50
STEPS_IN_A_ROW = {"cpu": 1, "cuda": 10}


@dataclass(frozen=True)
class TrainingCase:
    """One row."""

    method: str
    crop: int
    batch: int
    precision: str = "fp32"
    compile: bool = False
    graph: str = "off"
    channels_last: str = "off"
    width: int = 64

    def __str__(self):
        parts = [self.method, f"{self.crop} px", f"batch {self.batch}", self.precision]
        parts += ["compiled"] * self.compile + [f"graph {self.graph}"] * (self.graph != "off")
        parts += [f"channels last {self.channels_last}"] * (self.channels_last != "off")
        return ", ".join(parts + [f"width {self.width}"] * (self.width != 64))


def settings(case, **more):
    cls = METHODS[case.method]
    flags = {"crop_size": case.crop, "batch_size": case.batch, "g_width": case.width, "d_width": case.width, **more}
    return cls, cls.resolve_config(config.resolve(cls.Config, ("bench", flags)))


def batch_of(case, n, device, dtype):
    """Coarse and fine noise, the same for the same n on all devices."""
    key = keyed_random.image_keys(7, torch.arange(n * case.batch, (n + 1) * case.batch))
    made = {}
    for side in "ab":
        fine, coarse = (
            keyed_random.uniform(key, f"{side} {size}", 3, size, size) for size in (case.crop, case.crop // 8)
        )
        made[side] = (fine + coarse.repeat_interleave(8, 2).repeat_interleave(8, 3) - 1).to(device, dtype)
    return made


def print_to_stderr(line):
    print(line, file=sys.stderr)


class OurTraining:
    """The engine."""

    def __init__(self, case, device, convolution="auto", **more):
        cls, cfg = settings(case, **convolution_settings(convolution), **more)
        precision = PRECISIONS[case.precision]
        self.device = device
        self.engine = Engine(
            cls(cfg), Schedule(10**6, 1, 0), seed=0, device=device, precision=precision, batch_size=cfg.batch_size,
            channels_last=case.channels_last == "on", compiled=case.compile,
            fixed_size=True,
            runner=cuda_graphs.build_runner(case.graph, device, precision, print_to_stderr),
        )  # fmt: skip
        self.optimizers = self.engine.optimizers
        sample = batch_of(case, 0, device, torch.float32)
        self.convolutions = choose_convolutions(self.engine, sample, case.batch, {}, print_to_stderr)

    def networks(self):
        return {name: net for name, net in self.engine.method.named_children() if name[0] in "gd"}

    def fill_pools(self):
        """As in a long training."""
        for buffer in self.engine.method.buffers():
            buffer.add_(0)  # touched, so that the system gives it memory

    def step(self, batch):
        return self.engine.step([batch])


class ReferenceTraining:
    """The reference's algorithm, with the weights that ours starts with."""

    def __init__(self, case, device, dtype=torch.float32, **more):
        cls, cfg = settings(case, **more)
        given = cls(cfg)
        self.device, self.crop, a, b = device, case.crop, cfg.input_channels, cfg.output_channels
        made = {}
        for name, ours in given.named_children():
            if name.startswith("g"):
                net = double.generator(cfg.generator, a, b, cfg.g_width, cfg.norm, cfg.dropout)
            elif name.startswith("d") and isinstance(ours, nn.Module):
                channels = a + b if name == "d" else a
                net = double.discriminator(cfg.discriminator, channels, cfg.d_width, cfg.norm, cfg.d_layers)
            else:
                continue
            net.load_state_dict(ours.state_dict())
            made[name] = net.to(device, dtype)
        if case.method == "cyclegan":
            pools = {name: double.Pool(POOL, swaps()) for name in ("pool_a", "pool_b")}
            self.trainer = double.CycleGAN(**made, **pools, epochs=100, decay_epochs=100)
        else:
            self.trainer = double.Pix2Pix(**made, epochs=100, decay_epochs=100)
        self.made = made
        self.optimizers = {"g": self.trainer.optimizer_g, "d": self.trainer.optimizer_d}

    def networks(self):
        return self.made

    def fill_pools(self):
        for name in ("pool_a", "pool_b"):
            if pool := getattr(self.trainer, name, None):
                pool.stored = [torch.zeros(3, self.crop, self.crop, device=self.device) + n for n in range(POOL)]

    def step(self, batch):
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = True, True
            torch.set_float32_matmul_precision("highest")
        return self.trainer.step(batch["a"], batch["b"])


def swaps():
    """Return what the reference's pool draws for one image after another."""
    import random

    draw = random.Random(0)
    while True:
        yield draw.random() > 0.5, draw.randrange(POOL)


# Agreement.


def first_step(trainer, batch):
    """Return the losses of a step, and the gradients that its optimizers are given, in float64."""
    gradients = {}
    names = {p: f"{name}.{key}" for name, net in trainer.networks().items() for key, p in net.named_parameters()}

    def keep(optimizer, *_):
        for p in (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None):
            gradients[names[p]] = p.grad.detach().double().clone()

    handles = [optimizer.register_step_pre_hook(keep) for optimizer in trainer.optimizers.values()]
    losses = {name: float(loss) for name, loss in trainer.step(batch).items()}
    for handle in handles:
        handle.remove()
    return losses, gradients


def difference(got, expected):
    """Relative error of gradients: ‖got − expected‖ / ‖expected‖ over all weights of each update."""
    found = {}
    for update in "gd":
        keys = [key for key in expected if key.startswith(update)]
        apart = sum((got[key] - expected[key]).square().sum() for key in keys)
        found[update] = float(apart / sum(expected[key].square().sum() for key in keys)) ** 0.5
    return found


def agreement(case, device, inputs, convolution):
    """Largest relative difference of a loss, and how far gradients are from float64: ours, and the double in float32."""
    case = replace(case, precision="fp32", compile=False, graph="off")
    losses, ours, plain = [], [], []
    more = {"dropout": False} if case.method == "pix2pix" else {}  # float64 would draw other masks
    for n in range(inputs):
        more["seed"] = n
        batch = batch_of(case, n, device, torch.float32)
        expected = first_step(
            ReferenceTraining(case, device, torch.float64, **more), {x: y.double() for x, y in batch.items()}
        )[1]
        theirs, their_gradients = first_step(ReferenceTraining(case, device, **more), batch)
        got, gradients = first_step(OurTraining(case, device, convolution, **more), batch)
        losses.append(max(abs(got[name] - loss) / max(abs(loss), 1e-12) for name, loss in theirs.items()))
        ours.append(difference(gradients, expected))
        plain.append(difference(their_gradients, expected))
    differences = {"losses": max(losses)}
    for name, found in (("ours", ours), ("double", plain)):
        differences[f"gradients of {name}"] = {x: (sum(one[x] ** 2 for one in found) / inputs) ** 0.5 for x in found[0]}
    return differences


# Time.


def timed(trainer, batches, device):
    """Seconds a step."""
    count = STEPS_IN_A_ROW[device.type]
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    wait(device)
    begun = clock()
    for _ in range(count):
        trainer.step(next(batches))
    wait(device)
    return (clock() - begun) / count


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(case, device, rounds, convolutions):
    """Seconds a step of the double and of ours, for each way to compute convolutions."""
    batches = itertools.cycle([batch_of(case, n, device, torch.float32) for n in range(4)])
    ours = {name: OurTraining(case, device, name) for name in convolutions}
    both = {"double": ReferenceTraining(case, device), **ours}
    seconds = {name: [] for name in both}
    for _ in range(5 if device.type == "cuda" else 1):  # warms up: cuDNN's choice, compilation, the recording of graphs
        for trainer in both.values():
            timed(trainer, batches, device)
    for n in range(rounds):
        for name in list(both)[:: 1 if n % 2 else -1]:
            seconds[name].append(timed(both[name], batches, device))
    return {name: times(seconds["double"], seconds[name], trainer.convolutions) for name, trainer in ours.items()}


def times(theirs, ours, convolutions):
    ratios = [one / other for one, other in zip(theirs, ours, strict=True)]
    low, _, high = statistics.quantiles(ours, n=4) if len(ours) > 1 else ours * 3
    return {
        "ours": statistics.median(ours), "quartiles": [low, high], "double": statistics.median(theirs),
        "ratio": statistics.median(ratios), "ratios": ratios, "convolutions": convolutions,
    }  # fmt: skip


# Memory.


@contextmanager
def cuda_peak(device, found):
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    yield
    found.append((torch.cuda.max_memory_allocated(device) - before) / 2**20)


def peak(case, who, device, convolution):
    """MiB of two steps."""
    if device.type == "cuda":
        found = []
        with cuda_peak(device, found):
            take_steps(case, who, device, convolution)
        torch.cuda.empty_cache()
        return found[0]
    return run_in_new_process(__file__, {"case": asdict(case), "who": who, "convolution": convolution})


def take_steps(case, who, device, convolution):
    trainer = ReferenceTraining(case, device) if who == "double" else OurTraining(case, device, convolution)
    trainer.fill_pools()
    for n in range(2):
        trainer.step(batch_of(case, n, device, torch.float32))


def print_peak(asked):
    import torch._dynamo  # optimizers load it when the first one is built

    torch.set_num_threads(asked["threads"])
    reset_peak_memory()
    before = proc_status_bytes("VmRSS")
    take_steps(TrainingCase(**asked["case"]), asked["who"], torch.device("cpu"), asked["convolution"])
    print((proc_status_bytes("VmHWM") - before) / 2**20)


# The table.


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["cyclegan", "pix2pix"], choices=("cyclegan", "pix2pix"))
    parser.add_argument("--crops", nargs="+", type=int, default=[128, 256])
    parser.add_argument("--batches", nargs="+", type=int, default=[1])
    parser.add_argument("--precisions", nargs="+", default=["fp32"], choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--compile", nargs="+", default=["off"], choices=("off", "on"))
    parser.add_argument("--graphs", nargs="+", default=["off"], choices=("off", "on"))
    parser.add_argument("--channels-last", nargs="+", default=["off"], choices=("off", "on"))
    parser.add_argument("--convolution", nargs="+", default=["auto"], choices=CONVOLUTION_WAYS)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--inputs", type=int, default=3, help="for the comparison of losses and gradients; 0: none")
    args = parse_arguments(parser)
    if args.peak is not None:
        print_peak(args.peak)
        return
    device = args.device
    titles = "step | convolutions | double, s | ours, s | quartiles | ratio | MiB, double | ours | losses"
    print(f"| {titles} | gradients, double | ours |")
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    rows, agreed = [], {}
    for method, crop, batch in itertools.product(args.methods, args.crops, args.batches):
        for precision, compiled, graphs, last in itertools.product(
            args.precisions, args.compile, args.graphs, args.channels_last
        ):
            case = TrainingCase(method, crop, batch, precision, compiled == "on", graphs, last, args.width)
            theirs = peak(case, "double", device, "direct")
            for way, row in compare(case, device, args.rounds, args.convolution).items():
                row |= {"case": asdict(case), "convolution": way}
                row |= {"memory": {"double": theirs, "ours": peak(case, "ours", device, way)}}
                if args.inputs and (key := (method, crop, batch, way)) not in agreed:
                    agreed[key] = agreement(case, device, args.inputs, way)
                    row |= {"agreement": agreed[key]}
                rows.append(row)
                print(table_row(case, row), flush=True)
                write_rows(args, rows)


def table_row(case, row):
    low, high = row["quartiles"]
    cells = [
        str(case),
        ": ".join([row["convolution"], *sorted(set(row["convolutions"].values()))]),
        f"{row['double']:.4g}",
        f"{row['ours']:.4g}",
        f"{low:.4g}–{high:.4g}",
        f"**{row['ratio']:.2f}**",
    ]
    cells += [f"{row['memory'][who]:.0f}" for who in ("double", "ours")]
    if "agreement" in row:
        found = row["agreement"]
        cells += [f"{found['losses']:.0e}"]
        cells += [
            ", ".join(f"{x} {y:.1e}" for x, y in found[f"gradients of {who}"].items()) for who in ("double", "ours")
        ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
