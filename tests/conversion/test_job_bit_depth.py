"""Images of 16 bits and floats through a whole conversion."""

import json
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from translate.conversion import job
from translate.images import Reading, read
from translate.methods import METHODS
from translate.trained import folder, translator

H, W = 5, 7


def deep(path, channels, **options):
    return read(path, how=Reading(channels, deep=True, **options))


def values(channels, dtype=np.uint16, height=H, width=W):
    """All of the range, in no order."""
    rng = np.random.default_rng(channels)
    if dtype == np.float32:
        return rng.random((height, width, channels), dtype=np.float32)
    return rng.integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype=dtype)


def png16(array, *extra):
    """A PNG of 16 bits of any colour type, by hand."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    kind = {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[2]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, kind, 0, 0, 0)
    chunks = [
        chunk(b"IHDR", header),
        *(chunk(*e) for e in extra),
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(path, array, **options):
    """By tifffile; `planarconfig="separate"`: one plane after another."""
    n = array.shape[2]
    stored = np.moveaxis(array, 2, 0) if options.get("planarconfig") == "separate" else array
    stored = np.ascontiguousarray(stored[:, :, 0] if n == 1 else stored)
    if n > 1:
        options.setdefault("planarconfig", "contig")
    tifffile.imwrite(path, stored, photometric="rgb" if n == 3 else "minisblack", metadata=None, **options)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".tif":
        tiff(path, array)
    elif array.dtype == np.uint16:
        path.write_bytes(png16(array))
    else:
        Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(path)


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
    save(tmp_path / f"in/x.{ext}", RAMP.repeat(channels, 2))
    made = convert(net, tmp_path / "in", tmp_path / "out")
    assert made.name == f"x.{ext}"
    picture = deep(made, channels)
    assert picture.pixels.dtype == np.uint16
    assert np.array_equal(picture.pixels, RAMP.repeat(channels, 2))


@pytest.mark.parametrize("ext", ["tif", "npy"])
def test_conversion_keeps_floats_and_any_number_of_channels(ext, tmp_path, monkeypatch):
    net = identity(tmp_path, monkeypatch, input_channels=5, output_channels=5)
    save(tmp_path / f"in/x.{ext}", values(5, np.float32, 64, 64))
    picture = deep(convert(net, tmp_path / "in", tmp_path / "out"), 5)
    assert picture.pixels.dtype == np.float32
    np.testing.assert_allclose(picture.pixels, values(5, np.float32, 64, 64), rtol=0, atol=1e-6)


def test_declared_ranges_are_stored_with_the_model(tmp_path, monkeypatch):
    identity(tmp_path, monkeypatch, input_channels=1, output_channels=1, range_b="0:65535", range_a="-10:20.5")
    domains = json.loads((tmp_path / "model/config.json").read_text())["domains"]
    assert domains["a"]["values"] == [-10, 20.5]
    assert domains["b"]["values"] == [0, 65535]


def test_a_photo_becomes_a_map_of_the_declared_depth(tmp_path, monkeypatch):
    """uint8 in, 0 to 4095 out: 255 is 4095, in a file of 16 bits."""
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1, range_b="0:4095")
    levels = np.arange(256, dtype=np.uint8).repeat(16).reshape(64, 64, 1)
    save(tmp_path / "in/x.png", levels)
    picture = deep(convert(net, tmp_path / "in", tmp_path / "out"), 1)
    assert picture.pixels.dtype == np.uint16
    assert np.array_equal(picture.pixels, np.round(levels / 255 * 4095).astype(np.uint16))


def test_a_map_of_a_declared_depth_becomes_a_map_of_another(tmp_path, monkeypatch):
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1, range_a="0:4095", range_b="-1:3")
    depths = (RAMP[:64, :64] % 4096).astype(np.uint16)
    save(tmp_path / "in/x.npy", depths)
    picture = deep(convert(net, tmp_path / "in", tmp_path / "out"), 1, preserve_range=True)
    assert picture.pixels.dtype == np.float32
    np.testing.assert_allclose(picture.pixels, depths / 4095 * 4 - 1, rtol=0, atol=1e-6)
