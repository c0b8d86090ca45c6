"""Palettes: rows of a file, colours of images, and colours of classes that have none."""

import numpy as np
import pytest
from PIL import Image

from translate.images import PaletteError, palette_of_image, palette_text, parse_palette
from translate.images.palettes import LabelColour, colour_table, default_colour

TEXT = "# classes\n\n7,128,64,128,road\n0, 0, 0, 0, void, or unknown\n3,1,2,3\n"


def test_a_palette_is_read_by_labels_and_written_as_it_is_read():
    palette = parse_palette(TEXT)
    road = LabelColour(7, (128, 64, 128), "road")
    assert palette == (LabelColour(0, (0, 0, 0), "void, or unknown"), LabelColour(3, (1, 2, 3)), road)
    assert parse_palette(palette_text(palette)) == palette


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,0,0,0\n1,1,1\n", "row 2"),
        ("0,0,0,0\n1,256,0,0\n", "0 to 255"),
        ("0,0,0,0\n-1,2,0,0\n", "row 2"),
        ("0,0,0,0\n0,2,0,0\n", "the label 0"),
        ("0,0,0,0\n1,0,0,0\n", "the colour (0, 0, 0)"),
        ("0,0,0,0\n", "fewer than two"),
        ("label,red,green,blue,name\n", "row 1"),
    ],
)
def test_a_palette_that_is_none_names_its_fault(text, words):
    with pytest.raises(PaletteError, match=r"^[^\n]*$") as caught:
        parse_palette(text)
    assert words in str(caught.value)


def test_classes_without_colours_have_those_of_pascal_voc():
    """Aeroplane, bicycle, bird, …: red, green and blue by turns, then the next bits."""
    assert [default_colour(label) for label in range(5)] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128),
    ]  # fmt: skip
    assert default_colour(20) == (0, 64, 128)  # tv monitor
    assert len({default_colour(label) for label in range(256)}) == 256


def test_the_table_has_a_row_for_each_class_and_for_no_label():
    palette = parse_palette("0,1,2,3\n2,4,5,6\n255,7,8,9\n")
    assert colour_table(palette, 3, 255).tolist() == [[1, 2, 3], [128, 128, 128], [4, 5, 6], [7, 8, 9]]
    assert colour_table((), 2, 255).tolist() == [[0, 0, 0], [128, 0, 0], [128, 128, 128]]


def test_a_palette_image_has_its_colours(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
    image.save(tmp_path / "grey.png")
    image.putpalette([9, 8, 7, 6, 5, 4, 3, 2, 1])
    image.save(tmp_path / "palette.png")
    found = palette_of_image(tmp_path / "palette.png", 3)
    assert [row.colour for row in found] == [(9, 8, 7), (6, 5, 4), (3, 2, 1)]
    assert palette_of_image(tmp_path / "grey.png", 3) is None
    assert palette_of_image(tmp_path / "palette.png", 200) is None
