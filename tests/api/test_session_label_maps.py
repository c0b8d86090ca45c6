"""Trainings on label maps: settings found in the data, resume, conversion, evaluation, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

import translate
from translate import images, records
from translate.errors import DataError, UsageError

SMALL = {
    "crop_size": 32, "load_size": 36, "g_width": 2, "d_width": 2, "images": 2, "device": "cpu", "dropout": False, "say": None,
    "watch": False,
}  # fmt: skip
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)


@pytest.fixture
def root(tmp_path):
    """Label maps of four classes as palette PNGs, some pixels without a label, instance maps, and images."""
    for split in ("train", "test"):
        for folder in ("A", "B", "_inst"):
            (tmp_path / f"{split}{folder}").mkdir()
        for i in range(3):
            labels = (np.arange(40 * 50).reshape(40, 50) // 100 + i) % 4
            image = Image.fromarray(np.where(np.arange(50) < 2, 255, labels).astype(np.uint8))
            image.putpalette([*COLOURS.ravel().tolist(), *[9] * (3 * 252)])
            image.save(tmp_path / f"{split}A" / f"{i}.png")
            Image.fromarray(COLOURS[labels]).save(tmp_path / f"{split}B" / f"{i}.png")
            Image.fromarray(labels.astype(np.uint16) * 500).save(tmp_path / f"{split}_inst" / f"{i}.png")
    return tmp_path


def settings_of(run):
    return records.read_toml(run.path / "config.toml")


def test_what_the_data_decides_is_recorded_and_kept(root, tmp_path, rng):
    run = translate.train("pix2pix", root, run=tmp_path / "run", label_count=4, **SMALL)
    found = settings_of(run)
    assert (found["unknown_label"], found["instance_edges"], found["input_channels"]) == (True, True, 6)
    assert found["palette"] == "0,0,0,0\n1,255,0,0\n2,0,255,0\n3,0,0,255\n"
    for path in (root / "trainA").iterdir():  # no pixel without a label any more, and no palette
        Image.fromarray(rng.integers(0, 4, (40, 50), dtype=np.uint8)).save(path)
    more = translate.train("pix2pix", root, run=tmp_path / "run", label_count=4, **{**SMALL, "images": 3})
    assert more.images == 3
    assert {name: value for name, value in settings_of(more).items() if name != "images"} == {
        name: value for name, value in found.items() if name != "images"
    }


NETWORKS = {
    "pix2pixhd": {"generator": "pix2pixhd_global_2downs_3blocks"},
    "spade": {"generator": "spade_2ups", "vae": True, "batch_size": 2},
}


@pytest.mark.parametrize("method", NETWORKS)
def test_other_methods_learn_from_label_maps_and_edges(method, root, tmp_path):
    """Four classes, pixels without a label, and edges: six channels. Outputs of a label map have its size."""
    run = translate.train(method, root, run=tmp_path / "run", label_count=4, **{**SMALL, **NETWORKS[method]})
    assert settings_of(run)["input_channels"] == 6
    samples = {"samples": 2} if method == "spade" else {}
    options = {"instances": root / "test_inst", "say": None, **samples}
    assert translate.convert(run.path, root / "testA", tmp_path / "out", **options).failures == {}
    outputs = sorted((tmp_path / "out").glob("*.png"))
    assert len(outputs) == 3 * (2 if samples else 1)
    assert {images.read(path).pixels.shape for path in outputs} == {(40, 50, 3)}
    if samples:
        assert outputs[0].read_bytes() != outputs[1].read_bytes()


def test_runs_resumed_in_the_middle_end_with_the_same_weights(root, tmp_path):
    options = {**SMALL, "label_count": 4, "batch_size": 1}
    whole = translate.train("pix2pix", root, run=tmp_path / "whole", **{**options, "images": 4})
    translate.train("pix2pix", root, run=tmp_path / "parts", **options)
    parts = translate.train("pix2pix", root, run=tmp_path / "parts", **{**options, "images": 4})
    weights = [(run.path / "model" / "model.safetensors").read_bytes() for run in (whole, parts)]
    assert weights[0] == weights[1]


def test_models_convert_and_evaluate_label_maps(root, tmp_path):
    run = translate.train("spade", root, run=tmp_path / "run", label_count=4, **SMALL)
    with pytest.raises(UsageError, match="--instances DIR"):
        translate.convert(run.path, root / "testA", tmp_path / "out", say=None)
    result = translate.convert(
        run.path, root / "testA", tmp_path / "out", instances=root / "test_inst", report=True, say=None
    )
    assert (result.done, result.failures) == (3, {})
    model = translate.load(run.path)
    for i in range(3):
        made = np.asarray(Image.open(tmp_path / "out" / f"{i}.png"))
        alone = model(root / "testA" / f"{i}.png", instances=root / "test_inst" / f"{i}.png")
        assert np.array_equal(made, np.asarray(alone))
    report = (tmp_path / "out" / "report.html").read_text()
    assert report.count("data:image/webp") >= 6
    assert "no preview" not in report
    metrics = translate.evaluate(run.path, root, metrics=["l1"], say=None)
    assert metrics["metrics"]["l1"]["value"] > 0
    assert "copying" not in metrics
    with pytest.raises(DataError, match="label maps have none"):
        translate.evaluate(run.path, root, metrics=["fgsm"], say=None)
    (root / "test_inst" / "1.png").unlink()
    result = translate.convert(run.path, root / "testA", tmp_path / "out2", instances=root / "test_inst", say=None)
    assert list(result.failures) == ["1.png"]
    assert "no instance map" in result.failures["1.png"]
    with pytest.raises(UsageError, match="says nothing of label maps"):
        translate.export(run.path, tmp_path / "g.pth")
    translate.export(run.path, tmp_path / "copy")
    assert json.loads((tmp_path / "copy" / "config.json").read_text())["domains"]["a"]["labels"]["count"] == 4


def test_labels_in_train_b_are_read_by_direction(root, tmp_path):
    for split in ("train", "test"):
        (root / f"{split}A").rename(root / "other")
        (root / f"{split}B").rename(root / f"{split}A")
        (root / "other").rename(root / f"{split}B")
    run = translate.train("pix2pix", root, run=tmp_path / "run", label_count=4, direction="b2a", **SMALL)
    assert settings_of(run)["input_channels"] == 6


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"label_count": 3}, "has the value 3"),
        ({"label_count": 4, "ignore_index": 200}, "has the value 255"),
        ({"label_count": 4, "instance_edges": True}, "no instance map for 1 of 3 label maps"),
    ],
)
def test_maps_of_other_values_end_a_training_before_it_begins(flags, words, root, tmp_path):
    (root / "train_inst" / "1.png").unlink()
    with pytest.raises(DataError, match=r"^[^\n]*$") as caught:
        translate.train("pix2pix", root, run=tmp_path / "run", **{"instance_edges": False, **SMALL, **flags})
    assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_check_of_the_data_names_maps_of_other_values(root):
    good = translate.check_data(root, label_count=4, crop_size=32, say=None)
    assert good["errors"] == []
    assert not [line for line in good["warnings"] if "trainA: looks" in line]
    (bad,) = [
        line for line in translate.check_data(root, crop_size=32, say=None)["warnings"] if "trainA: looks" in line
    ]
    assert "--label-count 4" in bad
    errors = translate.check_data(root, label_count=3, crop_size=32, say=None)["errors"]
    assert len(errors) == 2
    assert all("has the value 3" in line for line in errors)
