"""Collective operations between the processes that torchrun started, which sets RANK, WORLD_SIZE and LOCAL_RANK.

Without it there is one process, for which every operation returns at once.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def _is_launched_with_others() -> bool:
    """Return True if this process was started as one of several."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def launched_processes() -> int:
    """Return the number of processes that this one was started with; unlike `world_size` it is known from the start."""
    return int(os.environ["WORLD_SIZE"]) if _is_launched_with_others() else 1


def init_process_group(device: torch.device) -> None:
    """Join the process group of torchrun; does nothing for a single process.

    Objects and flags go through gloo even beside NCCL: it waits for no device, and notices at once that a process is gone.
    """
    if not _is_launched_with_others() or dist.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if os.environ.get("GROUP_WORLD_SIZE") != "1":
        dist.init_process_group(backend)
        return
    # torchrun on one machine: its store outlives a restart, with the addresses of processes that are gone
    store, number, count = next(iter(dist.rendezvous("env://")))
    store = dist.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=store, rank=number, world_size=count)


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def local_rank() -> int:
    """Return the number of this process on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Copy the tensors of the first process to all others, in place."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over processes, by one flat all-reduce; those that are None must be so everywhere."""
    if world_size() == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat /= world_size()
    for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        grad.copy_(part.view_as(grad))


def all_reduce_mean(x: Tensor) -> Tensor:
    """Return the mean of x over processes."""
    if world_size() == 1:
        return x
    total = x.clone()
    dist.all_reduce(total)
    return total / world_size()


def gather_object(value: Any) -> list[Any]:
    """Return the values of all processes, by rank, in the first process; in the others an empty list."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.gather_object(value, values if rank() == 0 else None, dst=0)
    return values if rank() == 0 else []


def all_gather_object(value: Any) -> list[Any]:
    """Return the values of all processes, by rank."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def broadcast_object(make: Callable[[], Any]) -> Any:
    """Call `make` in the first process alone, and return its result in all: the others need not see its files."""
    if world_size() == 1:
        return make()
    box = [make() if rank() == 0 else None]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def all_gather_batch(x: Tensor) -> Tensor:
    """Concatenate x (N, …) of all processes, by rank: (N · processes, …), without gradient."""
    if world_size() == 1:
        return x
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def local_shard(x: Tensor) -> Tensor:
    """Return the part of this process of a batch that `all_gather_batch` returned."""
    return x.chunk(world_size())[rank()]


def all_reduce_max(flag: int) -> int:
    """Return the largest of the processes' flags, so that all of them do what one of them must."""
    if world_size() == 1:
        return flag
    tensor = torch.tensor(flag)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return int(tensor)


def is_lost_process(error: BaseException) -> bool:
    """Return True if a collective operation failed because another process has ended, or has not started."""
    if isinstance(error, (dist.DistNetworkError, dist.DistStoreError, dist.DistBackendError)):
        return True
    return _is_launched_with_others() and isinstance(error, RuntimeError) and "gloo" in str(error).lower()
