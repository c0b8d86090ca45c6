"""The images of one split, and what may be taken of them. Nothing is opened here."""

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from translate.errors import DataError

Label = int | tuple[float, ...]
"""The number of a domain or class, −1 where it is unknown; or a value in 0 … 1 for each attribute."""


@dataclass(frozen=True)
class ImageRef:
    """One image: a file, or the left or right half of one."""

    path: Path
    half: str = ""  # "", "left" or "right"


@dataclass(frozen=True)
class Split:
    """The images of one split. Paired: a[i] and b[i] show the same. Layouts `domains` and `images`: b is empty."""

    a: tuple[ImageRef, ...]
    b: tuple[ImageRef, ...]
    paired: bool
    labels: tuple[Label, ...] = ()
    """One for each a[i], all of a kind; empty where nothing is known of the images."""
    label_names: tuple[str, ...] = ()
    """What is called 0, 1, … in labels, or the attributes in their order."""

    def __len__(self) -> int:
        """Images in an epoch: max(|A|, |B|)."""
        return max(len(self.a), len(self.b))

    def swapped(self) -> "Split":
        """Labels are those of a, so they go."""
        return replace(self, a=self.b, b=self.a, labels=(), label_names=())

    def indices_by_label(self) -> dict[int, list[int]]:
        """Number of a domain → places of its images in a; empty where labels are attributes, or there are none."""
        places: dict[int, list[int]] = {}
        for place, label in enumerate(self.labels):
            if isinstance(label, int):
                places.setdefault(label, []).append(place)
        return places

    def hold_out(self, share: float) -> tuple["Split", "Split"]:
        """The rest, and that share of each domain: a function of the names alone, so that a new file moves few others.

        Files of one name go the same way, in all domains. DataError where either part would have none of a domain.
        """
        names = {ref.path.stem for ref in (*self.a, *self.b)}
        ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
        aside = set(ranked[: math.ceil(share * len(ranked))])
        parts = []
        for wanted in (False, True):
            places, of_b = (
                [i for i, ref in enumerate(refs) if (ref.path.stem in aside) == wanted] for refs in (self.a, self.b)
            )
            parts.append(self._taken(places, places if self.paired else of_b))
        if any(not part.a or (self.b and not part.b) for part in parts):
            count = f"{len(self.a)} and {len(self.b)}" if self.b else f"{len(self.a)}"
            raise DataError(f"--hold-out {share:g}: of {count} images it leaves a domain without any")
        for label, places in self.indices_by_label().items():
            if label >= 0 and not all(label in part.labels for part in parts):
                raise DataError(
                    f"--hold-out {share:g}: of the {len(places)} images of {self.label_names[label]} it would take none or all; "
                    f"use another share, or put validation images into val/"
                )
        return parts[0], parts[1]

    def subsample(self, count: int) -> "Split":
        """So many images of each of a and b, evenly spread; of pairs, the same of both.

        Of labelled images, each label has its share, and at least one while `count` allows it.
        """
        places = self._spread_over_labels(count) if self.indices_by_label() else _spread(len(self.a), count)
        return self._taken(places, places if self.paired else _spread(len(self.b), count))

    def _spread_over_labels(self, count: int) -> list[int]:
        groups = self.indices_by_label()
        share = Counter(self.labels[i] for i in _spread(len(self.a), count))
        if len(groups) <= count:
            for label in groups.keys() - share.keys():
                share.subtract([share.most_common(1)[0][0]])
                share[label] = 1
        return sorted(places[i] for label, places in groups.items() for i in _spread(len(places), share[label]))

    def _taken(self, of_a: list[int], of_b: list[int]) -> "Split":
        """The images at these places."""
        labels = tuple(self.labels[i] for i in of_a) if self.labels else ()
        return replace(self, a=tuple(self.a[i] for i in of_a), b=tuple(self.b[i] for i in of_b), labels=labels)

    def fingerprint(self) -> str:
        """Changes with the number, names, sizes and labels of the files, not with where the folder is."""
        paths = [ref.path for ref in (*self.a, *self.b)]
        lines = [f"{path.name} {path.stat().st_size}" for path in paths]
        if self.labels:
            lines += [*self.label_names, *map(str, self.labels)]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _spread(size: int, count: int) -> list[int]:
    """At most so many of `size` places, evenly spread."""
    kept = min(count, size)
    return [i * size // kept for i in range(kept)]
