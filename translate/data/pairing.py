"""Pairs of files in two folders, by their names: equal ones, or those that differ in one common way."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path, PurePosixPath

from translate.text import join_names, nfc

_SEPARATORS = "_-. "


@dataclass(frozen=True)
class NameMatch:
    """Pairs of the files of two folders, and the files that belong to none."""

    pairs: tuple[tuple[Path, Path], ...]
    """Files of the first and of the second folder, sorted by the first one's name as it is written."""
    unmatched: tuple[tuple[Path, ...], tuple[Path, ...]]
    """Files of the first and of the second folder without a partner."""
    ambiguous: tuple[tuple[Path, ...], ...]
    """Groups of files of one folder that would be the same side of a pair."""
    rule: str = ""
    """Difference of names that are matched, in words; empty where they are equal."""

    @property
    def is_one_to_one(self) -> bool:
        """True where each file has exactly one partner."""
        return bool(self.pairs) and not self.left_out

    @property
    def left_out(self) -> tuple[Path, ...]:
        """All files that belong to no pair."""
        return (*self.unmatched[0], *self.unmatched[1], *(path for group in self.ambiguous for path in group))


def relative_stem(path: Path, root: Path) -> str:
    """Return the path below a folder without extension, with /: the name by which files of two folders are matched.

    Letters are composed (Unicode's form NFC), since file systems and archives write é in one character or in two.
    """
    return nfc(_written_stem(path, root))


def _written_stem(path: Path, root: Path) -> str:
    return str(PurePosixPath(path.relative_to(root).as_posix()).with_suffix(""))


def group_by_stem(paths: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    """Map each relative path without extension to its files; the two images of a pair have it in common."""
    stems: dict[str, list[Path]] = {}
    for path in paths:
        stems.setdefault(relative_stem(path, root), []).append(path)
    return stems


def match_names(a: Sequence[Path], b: Sequence[Path], folders: tuple[Path, Path]) -> NameMatch:
    """Match the files of two folders by relative path without extension.

    If that is not one-to-one, then without the ending that all names of a folder have in common (x_A and x_B, x_real and
    x_fake), with numbers that differ in leading zeros (1 and 001), or both, if one of these gives more pairs.
    """
    stems = [relative_stem(path, folders[0]) for path in a], [relative_stem(path, folders[1]) for path in b]
    best = _match(a, b, *stems, "")
    for rule in (_without_endings, _without_zeros, _without_both):
        if best.is_one_to_one:
            break
        changed = rule(*stems)
        if changed is None:
            continue
        found = _match(a, b, *changed)
        if not found.ambiguous and len(found.pairs) > len(best.pairs):
            best = found
    ordered = sorted(best.pairs, key=lambda pair: _written_stem(pair[0], folders[0]))
    return replace(best, pairs=tuple(ordered))


def describe_mismatch(match: NameMatch, folders: tuple[Path, Path]) -> str:
    """Return why files are no pairs, with the remedy, in one line."""
    if match.ambiguous:
        first, second = match.ambiguous[0][:2]
        skip = " or leave them out with --skip-unmatched" if match.pairs else ""
        return f"{second} and {first.name} would be the same pair; rename one of them{skip}"
    unmatched = _unmatched_names(match, folders)
    skip = ", leave them out with --skip-unmatched" if match.pairs else ""
    return f"{len(unmatched)} images have no partner of the same name: {join_names(unmatched, 5)}; rename or remove them{skip}"


def _unmatched_names(match: NameMatch, folders: tuple[Path, Path]) -> list[str]:
    """Return the names of the files without a partner, with those of their folders, sorted."""
    return sorted(
        f"{folder.name}/{relative_stem(path, folder)}"
        for folder, paths in zip(folders, match.unmatched, strict=True)
        for path in paths
    )


def describe_match(match: NameMatch, folders: tuple[Path, Path]) -> list[str]:
    """Return what a person should know of a match in lines: how unequal names were matched, and what was left out."""
    place = f"{folders[0]} and {folders[1].name}"
    lines = [f"{place}: {len(match.pairs)} pairs, matched {match.rule}"] if match.rule else []
    if match.left_out:
        names = [os.path.relpath(path, folders[0].parent) for path in match.left_out]
        lines.append(
            f"{place}: {len(match.pairs)} pairs are used, {len(names)} images without a partner of their own are left out: "
            f"{join_names(names, 5)}"
        )
    return lines


def _match(
    a: Sequence[Path], b: Sequence[Path], names_a: Sequence[str], names_b: Sequence[str], rule: str
) -> NameMatch:
    """Match files of equal names; a name that several files of one folder have makes them, and their partner, ambiguous."""
    groups_a, groups_b = _group(a, names_a), _group(b, names_b)
    pairs: list[tuple[Path, Path]] = []
    unmatched: tuple[list[Path], list[Path]] = [], []
    ambiguous: list[tuple[Path, ...]] = []
    for name in sorted(groups_a.keys() | groups_b.keys()):
        sides = groups_a.get(name, []), groups_b.get(name, [])
        if len(sides[0]) == len(sides[1]) == 1:
            pairs.append((sides[0][0], sides[1][0]))
            continue
        for side, without_partner in zip(sides, unmatched, strict=True):
            if len(side) > 1:
                ambiguous.append(tuple(side))
            else:
                without_partner += side
    return NameMatch(tuple(pairs), (tuple(unmatched[0]), tuple(unmatched[1])), tuple(ambiguous), rule)


def _group(paths: Sequence[Path], names: Sequence[str]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path, name in zip(paths, names, strict=True):
        groups.setdefault(name, []).append(path)
    return groups


# Rules: names of both folders → those to be compared instead, and the rule in words; None where it changes none.

_Changed = tuple[list[str], list[str], str]


def _without_endings(names_a: Sequence[str], names_b: Sequence[str]) -> _Changed | None:
    endings = _common_ending(names_a), _common_ending(names_b)
    if not any(endings):
        return None
    changed = [
        [name.removesuffix(end) for name in names] for names, end in zip((names_a, names_b), endings, strict=True)
    ]
    shown = " and ".join(repr(end) for end in endings if end)
    return changed[0], changed[1], f"without the endings {shown}" if all(endings) else f"without the ending {shown}"


def _without_zeros(names_a: Sequence[str], names_b: Sequence[str]) -> _Changed | None:
    changed = [[re.sub(r"(?<![0-9])0+(?=[0-9])", "", name) for name in names] for names in (names_a, names_b)]
    if changed == [list(names_a), list(names_b)]:
        return None
    return changed[0], changed[1], "by numbers without leading zeros"


def _without_both(names_a: Sequence[str], names_b: Sequence[str]) -> _Changed | None:
    first = _without_endings(names_a, names_b)
    second = _without_zeros(first[0], first[1]) if first else None
    return (second[0], second[1], f"{first[2]}, {second[2]}") if first and second else None


def _common_ending(names: Sequence[str]) -> str:
    """Return the ending that all names share, from a separator on or from the last digit on; empty if there is none.

    It has a letter, since frames of one number are no pair; of a single name it is the last word.
    """
    last = [name.rsplit("/", 1)[-1] for name in names]
    common = _common_start([name[::-1] for name in last])[::-1]
    if len(names) == 1:
        common = common[max(0, *map(common.rfind, _SEPARATORS)) :]
    shortest = min(map(len, last), default=0)
    for start in range(len(common)):
        ending = common[start:]
        if len(ending) >= shortest or not any(letter.isalpha() for letter in ending):
            continue
        begins_word = ending[0] in _SEPARATORS
        follows_digits = ending[0].isalpha() and all(name[-len(ending) - 1].isdecimal() for name in last)
        if begins_word or follows_digits:
            return ending
    return ""


def _common_start(names: Sequence[str]) -> str:
    """Return the letters with which all names begin."""
    first, last = min(names, default=""), max(names, default="")  # whatever these two share, all names share
    same = (x == y for x, y in zip(first, last, strict=False))
    return first[: sum(1 for _ in takewhile(bool, same))]
