"""Images of 16 bits and floats through a whole conversion."""

import json

import numpy as np
import pytest
import tifffile

from translate.conversion import job
from translate.errors import UsageError
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


# The type of an output is that of its input, in the range of the target domain, of --input-range, or of the type.


def write(path, array, **options):
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, array, metadata=None, **options)


def manifest_line(output):
    (line,) = (output / "manifest.jsonl").read_text().splitlines()
    return json.loads(line)


def ramp(dtype, low, high):
    values = np.linspace(low, high, 64 * 64).reshape(64, 64)
    return (np.round(values) if np.dtype(dtype).kind in "iu" else values).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "span"),
    [("f4", "0:40"), ("f4", "-50:1000"), ("f2", "0:40"), ("f8", "0.5:2"), ("i2", "-400:8848"), ("i4", "-400:70000"),
     ("u4", "0:90000"), ("u2", "0:4095"), ("u1", "0:255"), ("i1", "-128:127")],
)  # fmt: skip
def test_a_type_stays_in_the_range_that_the_model_stores(dtype, span, tmp_path, monkeypatch):
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1, range_a=span, range_b=span)
    array = ramp(dtype, *map(float, span.split(":")))
    write(tmp_path / "in/x.tif", array)
    made = tifffile.imread(convert(net, tmp_path / "in", tmp_path / "out"))
    assert made.dtype == array.dtype
    np.testing.assert_allclose(
        made.astype("f8"), array.astype("f8"), rtol=0, atol=1e-6 * float(span.split(":")[1]) + 1e-3
    )
    assert "notices" not in manifest_line(tmp_path / "out")


@pytest.mark.parametrize(("dtype", "span"), [("f4", "0:1000"), ("i2", "-400:8848"), ("u2", "0:4095"), ("u4", "7:300")])
def test_a_declared_range_of_the_inputs_is_that_of_the_outputs(dtype, span, tmp_path, monkeypatch):
    """Nothing in the model says another range, so a model that changes nothing gives the same numbers."""
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1)
    array = ramp(dtype, *map(float, span.split(":")))
    write(tmp_path / "in/x.tif", array)
    made = tifffile.imread(convert(net, tmp_path / "in", tmp_path / "out", input_range=span))
    assert made.dtype == array.dtype
    np.testing.assert_allclose(made.astype("f8"), array.astype("f8"), rtol=0, atol=1e-3)
    assert manifest_line(tmp_path / "out")["settings"]["input_range"] == span


@pytest.mark.parametrize(("dtype", "span"), [("f4", (0, 1000)), ("f4", (-3, 3)), ("i2", (-400, 8848)), ("i4", (0, 9))])
def test_without_any_range_a_file_fails_and_the_flag_is_named(dtype, span, tmp_path, monkeypatch):
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1)
    write(tmp_path / "in/x.tif", ramp(dtype, *span))
    write(tmp_path / "in/y.tif", ramp("f4", 0, 1))
    result = job.convert(net, tmp_path / "in", tmp_path / "out", job.ConversionOptions())
    assert list(result.failures) == ["x.tif"]
    assert "--input-range LOW:HIGH" in result.failures["x.tif"]
    assert result.done == 1


def test_a_range_of_a_model_is_not_replaced(tmp_path, monkeypatch):
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1, range_a="0:40")
    write(tmp_path / "in/x.tif", ramp("f4", 0, 40))
    with pytest.raises(UsageError, match="--input-range 0:9: the model was trained on values from 0 to 40"):
        convert(net, tmp_path / "in", tmp_path / "out", input_range="0:9")
    with pytest.raises(UsageError, match="must be LOW:HIGH"):
        job.ConversionOptions(input_range="wide")


def test_journal_lines_know_the_option_only_where_it_is_given(tmp_path, monkeypatch):
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1)
    assert "input_range" not in job.ConversionOptions().output_settings(net)


def test_a_format_that_does_not_hold_the_type_scales_it_with_a_notice(tmp_path, monkeypatch):
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1, range_a="-400:600", range_b="-400:600")
    array = ramp("i2", -400, 600)
    write(tmp_path / "in/x.tif", array)
    made = read_deep(convert(net, tmp_path / "in", tmp_path / "out", format="png"), 1).pixels[:, :, 0]
    assert np.abs(made - (array + 400.0) / 1000 * 65535).max() <= 0.51
    assert manifest_line(tmp_path / "out")["notices"] == ["png does not hold int16 values; they are scaled to uint16"]


def test_signed_values_become_unsigned_where_the_target_has_the_range_of_the_type(tmp_path, monkeypatch):
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1, range_a="-400:600")
    write(tmp_path / "in/x.tif", ramp("i2", -400, 600))
    made = tifffile.imread(convert(net, tmp_path / "in", tmp_path / "out"))
    assert (made.dtype, made.min(), made.max()) == (np.uint16, 0, 65535)
    assert "int16 becomes uint16" in manifest_line(tmp_path / "out")["notices"][0]


# NoData.


@pytest.mark.parametrize("tile", ["off", 16])
@pytest.mark.parametrize(("dtype", "nodata"), [("f4", -9999), ("f4", np.nan), ("i2", -32768)])
def test_nodata_stays_nodata(dtype, nodata, tile, tmp_path, monkeypatch):
    span = "0:1000"
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1, range_a=span, range_b=span)
    monkeypatch.undo()  # tiles are computed by the network itself
    array = ramp(dtype, 0, 1000)
    array[:8, :8] = nodata
    write(tmp_path / "in/x.tif", array, extratags=[(42113, "s", 0, f"{nodata:g}", True)])
    made = convert(net, tmp_path / "in", tmp_path / "out", tile=tile)
    with tifffile.TiffFile(made) as tiff:
        pixels, tag = tiff.pages[0].asarray(), tiff.pages[0].tags[42113].value
    is_empty = np.isnan(pixels) if np.isnan(nodata) else pixels == nodata
    assert is_empty[:8, :8].all()
    assert is_empty.sum() == 64
    assert float(tag) == pytest.approx(nodata, nan_ok=True)
    assert "notices" not in manifest_line(tmp_path / "out")


def test_a_format_without_nodata_says_so(tmp_path, monkeypatch):
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1, range_a="0:1000", range_b="0:1000")
    array = ramp("f4", 0, 1000)
    array[0, 0] = -9999
    write(tmp_path / "in/x.tif", array, extratags=[(42113, "s", 0, "-9999", True)])
    made = read_deep(convert(net, tmp_path / "in", tmp_path / "out", format="png"), 1)
    assert made.pixels[0, 0, 0] == 0
    assert "uint16 does not hold its NoData: pixels without a value are 0" in manifest_line(tmp_path / "out")["notices"]


def test_a_declared_value_that_no_pixel_has_stays_free(tmp_path, monkeypatch):
    """Black pixels of an output are not taken for NoData 0."""
    net = identity(tmp_path, monkeypatch, input_channels=1, output_channels=1)
    monkeypatch.setattr(type(net.method), "translate", lambda self, x, to, key: x * 0 - 1)
    write(tmp_path / "in/x.tif", np.full((64, 64), 9, np.uint8), extratags=[(42113, "s", 0, "0", True)])
    assert (tifffile.imread(convert(net, tmp_path / "in", tmp_path / "out")) == 1).all()
