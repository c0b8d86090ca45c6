"""Label maps that a caller gives to a translator give the same image as the file of the same classes."""

import numpy as np
import pytest
import torch
from PIL import Image

from translate import config, images
from translate.errors import UsageError
from translate.methods import METHODS
from translate.trained.folder import read_model_folder, write_trained_model
from translate.trained.label_images import stored_label_map
from translate.trained.translator import Translator

PALETTE = "0,0,0,0\n1,255,0,0\n2,0,255,0\n3,9,9,200\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small model of four classes, pixels without a label, and edges."""
    cls = METHODS["pix2pix"]
    settings = {
        "crop_size": 32, "load_size": 32, "g_width": 4, "d_width": 4, "dropout": True, "palette": PALETTE,
        "unknown_label": True, "instance_edges": True,
    }  # fmt: skip
    method = cls(cls.resolve_config(config.resolve(cls.Config, ("test", settings))))
    place = tmp_path_factory.mktemp("model")
    write_trained_model(place, method, title="labels", seen=1)
    return place


@pytest.fixture(scope="module")
def translator(folder):
    return Translator(read_model_folder(folder), torch.device("cpu"))


@pytest.fixture(scope="module")
def labels():
    return (np.arange(40 * 33).reshape(40, 33) // 200 % 4).astype(np.uint8)


@pytest.fixture(scope="module")
def objects(labels):
    return labels.astype(np.uint16) * 1000 + 7


def test_files_images_arrays_and_tensors_of_a_map_give_one_output(translator, labels, objects, tmp_path):
    Image.fromarray(labels).save(tmp_path / "grey.png")
    Image.fromarray(objects).save(tmp_path / "objects.png")
    palette = Image.fromarray(labels)
    palette.putpalette([1, 2, 3] * 256)
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [9, 9, 200]], np.uint8)[labels]
    expected = np.asarray(translator(tmp_path / "grey.png", instances=tmp_path / "objects.png"))
    assert expected.shape == (40, 33, 3)
    for given in (palette, Image.fromarray(colours), Image.fromarray(labels)):
        assert np.array_equal(np.asarray(translator(given, instances=Image.fromarray(objects))), expected)
    for array in (labels, labels.astype(np.int64)[:, :, None], colours):
        assert np.array_equal(translator(array, instances=objects), expected)
    assert all(np.array_equal(x, expected) for x in translator([labels, colours], instances=[objects] * 2))
    form = translator.label_format("b")
    stored = torch.from_numpy(stored_label_map(labels, form, objects)).permute(2, 0, 1)[None]
    made = translator(form.one_hot(stored))  # the same noise of dropout, too
    assert np.array_equal(images.to_uint8_array(made[0]), expected)


def test_labels_decide_the_output(translator, labels, objects):
    first = translator(labels, instances=objects)
    assert not np.array_equal(translator(np.where(labels == 3, 255, labels), instances=objects), first)
    assert not np.array_equal(translator(labels, instances=np.zeros_like(objects)), first)


@pytest.mark.parametrize(
    ("given", "instances", "words"),
    [
        (np.zeros((8, 8)), None, "give the instance map too"),
        (np.full((8, 8), 4), np.zeros((8, 8), int), "an array: has the value 4 in 64 pixels"),
        (np.zeros((8, 8)), np.zeros((8, 8), int), "whole numbers, not float64"),
        (np.zeros((8, 8), int), np.zeros((8, 9), int), "instances: of shape (8, 9)"),
        (np.zeros((8, 8, 2), int), np.zeros((8, 8), int), "one channel of classes"),
        ("missing.png", np.zeros((8, 8), int), "missing.png: no such file"),
        (np.zeros((8, 8), int), "missing.png", "instances: missing.png"),
    ],
)
def test_maps_that_do_not_fit_are_named(translator, given, instances, words):
    with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
        translator(given, instances=instances)
    assert words in str(caught.value)


def test_the_description_says_what_the_labels_are(folder, translator):
    info = read_model_folder(folder).info
    assert info.domains["a"] == {
        "channels": 6,
        "range": [-1, 1],
        "labels": {"count": 4, "ignore": 255, "unknown": True, "edges": True, "palette": PALETTE.split()},
    }
    card = (folder / "README.md").read_text()
    assert "label maps of 4 classes (values 0 to 3, 255 for pixels without a label), beside instance maps" in card
    assert "--instances" in card
