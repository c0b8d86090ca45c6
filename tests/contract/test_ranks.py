"""Two processes train as one, for every method."""

import os
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from translate.methods import METHODS

FLAGS = {"norm": "instance", "dropout": False, "pool_size": 0, "batch_size": 2}
STEPS = 3


def settings(name):
    """FLAGS that the method has."""
    return {key: value for key, value in FLAGS.items() if key in METHODS[name].Config.__dataclass_fields__}


def work(rank, names, folder, tiny):
    os.environ.update(RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    for name in names:
        engine = tiny.engine(name, "fp64", seed=rank, **settings(name))  # other initial weights: the first's must win
        engine.seed = 0
        for _ in range(STEPS):
            batch = tiny.batch(name, 2, engine.images + 2 * rank, torch.float64)
            batch.pop("key")
            engine.step([batch])
        state = engine.state()
        torch.save(engine.method.state_dict(), f"{folder}/{name}-{rank}.pt")
        if rank == 0:
            assert len(state["buffers"]) == 2
            assert engine.images == 4 * STEPS
    dist.destroy_process_group()


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_equal_one_with_twice_the_batch(name, tiny, tmp_path):
    mp.start_processes(work, ([name], str(tmp_path), tiny), nprocs=2, start_method="fork")
    left, right = (torch.load(tmp_path / f"{name}-{rank}.pt") for rank in (0, 1))
    one = tiny.engine(name, "fp64", **{**settings(name), "batch_size": 4})
    for _ in range(STEPS):
        one.step(tiny.engine_batch(name, one, count=4))
    for key, value in one.method.state_dict().items():
        assert torch.equal(left[key], right[key]), key
        torch.testing.assert_close(value, left[key], rtol=0, atol=1e-7, msg=key)
