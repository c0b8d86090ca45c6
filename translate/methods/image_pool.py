"""Image pool: a history of fakes, so that discriminators see earlier ones too (Shrivastava et al., "Learning from Simulated and
Unsupervised Images through Adversarial Training", 2017, sec. 2.3; CycleGAN, sec. 4)."""

import torch
from torch import Tensor, nn

from translate import keyed_random
from translate.runtime import distributed


class ImagePool(nn.Module):
    """History buffer of fakes, (size, C, H, W) in [-1, 1]; size 0 turns it off.

    Each image in turn: while the pool is not full, it is stored and returned; then with probability ½ it is returned and
    not stored, else it replaces a random stored image, which is returned. All by tensor operations, so that nothing waits
    for the device.

    All processes hold the same pool: each stores the fakes of all of them, in order of rank, and gets back its own. So the
    number of processes does not matter, also when a run is resumed with another number.
    """

    images: Tensor
    count: Tensor

    def __init__(self, size: int, channels: int, height: int, width: int, name: str) -> None:
        super().__init__()
        self.size, self.name = size, name
        self.register_buffer("images", torch.zeros(size, channels, height, width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, fakes: Tensor, key: Tensor) -> Tensor:
        """Exchange fakes (N, C, H, W) without a graph for as many images of the pool or of these, by draws of key (N,)."""
        if self.size == 0:
            return fakes
        all_fakes = distributed.all_gather_batch(fakes.to(self.images.dtype))
        exchanged = self._exchange(all_fakes, distributed.all_gather_batch(key))
        return distributed.local_shard(exchanged).to(fakes.dtype)

    def _exchange(self, fakes: Tensor, key: Tensor) -> Tensor:
        """Exchange images one after another, all at once: each of several at one slot finds what the one before it stored."""
        index = torch.arange(len(fakes), device=fakes.device)
        fills = self.count + index < self.size
        swaps = ~fills & (keyed_random.uniform(key, f"{self.name}: swap") >= 0.5)
        drawn = (keyed_random.uniform(key, f"{self.name}: place") * self.size).to(torch.int64)
        slot = torch.where(fills, self.count + index, drawn)

        stores = (fills | swaps) & (slot == slot[:, None])  # [i, j]: image j is stored at the slot of image i
        previous = torch.where(stores & (index < index[:, None]), index, -1).amax(1)  # the last one before i; -1: none
        last = torch.where(stores, index, -1).amax(1)  # the last one of all
        stored = self.images.index_select(0, slot)
        returned = _where(swaps, _where(previous >= 0, fakes[previous.clamp_min(0)], stored), fakes)
        self.images.index_copy_(0, slot, _where(last >= 0, fakes[last.clamp_min(0)], stored))
        self.count.add_(fills.sum())
        return returned


def _where(choose: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Select whole images of x or y (N, C, H, W) by choose (N,)."""
    return torch.where(choose.view(-1, 1, 1, 1), x, y)
