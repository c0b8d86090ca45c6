"""Keyed random numbers without state: every draw is a pure function of a key, a name and a position.

No generator has to be saved, replayed or kept in step: the same key gives the same numbers for any batch size, order,
number of workers or ranks, on the CPU and on a GPU. The hash is the finaliser of SplitMix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014), used as a counter-based generator.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

_MASK = (1 << 64) - 1


def _signed(x: int) -> int:
    """Return the int64 that has the same 64 bits as the unsigned `x`."""
    x &= _MASK
    return x - (1 << 64) if x >> 63 else x


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FACTORS = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical (zero-filling) shift to the right; torch's own keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _scramble(x: Tensor) -> Tensor:
    """Apply the finaliser of SplitMix64 to an int64 tensor, as unsigned numbers."""
    x = (x ^ _shift(x, 30)) * _FACTORS[0]  # int64 products wrap, as the hash wants
    x = (x ^ _shift(x, 27)) * _FACTORS[1]
    return x ^ _shift(x, 31)


def _scramble_int(x: int) -> int:
    """Apply the finaliser of SplitMix64 to an integer; the result is unsigned."""
    x &= _MASK
    x = ((x ^ (x >> 30)) * _FACTORS[0]) & _MASK
    x = ((x ^ (x >> 27)) * _FACTORS[1]) & _MASK
    return x ^ (x >> 31)


@cache
def _cached_hash(name: str) -> int:
    return _signed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def _hash(name: str) -> int:
    """Return the first 64 bits of the SHA-256 of a name, as int64."""
    return _cached_hash(name)


def compile_names_as_constants() -> None:
    """Let torch.compile take hashes of names as the constants that they are; traced, SHA-256 would break its graphs."""
    torch.compiler.assume_constant_result(_hash)  # not when this module is loaded: it loads the compiler


def derive_key(*parts: int | str) -> int:
    """Return an int64 key derived from integers and names; another order or value gives an unrelated key."""
    h = 0
    for part in parts:
        h = _scramble_int((h ^ (_hash(part) if isinstance(part, str) else part)) + _GOLDEN)
    return _signed(h)


def fold_in(numbers: Tensor, *parts: int | str) -> Tensor:
    """Return `derive_key(*parts, n)` for every n of an int64 tensor (N,), on its device."""
    return _scramble((numbers ^ derive_key(*parts)) + _GOLDEN)


def image_keys(seed: int, numbers: Tensor) -> Tensor:
    """Return the keys of images: `derive_key(seed, n)` for every number n of an int64 tensor (N,), on its device."""
    return fold_in(numbers, seed)


def _flat_indices(shape: Sequence[int], part: Sequence[range], device: torch.device) -> Tensor:
    """Return the flat indices of a part of a tensor of this shape; `part` has a range for each axis."""
    index = torch.zeros(*[1] * len(shape), dtype=torch.int64, device=device)
    for axis, interval in enumerate(part):
        offsets = torch.arange(interval.start, interval.stop, device=device) * math.prod(shape[axis + 1 :])
        index = index + offsets.view(-1, *[1] * (len(shape) - axis - 1))
    return index


def bits(key: Tensor, name: str, *shape: int, part: Sequence[range] | None = None) -> Tensor:
    """Draw uniform int64 of shape (N, *shape), one stream for each key (N,).

    `part`: draw only these ranges of the axes of `shape`; the numbers are those of the whole there.
    """
    base = _scramble(key ^ _hash(name)).view(-1, *[1] * len(shape))
    if part is None:
        counter = torch.arange(1, math.prod(shape) + 1, device=key.device).view(1, *shape)
    else:
        counter = _flat_indices(shape, part, key.device)[None] + 1
    return _scramble(base + counter * _GOLDEN).view(len(key), *counter.shape[1:])


def uniform(key: Tensor, name: str, *shape: int, part: Sequence[range] | None = None) -> Tensor:
    """Draw float32 (N, *shape) in [0, 1), multiples of 2^-24, one stream for each key (N,); `part` as in `bits`."""
    return _shift(bits(key, name, *shape, part=part), 40).to(torch.float32) * 2.0**-24


def normal(key: Tensor, name: str, *shape: int) -> Tensor:
    """Draw float32 (N, *shape) from N(0, 1), by Box and Muller's transform, one stream for each key (N,)."""
    radius = (-2 * torch.log1p(-uniform(key, name + "/radius", *shape))).sqrt()
    return radius * torch.cos(2 * math.pi * uniform(key, name + "/angle", *shape))


def permutation(length: int, *parts: int | str) -> Tensor:
    """Return a permutation of range(length) as int64 (length,) on the CPU, a pure function of the parts."""
    return bits(torch.tensor([derive_key(*parts)]), "permutation", length)[0].argsort(stable=True)
