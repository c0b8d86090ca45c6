"""Self-attention over the places of a map.

Zhang et al., "Self-Attention Generative Adversarial Networks", ICML 2019, sec. 3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn.spectral_norm import SpectralConv2d


class SelfAttention(nn.Module):
    """x + γ · attention(x): (N, C, H, W) → the same, with spectral norm; C is at least 8, H and W are even.

    Queries are of every place, keys and values of the largest of each 2×2 places, as in the code of BigGAN's authors. γ starts
    at 0.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner, half = channels // 8, channels // 2
        self.query = SpectralConv2d(channels, inner, 1, bias=False)
        self.key = SpectralConv2d(channels, inner, 1, bias=False)
        self.value = SpectralConv2d(channels, half, 1, bias=False)
        self.out = SpectralConv2d(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2)  # (N, C / 8, H · W)
        key, value = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))  # H · W / 4 places
        attention = torch.softmax(query.transpose(1, 2) @ key, -1)
        seen = (value @ attention.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma * self.out(seen)
