"""Label maps and instance maps: values of every kind of file, edges, one-hot tensors and their way back."""

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images
from translate.images import ImageError, LabelError, LabelFormat, Reading, parse_palette
from translate.images.label_maps import instance_edges, instances_of_array, resize_nearest

PALETTE = parse_palette("0,0,0,0,sky\n1,255,0,0,roof\n2,0,255,0,tree\n255,9,9,9,none\n")
FORMAT = LabelFormat(3, unknown=True, palette=PALETTE)
VALUES = np.array([[0, 1, 2, 255], [2, 2, 0, 1]])
STORED = np.array([[0, 1, 2, 3], [2, 2, 0, 1]], np.uint8)


def read(path, labels=FORMAT, instances=None):
    return images.read(path, how=Reading(1, labels=labels, instances=instances)).pixels


def write(path, kind):
    values = VALUES.astype(np.uint8)
    if kind == "array":
        np.save(path.with_suffix(".npy"), VALUES)
        return path.with_suffix(".npy")
    if kind == "colours":
        table = {row.label: row.colour for row in PALETTE}
        image = Image.fromarray(np.array([[table[value] for value in row] for row in VALUES.tolist()], np.uint8))
    elif kind == "16 bits":
        image = Image.fromarray(VALUES.astype(np.uint16))
    else:
        image = Image.fromarray(values)
    if kind == "palette":
        image.putpalette([value for colour in range(256) for value in (colour, 0, 255 - colour)])
    image.save(path)
    return path


@pytest.mark.parametrize("kind", ["grey", "palette", "colours", "16 bits", "array"])
def test_every_kind_of_file_gives_the_same_classes(kind, tmp_path):
    assert np.array_equal(read(write(tmp_path / "a.png", kind))[:, :, 0], STORED)


def test_a_grey_map_saved_in_colour_is_read_as_grey(tmp_path):
    Image.fromarray(VALUES.astype(np.uint8)).convert("RGB").save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png", LabelFormat(3, unknown=True))[:, :, 0], STORED)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LabelFormat(2, unknown=True), "the value 2 in 3 pixels"),
        (LabelFormat(3, ignore=254, unknown=True), "the value 255 in 1 pixels"),
        (LabelFormat(3), "--unknown-label on"),
    ],
)
def test_values_of_no_class_are_named(labels, words, tmp_path):
    with pytest.raises(LabelError, match=r"^[^\n]*$") as caught:
        read(write(tmp_path / "a.png", "grey"), labels)
    assert words in str(caught.value)


def test_colours_need_a_palette_that_has_them(tmp_path):
    path = write(tmp_path / "a.png", "colours")
    with pytest.raises(LabelError, match=r"colour-coded label map \(4 colours\).*--palette FILE"):
        read(path, LabelFormat(3))
    with pytest.raises(LabelError, match="the colour 0,255,0 in 3 pixels"):
        read(path, LabelFormat(3, unknown=True, palette=tuple(row for row in PALETTE if row.label != 2)))


def test_files_that_do_not_keep_values_are_refused(tmp_path):
    Image.fromarray(VALUES.astype(np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="save it as png"):
        read(tmp_path / "a.jpg")
    Image.fromarray(np.zeros((2, 2, 4), np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(ImageError, match="without transparency"):
        read(tmp_path / "b.png")


def test_edges_are_two_pixels_wide():
    """Both sides of a border between objects are marked, by 4-neighbours: not at the corner of the whole map."""
    objects = np.array([[7, 7, 7, 9, 9], [7, 7, 7, 9, 9], [5, 7, 7, 7, 7]])
    expected = [[0, 0, 1, 1, 0], [1, 0, 1, 1, 1], [1, 1, 0, 1, 1]]
    assert instance_edges(objects).tolist() == expected
    assert not instance_edges(np.full((3, 4), 26_001)).any()


def test_edges_stand_beside_the_classes(tmp_path):
    objects = np.array([[1, 1, 1000, 1000], [1, 1, 1, 1]], np.uint16)
    Image.fromarray(objects).save(tmp_path / "objects.png")
    labels = LabelFormat(3, unknown=True, edges=True)
    path = write(tmp_path / "a.png", "grey")
    pixels = read(path, labels, tmp_path / "objects.png")
    assert np.array_equal(pixels, np.stack([STORED, instance_edges(objects)], axis=2))
    with pytest.raises(ImageError, match="no instance map"):
        read(path, labels)
    Image.fromarray(objects[:, :3]).save(tmp_path / "narrow.png")
    with pytest.raises(LabelError, match=r"'narrow.png' has 3×2 pixels, but it has 4×2"):
        read(path, labels, tmp_path / "narrow.png")


def test_colours_of_instance_maps_are_numbers():
    colours = np.array([[[1, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 0, 1]]], np.uint8)
    assert instances_of_array(colours).tolist() == [[65536, 256], [65536, 1]]


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("unknown", [False, True])
def test_one_hot_tensors_have_a_one_for_the_class_and_lead_back(unknown, edges):
    labels = LabelFormat(3, unknown=unknown, edges=edges)
    generator = torch.Generator().manual_seed(0)
    stored = torch.randint(0, 3 + unknown, (2, 1, 5, 4), generator=generator, dtype=torch.uint8)
    if edges:
        stored = torch.cat([stored, torch.randint(0, 2, stored.shape, generator=generator, dtype=torch.uint8)], 1)
    x = labels.one_hot(stored)
    assert x.shape == (2, 3 + unknown + edges, 5, 4) == (2, labels.channels, 5, 4)
    classes = x[:, : 3 + unknown]
    assert set(x.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(classes.sum(1), torch.ones(2, 5, 4))
    assert torch.equal((classes * torch.arange(3 + unknown)[:, None, None]).sum(1), stored[:, 0].float())
    assert torch.equal(labels.stored_of(x), stored)
    for dtype in (torch.float32, torch.float64):  # as the loader holds them
        shown = images.normalize(stored, dtype)
        assert torch.equal(labels.one_hot(shown), x.to(dtype))


def test_most_classes_survive_the_loaders_range():
    labels = LabelFormat(255, unknown=True)
    stored = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(labels.stored_of(labels.one_hot(images.normalize(stored, torch.float32))), stored)


def test_maps_are_resized_to_values_that_they_have():
    """Halved, the pixel whose place the new centre is in; doubled, each pixel twice: the identity by a step of two."""
    x = torch.arange(24, dtype=torch.int64).reshape(1, 4, 6) * 1000
    assert torch.equal(resize_nearest(x, 8, 12)[:, ::2, ::2], x)
    assert torch.equal(resize_nearest(x, 8, 12)[:, 1::2, 1::2], x)
    assert torch.equal(resize_nearest(resize_nearest(x, 12, 18), 4, 6), x)
    assert resize_nearest(x, 4, 2).tolist() == [[[row * 6000 + 1000, row * 6000 + 4000] for row in range(4)]]


def test_colours_of_stored_maps_are_those_of_the_palette():
    shown = FORMAT.colours_of(torch.from_numpy(STORED)[None, None])
    assert shown[0, :, 0].T.tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0], [9, 9, 9]]
    assert np.array_equal(FORMAT.colours(STORED), shown[0].permute(1, 2, 0).numpy())
