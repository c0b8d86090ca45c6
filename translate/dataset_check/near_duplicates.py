"""Near-duplicate images: candidates by perceptual hash, confirmed by their colours."""

import itertools

import numpy as np
from PIL import Image

from translate import images

BITS = 64
"""Bits of a perceptual hash."""
THUMBNAIL = 2
"""Side of the thumbnails whose colours are compared; the hash ignores colour, and is the same for all plain images."""
TOLERANCE = 24
"""Mean difference, of 255, up to which the colours of two thumbnails are taken for the same."""

_BIT_COUNTS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def hash_and_thumbnail(pixels: np.ndarray) -> tuple[int, bytes]:
    """Compute the 64-bit perceptual hash and the thumbnail (RGB bytes) of pixels (H, W, C), uint8, uint16 or float32."""
    import imagehash  # brings scipy, which little else needs

    image = images.to_pil_image(pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, :1]).convert("RGB")
    bits = np.packbits(imagehash.phash(image, hash_size=8).hash.flatten())
    colours = image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes()
    return int.from_bytes(bits.tobytes(), "big"), colours


def group_near_duplicates(hashes: np.ndarray, thumbnails: np.ndarray, distance: int) -> list[list[int]]:
    """Group the indices of images that look the same, in groups of two and more.

    hashes: (N,) uint64; thumbnails: (N, K) uint8. Two images belong together if at most `distance` bits of their hashes
    differ and their colours are alike, or if a third belongs to both.
    """
    parent = list(range(len(hashes)))
    leaders = _join_equal_hashes(hashes, thumbnails, parent)
    values = hashes[leaders]
    for shift, width in _bands(distance):
        key = (values >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        first, step = np.arange(len(ordered)), 1
        while True:  # compare each with the next, the one after it, …, while their bands are equal
            first = first[first + step < len(ordered)]
            first = first[ordered[first] == ordered[first + step]]
            if not len(first):
                break
            a, b = order[first], order[first + step]
            near = _BIT_COUNTS[(values[a] ^ values[b]).view(np.uint8).reshape(-1, 8)].sum(1) <= distance
            a, b = leaders[a[near]], leaders[b[near]]
            alike = _difference(thumbnails[a], thumbnails[b]) <= TOLERANCE
            for i, j in zip(a[alike].tolist(), b[alike].tolist(), strict=True):
                _join(parent, i, j)
            step += 1
    groups: dict[int, list[int]] = {}
    for i in range(len(parent)):
        groups.setdefault(_root(parent, i), []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def _bands(distance: int) -> list[tuple[int, int]]:
    """Shift and width of distance + 1 bands of a hash: hashes that differ in `distance` bits have one band in common."""
    edges = [BITS * i // (distance + 1) for i in range(distance + 2)]
    return [(low, high - low) for low, high in itertools.pairwise(edges)]


def _join_equal_hashes(hashes: np.ndarray, thumbnails: np.ndarray, parent: list[int]) -> np.ndarray:
    """Join images of equal hash and like colours; return the index of one image of each such group, for further comparison."""
    order = np.argsort(hashes, kind="stable")
    leaders = []
    for run in np.split(order, np.flatnonzero(np.diff(hashes[order])) + 1):
        rest = run
        while len(rest):
            leader = int(rest[0])
            alike = _difference(thumbnails[rest], thumbnails[leader][None]) <= TOLERANCE
            for i in rest[alike].tolist():
                _join(parent, leader, i)
            leaders.append(leader)
            rest = rest[~alike]
    return np.array(leaders, np.int64)


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean absolute difference of thumbnails (N, K), (N,)."""
    return np.abs(a.astype(np.int16) - b).mean(1)


def _root(parent: list[int], i: int) -> int:
    """Root of i in the union-find forest."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def _join(parent: list[int], i: int, j: int) -> None:
    low, high = sorted((_root(parent, i), _root(parent, j)))
    parent[high] = low
