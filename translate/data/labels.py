"""Labels of images: the folders in which they lie, or a table of attributes."""

import csv
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from translate import images
from translate.errors import DataError
from translate.text import nfc

ATTRIBUTE_TABLE = "attributes.csv"
VALUES = {"0": 0.0, "1": 1.0, "-1": 0.0}
"""Marks of a table and their values: 0 and 1, or −1 and 1 as in CelebA."""
NO_MARKS = {"0", "-1"}

Rows = dict[str, tuple[float, ...]]
"""Path of an image, relative to its split, as `text.nfc` gives it → its value for each attribute."""


def check_label_names(names: Iterable[str], where: Path) -> None:
    """Raise DataError where a name holds a comma or cannot be printed: a model's label names are written in one line."""
    for name in names:
        if "," in name or not name.isprintable() or name != name.strip() or not name:
            raise DataError(
                f"{where}: {name!r} cannot be the name of a domain or attribute; rename it, without commas, line breaks and "
                f"spaces at either end"
            )


def subfolders(folder: Path) -> list[Path]:
    """List the folders directly in a folder, linked ones too, sorted by name; hidden ones are left out."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def loose_images(folder: Path) -> list[Path]:
    """List the images directly in a folder, sorted by name; hidden ones are left out."""
    named = (path for path in folder.iterdir() if images.extension(path) in images.READABLE_EXTENSIONS)
    return sorted(path for path in named if path.is_file() and not path.name.startswith("."))


def class_names(folder: Path, paths: Iterable[Path]) -> tuple[str, ...]:
    """Names of the subfolders in which images lie, sorted; empty unless all images lie in one of two or more subfolders."""
    names = {class_of(folder, path) for path in paths}
    return () if "" in names or len(names) < 2 else tuple(sorted(names))


def class_of(folder: Path, path: Path) -> str:
    """Name of the subfolder in which an image lies; empty where it lies in the folder itself."""
    first, *rest = path.relative_to(folder).parts
    return first if rest else ""


def read_attribute_table(table: Path, listed: Mapping[str, Collection[str]]) -> tuple[tuple[str, ...], Rows]:
    """Read the attribute names and the rows of a CSV table `file,<attribute>,…`.

    `listed` maps each split to the paths of its images, relative to it, as `text.nfc` gives them. Raise DataError where the
    table cannot be read, a row names none of these images or one twice, a value is none of VALUES, or 0 and -1 both stand for
    no.
    """
    rows: Rows = {}
    first_row_of: dict[str, int] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            names = _parse_header(table, next(reader, []))
            for number, cells in enumerate(reader, start=2):  # counted as tables are
                if not cells:
                    continue
                where = f"{table}: row {number}"
                name, *marks = [nfc(cells[0]), *map(str.strip, cells[1:])]
                _check_row_name(where, name, listed, rows)
                rows[name] = _parse_marks(where, names, marks)
                for mark in NO_MARKS.intersection(marks):
                    first_row_of.setdefault(mark, number)
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"{table}: cannot be read ({e}); save it as CSV with commas, in UTF-8") from None
    if len(first_row_of) > 1:  # one of them might mean something else than no
        raise DataError(
            f"{table}: row {first_row_of['0']} has a 0 and row {first_row_of['-1']} a -1; use either 0 and 1, or -1 and 1, "
            f"throughout"
        )
    return names, rows


def _parse_header(table: Path, header: list[str]) -> tuple[str, ...]:
    first, *names = [cell.strip() for cell in header] or [""]
    if first != "file" or not names:
        raise DataError(f"{table}: its first row is {','.join(header)[:60]!r}; it must be file,<attribute>,…")
    check_label_names(names, table)
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{table}: two columns are called {twice[0]}; rename one of them")
    return tuple(names)


def _check_row_name(where: str, name: str, listed: Mapping[str, Collection[str]], rows: Rows) -> None:
    """Raise DataError unless one split has an image of this name, and this is its first row."""
    splits = [split for split, paths in listed.items() if name in paths]
    if not splits:
        folders = " or ".join(f"{split}/" for split in listed)
        raise DataError(
            f"{where}: {name!r} is no image of {folders}; remove the row, or give the path relative to that folder, with /"
        )
    if len(splits) > 1:
        raise DataError(f"{where}: {name} is in {splits[0]}/ and in {splits[1]}/; rename one of the two images")
    if name in rows:
        raise DataError(f"{where}: {name} has an earlier row; remove one of them")


def _parse_marks(where: str, names: tuple[str, ...], marks: list[str]) -> tuple[float, ...]:
    if len(marks) != len(names):
        raise DataError(f"{where} has {len(marks)} values for {len(names)} attributes; fix the row")
    for name, mark in zip(names, marks, strict=True):
        if mark not in VALUES:
            raise DataError(f"{where}: {name} is {mark!r}; use 0 and 1, or -1 and 1, for no and yes")
    return tuple([VALUES[mark] for mark in marks])
