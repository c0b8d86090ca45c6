"""Known pairs among the images of an unpaired set: from a table of two columns, or from equal names."""

import csv
import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

from translate import images
from translate.data import layouts, pairing
from translate.data.split import ImageRef, Split
from translate.errors import DataError, UsageError
from translate.text import nfc

NAMES = "names"
"""Value of `--pairs` that asks for pairs by names."""

Folders = tuple[Path, Path]
"""Folders of the training images of A and of B; of files with A and B side by side, the same one twice."""
Row = tuple[int, str, str]
"""Number of a line, and the two paths in it."""


@dataclass(frozen=True)
class KnownPairs:
    """Images of a and b that show the same, as a split whose a[i] and b[i] are a pair."""

    split: Split
    digest: str = ""
    """Hash of the pairs of a table, whatever the order of its lines; empty for pairs by names, which follow from the data."""

    def within(self, split: Split) -> "KnownPairs":
        """Keep the pairs of which both images are among those of a split. DataError where none is."""
        used = {*split.a, *split.b}
        kept = [i for i, pair in enumerate(zip(self.split.a, self.split.b, strict=True)) if used.issuperset(pair)]
        if not kept:
            raise DataError(
                f"--pairs: of each of the {len(self.split)} pairs an image is held out; use a smaller --hold-out, or "
                f"validation images in a folder val"
            )
        a, b = (tuple(refs[i] for i in kept) for refs in (self.split.a, self.split.b))
        return replace(self, split=replace(self.split, a=a, b=b))


def find_pairs(given: str, root: Path, split: Split, direction: str) -> KnownPairs:
    """Find the known pairs among the training images of a data folder of layout unpaired.

    Args:
        given: "names" for files of one name, or the path of a CSV file of two columns: a path in trainA and one in trainB.
        split: all training images, as `layouts.find_split` gives them in this direction.

    Raises UsageError if there is no such file, and DataError, with the line, if it is no table of pairs among the images.
    """
    joined = not layouts.has_twin_folders(root, "train")
    folders = (root / "train", root / "train") if joined else (root / "trainA", root / "trainB")
    in_folders = split.swapped() if direction == "b2a" else split
    by_name_a, by_name_b = (
        {nfc(ref.path.relative_to(folder).as_posix()): ref for ref in refs}
        for folder, refs in zip(folders, (in_folders.a, in_folders.b), strict=True)
    )
    if given == NAMES:
        named, digest = _match_names(folders, by_name_a, by_name_b), ""
    else:
        named = _read_table(Path(given), folders, by_name_a, by_name_b)
        digest = hashlib.sha256(json.dumps(named).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    pairs = Split(tuple(by_name_a[a] for a, _ in named), tuple(by_name_b[b] for _, b in named), paired=True)
    return KnownPairs(pairs.swapped() if direction == "b2a" else pairs, digest)


def _match_names(folders: Folders, a: dict[str, ImageRef], b: dict[str, ImageRef]) -> list[tuple[str, str]]:
    """Return the names of files whose paths without extension are equal, sorted."""
    if folders[0] == folders[1]:  # both halves of each file
        return sorted((name, name) for name in a)
    stems = [
        pairing.group_by_stem((ref.path for ref in of.values()), folder)
        for of, folder in zip((a, b), folders, strict=True)
    ]
    common = sorted(stems[0].keys() & stems[1].keys())
    for stem in common:
        for files in (stems[0][stem], stems[1][stem]):
            if len(files) > 1:
                raise DataError(
                    f"--pairs {NAMES}: {files[1]} and {files[0].name} would be the same side of a pair; rename one of them"
                )
    if not common:
        raise DataError(
            f"--pairs {NAMES}: no image of {folders[0]} has the name of one of {folders[1]}; give the images of a pair one "
            f"name, or list the pairs in a table, as --pairs pairs.csv"
        )
    return [
        (nfc(x.relative_to(folders[0]).as_posix()), nfc(y.relative_to(folders[1]).as_posix()))
        for stem in common
        for x, y in [(stems[0][stem][0], stems[1][stem][0])]
    ]


def _read_table(table: Path, folders: Folders, a: dict[str, ImageRef], b: dict[str, ImageRef]) -> list[tuple[str, str]]:
    """Return the names in a table of pairs, sorted. DataError where one is no image, or is in two pairs."""
    wanted = f"a path in {folders[0]}, a comma, a path in {folders[1]}"
    rows = _parse_rows(table, wanted)
    line_of: tuple[dict[str, int], dict[str, int]] = {}, {}
    for line, *names in rows:
        for name, known, folder, lines in zip(names, (a, b), folders, line_of, strict=True):
            if name not in known:
                raise DataError(
                    f"{table}: line {line}: {name!r} is no image of {folder}; give its path relative to that folder, with /, "
                    f"or remove the line"
                )
            if name in lines:
                raise DataError(
                    f"{table}: line {line}: {name!r} is in the pair of line {lines[name]} already; remove one of the two"
                )
            lines[name] = line
    if not rows:
        raise DataError(f"{table}: holds no pair; write one a line: {wanted}")
    return sorted((first, second) for _, first, second in rows)


def _parse_rows(table: Path, wanted: str) -> list[Row]:
    """Return the lines of a table but for empty ones and a header, which is a first line without the name of an image."""
    rows: list[Row] = []
    reader = csv.reader(io.StringIO(_read_text(table), newline=""), skipinitialspace=True)
    try:
        for cells in reader:
            names = [nfc(cell.strip()) for cell in cells]
            if not any(names):
                continue
            if len(names) != 2:
                held = "1 column" if len(names) == 1 else f"{len(names)} columns"
                raise DataError(f"{table}: line {reader.line_num} has {held}; write two: {wanted}")
            rows.append((reader.line_num, names[0], names[1]))
    except csv.Error as e:
        raise DataError(
            f"{table}: line {reader.line_num} cannot be read ({e}); save it as CSV with commas, in UTF-8"
        ) from None
    has_header = rows and not any(images.extension(Path(name)) in images.READABLE_EXTENSIONS for name in rows[0][1:])
    return rows[1:] if has_header else rows


def _read_text(table: Path) -> str:
    if not table.is_file():  # opening a pipe would block for ever
        raise UsageError(
            f"--pairs {table}: no such file; give a CSV file of two columns, or {NAMES} for files of one name"
        )
    try:
        content = table.read_bytes()
    except OSError as e:
        raise DataError(f"{table}: cannot be read ({e.strerror}); change its permissions") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content.count(b"\n", 0, e.start) + 1
        raise DataError(f"{table}: line {line} is not UTF-8; save it as CSV with commas, in UTF-8") from None
