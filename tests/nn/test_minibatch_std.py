"""Minibatch standard deviation: its formula, groups, gradients of second order, and groups over several processes."""

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from translate.nn.minibatch_std import MinibatchStd, group_size

from ..helpers import random_tensor


def test_one_number_for_each_group_by_the_formula():
    """Deviation of each value over the images of a group, then the mean."""
    x = random_tensor(8, 3, 4, 5)
    y = MinibatchStd()(x)
    assert torch.equal(y[:, :3], x)
    for group in (slice(0, 4), slice(4, 8)):
        mean = sum(x[group]) / 4
        variance = sum((image - mean) ** 2 for image in x[group]) / 4
        expected = ((variance + 1e-8) ** 0.5).mean()
        torch.testing.assert_close(y[group, 3], expected.expand(4, 4, 5), rtol=0, atol=1e-12)


def test_equal_images_have_no_deviation_and_one_has_none():
    image = random_tensor(1, 2, 4, 4)
    for x in (image, image.expand(4, -1, -1, -1)):
        torch.testing.assert_close(
            MinibatchStd()(x)[:, 2], torch.full((len(x), 4, 4), 1e-4, dtype=torch.float64), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize(
    ("count", "size"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 3), (7, 7), (8, 4), (10, 2), (128, 4)]
)
def test_groups_divide_the_batch(count, size):
    assert group_size(count, 4) == size


def test_it_can_be_differentiated_twice_and_keeps_the_memory_format():
    x = random_tensor(4, 2, 3, 3).requires_grad_()
    assert torch.autograd.gradgradcheck(MinibatchStd(), (x,))
    y = MinibatchStd()(x.detach().contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()


def penalised(layer, x, weights):
    """Gradient by `weights` of a penalty on the gradient of outputs, as a critic has it."""
    y = (layer(x) * weights).square()
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    return torch.autograd.grad(slope.square().mean(), weights)[0]


def work(rank, folder):
    os.environ.update(RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)
    layer, own = MinibatchStd(), slice(2 * rank, 2 * rank + 2)
    x = random_tensor(4, 2, 3, 3)[own].requires_grad_()
    weights = torch.linspace(0.5, 2, 27, dtype=torch.float64).view(3, 3, 3).requires_grad_()
    gradient = penalised(layer, x, weights)
    dist.all_reduce(gradient)
    torch.save((layer(x).detach(), gradient / 2, layer.eval()(x).detach()), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_a_group_of_two_processes_is_that_of_one(tmp_path):
    """Values, and gradients of second order averaged over processes; in evaluation a process is alone."""
    mp.start_processes(work, (tmp_path,), nprocs=2, start_method="fork")
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    x = random_tensor(4, 2, 3, 3).requires_grad_()
    weights = torch.linspace(0.5, 2, 27, dtype=torch.float64).view(3, 3, 3).requires_grad_()
    layer = MinibatchStd()
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), layer(x).detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(parts[0][1], penalised(layer, x, weights), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts[1][2], layer(x[2:]).detach(), rtol=0, atol=1e-12)
