"""Minibatch standard deviation: shows a discriminator how much the images of a batch vary, so that it notices a generator that
makes few (Karras et al., "Progressive Growing of GANs", ICLR 2018, sec. 3)."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from translate.nn.blocks import is_channels_last
from translate.nn.equalized import EPSILON
from translate.nn.sync_batch_norm import is_distributed


class MinibatchStd(nn.Module):
    """Append a channel with the standard deviation of the features over a group of images: (N, C, H, W) → (N, C + 1, H, W).

    The deviation of each feature at each place over the group, then their mean: one number for a group, in all its pixels.
    Groups are of `group` images in a row, or of all if there are fewer; in training those of the whole batch of all processes.
    Where the batch is no multiple, they are of fewer images, or of all if no smaller group divides it.
    """

    couples_images = "minibatch standard deviation"

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        own = slice(0, len(x))
        if self.training and is_distributed():
            count = len(x) * dist.get_world_size()
            if len(x) % group_size(count, self.group):  # a group has images of several processes
                own = slice(dist.get_rank() * len(x), (dist.get_rank() + 1) * len(x))
                wide = _gather(wide)
        else:
            count = len(x)
        size = group_size(count, self.group)
        groups = wide.unflatten(0, (-1, size))
        value = (groups.var(1, correction=0) + EPSILON).sqrt().mean((1, 2, 3))
        plane = value.repeat_interleave(size)[own, None, None, None].expand(-1, 1, *x.shape[2:]).to(x.dtype)
        joined = torch.cat([x, plane], 1)
        return joined.contiguous(memory_format=torch.channels_last) if is_channels_last(x) else joined

    def extra_repr(self) -> str:
        return f"{self.group}"


def group_size(count: int, wanted: int) -> int:
    """Return the images of a group of a batch of `count`: at most `wanted`, at least 2 and a divisor; if none is, all."""
    return next((size for size in range(min(wanted, count), 1, -1) if count % size == 0), count)


class _SumOverProcesses(torch.autograd.Function):
    """Sum of x over all processes; it may be differentiated again and again, as gradient penalties do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        result: Tensor = _SumOverProcesses.apply(grads[0])
        return result


def _gather(x: Tensor) -> Tensor:
    """Concatenate x (N, …) of all processes by rank, with gradients of any order."""
    rows = [x if rank == dist.get_rank() else torch.zeros_like(x) for rank in range(dist.get_world_size())]
    gathered: Tensor = _SumOverProcesses.apply(torch.cat(rows))
    return gathered
