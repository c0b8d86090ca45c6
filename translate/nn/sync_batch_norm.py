"""Batch norm over the batches of all processes, for any device and backend.

torch's own SyncBatchNorm refuses CPU tensors. Here the mean and variance of each process are exchanged by one gather through
which gradients flow back, and combined by the formula of Chan et al. ("Updating formulae and a pairwise algorithm for computing
sample variances", 1979, eq. 2.1), which loses no digits where means are large.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def is_distributed() -> bool:
    """Return whether training runs in more than one process."""
    return dist.is_initialized() and dist.get_world_size() > 1


class _Gather(torch.autograd.Function):
    """All-gather x of every process, stacked in order of rank; backward, each process's part of the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        summed = grads[0].contiguous().clone()
        dist.all_reduce(summed)
        return summed[dist.get_rank()]


def distributed_batch_norm(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Apply `norm` in training to x (N, C, H, W), this process's part of a batch; every process has N images of it.

    Updates the running statistics as one process with the whole batch would.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    var, mean = torch.var_mean(wide, (0, 2, 3), correction=0)
    means, variances = _Gather.apply(torch.stack([mean, var])).unbind(1)
    mean = means.mean(0)
    var = variances.mean(0) + (means - mean).square().mean(0)
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        assert norm.momentum is not None, "a running mean, not a cumulative one"
        count = len(means) * wide.numel() // wide.shape[1]
        with torch.no_grad():
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(var * (count / (count - 1)), norm.momentum)
            norm.num_batches_tracked.add_(1)
    scale = (var + norm.eps).rsqrt()
    if not norm.affine:
        return ((wide - mean[:, None, None]) * scale[:, None, None]).to(x.dtype)
    scale = scale * norm.weight
    return ((wide - mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]).to(x.dtype)
