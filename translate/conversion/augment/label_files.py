"""Files of labels that name images, or have their names, and what they hold for the translations of these images."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Protocol
from xml.sax.saxutils import escape

from defusedxml import ElementTree  # type: ignore[import-untyped]
from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]

from translate.conversion.augment.coco import read_coco
from translate.conversion.augment.labelled_set import (
    LabelledSet,
    Mask,
    is_in_label_folder,
    label_key,
    split_of_name,
)
from translate.errors import DataError
from translate.text import printable

Made = Mapping[str, Sequence[str]]
"""Path of an image → paths of its translations."""

FILE_COLUMNS = frozenset(
    {"filename", "file_name", "file", "image", "image_name", "image_path", "imagepath", "path", "filepath", "img"}
)
"""Titles of the column of a CSV file that names images, in lower case."""
BOX_COLUMNS = frozenset({"xmin", "x_min", "x1", "left", "x", "bbox", "box", "cx", "x_center", "xcenter"})
"""Titles of columns of a CSV file that say where something is in the image, in lower case."""
BOX_LENGTH = 5
"""Columns of a CSV file without titles from which on it holds boxes: a file and four numbers."""


class LabelFile(Protocol):
    """File of labels."""

    @property
    def path(self) -> str:
        """Path relative to the set, with `/`."""

    @property
    def has_places(self) -> bool:
        """True where labels say where something is, as boxes do: they are wrong for an image whose shapes have moved."""

    @property
    def images(self) -> Sequence[str]:
        """Images that it names."""

    @property
    def is_shared(self) -> bool:
        """True for a file with labels of many images, which gets entries for translations; a file of one gets copies."""

    def outputs(self, made: Made) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield path and function of the content of what the augmented set has of it, beside a copy of one not shared."""


@dataclass(frozen=True)
class FileOfOneImage:
    """File of labels with the name of its image, of which every translation gets a copy: YOLO text, Pascal VOC XML, a mask."""

    path: str
    images: Sequence[str]
    read: Callable[[], bytes]
    suffix: str = ""
    """End of its stem behind that of the image."""
    rename: Callable[[bytes, str], bytes] = lambda content, name: content
    """Puts the file name of the translation into the content."""
    has_places: bool = True
    is_shared: bool = False

    def outputs(self, made: Made) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield path and function of the content of the copy for each translation."""
        pure = PurePosixPath(self.path)
        for translation in made.get(self.images[0], ()):
            path = pure.with_name(f"{PurePosixPath(translation).stem}{self.suffix}{pure.suffix}")
            yield path.as_posix(), partial(self._content, PurePosixPath(translation).name)

    def _content(self, name: str) -> bytes:
        return self.rename(self.read(), name)


@dataclass(frozen=True)
class TableFile:
    """Table with one or more lines for an image: a CSV file, or a list of the images of a split."""

    path: str
    has_places: bool
    lines: Sequence[tuple[str, Sequence[str], int]]
    """For each line its image, its cells, and the number of the cell that names the image."""
    content: bytes
    encode: Callable[[Sequence[str]], str]
    """Return a line of the table from its cells."""
    is_shared: bool = True

    @property
    def images(self) -> Sequence[str]:
        """Images that it names."""
        return [image for image, _, _ in self.lines]

    def outputs(self, made: Made) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the table with further lines: for each translation, those of its image with its name."""
        lines = []
        for number in range(max(map(len, made.values()), default=0)):
            for image, cells, place in self.lines:
                if number < len(made.get(image, ())):
                    own = [*cells]
                    own[place] = renamed(cells[place], image, made[image][number])
                    lines.append(self.encode(own))
        gap = b"" if not lines or self.content.endswith((b"\n", b"\r")) else b"\n"
        yield self.path, lambda: self.content + gap + "".join(lines).encode()


def renamed(name: str, image: str, translation: str) -> str:
    """Return the name that a label file gives an image, changed to that of a translation, which lies in the same folder."""
    old, new = PurePosixPath(image), PurePosixPath(translation)
    if name.endswith(old.name):
        return name[: -len(old.name)] + new.name
    return name[: -len(old.stem)] + new.stem  # lists of Pascal VOC leave the extension out


def read_label_files(labelled: LabelledSet) -> list[LabelFile]:
    """Return the masks and the files of labels of a set. DataError names the first that is wrong, and what is wrong with it."""
    found: list[LabelFile] = [_of_mask(labelled, mask) for mask in labelled.masks]
    for path in labelled.others:
        reader = READERS.get(PurePosixPath(path).suffix.casefold())
        if reader is not None and (file := reader(labelled, path)) is not None:
            found.append(file)
    return found


def _of_mask(labelled: LabelledSet, mask: Mask) -> LabelFile:
    return FileOfOneImage(mask.path, [mask.image], (labelled.root / mask.path).read_bytes, mask.suffix)


def _read(labelled: LabelledSet, path: str) -> str:
    try:
        return (labelled.root / path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{printable(path)}: is not UTF-8; store it as UTF-8") from None


def _text(labelled: LabelledSet, path: str) -> LabelFile | None:
    """Read YOLO labels, or a list of the images of a split; None for other texts."""
    image = labelled.find_key(label_key(path), path)
    if image is not None:
        lines = [line.split() for line in _read(labelled, path).splitlines()]
        for number, words in enumerate(lines, 1):
            if words and not (len(words) >= BOX_LENGTH and all(map(_is_number, words))):
                raise DataError(f"{printable(path)}: line {number} is no class with its box, as YOLO has them")
        return FileOfOneImage(path, [image], (labelled.root / path).read_bytes)
    if split_of_name(path) and ("ImageSets" in path.split("/") or "/" not in path):
        return _split_list(labelled, path)
    if is_in_label_folder(path):
        words = _read(labelled, path).split()
        if words and all(map(_is_number, words)):
            raise DataError(f"{printable(path)}: holds boxes, but no image has its name; add it, or remove the file")
    return None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _split_list(labelled: LabelledSet, path: str) -> LabelFile:
    """Read a list of images: one a line, as a path or, as Pascal VOC has them, a stem, with a further word or none."""
    stems: dict[str, list[str]] = {}
    for name in labelled.images:
        stems.setdefault(PurePosixPath(name).stem, []).append(name)
    lines = []
    for line in _read(labelled, path).splitlines():
        cells = re.split(r"(\s+)", line.rstrip())
        if cells[0]:
            of_stem = stems.get(cells[0], [])
            image = of_stem[0] if len(of_stem) == 1 else labelled.find_name(cells[0], path)
            lines.append((image, cells, 0))
    content = (labelled.root / path).read_bytes()
    return TableFile(path, False, lines, content, lambda cells: "".join(cells) + "\n")


def _xml(labelled: LabelledSet, path: str) -> LabelFile | None:
    """Read an annotation of Pascal VOC; None for other XML."""
    content = (labelled.root / path).read_bytes()
    try:
        tree = ElementTree.fromstring(content)
    except (ElementTree.ParseError, DefusedXmlException, ValueError) as e:
        raise DataError(f"{printable(path)}: is no XML: {e}") from None
    if tree.tag != "annotation":
        return None
    image = labelled.find_key(label_key(path), path)
    if image is None:
        image = labelled.find_name((tree.findtext("filename") or PurePosixPath(path).stem).strip(), path)
    return FileOfOneImage(path, [image], (labelled.root / path).read_bytes, rename=_rename_in_voc)


def _rename_in_voc(content: bytes, name: str) -> bytes:
    """Return an annotation of Pascal VOC with another file name, and all else as it is."""
    own = escape(name).encode()
    content = re.sub(rb"(<filename>)[^<]*(</filename>)", lambda found: found[1] + own + found[2], content, count=1)
    return re.sub(
        rb"(<path>(?:[^<]*[/\\])?)[^</\\]*(</path>)", lambda found: found[1] + own + found[2], content, count=1
    )


def _csv(labelled: LabelledSet, path: str) -> LabelFile | None:
    """Read a table with a column of images, by its title or, without titles, the first; None for other tables."""
    text = _read(labelled, path)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    if not rows or not rows[0]:
        return None
    titles = [cell.strip().casefold() for cell in rows[0]]
    place = next((number for number, title in enumerate(titles) if title in FILE_COLUMNS), None)
    has_titles = place is not None
    if place is None:
        if PurePosixPath(rows[0][0].replace("\\", "/")).suffix == "" or len(rows[0]) < 2:
            return None
        try:
            labelled.find_name(rows[0][0], path)
        except DataError:
            return None
        place = 0
    lines = []
    for number, cells in enumerate(rows[has_titles:], 1 + has_titles):
        if cells and len(cells) <= place:
            raise DataError(
                f"{printable(path)}: row {number} has {len(cells)} cells, but the images are in column {place + 1}"
            )
        if cells:
            lines.append((labelled.find_name(cells[place], path), cells, place))
    has_places = bool(BOX_COLUMNS & set(titles)) if has_titles else len(rows[0]) >= BOX_LENGTH
    ending = "\r\n" if first.endswith("\r") else "\n"

    def encode(cells: Sequence[str]) -> str:
        line = io.StringIO()
        csv.writer(line, delimiter=delimiter, lineterminator=ending).writerow(cells)
        return line.getvalue()

    return TableFile(path, has_places, lines, (labelled.root / path).read_bytes(), encode)


READERS: dict[str, Callable[[LabelledSet, str], LabelFile | None]] = {
    ".json": read_coco,
    ".xml": _xml,
    ".txt": _text,
    ".csv": _csv,
}
"""Extension → function of a set and a path that reads a file of labels; it returns None for a file that holds none."""
