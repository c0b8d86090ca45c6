"""Value range of a domain, by one rule for all of its files, where neither their type nor a flag says it.

Files of 8 and 16 bits have the range of their type. Floats have 0 to 1 where the whole set keeps to it. All others, signed and
more than 16 bits, have the least and the greatest value of the set. Pixels without a value (NoData, not a number) do not count.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from translate import images, user_cache
from translate.data.split import ImageRef, Split
from translate.errors import DataError
from translate.images import ImageError
from translate.images.value_statistics import (
    DeclaredType,
    ValueStatistics,
    is_of_open_type,
    measure_values,
    read_declared_type,
)
from translate.text import printable

OVERSHOOT = 0.1
"""Distance below 0 and above 1 up to which floats count as 0 to 1: resampling overshoots by as much."""
MIN_FILLED = 0.1
"""Part of a range that values must fill; below, floats get a range of their own, and a warning is given of other types."""

_RULE = 1
"""Version of what is measured: a change makes earlier results in the cache void."""


@dataclass(frozen=True)
class DomainValues:
    """Values of all files of a domain."""

    types: dict[str, int]
    """Data type → number of files."""
    low: float | None
    high: float | None
    """Greatest finite value; None, as `low`, where no pixel has one."""
    pixels: int
    empty: int
    """Pixels without a value."""

    @property
    def empty_share(self) -> float:
        """Share of the pixels without a value."""
        return self.empty / max(self.pixels, 1)


def combine_statistics(measured: Sequence[ValueStatistics]) -> DomainValues:
    """Combine the statistics of the files of a domain."""
    lows, highs = [m.low for m in measured if m.low is not None], [m.high for m in measured if m.high is not None]
    return DomainValues(
        dict(sorted(Counter(m.dtype for m in measured).items())), min(lows, default=None), max(highs, default=None),
        sum(m.pixels for m in measured), sum(m.empty for m in measured),
    )  # fmt: skip


def has_fixed_scale(dtype: np.dtype) -> bool:
    """Return whether a data type says what is black and what is white, whatever the set: 8 and 16 bits without a sign."""
    return dtype.kind in "ub" and dtype.itemsize <= 2


def range_of_set(values: DomainValues) -> images.ValueRange | None:
    """Return the range of a domain without 8- and 16-bit files; None if it is that of the type: floats from 0 to 1."""
    low, high = values.low, values.high
    if low is None or high is None:
        return None
    all_floats = all(name.startswith("float") for name in values.types)
    if all_floats and low >= -OVERSHOOT and high <= 1 + OVERSHOOT and high - low >= MIN_FILLED:
        return None
    return low, high if high > low else low + 1


def find_ranges(
    split: Split, declared: Mapping[str, str | None], say: Callable[[str], None]
) -> dict[str, images.ValueRange | None]:
    """Return the range of each domain that has none in `declared` and needs one from the set, and report it.

    Domains that are not in `declared`, as those of label maps, have none.

    None where it is that of the type. DataError where the files of a domain have no range in common.
    """
    found: dict[str, images.ValueRange | None] = {}
    for domain in [domain for domain in split.domains if domain in declared]:
        refs = split.refs(domain)
        types = _declared_types(refs)
        name = f"domain {domain}" if split.b else "the set"
        if (count := sum(kind.has_nodata for kind in types.values())) > 0:
            say(
                f"data: NoData is declared in {count} of {len(refs)} files of {name}; pixels without a value are left out of "
                f"the range of the set, and enter training as the middle of the range"
            )
        if declared[domain] is None:
            found[domain] = _find_range(refs, types, domain, name, say)
    return found


def _declared_types(refs: Sequence[ImageRef]) -> dict[Path, DeclaredType]:
    """Return the types of the files whose format leaves them open."""
    types = {path: read_declared_type(path) for path in dict.fromkeys(ref.path for ref in refs)}
    return {path: kind for path, kind in types.items() if kind is not None}


def _find_range(
    refs: Sequence[ImageRef], types: Mapping[Path, DeclaredType], domain: str, name: str, say: Callable[[str], None]
) -> images.ValueRange | None:
    """Return the range of one domain, and report it if it is that of the set."""
    open_types = {path for path, kind in types.items() if not has_fixed_scale(kind.dtype)}
    if not open_types:
        return None
    values = measure_set([ref for ref in refs if ref.path in open_types], say)
    if values.low is None and values.pixels:
        raise DataError(f"{name}: no pixel of its {len(open_types)} files has a value; put images there that have some")
    span = range_of_set(values)
    if span is None:
        return None
    fixed = [ref.path for ref in refs if ref.path not in open_types and not _is_damaged(ref.path, types)]
    kinds = " and ".join(f"{count} {kind}" for kind, count in values.types.items())
    low, high = (format_value(end) for end in span)
    if fixed:
        raise DataError(
            f"{name}: {kinds} files with values from {low} to {high}, beside {len(fixed)} files of 8 or 16 bits, such as "
            f"{printable(fixed[0].name)}; they have no scale in common: declare the range of all by --range-{domain}"
        )
    empty = f"; {values.empty_share:.2%} of the pixels have no value, and enter as its middle" if values.empty else ""
    say(
        f"data: {name} has {kinds} files; −1 and 1 stand for the range of the set, {low} to {high}, which is stored with the "
        f"model{empty}; --range-{domain} declares another"
    )
    return span


def _is_damaged(path: Path, types: Mapping[Path, DeclaredType]) -> bool:
    """Return whether the header of a file should say the type of its values, but cannot be read."""
    return is_of_open_type(path) and path not in types


def measure_set(refs: Sequence[ImageRef], say: Callable[[str], None]) -> DomainValues:
    """Measure files on all cores, or take what was measured when they were the same; unreadable ones are left out."""
    name = f"value-ranges/{_fingerprint(refs)}.json"
    try:
        return DomainValues(**user_cache.read_cached(name))
    except TypeError:  # not there, or of another program
        pass
    measured: list[ValueStatistics] = []
    reported = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, result in enumerate(pool.map(_measure, refs), 1):
            measured += [] if result is None else [result]
            if time.monotonic() - reported > 10:
                reported = time.monotonic()
                say(f"measured the values of {number} of {len(refs)} files")
    values = combine_statistics(measured)
    user_cache.write_cached(name, asdict(values))
    return values


def _measure(ref: ImageRef) -> ValueStatistics | None:
    try:
        return measure_values(ref.path, ref.half)
    except ImageError:
        return None  # the loader reports it


def _fingerprint(refs: Sequence[ImageRef]) -> str:
    """Hash the names, sizes and modification times of the files, wherever the folder lies."""
    lines = [f"rule {_RULE}"]
    for ref in refs:
        stat = ref.path.stat()
        lines.append(f"{ref.path.name} {ref.half} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def format_value(value: float) -> str:
    """Return a value as text: a whole number, or the shortest that is the same in single precision."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else str(np.float32(value))


def format_range(span: images.ValueRange) -> str:
    """Return a range as LOW:HIGH, as the flags take it."""
    return ":".join(map(format_value, span))
