"""PatchNCE: what is at a place of an image should be told from the other places of it by what is made of it there.

Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation" (ECCV 2020). Images go through the first
half of a generator; at some of its layers vectors are taken from the maps at random places, and projected by a small network.
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random
from translate.nn.base import Generator
from translate.nn.blocks import ResnetBlock
from translate.nn.gradient_checkpointing import checkpoint_layers

WIDTH = 256
"""Numbers in a projected vector."""


def nce_layers(net: Generator) -> tuple[int, ...]:
    """The places in the list `model` whose outputs are compared; empty for networks that are no chain around residual blocks.

    They are the padded image, each convolution that precedes a halving or does it, before its norm, and the first and the fifth
    block: 0, 4, 8, 12 and 16 of the authors' anti-aliased generator.
    """
    layers = list(net.model.children()) if isinstance(net.model, nn.Sequential) else []
    blocks = [place for place, layer in enumerate(layers) if isinstance(layer, ResnetBlock)]
    if not blocks:
        return ()
    convolutions = [place for place, layer in enumerate(layers[: blocks[0]]) if isinstance(layer, nn.Conv2d)]
    return 0, *convolutions[1:], *blocks[:5:4]


def encoder_features(net: Generator, x: Tensor) -> list[Tensor]:
    """What the tapped layers make of images x (N, C, H, W): (N, C', H', W') each, in their order."""
    recomputes = net.gradient_checkpointing and net.training and torch.is_grad_enabled()
    layers, start, found = list(net.model.children()), 0, []
    for tap in nce_layers(net):
        run = layers[start : tap + 1]
        if isinstance(run[0], nn.Identity):  # no norm, so the ReLU behind it would write over what was found
            run = [_Copy(), *run]
        x = checkpoint_layers(run, x) if recomputes else _through(run, x)
        found.append(x)
        start = tap + 1
    return found


class _Copy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


def _through(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def sample_locations(key: Tensor, name: str, found: Iterable[Tensor], count: int) -> list[Tensor]:
    """For maps (N, C, H, W), `count` different places of each, row · W + column, or all there are: int64 (N, count).

    The draws are a function of the keys (N,) and the name. Each image has its own; the authors' batch shares one set, which is
    the same for batches of one.
    """
    chosen = []
    for index, x in enumerate(found):
        area = x.shape[2] * x.shape[3]
        chosen.append(keyed_random.bits(key, f"{name} {index}", area).topk(min(count, area)).indices)
    return chosen


def mirror_locations(at: Tensor, width: int) -> Tensor:
    """Where places of a map of this width are when it is mirrored."""
    return at + (width - 1) - 2 * (at % width)


def gather_locations(x: Tensor, at: Tensor) -> Tensor:
    """The vectors of a map (N, C, H, W) at places (N, S): (N, S, C)."""
    return x.flatten(2).gather(2, at[:, None].expand(-1, x.shape[1], -1)).transpose(1, 2)


class ProjectionHeads(nn.Module):
    """For each tapped layer, of so many channels, two linear layers with a ReLU between them."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(cin, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)) for cin in channels
        )

    def forward(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """Vectors (N, S, C) of each layer → of length 1, (N, S, WIDTH), in float32 at least."""
        return [l2_normalise(head(x)) for head, x in zip(self.heads, vectors, strict=True)]


def l2_normalise(x: Tensor) -> Tensor:
    """Vectors along the last axis divided by their length, to which the authors add 1e-7."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x / (torch.linalg.vector_norm(x, dim=-1, keepdim=True) + 1e-7)


def patch_nce(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of finding each query's own key among all of its image, by cosine over temperature.

    query, key: vectors of length 1, (N, S, D); a query's own key has its index. No gradient goes to the keys. The authors put
    each pair's similarity in front of the negatives and fill its place among them with −10: at their temperature, 0.07, that
    adds e^(−10 / 0.07), nothing in float64.
    """
    # Half precision would round cosines to 1/256, and the temperature makes much of it. The meta device has no autocast.
    with nullcontext() if query.is_meta else torch.autocast(query.device.type, enabled=False):
        similarity = query @ key.detach().transpose(1, 2) / temperature
        own = torch.arange(query.shape[1], device=query.device).expand(similarity.shape[:2])
        return F.cross_entropy(similarity.flatten(0, 1), own.flatten())
