"""Operations that a training step launches on a GPU: the reference's algorithm, ours, and ours as a CUDA graph. Needs no GPU.

    uv run python tools/bench_launches.py [--methods cyclegan pix2pix …] [--preset paper]

Every step is run on the meta device, which computes nothing: forward and backward pass, image pools, the check for nan, norms
of gradients. What torch dispatches is counted, but for views and memory that is only allocated; most such operations are one
kernel, some are two or three. Optimizers choose their way by the device, so theirs are counted apart, on one number for each
weight: fused for ours, and torch's default on CUDA, "foreach", for the reference. "graph" is what is launched in a step that is
replayed: copies of the batch and of the results, numbers that change, and the graph itself as one.

A step is one of the method's default recipe in float32, at its default crop and batch; the busiest of its first steps counts.
"""

import argparse
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import torch
from bench_train import ReferenceTraining, TrainingCase
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from translate import config
from translate.api.presets import sized_settings
from translate.api.training_data import with_pair_images
from translate.caption_tokens import tokenise
from translate.methods import METHODS
from translate.runtime.precision import PRECISIONS
from translate.training.cuda_graphs import WARMUP_STEPS, DeviceScalars, EagerRunner, GraphRunner
from translate.training.engine import Engine
from translate.training.schedule import Schedule

META = torch.device("meta")
STEPS = 6
"""Steps of which the busiest counts."""
ALLOCATIONS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}


class LaunchCounter(TorchDispatchMode):
    """Counter of the operations that work on a tensor with at least `axes` axes, without views and allocations."""

    def __init__(self, axes=0):
        super().__init__()
        self.count, self.axes = 0, axes

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        is_view = any(value.alias_info and not value.alias_info.is_write for value in func._schema.returns)
        tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)]
        if not is_view and func.overloadpacket.__name__ not in ALLOCATIONS:
            self.count += any(x.ndim >= self.axes for x in tensors)
        return out


@contextmanager
def on_meta():
    """Let a step run on the meta device, which has no autocast; operations on lists of tensors are one each, as on CUDA."""
    autocast = torch.autocast

    def no_autocast(device_type, *args, **kwargs):
        return nullcontext() if device_type == "meta" else autocast(device_type, *args, **kwargs)

    is_enabled = torch.is_autocast_enabled
    with (
        patch("torch.autocast", no_autocast),
        patch("torch.utils._foreach_utils._get_foreach_kernels_supported_devices", lambda: ["cuda", "meta"]),
        patch("torch.is_autocast_enabled", lambda kind=None: kind != "meta" and is_enabled(kind or "cuda")),
    ):
        yield


def optimizer_launches(optimizer, build, axes=0):
    """Return the operations of a step of the optimizer that `build` makes for so many parameters."""
    count = sum(p.requires_grad for group in optimizer.param_groups for p in group["params"])
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(count)]
    small = build(parameters)
    for group in small.param_groups:
        group["lr"] = torch.tensor(1e-3) if axes == 0 else group["lr"]
    for _ in range(2):  # the first one makes the moments
        for p in parameters:
            p.grad = torch.zeros(1)
        with LaunchCounter(axes) as counter:
            small.step()
    return counter.count


def without_steps(optimizers, launches):
    """Let the optimizers do nothing but add the operations of a step to the list."""
    for name, optimizer in optimizers.items():
        optimizer.step = lambda *_, name=name: launches.append(name)


class ReplayedStep:
    """Stand-in for the recorder of graphs: the recording is run, and its replay does nothing."""

    def on_capture_stream(self):
        return nullcontext()

    def record(self, work):
        return (lambda: None), work()

    def invalidate(self):
        pass


def empty_batch(cls, cfg):
    shape = cfg.batch_size, cfg.input_channels, cfg.crop_size, cfg.crop_size
    batch = {"a": torch.empty(shape, device=META)}
    if cls.layout in ("paired", "unpaired"):
        batch["b"] = torch.empty(shape[0], cfg.output_channels, *shape[2:], device=META)
    if cls.layout == "domains":
        batch["label"] = torch.empty(shape[0], dtype=torch.int64, device=META)
    if cls.layout == "captions":
        batch["label"] = torch.empty(shape[0], len(tokenise("a caption")), dtype=torch.int64, device=META)
    if cls.draws_references:
        batch |= {"b": torch.empty_like(batch["a"]), "label_b": torch.empty_like(batch["label"])}
    return with_pair_images(batch, cfg)


def our_launches(name, preset="paper", runner=None, steps=STEPS):
    """Return the operations of each of the first steps."""
    cls = METHODS[name]
    cfg = cls.resolve_config(config.resolve(cls.Config, ("bench", sized_settings(cls, preset, {}))))
    runner = runner or EagerRunner(META)
    if isinstance(runner, EagerRunner):
        runner.scalars = DeviceScalars(META)  # as on CUDA
    engine = Engine(
        cls.on_meta(cfg), Schedule(10**6, 1, 0), seed=0, device=META, precision=PRECISIONS["fp32"],
        batch_size=cfg.batch_size, ema_half_life=cfg.ema_half_life, fixed_size=True, runner=runner,
    )  # fmt: skip
    builds = {
        "adam": lambda parameters: torch.optim.Adam(parameters, fused=True),
        "rmsprop": lambda parameters: type(engine.optimizers["g"])(parameters, 1e-3),
    }
    costs = {
        update: optimizer_launches(optimizer, builds[engine.method.updates[update].optimizer])
        for update, optimizer in engine.optimizers.items()
    }
    done = []
    without_steps(engine.optimizers, done)
    batch, counts = empty_batch(cls, cfg), []
    for _ in range(steps):
        done.clear()
        with LaunchCounter() as counter:
            engine.step([batch])
        counts.append(counter.count + sum(costs[update] for update in done))
    return counts


def replayed_launches(name, preset="paper"):
    """Return what is launched in the first step that is replayed after it was recorded, with the graph as one."""
    said = []
    runner = GraphRunner(META, ReplayedStep(), said.append)
    counts = our_launches(name, preset, runner, 8 * (WARMUP_STEPS + 2))
    assert not said, said
    return counts[-1] + 1


def reference_launches(name):
    """Return the operations of a step of the reference's algorithm."""
    crop = METHODS[name].Config().crop_size
    with torch.device("meta"):
        trainer = ReferenceTraining(TrainingCase(name, crop, 1), META)
        trainer.fill_pools()
    done = []
    costs = {
        update: optimizer_launches(optimizer, lambda parameters: torch.optim.Adam(parameters, foreach=True), axes=1)
        for update, optimizer in trainer.optimizers.items()
    }
    without_steps(trainer.optimizers, done)
    batch = {side: torch.empty(1, 3, crop, crop, device=META) for side in "ab"}
    with LaunchCounter() as counter:
        trainer.step(batch)
    return counter.count + sum(costs[update] for update in done)


def measure(name, preset="paper"):
    """Return the operations of a step of the reference (None for methods that it lacks), of ours, and of ours as a graph."""
    with on_meta():
        reference = reference_launches(name) if name in ("cyclegan", "pix2pix") and preset == "paper" else None
        return reference, max(our_launches(name, preset)), replayed_launches(name, preset)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--preset", default="paper")
    args = parser.parse_args()
    print("| method | reference | ours | ours as a graph |\n|---|---|---|---|")
    for name in args.methods:
        if args.preset in METHODS[name].presets:
            reference, launched, replayed = measure(name, args.preset)
            print(f"| {name} | {reference or ''} | {launched} | {replayed} |", flush=True)


if __name__ == "__main__":
    main()
