"""Images of 16 bits and floats through a whole conversion."""

import json

import numpy as np
import pytest

from translate.conversion import job
from translate.methods import METHODS
from translate.trained import folder, translator

from ..helpers import random_values, read_deep, write_array

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)


# Through a model that changes nothing.


def identity(tmp_path, monkeypatch, **settings):
    cls = METHODS["cyclegan"]
    sizes = {
        "g_width": 4,
        "d_width": 4,
        "crop_size": 64,
        "load_size": 64,
        "generator": "resnet_3blocks",
        "lambda_identity": 0,
    }
    cfg = cls.resolve_config(cls.Config(**{**sizes, **settings}))
    (tmp_path / "model").mkdir()
    folder.write_trained_model(tmp_path / "model", cls(cfg), title="nothing", seen=0)
    monkeypatch.setattr(cls, "translate", lambda self, x, to, key: x)
    return translator.load(tmp_path / "model", device="cpu")


def convert(model, source, output, **options):
    result = job.convert(model, source, output, job.ConversionOptions(**options))
    assert not result.failures
    (made,) = [path for path in output.rglob("*") if path.is_file() and path.name != "manifest.jsonl"]
    return made


@pytest.mark.parametrize("ext", ["png", "tif", "npy"])
@pytest.mark.parametrize("channels", [1, 3])
def test_conversion_keeps_the_levels_of_a_ramp(ext, channels, tmp_path, monkeypatch):
    net = identity(tmp_path, monkeypatch, input_channels=channels, output_channels=channels)
    write_array(tmp_path / f"in/x.{ext}", RAMP.repeat(channels, 2))
    made = convert(net, tmp_path / "in", tmp_path / "out")
    assert made.name == f"x.{ext}"
    picture = read_deep(made, channels)
    assert picture.pixels.dtype == np.uint16
    assert np.array_equal(picture.pixels, RAMP.repeat(channels, 2))


@pytest.mark.parametrize("ext", ["tif", "npy"])
def test_conversion_keeps_floats_and_any_number_of_channels(ext, tmp_path, monkeypatch):
    net = identity(tmp_path, monkeypatch, input_channels=5, output_channels=5)
    write_array(tmp_path / f"in/x.{ext}", random_values(5, np.float32, 64, 64))
    picture = read_deep(convert(net, tmp_path / "in", tmp_path / "out"), 5)
    assert picture.pixels.dtype == np.float32
    np.testing.assert_allclose(picture.pixels, random_values(5, np.float32, 64, 64), rtol=0, atol=1e-6)


def test_declared_ranges_are_stored_with_the_model(tmp_path, monkeypatch):
    identity(tmp_path, monkeypatch, input_channels=1, output_channels=1, range_b="0:65535", range_a="-10:20.5")
    domains = json.loads((tmp_path / "model/config.json").read_text())["domains"]
    assert domains["a"]["values"] == [-10, 20.5]
    assert domains["b"]["values"] == [0, 65535]


def test_a_photo_becomes_a_map_of_the_declared_depth(tmp_path, monkeypatch):
    """uint8 in, 0 to 4095 out: 255 is 4095, in a file of 16 bits."""
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1, range_b="0:4095")
    levels = np.arange(256, dtype=np.uint8).repeat(16).reshape(64, 64, 1)
    write_array(tmp_path / "in/x.png", levels)
    picture = read_deep(convert(net, tmp_path / "in", tmp_path / "out"), 1)
    assert picture.pixels.dtype == np.uint16
    assert np.array_equal(picture.pixels, np.round(levels / 255 * 4095).astype(np.uint16))


def test_a_map_of_a_declared_depth_becomes_a_map_of_another(tmp_path, monkeypatch):
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1, range_a="0:4095", range_b="-1:3")
    depths = (RAMP[:64, :64] % 4096).astype(np.uint16)
    write_array(tmp_path / "in/x.npy", depths)
    picture = read_deep(convert(net, tmp_path / "in", tmp_path / "out"), 1, value_range=(-1, 3))
    assert picture.pixels.dtype == np.float32
    np.testing.assert_allclose(picture.pixels, depths / 4095 * 4 - 1, rtol=0, atol=1e-6)
