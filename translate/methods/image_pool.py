"""The image pool: discriminators see earlier fakes too, not only the newest (Shrivastava et al., 2017; CycleGAN, sec. 4)."""

import torch
from torch import Tensor, nn

from translate import keyed_random
from translate.runtime import distributed


class ImagePool(nn.Module):
    """The last `size` fakes that were kept, (size, C, H, W) in [-1, 1]; 0 turns it off.

    Each image in turn: while the pool is not full it is stored and returned; then with probability ½ it is returned and
    not stored, else it takes the place of a random stored image, which is returned. All of it in tensor operations, so
    that nothing waits for the device.

    Several processes hold the same pool: each puts the fakes of all of them into it, in order of rank, and takes back its
    own. So the number of processes decides nothing, also when a run goes on with another number.
    """

    images: Tensor
    count: Tensor

    def __init__(self, size: int, channels: int, height: int, width: int, name: str) -> None:
        super().__init__()
        self.size, self.name = size, name
        self.register_buffer("images", torch.zeros(size, channels, height, width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, fakes: Tensor, key: Tensor) -> Tensor:
        """fakes (N, C, H, W) without a graph, key (N,) → as many images from the pool and of these."""
        if self.size == 0:
            return fakes
        everyone = distributed.all_gather_batch(fakes.to(self.images.dtype))
        given = self._exchange(everyone, distributed.all_gather_batch(key))
        return distributed.local_shard(given).to(fakes.dtype)

    def _exchange(self, fakes: Tensor, key: Tensor) -> Tensor:
        """One image after the other, all at once: where several meet at a place, each finds what the one before it left."""
        turn = torch.arange(len(fakes), device=fakes.device)
        fills = self.count + turn < self.size
        swaps = ~fills & (keyed_random.uniform(key, f"{self.name}: swap") >= 0.5)
        drawn = (keyed_random.uniform(key, f"{self.name}: place") * self.size).to(torch.int64)
        place = torch.where(fills, self.count + turn, drawn)

        stores = (fills | swaps) & (place == place[:, None])  # [i, j]: j leaves its image at the place of i
        before = torch.where(stores & (turn < turn[:, None]), turn, -1).amax(1)  # who did so last before i; -1: nobody
        at_end = torch.where(stores, turn, -1).amax(1)  # and in the end
        held = self.images.index_select(0, place)
        given = _where(swaps, _where(before >= 0, fakes[before.clamp_min(0)], held), fakes)
        self.images.index_copy_(0, place, _where(at_end >= 0, fakes[at_end.clamp_min(0)], held))
        self.count.add_(fills.sum())
        return given


def _where(choose: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Whole images of x or y (N, C, H, W), by choose (N,)."""
    return torch.where(choose.view(-1, 1, 1, 1), x, y)
