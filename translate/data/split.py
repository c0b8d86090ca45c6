"""The images of one split, and subsets of them. No file is opened here, and torch is not imported."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from translate.errors import DataError
from translate.text import nfc

Label = int | tuple[float, ...] | tuple[int, ...]
"""Number of a domain or class, −1 where it is unknown; a value in [0, 1] for each attribute; or the tokens of captions, or
their embeddings."""


@dataclass(frozen=True)
class ImageRef:
    """One image: a file, or the left or right half of one."""

    path: Path
    half: str = ""  # "", "left" or "right"
    instances: Path | None = None
    """Instance map of a label map, where its edges are used."""


@dataclass(frozen=True)
class Split:
    """Images of one split. Where `paired`, a[i] and b[i] show the same; layouts without two domains leave b empty."""

    a: tuple[ImageRef, ...]
    b: tuple[ImageRef, ...]
    paired: bool
    labels: tuple[Label, ...] = ()
    """Label of each a[i], all of one kind; empty where the images have none."""
    label_names: tuple[str, ...] = ()
    """Names of the labels 0, 1, …, or of the attributes in their order."""
    embedding_size: int = 0
    """Numbers of the embedding of a caption, of which a label has one or several; 0: labels are something else."""
    references: bool = False
    """b has the images of a again, to be drawn as references: image after image of any label, two of one label at a time."""
    notices: tuple[str, ...] = ()
    """Lines on what a person should know of how the images were found."""

    def __len__(self) -> int:
        """Return the number of images in an epoch: max(|A|, |B|)."""
        return max(len(self.a), len(self.b))

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains that have images: "a", or "a" and "b"."""
        return ("a", "b") if self.b else ("a",)

    @property
    def stored_domains(self) -> tuple[str, ...]:
        """Domains with images of their own, of which those of `references` are none."""
        return ("a",) if self.references else self.domains

    @property
    def domain_groups(self) -> list[tuple[str, ...]]:
        """Domains whose images are read and replaced together: both sides of pairs, else each domain alone."""
        return [self.domains] if self.paired else [(domain,) for domain in self.domains]

    def refs(self, domain: str) -> tuple[ImageRef, ...]:
        """Images of domain "a" or "b"."""
        return self.a if domain == "a" else self.b

    def draw_name(self, domain: str) -> str:
        """Name of a domain's keyed draws: the two sides of a pair share theirs, and so are cropped alike."""
        return "pair" if self.paired else domain

    def swapped(self) -> "Split":
        """Split with a and b exchanged, for direction b2a; without labels, since they belong to the images of a."""
        return replace(self, a=self.b, b=self.a, labels=(), label_names=())

    def with_itself(self, *, paired: bool) -> "Split":
        """Split whose domain b has the images of a, too: as pairs, or drawn apart from a."""
        return replace(self, b=self.a, paired=paired, labels=(), label_names=())

    def with_references(self) -> "Split":
        """Split whose domain b has the labelled images of a again, as references."""
        return replace(self, b=self.a, references=True)

    def indices_by_label(self) -> dict[int, list[int]]:
        """Map each label to the indices of its images in a; empty where labels are attributes, or there are none."""
        indices: dict[int, list[int]] = {}
        for index, label in enumerate(self.labels):
            if isinstance(label, int):
                indices.setdefault(label, []).append(index)
        return indices

    def hold_out(self, share: float) -> tuple["Split", "Split"]:
        """Divide into a training part and a validation part, which takes `share` (0 to 1) of each domain.

        The choice depends on the file names alone, so that a new file moves few others; files of one name go the same way
        in all domains. Raise DataError where either part would have no image of a domain.
        """
        spellings: dict[str, set[str]] = {}
        for ref in self.a if self.paired else (*self.a, *self.b):
            spellings.setdefault(nfc(ref.path.stem), set()).add(ref.path.stem)
        ranked = sorted(spellings, key=lambda name: _digest(min(spellings[name])))
        held_out = set(ranked[: math.ceil(share * len(ranked))])
        parts = []
        for is_held_out in (False, True):
            of_a, of_b = (
                [i for i, ref in enumerate(refs) if (nfc(ref.path.stem) in held_out) == is_held_out]
                for refs in (self.a, self.b)
            )
            parts.append(self._select(of_a, of_a if self.paired else of_b))
        if any(not part.a or (self.b and not part.b) for part in parts):
            count = f"{len(self.a)} and {len(self.b)}" if self.b else f"{len(self.a)}"
            raise DataError(
                f"--hold-out {share:g}: of {count} images, one part would have none of a domain; use another share"
            )
        for label, indices in self.indices_by_label().items():
            if label >= 0 and not all(label in part.labels for part in parts):
                raise DataError(
                    f"--hold-out {share:g}: would hold out none or all of the {len(indices)} images of "
                    f"{self.label_names[label]}; use another share, or put validation images into val/"
                )
        return parts[0], parts[1]

    def subsample(self, count: int) -> "Split":
        """Take at most `count` images of each of a and b, evenly spaced; of pairs, the same of both.

        Of labelled images, each label keeps its share, and at least one image while `count` allows it.
        """
        of_a = self._spaced_over_labels(count) if self.indices_by_label() else evenly_spaced(len(self.a), count)
        return self._select(of_a, of_a if self.paired or self.references else evenly_spaced(len(self.b), count))

    def _spaced_over_labels(self, count: int) -> list[int]:
        groups = self.indices_by_label()
        share = Counter(self.labels[i] for i in evenly_spaced(len(self.a), count))
        if len(groups) <= count:
            for label in groups.keys() - share.keys():
                share.subtract([share.most_common(1)[0][0]])
                share[label] = 1
        return sorted(
            indices[i] for label, indices in groups.items() for i in evenly_spaced(len(indices), share[label])
        )

    def _select(self, of_a: list[int], of_b: list[int]) -> "Split":
        labels = tuple(self.labels[i] for i in of_a) if self.labels else ()
        return replace(self, a=tuple(self.a[i] for i in of_a), b=tuple(self.b[i] for i in of_b), labels=labels)

    def fingerprint(self) -> str:
        """Hash of the number, names, sizes and labels of the files: 16 hexadecimal digits, wherever the folder lies."""
        paths = [ref.path for ref in (*self.a, *self.b)] + [ref.instances for ref in self.a if ref.instances]
        lines = [f"{path.name} {path.stat().st_size}" for path in paths]
        if self.labels:
            lines += [*self.label_names, *map(str, self.labels)]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def split_by_target(split: Split, to: str) -> Split:
    """Return a split with the images that are translated to domain `to` as a, and real images of that domain as b.

    DataError if one of the two would be empty.
    """
    if split.label_names:  # of many domains, one of which may be called a
        return split_by_domain(split, to)
    return split.swapped() if to == "a" else split


def split_by_domain(split: Split, to: str) -> Split:
    """Divide the images of many domains: `b` has those of domain `to`, or with this attribute, and `a` all others.

    DataError if `a` or `b` would be empty.
    """
    number = split.label_names.index(to)
    belongs = [label[number] == 1 if isinstance(label, tuple) else label == number for label in split.labels]
    a, b = (tuple(ref for ref, of in zip(split.a, belongs, strict=True) if of == wanted) for wanted in (False, True))
    if not (a and b):
        raise DataError(
            f"no images {'of' if a else 'but those of'} domain {to!r}; an evaluation needs images of both kinds"
        )
    return Split(a, b, paired=False)


def evenly_spaced(size: int, count: int) -> list[int]:
    """Return the indices of at most `count` of `size` elements, evenly spaced from the first on."""
    kept = min(count, size)
    return [i * size // kept for i in range(kept)]


def next_readable(start: int, count: int, is_readable: Callable[[int], bool]) -> int | None:
    """Find the image that is used in place of image `start` of `count`: itself, or the next one that can be read.

    The images form a ring. Return its index; None where no image can be read. `is_readable` is called at most once an index.
    """
    return next((index % count for index in range(start, start + count) if is_readable(index % count)), None)
