"""Batch norm over two processes is batch norm of one process with the whole batch."""

import os
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from translate.nn.blocks import BatchNorm2d
from translate.nn.sync_batch_norm import is_distributed

from ..helpers import random_tensor

IMAGES = 3
"""Images of each process."""


def norm():
    """Return a batch norm in float64 with weights that are not its initial ones."""
    layer = BatchNorm2d(4).double()
    layer.weight.data = random_tensor(4, seed=1) + 2
    layer.bias.data = random_tensor(4, seed=2)
    return layer


def outcome(layer, x, weights):
    """Return the output, the gradients of input and parameters, and the running statistics after one training step."""
    x = x.clone().requires_grad_()
    output = layer(x)
    gradients = torch.autograd.grad((output * weights).sum(), [x, layer.weight, layer.bias])
    return [output.detach(), *gradients, layer.running_mean, layer.running_var, layer.num_batches_tracked]


def work(rank, folder, x, weights):
    os.environ.update(RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=300))
    assert is_distributed()
    own = slice(IMAGES * rank, IMAGES * (rank + 1))
    torch.save(outcome(norm(), x[own], weights[own]), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_normalise_as_one(tmp_path):
    """Values, gradients and running statistics; the channels have unlike means, and one is far from 0."""
    x = random_tensor(2 * IMAGES, 4, 5, 6) + torch.tensor([0.0, 1.0, -2.0, 1000.0])[:, None, None]
    weights = random_tensor(*x.shape, seed=3)
    mp.start_processes(work, (tmp_path, x, weights), nprocs=2, start_method="fork")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    output, of_x, of_weight, of_bias, *statistics = outcome(norm(), x, weights)
    torch.testing.assert_close(torch.cat([first[0], second[0]]), output, rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.cat([first[1], second[1]]), of_x, rtol=0, atol=1e-9)
    torch.testing.assert_close(first[2] + second[2], of_weight, rtol=0, atol=1e-9)
    torch.testing.assert_close(first[3] + second[3], of_bias, rtol=0, atol=1e-9)
    for one, other, whole in zip(first[4:], second[4:], statistics, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, whole, rtol=1e-12, atol=1e-12)


def test_a_single_process_is_not_distributed():
    assert not is_distributed()
