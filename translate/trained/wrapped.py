"""Networks inside checkpoints of other projects: state dicts in entries, under prefixes, beside optimizers and counters.

Known forms are {"state_dict": …}, {"model": …, "optimizer": …}, {"params": …, "params_ema": …} (BasicSR), {"netG_A": …,
"netG_B": …}, and one flat state dict of several networks with a prefix each (Lightning).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import Tensor

from translate.text import printable
from translate.trained.detect import (
    WRAPPER_PREFIXES,
    Architecture,
    UnknownArchitecture,
    Weights,
    clean_state_dict,
    detect_architecture,
)

MAX_DEPTH = 5
"""Entries inside each other, and parts of a prefix, that are looked into."""

MAX_ENTRIES = 1000
"""Mappings that are looked into: one may stand inside itself, many times."""

NO_NAMES = frozenset({"state_dict", "model_state_dict", "weights", "model", "module", "network", "net"})
"""Entries that say nothing of which network they hold."""

EMA_NAME = re.compile(r"(?:^|(?<=[._]))(?:ema|shadow)(?:$|(?=[._]))", re.IGNORECASE)
"""Part of a name that marks averaged weights."""


@dataclass(frozen=True)
class NetworkEntry:
    """A network that was found in a checkpoint."""

    place: str
    """Names of the entries and prefixes that lead to it, joined by dots; empty for a bare state dict."""
    weights: Weights
    architecture: Architecture

    @property
    def name(self) -> str:
        """Last part of its place that says which network it is; empty where none does."""
        named = [part for part in self.place.split(".") if part not in NO_NAMES]
        return named[-1] if named else ""


def find_networks(content: Mapping[Any, Any]) -> list[NetworkEntry]:
    """Return all networks in a decoded checkpoint, in its order. UnknownArchitecture if there is none.

    Mappings are looked into, and prefixes taken off, until the rest is exactly a network.
    """
    if not any(isinstance(value, Mapping) for key, value in content.items() if key != "_metadata"):
        return _networks_of(content)
    found: list[NetworkEntry] = []
    reasons: dict[str, str] = {}
    for place, state in islice(_state_dicts(content, ()), MAX_ENTRIES):
        if not state:
            continue
        try:
            found += _networks_of(state, ".".join(place))
        except UnknownArchitecture as e:
            reasons[".".join(place)] = str(e)
    if found:
        return found
    entries = ", ".join(printable(str(key)) for key in list(content)[:5]) + (", …" if len(content) > 5 else "")
    why = "; ".join(f"in {printable(place)}, {reason}" for place, reason in list(reasons.items())[:1])
    raise UnknownArchitecture(f"none of its entries ({entries}) is one" + (f": {why}" if why else ""))


def _state_dicts(
    value: Mapping[Any, Any], place: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Yield the tensors of each mapping, with the names that lead to it."""
    tensors = {key: x for key, x in value.items() if isinstance(key, str) and isinstance(x, Tensor)}
    yield place, tensors
    for key, child in value.items():
        if isinstance(key, str) and isinstance(child, Mapping) and len(place) < MAX_DEPTH:
            yield from _state_dicts(child, (*place, key))


def _networks_of(state: Mapping[Any, Any], place: str = "", depth: int = MAX_DEPTH) -> list[NetworkEntry]:
    """Return the networks of a flat state dict: itself, or one under each prefix. UnknownArchitecture if there is none."""
    try:
        weights = clean_state_dict(state)
        return [NetworkEntry(place, weights, detect_architecture(weights))]
    except UnknownArchitecture as e:
        found = _under_prefixes(state, place, depth)
        if not found:
            raise e from None
        return found


def _under_prefixes(state: Mapping[Any, Any], place: str, depth: int) -> list[NetworkEntry]:
    groups: dict[str, dict[str, Any]] = {}
    for key, value in state.items():
        if isinstance(key, str) and isinstance(value, Tensor) and "." in key and depth > 0:
            if key.startswith(WRAPPER_PREFIXES):  # taken off already, and here all the same: the names are there twice
                continue
            first, _, rest = key.partition(".")
            groups.setdefault(first, {})[rest] = value
    found: list[NetworkEntry] = []
    for first, group in groups.items():
        try:
            found += _networks_of(group, f"{place}.{first}" if place else first, depth - 1)
        except UnknownArchitecture:
            continue
    return found


def prefer_averaged(entries: list[NetworkEntry]) -> list[NetworkEntry]:
    """Return the entries without those whose averaged weights (EMA) are there too, in a network of the same architecture."""
    averaged = [entry for entry in entries if EMA_NAME.search(entry.place)]
    plain = [entry for entry in entries if entry not in averaged]
    for entry in averaged:
        twins = [other for other in plain if other.architecture == entry.architecture]
        same_name = [other for other in twins if _plain_name(entry) == _plain_name(other)]
        for twin in same_name or (twins if len(twins) == 1 else []):
            plain.remove(twin)
    return [entry for entry in entries if entry in averaged or entry in plain]


def _plain_name(entry: NetworkEntry) -> str:
    """Return the place of an entry without the mark of averaged weights."""
    return ".".join(part for part in EMA_NAME.sub("", entry.place).replace("_.", ".").split(".") if part).strip("_")


_A_TO_B, _B_TO_A = "a|ab|a2b|atob|xy|x2y|xtoy", "b|ba|b2a|btoa|yx|y2x|ytox"
_DIRECTED = re.compile(rf"(?:net)?g(?:en(?:erator)?)?(?:(?P<g_ab>{_A_TO_B})|(?P<g_ba>{_B_TO_A}))")


def direction_of(name: str) -> str | None:
    """Return "g_ab" or "g_ba" for the name of one of two generators, such as netG_A, G_BA or gen_a2b; None for others.

    netG_A translates a to b, as in the reference implementation.
    """
    match = _DIRECTED.fullmatch(re.sub(r"[_-]|_?ema$", "", name.lower()))
    return match.lastgroup if match else None
