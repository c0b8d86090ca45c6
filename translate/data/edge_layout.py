"""Layout of the edges in two domains: whether a translation can keep the shapes of its input.

Edges are compared, not colours: colours are what translations change.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

from translate import images
from translate.data.preprocessing import select_half
from translate.data.split import ImageRef
from translate.images import ImageError, Reading

SAMPLE = 128
"""Images of each domain that are looked at, spread over the whole set."""
SIDE = 65
"""Side in pixels that images are shrunk to: edges then lie between 64 × 64 pixels."""
CELLS = 8
"""Cells a side over which edges are counted, so that small shifts move none."""


def edge_strength(image: Tensor) -> Tensor:
    """Return the length of the gradient of an image (C, H, W), the root of the sum of squares over channels, (H − 1, W − 1)."""
    return torch.stack([image[:, 1:, :-1] - image[:, :-1, :-1], image[:, :-1, 1:] - image[:, :-1, :-1]]).norm(
        dim=(0, 1)
    )


def moved_edges(a: Sequence[Tensor], b: Sequence[Tensor]) -> float | None:
    """Return the share of edges, 0 to 1, that lie elsewhere in images b than in images a, all (C, H, W) of one size.

    It is the total variation distance between the mean distributions of edges over CELLS × CELLS cells, in which each image
    counts the same. None if all images of a domain are flat.
    """
    first, second = _distribution(a), _distribution(b)
    return None if first is None or second is None else 0.5 * (first - second).abs().sum().item()


def _distribution(images: Sequence[Tensor]) -> Tensor | None:
    """Return the mean share of the edges of images in each cell."""
    cells = [F.adaptive_avg_pool2d(edge_strength(image)[None], CELLS)[0] for image in images]
    shares = [each / each.sum() for each in cells if each.sum() > 0]
    return torch.stack(shares).mean(0) if shares else None


def edge_correlation(a: Sequence[Tensor], b: Sequence[Tensor]) -> float | None:
    """Return the mean over pairs of the correlation of edges in images a and b, (C, H, W) of one size.

    Pairs with a flat image are left out; None if there are no others.
    """
    values = []
    for pair in zip(a, b, strict=True):
        first, second = (edge_strength(image) for image in pair)
        first, second = first - first.mean(), second - second.mean()
        if (norm := first.norm() * second.norm()) > 0:
            values.append((first * second).sum() / norm)
    return torch.stack(values).mean().item() if values else None


def read_small(refs: Sequence[ImageRef], how: Reading) -> dict[int, Tensor]:
    """Read up to SAMPLE images, shrunk to (C, SIDE, SIDE), by their index; what cannot be read is left to the loader."""
    chosen = sorted({round(x) for x in torch.linspace(0, len(refs) - 1, min(SAMPLE, len(refs))).tolist()})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(lambda index: _read(refs[index], how), chosen)
        return {index: image for index, image in zip(chosen, read, strict=True) if image is not None}


def _read(ref: ImageRef, how: Reading) -> Tensor | None:
    try:
        pixels = torch.tensor(images.read(ref.path, how=how).pixels).permute(2, 0, 1)
        image = select_half(pixels, ref.half)[None].float()
    except (ImageError, ValueError):
        return None
    return F.interpolate(image, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)[0]
