"""Palettes: colours and names of the classes of label maps, and the files that list them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from translate.text import one_line, printable


class PaletteError(ValueError):
    """Error of a palette; its text is one line that names the row and the remedy."""


@dataclass(frozen=True)
class LabelColour:
    """Colour of one class."""

    label: int
    """Value of its pixels in index images."""
    colour: tuple[int, int, int]
    """Red, green and blue from 0 to 255."""
    name: str = ""


Palette = tuple[LabelColour, ...]
"""Colours by class, in the order of their labels."""


def parse_palette(text: str) -> Palette:
    """Parse the text of a palette: a row `label,red,green,blue` or `label,red,green,blue,name` for each class.

    Empty lines and lines that begin with # are left out. PaletteError where a row is none, two rows have one label or one
    colour, or there is only one class.
    """
    rows = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    found = [_parse_row(number, line) for number, line in rows if line and not line.startswith("#")]
    columns: dict[str, list[object]] = {"label": [row.label for row in found], "colour": [row.colour for row in found]}
    for what, of in columns.items():
        if twice := [x for x in of if of.count(x) > 1]:
            raise PaletteError(f"two rows have the {what} {twice[0]}; give each class its own")
    if len(found) < 2:
        raise PaletteError("fewer than two classes; write a row label,red,green,blue,name for each")
    return tuple(sorted(found, key=lambda row: row.label))


def _parse_row(number: int, line: str) -> LabelColour:
    cells = [cell.strip() for cell in line.split(",", 4)]
    wanted = "it must be label,red,green,blue,name, such as 7,128,64,128,road"
    if len(cells) < 4 or not all(cell.isdecimal() and len(cell) < 6 for cell in cells[:4]):
        raise PaletteError(f"row {number} is {one_line(line, 60)!r}; {wanted}")
    label, red, green, blue = map(int, cells[:4])
    if max(red, green, blue) > 255 or label > 65535:
        raise PaletteError(f"row {number} is {one_line(line, 60)!r}; colours are 0 to 255, labels at most 65535")
    return LabelColour(label, (red, green, blue), printable("".join(cells[4:])))


def palette_text(palette: Palette) -> str:
    """Return the text of a palette, as `parse_palette` reads it."""
    rows = (",".join(map(str, (row.label, *row.colour, row.name))) for row in palette)
    return "".join(f"{row.rstrip(',')}\n" for row in rows)


def palette_of_image(path: Path, count: int) -> Palette | None:
    """Return the colours of the first `count` entries of a palette image; None for other files, and where two are alike."""
    try:
        with Image.open(path, formats=("PNG", "BMP", "TIFF")) as image:
            stored = image.getpalette("RGB") if image.mode == "P" else None
    except Exception:  # reading the file will say why
        return None
    if stored is None or len(stored) < 3 * count:
        return None
    colours = [(stored[i], stored[i + 1], stored[i + 2]) for i in range(0, 3 * count, 3)]
    return tuple(map(LabelColour, range(count), colours)) if len(set(colours)) == count else None


def default_colour(label: int) -> tuple[int, int, int]:
    """Return the colour of a class that has none: black for class 0, and far apart for the others.

    Bits 0, 3, 6 … of the label are the highest bits of red, bits 1, 4, 7 … of green, bits 2, 5, 8 … of blue: the colour map of
    PASCAL VOC (Everingham et al., 2010).
    """
    red, green, blue = (sum((label >> (3 * k + channel) & 1) << (7 - k) for k in range(8)) for channel in range(3))
    return red, green, blue


def colour_table(palette: Palette, count: int, unknown: int | None) -> np.ndarray:
    """Return the colours (count + 1, 3) uint8 of labels 0 to count − 1 and, last, of pixels without a label.

    unknown: label in the palette that stands for no label. Grey where a palette says nothing of it, as of a class.
    """
    grey = (128, 128, 128)
    known = {row.label: row.colour for row in palette}
    rows = [known.get(label, grey if palette else default_colour(label)) for label in range(count)]
    last = known.get(unknown, grey) if unknown is not None else grey
    return np.array([*rows, last], np.uint8)
