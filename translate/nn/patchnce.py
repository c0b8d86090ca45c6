"""PatchNCE, the patchwise contrastive loss of CUT: a patch of the output should be more like the input patch at its location
than like other patches of the same input.

Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation" (ECCV 2020), sec. 3. Images go through the encoder
half of a generator; at some of its layers, features at random locations are projected by a small network and compared.
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random
from translate.nn.base import Generator
from translate.nn.blocks import FrozenStatistics
from translate.nn.gradient_checkpointing import checkpoint_layers

WIDTH = 256
"""Length of a projected feature vector."""


def nce_layers(net: Generator) -> tuple[int, ...]:
    """Return the indices, among the layers of a generator's encoder, of those whose outputs are compared.

    They are the padded image, each convolution that precedes or does a downsampling, before its norm, and the first and fifth
    residual block: 0, 4, 8, 12 and 16 of the authors' anti-aliased generator. Empty for networks without an encoder.
    """
    if net.encoder is None:
        return ()
    layers, blocks = net.encoder
    convolutions = [(index, layer) for index, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    keeps_size = convolutions[0][1].stride == (1, 1)  # the first one, of 7×7, does in the authors' generators
    return (
        0,
        *(index for index, _ in convolutions[keeps_size:]),
        *range(len(layers), len(layers) + min(len(blocks), 5), 4),
    )


def encoder_features(net: Generator, x: Tensor) -> list[Tensor]:
    """Return the outputs of the layers `nce_layers` for images x (N, C, H, W): (N, C', H', W') each, in their order.

    Running statistics of batch norms stay as they are: they are for conversion, which never encodes outputs.
    """
    assert net.encoder is not None, "the generator has nce_layers"
    checkpoints = net.gradient_checkpointing and net.training and torch.is_grad_enabled()
    layers, start, features = [*net.encoder.downsampling, *net.encoder.blocks], 0, []
    with FrozenStatistics(layers):
        for index in nce_layers(net):
            run = layers[start : index + 1]
            if isinstance(run[0], nn.Identity):  # no norm, so the in-place ReLU after it would overwrite the features
                run = [_Copy(), *run]
            x = checkpoint_layers(run, x) if checkpoints else _apply_layers(run, x)
            features.append(x)
            start = index + 1
    return features


class _Copy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


def _apply_layers(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def sample_locations(key: Tensor, name: str, features: Iterable[Tensor], count: int) -> list[Tensor]:
    """Draw `count` different locations of each map (N, C, H, W), or all there are: int64 (N, count), row · W + column.

    The draws are a function of the keys (N,) and the name. Each image has its own; the authors' batch shares one set, which is
    the same for batches of one.
    """
    locations = []
    for index, x in enumerate(features):
        area = x.shape[2] * x.shape[3]
        locations.append(keyed_random.bits(key, f"{name} {index}", area).topk(min(count, area)).indices)
    return locations


def mirror_locations(locations: Tensor, width: int) -> Tensor:
    """Return the locations of the same pixels after a map of this width is mirrored."""
    return locations + (width - 1) - 2 * (locations % width)


def gather_locations(x: Tensor, locations: Tensor) -> Tensor:
    """Return the vectors of a map x (N, C, H, W) at locations (N, S): (N, S, C)."""
    return x.flatten(2).gather(2, locations[:, None].expand(-1, x.shape[1], -1)).transpose(1, 2)


class ProjectionHeads(nn.Module):
    """Projections of the features of each layer (CUT, sec. 3): two linear layers with a ReLU between them.

    channels: of the features of each layer.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(cin, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)) for cin in channels
        )

    def forward(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """Project vectors (N, S, C) of each layer to unit vectors (N, S, WIDTH), in float32 at least."""
        return [l2_normalise(head(x)) for head, x in zip(self.heads, vectors, strict=True)]


def l2_normalise(x: Tensor) -> Tensor:
    """Divide the vectors along the last axis by their length, to which the authors add 1e-7."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x / (torch.linalg.vector_norm(x, dim=-1, keepdim=True) + 1e-7)


def patch_nce(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy of each query's positive key among all keys of its image (CUT, eq. 2 and 3).

    query, key: unit vectors (N, S, D); a query's positive has its index. Logits are cosines over the temperature. No gradient
    flows to the keys. The authors put each positive in front of the negatives and fill its place among them with −10: at their
    temperature, 0.07, that adds e^(−10 / 0.07), nothing in float64.
    """
    # Half precision would round cosines to 1/256, which the temperature magnifies. The meta device has no autocast.
    with nullcontext() if query.is_meta else torch.autocast(query.device.type, enabled=False):
        similarity = query @ key.detach().transpose(1, 2) / temperature
        own = torch.arange(query.shape[1], device=query.device).expand(similarity.shape[:2])
        return F.cross_entropy(similarity.flatten(0, 1), own.flatten())
