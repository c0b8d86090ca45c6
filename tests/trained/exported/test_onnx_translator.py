"""An ONNX file as a model: the images that it makes, and what it says of what it cannot do."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import translate
from translate import api
from translate.errors import ModelError, UsageError
from translate.trained.exported.metadata import CONFIG, SPEC
from translate.trained.folder import read_model_folder

from .helpers import metadata_of, negating_file

pytest.importorskip("onnxruntime", reason="needs the extra export")
pytest.importorskip("onnx", reason="needs the extra export")


@pytest.fixture
def negative(cyclegan_folder: Path, tmp_path: Path) -> Path:
    """A file that says it is a CycleGAN, and gives the negative of an image."""
    path = tmp_path / "negative.onnx"
    path.write_bytes(negating_file(metadata_of(read_model_folder(cyclegan_folder))))
    return path


def test_a_folder_is_converted_by_a_file(negative: Path, source: Path, tmp_path: Path) -> None:
    result = translate.convert(negative, source, tmp_path / "out", format="png", say=None)
    assert (result.done, result.failures) == (5, {})
    with Image.open(source / "1.png") as given, Image.open(tmp_path / "out" / "1.png") as made:
        assert np.array_equal(np.asarray(made), 255 - np.asarray(given))  # of any size: padded, and cropped again
    assert translate.convert(negative, source, tmp_path / "out", format="png", say=None).skipped == 5


def test_arrays_and_tensors(negative: Path) -> None:
    model = api.load(negative, say=None)
    x = torch.rand(2, 3, 9, 13)
    assert torch.equal(model(x, "b"), -x)
    deep = np.full((9, 13, 3), 1000, np.uint16)
    assert (model(deep, "b") == 65535 - 1000).all()


def test_its_memory_is_that_of_the_layers(negative: Path, cyclegan_folder: Path) -> None:
    from translate.conversion.tiling import TilePlanner

    planners = [TilePlanner(api.load(model, device="cpu", say=None), "b") for model in (negative, cyclegan_folder)]
    assert [planner.tileable for planner in planners] == [False, True]
    estimates = [planner.estimate_whole(512, 512) for planner in planners]
    assert 0.4 < estimates[0] / estimates[1] < 2.5  # convolutions on the meta device count no copies in blocks


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "cuda"}, "--device cuda: .* CPU"),
        ({"precision": "bf16"}, "--precision bf16: .* fixed"),
        ({"dropout": "on"}, "dropout and norms are fixed"),
    ],
)
def test_options_that_it_does_not_have(negative: Path, options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        api.load(negative, say=None, **options)


def test_other_domains_noise_and_styles_are_refused(negative: Path, draw) -> None:
    model = api.load(negative, say=None)
    with pytest.raises(UsageError, match=r"--to a: .* translates to b only"):
        model(draw(), "a")
    with pytest.raises(UsageError, match="--samples"):
        model(draw(), "b", sample=1)
    with pytest.raises(UsageError, match="--style"):
        model(draw(), "b", style=draw())


def test_workers_of_a_cluster_have_no_file_for_onnx_runtime(negative: Path, source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--cluster local: .*negative\.onnx is for ONNX Runtime; give the model"):
        translate.convert(negative, source, tmp_path / "out", cluster="local", say=None)
    assert not (tmp_path / "out").exists()


def test_its_images_are_evaluated(negative: Path, paired_root: Path) -> None:
    """B is the negative of A in these pairs, which the file gives exactly."""
    results = translate.evaluate(negative, paired_root, metrics=["l1"], device="cpu", say=None)
    assert results["metrics"]["l1"]["value"] < 0.01


@pytest.mark.parametrize("use", ["export", "status"])
def test_it_is_no_model_where_weights_are_needed(negative: Path, tmp_path: Path, use: str) -> None:
    with pytest.raises(ModelError, match=r"negative\.onnx: is an ONNX file, which convert and evaluate run"):
        api.export(negative, tmp_path / "folder") if use == "export" else api.status(negative)


def changed(model, key: str, **values: object) -> dict[str, str]:
    metadata = metadata_of(model)
    return {**metadata, key: json.dumps({**json.loads(metadata[key]), **values})}


def damaged(model) -> dict[str, tuple[dict[str, str], str]]:
    return {
        "none": ({}, "was not written by translate export"),
        "no json": ({**metadata_of(model), CONFIG: "{"}, "x.onnx: "),
        "deep": ({**metadata_of(model), SPEC: "[" * 100_000}, "x.onnx: "),
        "list": ({**metadata_of(model), SPEC: "[]"}, "is no object"),
        "type": (changed(model, SPEC, to=3), "no usable 'to'"),
        "target": (changed(model, SPEC, to="z"), "its description is not one of cyclegan"),
        "size": (changed(model, CONFIG, size={"multiple_of": 64, "minimum": 64}), "size is "),
        "method": (changed(model, CONFIG, method="unheard"), "unheard, is not known here"),
        "networks": (changed(model, CONFIG, networks={"generator": "resnet_3blocks", "g_width": "wide"}), "x.onnx: "),
        "directions": (changed(model, CONFIG, directions={}), "its description is not one"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["none", "no json", "deep", "list", "type", "target", "size", "method", "networks", "directions"]
)
def test_a_damaged_description_is_told(cyclegan_folder: Path, tmp_path: Path, kind: str) -> None:
    metadata, words = damaged(read_model_folder(cyclegan_folder))[kind]
    path = tmp_path / "x.onnx"
    path.write_bytes(negating_file(metadata))
    with pytest.raises(ModelError, match=words) as caught:
        api.load(path, say=None)
    assert "\n" not in str(caught.value)
