"""Use of trained models from Python: what load, convert, export and import check, and what describe knows."""

import json
import os
import sys

import pytest
import torch
from safetensors.torch import load_file

import translate
from translate.api import models
from translate.errors import ModelError, UsageError
from translate.trained.description import DTYPES, EXPORT_DTYPES


@pytest.mark.parametrize("dtype", EXPORT_DTYPES)
def test_a_model_is_exported_in_another_type(cyclegan_folder, tmp_path, dtype):
    models.export(cyclegan_folder, tmp_path / "small", dtype=dtype)
    tensors = load_file(tmp_path / "small" / "model.safetensors")
    assert {str(tensor.dtype) for tensor in tensors.values() if tensor.is_floating_point()} == {
        f"torch.{DTYPES[dtype].torch}"
    }
    assert models.describe_model(tmp_path / "small")["dtype"] == DTYPES[dtype].torch


@pytest.mark.parametrize("name", DTYPES)
def test_types_of_stored_weights_have_their_names_in_torch(name):
    assert isinstance(getattr(torch, DTYPES[name].torch), torch.dtype)


@pytest.mark.parametrize(
    ("target", "options", "named"),
    [
        ("model.onnx", {}, r"model\.onnx"),
        ("model.pth", {"dtype": "fp16"}, "--dtype fp16"),
        ("folder", {"dtype": "int8"}, "--dtype int8"),
        ("folder", {"to": "c"}, "--to c"),
        ("model.pth", {"to": "c"}, "--to c"),
    ],
)
def test_impossible_exports_are_refused_and_leave_nothing(
    cyclegan_folder, tmp_path, target, options, named, monkeypatch
):
    monkeypatch.setitem(sys.modules, "onnx", None)  # as without the extra
    with pytest.raises(UsageError, match=named):
        models.export(cyclegan_folder, tmp_path / target, **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_never_replaced(cyclegan_folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"notes\.txt"):
            models.export(cyclegan_folder, tmp_path, overwrite=overwrite)


def test_the_description_holds_the_whole_config_and_counts_parameters(cyclegan_folder):
    known = models.describe_model(cyclegan_folder)
    config = json.loads((cyclegan_folder / "config.json").read_text())
    assert config.items() <= known.items()
    model = models.load(cyclegan_folder, device="cpu").method
    generators = (model.get_submodule(name) for name in config["directions"].values())
    assert known["parameters"] == sum(weight.numel() for net in generators for weight in net.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": "on"},
        {"norm_statistics": "running"},
        {"convolution": "direct"},
        {"tune": "off"},
        {"runtime": "onnx"},
    ],
)
def test_a_loaded_model_keeps_its_settings(cyclegan, tmp_path, settings):
    with pytest.raises(
        UsageError, match=r"give dropout, norm_statistics, convolution, tune and runtime to translate\.load"
    ):
        translate.convert(cyclegan, tmp_path, tmp_path / "out", **settings)


def test_convolutions_are_asked_for_wherever_a_model_runs(cyclegan_folder, build, unpaired_root, tmp_path):
    assert (
        translate.load(cyclegan_folder, device="cpu", convolution="direct").convolution_setting.convolution == "direct"
    )
    assert translate.load(cyclegan_folder, device="cpu", tune="off").convolution_setting.convolution == "direct"
    noise = build("dcgan", crop_size=32)
    for call in (
        lambda: translate.load(cyclegan_folder, convolution="fft"),
        lambda: translate.convert(cyclegan_folder, unpaired_root, tmp_path / "out", convolution="fft"),
        lambda: translate.evaluate(cyclegan_folder, unpaired_root, convolution="fft"),
        lambda: models.sample(noise, tmp_path / "samples", convolution="fft"),
        lambda: translate.train("cyclegan", unpaired_root, run=tmp_path / "run", convolution="fft"),
    ):
        with pytest.raises(UsageError, match=r"--convolution fft: .*auto, direct, winograd"):
            call()
    assert not list(tmp_path.iterdir())


def test_a_missing_model_is_named():
    with pytest.raises(ModelError, match="no_such_model"):
        translate.load("no_such_model", device="cpu")


def test_unknown_options_are_refused_with_the_nearest(cyclegan, tmp_path):
    with pytest.raises(UsageError, match="qualty"):
        translate.convert(cyclegan, tmp_path, tmp_path / "out", qualty=90)


def test_a_training_in_python_does_not_end_with_the_reader_of_its_log(monkeypatch):
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w", buffering=1) as gone:
        monkeypatch.setattr("sys.stderr", gone)
        models.say_to_stderr("line")
        os.dup2(os.open(os.devnull, os.O_WRONLY), theirs)
