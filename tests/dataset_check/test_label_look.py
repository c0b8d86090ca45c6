"""Images that look like label maps: few values in files that keep values; photos, drawings and masks do not."""

import numpy as np
import pytest
from PIL import Image

from translate.dataset_check.label_look import describe_looks, label_look

from ..helpers import smooth_image

CLASSES = np.arange(48).reshape(6, 8) // 6  # 0 to 7


def write(path, array, palette=None):
    image = Image.fromarray(np.asarray(array, np.uint8))
    if palette:
        image.putpalette(palette)
    image.save(path)
    return path


def test_index_images_look_like_label_maps(tmp_path):
    grey = [write(tmp_path / f"{i}.png", np.where(i == CLASSES, 255, CLASSES)) for i in range(2)]
    line = describe_looks("data", [label_look(path) for path in grey])
    assert "8 classes" in line
    assert "0 to 7 of 255" in line
    assert "--label-count 8" in line
    palette = write(tmp_path / "p.png", CLASSES, list(range(24)))
    assert label_look(palette).kind == "palette"
    assert describe_looks("data", [label_look(palette), label_look(grey[0])]) == ""


def test_colours_look_like_label_maps(tmp_path):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [9, 9, 200], [1, 2, 3], [4, 4, 4], [5, 6, 7], [8, 8, 8]])
    path = write(tmp_path / "a.png", colours[CLASSES])
    assert "8 colours" in describe_looks("data", [label_look(path)])
    assert "--palette FILE" in describe_looks("data", [label_look(path)])


@pytest.mark.parametrize("name", ["photo", "grey photo", "drawing", "mask", "flat", "jpg"])
def test_other_images_do_not(name, tmp_path):
    path = tmp_path / ("a.jpg" if name == "jpg" else "a.png")
    if "photo" in name:
        smooth_image(0, 90, 90).convert("L" if "grey" in name else "RGB").save(path)
    else:
        lines = np.where(CLASSES % 2, 255, 0)
        kinds = {
            "drawing": np.stack([lines] * 3, -1), "mask": lines, "flat": np.full((6, 8), 3), "jpg": np.zeros((6, 8)) + 4,
        }  # fmt: skip
        write(path, kinds[name])
    assert label_look(path) is None
    assert describe_looks("data", [None]) == describe_looks("data", []) == ""


def test_files_that_cannot_be_read_do_not(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert label_look(tmp_path / "a.png") is None
