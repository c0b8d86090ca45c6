"""Which images of a folder belong to which domain. Nothing is opened here: layouts are decided by names alone."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from translate import images
from translate.errors import DataError


@dataclass(frozen=True)
class Ref:
    """One image: a file, or the left or right half of one."""

    path: Path
    half: str = ""  # "", "left" or "right"


@dataclass(frozen=True)
class Split:
    """The images of one split. Paired: a[i] and b[i] show the same. Layout `images`: b is empty."""

    a: tuple[Ref, ...]
    b: tuple[Ref, ...]
    paired: bool

    def __len__(self) -> int:
        """Images in an epoch: max(|A|, |B|)."""
        return max(len(self.a), len(self.b))

    def swapped(self) -> "Split":
        return replace(self, a=self.b, b=self.a)

    def set_aside(self, share: float) -> tuple["Split", "Split"]:
        """The rest, and that share of each domain: a function of the names alone, so that a new file moves few others.

        Files of one name go the same way, in both domains. DataError where either part would be empty.
        """
        names = {ref.path.stem for ref in (*self.a, *self.b)}
        ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
        aside = set(ranked[: math.ceil(share * len(ranked))])
        parts = []
        for wanted in (False, True):
            pairs = [i for i, ref in enumerate(self.a) if (ref.path.stem in aside) == wanted]
            a = tuple(self.a[i] for i in pairs)
            b = tuple(self.b[i] for i in pairs) if self.paired else self._of(aside, wanted)
            parts.append(Split(a, b, self.paired))
        if any(not part.a or (self.b and not part.b) for part in parts):
            raise DataError(
                f"--hold-out {share:g}: of {len(self.a)} and {len(self.b)} images it leaves a domain without any"
            )
        return parts[0], parts[1]

    def _of(self, names: set[str], wanted: bool) -> tuple[Ref, ...]:
        return tuple(ref for ref in self.b if (ref.path.stem in names) == wanted)

    def at_most(self, count: int) -> "Split":
        """So many images of each domain, evenly spread; of pairs, the same of both."""

        def spread(refs: tuple[Ref, ...]) -> tuple[Ref, ...]:
            kept = min(count, len(refs))
            return tuple(refs[i * len(refs) // kept] for i in range(kept))

        return replace(self, a=spread(self.a), b=spread(self.b))

    def fingerprint(self) -> str:
        """Changes with the number, names and sizes of the files, not with where the folder is."""
        paths = [ref.path for ref in (*self.a, *self.b)]
        lines = [f"{path.name} {path.stat().st_size}" for path in paths]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def find(root: Path, layout: str, split: str = "train", direction: str = "a2b") -> Split:
    """The images of a split; DataError if the folder does not hold such a layout."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds {EXPECTED[layout]}")
    found = LAYOUTS[layout](root, split)
    return found.swapped() if direction == "b2a" else found


def held_out(root: Path, layout: str, direction: str = "a2b") -> Split | None:
    """The validation split, else the test split, else None."""
    split = next((split for split in ("val", "test") if has(root, split)), None)
    return find(root, layout, split, direction) if split else None


def has(root: Path, split: str) -> bool:
    """Whether there is a folder of a split, in either layout of two domains."""
    return (root / split).is_dir() or (root / f"{split}A").is_dir()


def _folder(path: Path, layout: str) -> list[Path]:
    """The images of a folder that must have some."""
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; {path.parent} must hold {EXPECTED[layout]}")
    found = images.find(path)
    if not found:
        raise DataError(f"{path}: no images in it; put some there ({', '.join(sorted(images.READABLE))})")
    return found


def _halves(paths: list[Path], paired: bool) -> Split:
    return Split(tuple(Ref(p, "left") for p in paths), tuple(Ref(p, "right") for p in paths), paired)


def _side_by_side(root: Path, split: str, layout: str) -> list[Path] | None:
    """Files of root/split with A on the left and B on the right; None where twin folders are there."""
    if (root / f"{split}A").is_dir() or (root / f"{split}B").is_dir() or not (root / split).is_dir():
        return None
    return _folder(root / split, layout)


def unpaired(root: Path, split: str) -> Split:
    """splitA/ and splitB/, or side-by-side files whose halves are drawn apart."""
    joined = _side_by_side(root, split, "unpaired")
    if joined is not None:
        return _halves(joined, paired=False)
    a, b = _folder(root / f"{split}A", "unpaired"), _folder(root / f"{split}B", "unpaired")
    return Split(tuple(map(Ref, a)), tuple(map(Ref, b)), paired=False)


def paired(root: Path, split: str) -> Split:
    """splitA/ and splitB/ whose files match by relative path without extension, or side-by-side files."""
    joined = _side_by_side(root, split, "paired")
    if joined is not None:
        return _halves(joined, paired=True)
    a, b = root / f"{split}A", root / f"{split}B"
    stems_a, stems_b = _by_stem(_folder(a, "paired"), a), _by_stem(_folder(b, "paired"), b)
    lonely = [f"{a.name}/{s}" for s in stems_a.keys() - stems_b.keys()]
    lonely += [f"{b.name}/{s}" for s in stems_b.keys() - stems_a.keys()]
    if lonely:
        some = ", ".join(sorted(lonely)[:5]) + (", …" if len(lonely) > 5 else "")
        raise DataError(
            f"{root}: {len(lonely)} images have no partner of the same name: {some}; rename or remove them, or use an "
            f"unpaired method such as cyclegan"
        )
    stems = sorted(stems_a)
    return Split(tuple(Ref(stems_a[s]) for s in stems), tuple(Ref(stems_b[s]) for s in stems), paired=True)


def _by_stem(paths: list[Path], root: Path) -> dict[str, Path]:
    """Relative path without extension → file; DataError where two files share it."""
    stems: dict[str, Path] = {}
    for path in paths:
        name = stem(path, root)
        if name in stems:
            raise DataError(f"{path} and {stems[name].name} would be the same pair; rename one of them")
        stems[name] = path
    return stems


def stem(path: Path, root: Path) -> str:
    """What files are matched by: the path below a folder, without extension."""
    return str(PurePosixPath(path.relative_to(root).as_posix()).with_suffix(""))


def unlabelled(root: Path, split: str) -> Split:
    """Any folder of images."""
    return Split(tuple(map(Ref, _folder(root, "images"))), (), paired=False)


LAYOUTS: dict[str, Callable[[Path, str], Split]] = {
    "unpaired": unpaired,
    "paired": paired,
    "images": unlabelled,
}

EXPECTED = {
    "unpaired": "trainA/ and trainB/, or train/ with A and B side by side in each file",
    "paired": "trainA/ and trainB/ with the same names, or train/ with A and B side by side in each file",
    "images": "images",
}
"""What the folder of each layout must hold, in words."""
