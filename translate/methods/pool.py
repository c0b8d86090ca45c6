"""The image pool: discriminators see earlier fakes too, not only the newest (Shrivastava et al., 2017; CycleGAN, sec. 4)."""

import torch
from torch import Tensor, nn

from translate import noise


class ImagePool(nn.Module):
    """The last `size` fakes that were kept, (size, C, H, W) in [-1, 1]; 0 turns it off.

    Each image in turn: while the pool is not full it is stored and returned; then with probability ½ it is returned and
    not stored, else it takes the place of a random stored image, which is returned. All of it in tensor operations, so
    that nothing waits for the device.
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
        swaps = noise.uniform(key, f"{self.name}: swap") >= 0.5
        places = (noise.uniform(key, f"{self.name}: place") * self.size).to(torch.int64)
        out = []
        for fake, swap, place in zip(
            fakes.to(self.images.dtype).split(1), swaps.split(1), places.split(1), strict=True
        ):
            full = self.count >= self.size
            place = torch.where(full, place, self.count)
            old = self.images.index_select(0, place)
            self.images.index_copy_(0, place, torch.where(full & ~swap, old, fake))
            self.count.add_(~full)
            out.append(torch.where(full & swap, old, fake))
        return torch.cat(out).to(fakes.dtype)
