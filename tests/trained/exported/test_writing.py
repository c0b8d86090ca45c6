"""Exported files beside the model that they are made from. Each takes seconds: torch's exporter does."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import translate
from translate.errors import ModelError, UsageError
from translate.methods import METHODS
from translate.nn.networks import GENERATORS
from translate.trained import translator
from translate.trained.exported import graph, parity
from translate.trained.exported.metadata import CONFIG, SPEC, read_metadata
from translate.trained.folder import read_model_folder

from ...helpers import SIZE

SMALL = {"g_width": 4, "d_width": 4, "crop_size": SIZE, "load_size": SIZE}
CASES = {
    "cyclegan": ({"generator": "resnet_1blocks"}, {"to": "a"}),
    "dualgan": ({}, {"with_preprocessing": True}),
    "spade": ({"label_count": 4, "vae": True}, {}),
    "superres": ({"generator": "srresnet_1blocks"}, {"with_preprocessing": True}),
    "colorize": ({"generator": "pix2pixhd_local_2downs_3blocks"}, {}),
    "stargan": ({"domains": "x,y"}, {"to": "y"}),
    "starganv2": ({"domains": "x,y"}, {"to": "x"}),
    "bicyclegan": ({}, {}),
    "cut": ({"generator": "antialias_1blocks"}, {}),
    "pix2pix": ({"generator": "unet_32", "dropout": True}, {"dtype": "fp16", "with_preprocessing": True}),
    "discogan": ({}, {"with_preprocessing": True}),
    "pix2pixhd": ({}, {}),
    "fastcut": ({"generator": "resize_unet_3levels_2blocks"}, {}),
}
"""Method → settings of a small model, options of its export: together every kind of network and of export."""
EVERY_DAY_OF_CI = ("cyclegan", "spade", "superres", "stargan")


def model_of(build, name, **settings):
    own = {key: value for key, value in SMALL.items() if key in METHODS[name].Config.__dataclass_fields__}
    return build(name, **{**own, **settings})


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in EVERY_DAY_OF_CI else pytest.mark.hours) for name in CASES],
)
def test_an_onnx_file_gives_what_the_model_gives(build, tmp_path, name):
    pytest.importorskip("onnxscript", reason="needs the extra export")
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    settings, options = CASES[name]
    said, path = [], tmp_path / "x.onnx"
    translate.export(model_of(build, name, **settings), path, say=said.append, **options)
    difference = float(said[0].split("largest difference ")[1].split()[0])
    if options.get("dtype") != "fp16":
        assert difference <= (1 if options.get("with_preprocessing") else 1e-5)
    _check_file(path, options)
    if name in ("pix2pix", "bicyclegan", "spade"):
        assert "has no noise" in said[1]


def test_every_method_and_every_kind_of_generator_is_exported_or_refused(build):
    """The cases above, and models that make images from noise."""
    exported = {
        type(module) for name in CASES for generator in _generators(build, name) for module in generator.modules()
    }
    assert {getattr(row, "func", row) for row in GENERATORS.values()} <= exported
    for name in METHODS.keys() - CASES.keys():
        with pytest.raises(UsageError, match="translates no images, but makes them from noise"):
            graph.resolve_direction(read_model_folder(build(name)), None)


def _generators(build, name):
    method = read_model_folder(model_of(build, name, **CASES[name][0])).method
    return [method.generator_for(to) for to in method.target_domains(CASES[name][1].get("to", "b"))]


def _check_file(path: Path, options: dict) -> None:
    """Names of sizes, metadata, and nothing of this machine."""
    import onnx

    proto = onnx.load(path)
    onnx.checker.check_model(proto)
    names = [
        [dim.dim_param for dim in value.type.tensor_type.shape.dim if dim.dim_param] for value in proto.graph.input
    ]
    assert names == [["batch", "height", "width"]]
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    info, record = read_metadata(entries)
    assert info.method in entries["model_name"]
    assert record.with_preprocessing == options.get("with_preprocessing", False)
    assert json.loads(entries[SPEC])["to"] == record.to
    assert "license" in entries
    assert str(Path(__file__).parents[3]).encode() not in path.read_bytes()


@pytest.mark.slow
def test_conversion_with_the_file_is_that_with_the_model(build, tmp_path, source):
    pytest.importorskip("onnxscript", reason="needs the extra export")
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    folder = model_of(build, "pix2pix", generator="unet_32", dropout=True)
    translate.export(folder, tmp_path / "x.onnx", say=None)
    own = translator.load(folder, device="cpu", dropout="off", convolution="direct")
    for model, out in ((own, "own"), (tmp_path / "x.onnx", "onnx")):
        assert translate.convert(model, source, tmp_path / out, format="png", say=None).done == 5
    for path in (tmp_path / "own").rglob("*.png"):
        with Image.open(path) as first, Image.open(tmp_path / "onnx" / path.relative_to(tmp_path / "own")) as second:
            assert np.abs(np.asarray(first).astype(int) - np.asarray(second)).max() <= 1  # a rounding may turn


@pytest.mark.slow
def test_a_program_of_torch_export(build, tmp_path):
    folder = model_of(build, "pix2pix")
    path = translate.export(folder, tmp_path / "x.pt2", with_preprocessing=True, license="CC0-1.0", say=None)
    extra = {CONFIG: "", "license": ""}
    program = torch.export.load(io.BytesIO(path.read_bytes()), extra_files=extra).module()
    assert extra["license"] in ("CC0-1.0", b"CC0-1.0")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 37, 5, 3), np.uint8)
    own = translator.load(folder, device="cpu", dropout="off", convolution="direct")
    found = program(torch.from_numpy(pixels)).numpy()
    assert np.abs(found.astype(int) - own(pixels, "b")).max() <= 1
    assert zipfile.is_zipfile(path)


def test_a_file_that_differs_is_not_accepted(build):
    model = read_model_folder(model_of(build, "cyclegan", generator="resnet_1blocks"))
    spec = graph.GraphSpec("b")
    exact = graph.TranslationGraph(model, spec).eval()

    def run(image):
        with torch.inference_mode():
            return exact(image)

    assert parity.compare(model, spec, run).largest <= 1e-5
    for wrong in (lambda x: run(x) + 2e-4, lambda x: run(x) * float("nan"), lambda x: run(x)[..., 1:]):
        with pytest.raises(ModelError, match=r"exported file (differs|gives)"):
            parity.compare(model, spec, wrong)


@pytest.mark.parametrize(
    "rule", [{"multiple_of": 1, "minimum": 1}, {"multiple_of": 4, "minimum": 8}, {"multiple_of": 256, "minimum": 256}]
)
def test_three_sizes_that_differ(rule):
    sizes = parity.image_sizes(rule, with_preprocessing=False)
    assert len({size[1:] for size in sizes}) == 3
    assert all(side % rule["multiple_of"] == 0 and side >= rule["minimum"] for size in sizes for side in size[1:])
    assert any(side % 4 for size in parity.image_sizes(rule, with_preprocessing=True) for side in size[1:])


def test_a_network_that_cannot_be_traced_is_told(build, monkeypatch):
    from translate.trained.exported import writing

    model = read_model_folder(model_of(build, "cyclegan", generator="resnet_1blocks"))
    traced = graph.TranslationGraph(model, graph.GraphSpec("b")).eval()

    def fail(*args, **options):
        raise RuntimeError("data-dependent\nbranch")

    monkeypatch.setattr(torch.export, "export", fail)
    with pytest.raises(
        UsageError, match=r"its resnet_1blocks cannot be exported: torch.export says: data-dependent branch"
    ):
        writing.trace(model, traced)
