"""What images are labelled with: the folders they lie in, or a table of attributes."""

import csv
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from translate import images
from translate.errors import DataError

ATTRIBUTE_TABLE = "attributes.csv"
VALUES = {"0": 0.0, "1": 1.0, "-1": 0.0}
"""What stands in a table, and what it means: 0 and 1, or −1 and 1 as in CelebA."""
NO = {"0", "-1"}

Rows = dict[str, tuple[float, ...]]
"""Path of an image, relative to its split → a value for each attribute."""


def check_label_names(names: Iterable[str], place: Path) -> None:
    """DataError where a name could not be recorded or asked for: a model's names stand in one line, with commas between."""
    for name in names:
        if "," in name or not name.isprintable() or name != name.strip() or not name:
            raise DataError(
                f"{place}: {name!r} cannot be the name of a domain or attribute; rename it, without commas, line breaks and "
                f"spaces at its ends"
            )


def subfolders(folder: Path) -> list[Path]:
    """Those that lie in a folder itself, linked ones too, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def loose_images(folder: Path) -> list[Path]:
    """Images that lie in a folder itself, sorted by name."""
    named = (path for path in folder.iterdir() if images.extension(path) in images.READABLE_EXTENSIONS)
    return sorted(path for path in named if path.is_file() and not path.name.startswith("."))


def class_names(folder: Path, paths: Iterable[Path]) -> tuple[str, ...]:
    """The subfolders in which images of a folder lie; none unless all images do, in two or more of them."""
    names = {class_of(folder, path) for path in paths}
    return () if "" in names or len(names) < 2 else tuple(sorted(names))


def class_of(folder: Path, path: Path) -> str:
    """The subfolder of a folder in which an image lies; empty where it lies in none."""
    first, *rest = path.relative_to(folder).parts
    return first if rest else ""


def read_attribute_table(table: Path, listed: Mapping[str, Collection[str]]) -> tuple[tuple[str, ...], Rows]:
    """Names of the attributes, and the rows of a table `file,<attribute>,…`.

    `listed`: split → paths of its images, relative to it. DataError unless each row is that of one of these.
    """
    rows: Rows = {}
    no_at: dict[str, int] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            names = _attributes(table, next(reader, []))
            for number, cells in enumerate(reader, start=2):  # counted as tables are
                if not cells:
                    continue
                place = f"{table}: row {number}"
                name, *marks = [cells[0], *map(str.strip, cells[1:])]
                _check_file(place, name, listed, rows)
                rows[name] = _values(place, names, marks)
                for mark in NO.intersection(marks):
                    no_at.setdefault(mark, number)
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"{table}: cannot be read ({e}); save it as CSV with commas, in UTF-8") from None
    if len(no_at) > 1:  # one of them might mean something else than no
        raise DataError(
            f"{table}: row {no_at['0']} has a 0 and row {no_at['-1']} a -1; use either 0 and 1, or -1 and 1, throughout"
        )
    return names, rows


def _attributes(table: Path, header: list[str]) -> tuple[str, ...]:
    first, *names = [cell.strip() for cell in header] or [""]
    if first != "file" or not names:
        raise DataError(f"{table}: its first row is {','.join(header)[:60]!r}; it must be file,<attribute>,…")
    check_label_names(names, table)
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{table}: two columns are called {twice[0]}; rename one of them")
    return tuple(names)


def _check_file(place: str, name: str, listed: Mapping[str, Collection[str]], rows: Rows) -> None:
    """DataError unless there is one image of this name, and this is its first row."""
    splits = [split for split, paths in listed.items() if name in paths]
    if not splits:
        folders = " or ".join(f"{split}/" for split in listed)
        raise DataError(
            f"{place}: {name!r} is no image of {folders}; remove the row, or give the path below that folder, with /"
        )
    if len(splits) > 1:
        raise DataError(f"{place}: {name} is in {splits[0]}/ and in {splits[1]}/; rename one of the two images")
    if name in rows:
        raise DataError(f"{place}: {name} has a row before; remove one of them")


def _values(place: str, names: tuple[str, ...], marks: list[str]) -> tuple[float, ...]:
    if len(marks) != len(names):
        raise DataError(f"{place} has {len(marks)} values for {len(names)} attributes; mend it")
    for name, mark in zip(names, marks, strict=True):
        if mark not in VALUES:
            raise DataError(f"{place}: {name} is {mark!r}; use 0 and 1, or -1 and 1, for no and yes")
    return tuple([VALUES[mark] for mark in marks])
