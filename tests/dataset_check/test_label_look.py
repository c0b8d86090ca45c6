"""Images that look like label maps: few values in regions, any beside any; photos, gradients, drawings and masks do not."""

import cv2
import numpy as np
import pytest
from PIL import Image

from translate.dataset_check.label_look import describe_looks, label_look

from ..helpers import smooth_image

CLASSES = np.kron(np.arange(48).reshape(6, 8) // 6, np.ones((4, 4), int))  # 0 to 7, in the order of their numbers
SIDE = 48
RAMP = np.tile(np.linspace(0, 1, SIDE), (SIDE, 1))
CITYSCAPES = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


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
            "drawing": np.stack([lines] * 3, -1), "mask": lines, "flat": np.full((6, 8), 3), "jpg": CLASSES,
        }  # fmt: skip
        write(path, kinds[name])
    assert label_look(path) is None
    assert describe_looks("data", [None]) == describe_looks("data", []) == ""


def regions(seed, classes, side=SIDE, seeds=40):
    """Return classes (side, side) of the nearest of random points, each of a random class: any lies beside any."""
    rng = np.random.default_rng(seed)
    points, labels = rng.uniform(0, side, (seeds, 2)), rng.integers(0, classes, seeds)
    y, x = np.mgrid[:side, :side]
    return labels[((y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2).argmin(2)]


def levels(x, count, low, step=1):
    """Return x in [0, 1] as so many grey values, from `low` on."""
    return low + step * np.minimum((x * count).astype(int), count - 1)


def hills(seed):
    """Return a smooth image in [0, 1]: a sum of waves."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    z = sum(np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in rng.uniform(0, 2, (4, 3)))
    return (z - z.min()) / (z.max() - z.min())


def noisy(seed, deviation):
    """Return a smooth image of 21 grey values with noise of that deviation, in grey values."""
    return np.round(90 + 20 * hills(seed) + deviation * np.random.default_rng(seed).normal(size=(SIDE, SIDE)))


PHOTOS = {
    "21 levels": [levels(RAMP, 21, 90)],
    "21 levels down from 20 to 0": [levels(1 - RAMP.T, 21, 0)],
    "21 levels in steps of 10": [levels(RAMP, 21, 0, 10)],
    "hills of 5 levels": [levels(hills(i), 5, 100) for i in range(3)],
    "hills of 12 levels": [levels(hills(i), 12, 60) for i in range(3)],
    "hills of 30 levels from 0": [levels(hills(i), 30, 0) for i in range(3)],
    "little noise": [noisy(i, 0.4) for i in range(3)],
    "noise": [noisy(i, 0.8) for i in range(3)],
    "much noise": [noisy(i, 3) for i in range(3)],
    "levels of RGB": [np.stack([levels(RAMP, 21, 90)] * 3, -1)],
    "hills of colours": [np.stack([levels(hills(i), 21, 90), levels(hills(i), 21, 30), levels(1 - hills(i), 21, 9)], -1)
                         for i in range(3)],
}  # fmt: skip


@pytest.mark.parametrize("name", PHOTOS)
def test_photos_and_gradients_of_few_values_do_not(name, tmp_path):
    """An intensity that changes passes through all values between, and noise leaves no regions."""
    looks = [label_look(write(tmp_path / f"{i}.png", array)) for i, array in enumerate(PHOTOS[name])]
    assert all(2 < len(look.values) <= 64 for look in looks), "few values: they alone do not tell"
    assert describe_looks("data", looks) == ""


COLOURS = np.array([[r, g, b] for r in (0, 128, 255) for g in (0, 128, 255) for b in (0, 128, 255)])
MAPS = {
    **{f"{count} classes": [regions(i, count) for i in range(3)] for count in (2, 3, 5, 12, 19, 60)},
    "classes of Cityscapes": [np.array(CITYSCAPES)[regions(i, 19)] for i in range(3)],
    "five classes of them": [np.array([7, 8, 11, 21, 23])[regions(i, 5)] for i in range(3)],
    "two classes of them": [np.array([7, 8])[regions(i, 2)] for i in range(3)],
    "nine layers": [np.clip((2 * hills(i) + np.linspace(0, 8, SIDE)[:, None]).astype(int), 0, 8) for i in range(3)],
    "nested": [np.digitize(hills(i), [0.4, 0.6]) * 90 for i in range(3)],
    "small objects": [regions(i, 12, seeds=200) for i in range(3)],
    "no label at all borders": [np.where(np.pad(np.diff(x, axis=1), ((0, 0), (0, 1))) != 0, 255, x)
                                for x in (regions(i, 21) for i in range(3))],
    **{f"{count} colours": [COLOURS[regions(i, count)] for i in range(3)] for count in (3, 8, 27)},
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
def test_label_maps_of_many_kinds_do(name, tmp_path):
    looks = [label_look(write(tmp_path / f"{i}.png", array)) for i, array in enumerate(MAPS[name])]
    assert describe_looks("data", looks).startswith("data: looks like label maps")


@pytest.mark.parametrize("colours", ["as classes", "alike", "in order"])
def test_label_maps_with_palettes_do(colours, tmp_path):
    palettes = {"as classes": COLOURS.ravel(), "alike": np.zeros(60, int) + 7, "in order": np.arange(60) // 3}
    path = write(tmp_path / "a.png", regions(0, 20), palettes[colours].tolist())
    line = describe_looks("data", [label_look(path)])
    assert "classes in the colours of a palette" in line
    assert "--label-count 20" in line


def test_files_of_16_bits_do_not(tmp_path):
    """Of which a reader of 8 bits sees few values."""
    grey = (20_000 + 60 * levels(RAMP, 21, 0)).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    cv2.imwrite(str(tmp_path / "rgb.png"), np.stack([grey * 3] * 3, -1))
    with Image.open(tmp_path / "rgb.png") as image:
        assert image.mode == "RGB"
    assert label_look(tmp_path / "grey.png") is label_look(tmp_path / "rgb.png") is None


def test_more_colours_than_classes_can_be_are_none(tmp_path):
    """Drawings of a few colours each, other ones in each."""
    rng = np.random.default_rng(0)
    palettes = [rng.integers(0, 256, (20, 3)) for _ in range(15)]
    looks = [label_look(write(tmp_path / f"{i}.png", palettes[i][regions(i, 20)])) for i in range(15)]
    assert describe_looks("data", looks[:3]) != ""
    assert describe_looks("data", looks) == ""


def test_files_that_cannot_be_read_do_not(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert label_look(tmp_path / "a.png") is None
