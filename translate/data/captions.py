"""Captions of images: `captions.txt` or `captions.csv`, or the names of the folders in which the images lie."""

import csv
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from translate.caption_tokens import tokenise
from translate.errors import DataError
from translate.text import nfc, one_line, printable

CAPTION_FILES = ("captions.txt", "captions.csv")
EMBEDDING_FILE = "captions.npy"
MAX_CAPTIONS = 16
"""Captions of an image, at most; further ones are left out."""


def find_caption_file(folders: Sequence[Path]) -> Path | None:
    """Return the file of captions in the first of the folders that has one. DataError where a folder has two."""
    for folder in dict.fromkeys(folders):
        found = [folder / name for name in CAPTION_FILES if (folder / name).is_file()]
        if len(found) > 1:
            raise DataError(f"{folder}: holds {' and '.join(CAPTION_FILES)}; remove one of them")
        if found:
            return found[0]
    return None


@dataclass(frozen=True)
class Caption:
    """A caption of an image, and its embedding where there are any."""

    text: str
    embedding: tuple[float, ...] = ()


def read_captions(table: Path, listed: Collection[str]) -> dict[str, list[Caption]]:
    """Read the captions of a file: path of an image, as `text.nfc` gives it → its captions.

    `listed`: paths of all images in the folder of the file, relative to it. A text file has a line `path<tab>caption` for each
    caption, a CSV table rows `file,caption` below a header of these words; what follows in a line is ignored. An image may have
    several captions. Raise DataError, which names the line, where it has no caption, or its image is missing.

    A file captions.npy beside it has an embedding for each caption, in their order: (captions, size) of finite numbers.
    """
    captions: dict[str, list[Caption]] = {}
    beside = table.parent / EMBEDDING_FILE
    embeddings, count = read_embeddings(beside) if beside.is_file() else None, 0
    try:
        for number, cells in _rows(table):
            where = f"{table}: line {number}"
            if len(cells) < 2:
                separator = "comma" if table.suffix == ".csv" else "tab"
                raise DataError(
                    f"{where}: has no {separator} between path and caption; write path, {separator}, caption"
                )
            name, caption = nfc(cells[0].strip()), cells[1].strip()
            if name not in listed:
                raise DataError(
                    f"{where}: {printable(name)} is no image in {table.parent}; remove the line, or give the path relative to "
                    f"that folder, with /"
                )
            if not caption:
                raise DataError(f"{where}: the caption of {printable(name)} is empty; write one, or remove the line")
            vector = () if embeddings is None or count >= len(embeddings) else tuple(embeddings[count].tolist())
            captions.setdefault(name, []).append(Caption(caption, vector))
            count += 1
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"{table}: cannot be read ({e}); save it as text in UTF-8") from None
    if embeddings is not None and count != len(embeddings):
        raise DataError(
            f"{beside}: has {len(embeddings)} rows for the {count} captions of {table.name}; give a row for each, in their "
            f"order"
        )
    return captions


def read_embeddings(file: Path) -> np.ndarray:
    """Read embeddings (captions, size) as float64. DataError, which names the file, unless it holds such finite numbers."""
    try:
        given = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise DataError(f"{file}: cannot be read ({one_line(e)}); save it with numpy.save") from None
    if not isinstance(given, np.ndarray) or given.ndim != 2 or given.dtype.kind not in "fiu" or 0 in given.shape:
        shape = f"{given.dtype} of shape {given.shape}" if isinstance(given, np.ndarray) else "an archive"
        raise DataError(f"{file}: is {shape}; save numbers of shape (captions, size)")
    if bad := np.flatnonzero(~np.isfinite(given).all(1)).tolist():
        raise DataError(f"{file}: row {bad[0]} holds numbers that are not finite; make it anew")
    return given.astype(np.float64)


def _rows(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line that is not empty, without the header of a CSV table."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        if table.suffix != ".csv":
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n").split("\t")
            return
        reader = csv.reader(file)
        header = [cell.strip() for cell in next(reader, [])]
        if header[:2] != ["file", "caption"]:
            raise DataError(f"{table}: its first row is {','.join(header)[:60]!r}; it must be file,caption")
        for cells in reader:
            if cells:
                yield reader.line_num, cells


def caption_labels(captions: Sequence[Sequence[Caption]]) -> tuple[tuple[int, ...] | tuple[float, ...], ...]:
    """Return the tokens, or the embeddings, of each image's captions, one after another, as many captions for all images.

    Where an image has fewer than another, its own are repeated.
    """
    count = min(MAX_CAPTIONS, max(map(len, captions)))
    known = cache(tokenise)
    labels = []
    for of_image in captions:
        chosen = [of_image[i % len(of_image)] for i in range(count)]
        labels.append(tuple(number for caption in chosen for number in caption.embedding or known(caption.text)))
    return tuple(labels)
