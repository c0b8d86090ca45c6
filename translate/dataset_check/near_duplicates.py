"""Images that look the same: a perceptual hash says which may, their colours whether they do."""

import itertools

import numpy as np
from PIL import Image

from translate import images

BITS = 64
THUMBNAIL = 2
"""Side of the image whose colours are compared; the hash knows no colour, and is the same for all plain images."""
TOLERANCE = 24
"""Mean difference, of 255, up to which the colours of two thumbnails are the same."""

_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def hash_and_thumbnail(pixels: np.ndarray) -> tuple[int, bytes]:
    """The 64-bit perceptual hash and the thumbnail of (H, W, C) uint8, uint16 or float32."""
    import imagehash  # brings scipy, which little else needs

    shown = images.to_pil_image(pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, :1]).convert("RGB")
    bits = np.packbits(imagehash.phash(shown, hash_size=8).hash.flatten())
    colours = shown.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes()
    return int.from_bytes(bits.tobytes(), "big"), colours


def group_near_duplicates(hashes: np.ndarray, thumbnails: np.ndarray, distance: int) -> list[list[int]]:
    """Indices of images that look the same, in groups of two and more.

    hashes: (N,) uint64; thumbnails: (N, K) uint8. Two images belong together if at most `distance` bits of their hashes
    differ and their colours are alike, or if a third belongs to both.
    """
    parent = list(range(len(hashes)))
    leaders = _equal(hashes, thumbnails, parent)
    values = hashes[leaders]
    for shift, width in _bands(distance):
        key = (values >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        first, step = np.arange(len(ordered)), 1
        while True:  # each with the next, the one after it, …, as far as their bands are equal
            first = first[first + step < len(ordered)]
            first = first[ordered[first] == ordered[first + step]]
            if not len(first):
                break
            a, b = order[first], order[first + step]
            near = _ONES[(values[a] ^ values[b]).view(np.uint8).reshape(-1, 8)].sum(1) <= distance
            a, b = leaders[a[near]], leaders[b[near]]
            alike = _difference(thumbnails[a], thumbnails[b]) <= TOLERANCE
            for i, j in zip(a[alike].tolist(), b[alike].tolist(), strict=True):
                _join(parent, i, j)
            step += 1
    found: dict[int, list[int]] = {}
    for i in range(len(parent)):
        found.setdefault(_top(parent, i), []).append(i)
    return [group for group in found.values() if len(group) > 1]


def _bands(distance: int) -> list[tuple[int, int]]:
    """Shift and width of distance + 1 parts of a hash: two hashes that differ in so few bits have one part in common."""
    edges = [BITS * i // (distance + 1) for i in range(distance + 2)]
    return [(low, high - low) for low, high in itertools.pairwise(edges)]


def _equal(hashes: np.ndarray, thumbnails: np.ndarray, parent: list[int]) -> np.ndarray:
    """Joins images of equal hash and like colours; one of each such group stays to be compared with the others."""
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
    return np.abs(a.astype(np.int16) - b).mean(1)


def _top(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def _join(parent: list[int], i: int, j: int) -> None:
    low, high = sorted((_top(parent, i), _top(parent, j)))
    parent[high] = low
