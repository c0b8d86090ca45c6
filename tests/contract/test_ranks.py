"""Two processes train as one, for every method."""

import os
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from translate.methods import METHODS
from translate.training import checkpoint

from ..helpers import distinct_methods

STEPS = 8
"""Enough for each phase of a method, and for a pool that fills and swaps."""
CUT = 4
TRIED_IN_FLOAT32 = {("cyclegan", "instance"), ("pix2pix", "batch")}
"""What methods of their kinds have by default; all others where there are hours."""


def settings(name, norm, batch_size):
    """Those of them that the method has. A pool that fills and swaps within the run."""
    wanted = {
        "norm": norm, "dropout": False, "pool_size": 7, "nce_patches": 16, "batch_size": batch_size, "ema_half_life": 20,
    }  # fmt: skip
    return {key: value for key, value in wanted.items() if key in METHODS[name].Config.__dataclass_fields__}


def train(tiny, name, engine, steps, rank=0):
    count = engine.method.cfg.batch_size
    for _ in range(steps):
        batch = tiny.batch(name, count, engine.images + count * rank, engine.precision.weights)
        batch.pop("key")
        engine.step([batch])


def work(rank, name, norm, precision, folder, tiny):
    os.environ.update(RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=600))
    engine = tiny.engine(name, precision, seed=rank, **settings(name, norm, 2))  # other weights: the first's must win
    engine.seed = 0
    train(tiny, name, engine, CUT, rank)
    state = engine.state()
    if rank == 0:
        assert state["buffers"] == [{}, {}]  # pools and statistics are equal, so that they are stored once
        checkpoint.save(folder, state)
    train(tiny, name, engine, STEPS - CUT, rank)
    assert engine.images == 4 * STEPS
    torch.save(ends(engine), folder / f"{rank}.pt")
    dist.destroy_process_group()


def ends(engine):
    averages = {f"average {name}": network.state_dict() for name, network in engine.ema.networks.items()}
    return {"method": engine.method.state_dict(), **averages}


def two(tiny, name, norm, precision, folder):
    """Where two processes end; they end alike."""
    mp.start_processes(work, (name, norm, precision, folder, tiny), nprocs=2, start_method="fork")
    left, right = (torch.load(folder / f"{rank}.pt") for rank in (0, 1))
    tiny.assert_equal_state(left, right)
    return left


def one(tiny, name, norm, precision):
    engine = tiny.engine(name, precision, **settings(name, norm, 4))
    train(tiny, name, engine, STEPS)
    return ends(engine)


def largest(left, right):
    """The largest difference of two ends."""
    return max((x - right[part][name]).abs().max() for part in left for name, x in left[part].items() if x.numel())


def distance(left, right):
    """The root mean square of the differences of two ends."""
    pairs = ((x, right[part][name]) for part in left for name, x in left[part].items())
    return torch.cat([(x.double() - y.double()).flatten() for x, y in pairs]).square().mean().sqrt().item()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "norm"),
    [*((name, "batch") for name in distinct_methods()), ("cyclegan", "instance"), ("pix2pix", "instance")],
)
def test_two_processes_equal_one_with_twice_the_batch(name, norm, tiny, tmp_path):
    """Weights, averages, running statistics and pools; also where the run goes on in one process.

    Instance norm is of each image alone, and batch norm shares statistics on top of all else that processes share.
    """
    whole = one(tiny, name, norm, "fp64")
    assert largest(two(tiny, name, norm, "fp64", tmp_path), whole) < 1e-7
    alone = tiny.engine(name, "fp64", **settings(name, norm, 4))
    alone.load_state(checkpoint.load_newest(tmp_path, pytest.fail))
    train(tiny, name, alone, STEPS - CUT)
    assert largest(ends(alone), whole) < 1e-7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "norm"),
    [
        pytest.param(name, norm, marks=() if (name, norm) in TRIED_IN_FLOAT32 else pytest.mark.hours)
        for name in distinct_methods()
        for norm in ("instance", "batch")
    ],
)
def test_in_float32_they_are_as_near_to_float64_as_one_is(name, norm, tiny, tmp_path):
    """Ten times as far at most: both are off by their own rounding, which grows from step to step, and by how much is chance.

    Where one is much nearer than single values are rounded, the other need not be. RMSProp divides a gradient by its own size:
    where only rounding decides its sign, a weight moves by the learning rate one way or the other.
    """
    updates = tiny.method(name).updates.values()
    by_sign = max((update.lr for update in updates if update.optimizer == "rmsprop"), default=0)
    single, exact = (one(tiny, name, norm, precision) for precision in ("fp32", "fp64"))
    near, far = distance(single, exact), distance(two(tiny, name, norm, "fp32", tmp_path), exact)
    print(f"{name}, {norm}: one is {near:.1e} from float64, two are {far:.1e}")  # noqa: T201
    assert far <= max(10 * near, 1e-5, by_sign)
