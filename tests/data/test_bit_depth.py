"""Images of more than 8 bits, of any number of channels: read exactly, trained on and converted at their own depth."""

import json
import struct
import zlib
from itertools import islice

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from translate import images
from translate.conversion import job
from translate.data import layouts
from translate.data.loader import Loader, LoaderOptions, fixed_batch
from translate.data.preprocessing import Preprocessing, load_image
from translate.data.split import ImageRef
from translate.images import ImageError, Picture, Reading, encode, read
from translate.methods import METHODS
from translate.trained import folder, translator

CPU = torch.device("cpu")
TIERS = ["resident", "ram", "stream"]
H, W = 5, 7


def bug(*args, why):
    return pytest.param(*args, marks=pytest.mark.xfail(reason=f"bug: {why}"))


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


# Values are read as they are.


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits(channels, tmp_path):
    array = values(channels)
    (tmp_path / "x.png").write_bytes(png16(array))
    picture = deep(tmp_path / "x.png", channels)
    assert picture.pixels.dtype == np.uint16
    assert np.array_equal(picture.pixels, array)


CASES = [
    (n, dtype, planar, compression)
    for n in (1, 2, 3, 4, 5, 7)
    for dtype in (np.uint8, np.uint16, np.float32)
    for planar in ("contig", "separate")
    for compression in (None, "zlib")
    if n > 1 or planar == "contig"
]


@pytest.mark.parametrize(("channels", "dtype", "planar", "compression"), CASES)
def test_tiff_of_any_depth_and_number_of_channels(channels, dtype, planar, compression, tmp_path):
    array = values(channels, dtype)
    options = {"planarconfig": planar} if channels > 1 else {}
    tiff(tmp_path / "x.tif", array, compression=compression, **options)
    picture = deep(tmp_path / "x.tif", channels)
    assert picture.pixels.dtype == dtype
    assert np.array_equal(picture.pixels, array)


@pytest.mark.parametrize("channels", [1, 3])
def test_tiff_of_the_other_byte_order(channels, tmp_path):
    tiff(tmp_path / "x.tif", values(channels), byteorder=">")
    assert np.array_equal(deep(tmp_path / "x.tif", channels).pixels, values(channels))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_npy_of_any_depth_and_number_of_channels(channels, dtype, tmp_path):
    array = values(channels, dtype)
    for stored in (array, array.astype(array.dtype.newbyteorder(">")), np.asfortranarray(array)):
        np.save(tmp_path / "x.npy", stored)
        picture = deep(tmp_path / "x.npy", channels)
        assert picture.pixels.dtype == dtype
        assert np.array_equal(picture.pixels, array)


@pytest.mark.parametrize(("kind", "channels"), [(b"P5", 1), (b"P6", 3)])
def test_pnm_of_16_bits(kind, channels, tmp_path):
    array = values(channels)
    (tmp_path / "x.ppm").write_bytes(kind + b" %d %d 65535\n" % (W, H) + array.astype(">u2").tobytes())
    assert np.array_equal(deep(tmp_path / "x.ppm", channels).pixels, array)


def test_pgm_of_12_bits_with_a_declared_range(tmp_path):
    array = values(1) % 4096
    (tmp_path / "x.pgm").write_bytes(b"P5 %d %d 4095\n" % (W, H) + array.astype(">u2").tobytes())
    assert np.array_equal(deep(tmp_path / "x.pgm", 1, preserve_range=True).pixels, array)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32])
@pytest.mark.parametrize("ext", ["npy", "tif"])
def test_integers_beyond_16_bits_and_below_0_keep_their_values_where_declared(ext, dtype, tmp_path):
    low, high = (0, 200_000) if dtype == np.uint32 else (-1024, 3071)
    array = np.random.default_rng(0).integers(low, high, (H, W, 1)).astype(dtype)
    if ext == "npy":
        np.save(tmp_path / "x.npy", array)
    else:
        tiff(tmp_path / "x.tif", array)
    assert np.array_equal(deep(tmp_path / f"x.{ext}", 1, preserve_range=True).pixels.astype(np.float64), array)


@pytest.mark.parametrize("ext", ["npy", "tif"])
def test_floats_beyond_1_and_below_0_keep_their_values_where_declared(ext, tmp_path):
    array = (values(1, np.float32) * 900 - 300).astype(np.float32)
    if ext == "npy":
        np.save(tmp_path / "x.npy", array)
    else:
        tiff(tmp_path / "x.tif", array)
    assert np.array_equal(deep(tmp_path / f"x.{ext}", 1, preserve_range=True).pixels, array)


def test_white_is_zero_in_tiff_of_16_bits(tmp_path):
    array = values(1)
    tifffile.imwrite(tmp_path / "x.tif", 65535 - array[:, :, 0], photometric="miniswhite", metadata=None)
    assert np.array_equal(deep(tmp_path / "x.tif", 1).pixels, array)


def test_12_bits_are_a_share_of_their_own_range_unless_one_is_declared(tmp_path):
    array = values(1) % 4096
    tifffile.imwrite(tmp_path / "x.tif", array[:, :, 0], bitspersample=12, photometric="minisblack", metadata=None)
    assert np.array_equal(deep(tmp_path / "x.tif", 1, preserve_range=True).pixels, array)
    assert np.array_equal(deep(tmp_path / "x.tif", 1).pixels, np.round(array * (65535 / 4095)))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_colours_that_alpha_was_multiplied_into(dtype, tmp_path):
    """Composited on black they are as stored."""
    array = values(4, dtype)
    top = 1 if dtype == np.float32 else 65535
    stored = array.copy()
    stored[:, :, :3] = (array[:, :, :3] * (array[:, :, 3:] / top)).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", extrasamples=[1], metadata=None)
    picture = deep(tmp_path / "x.tif", 3, background=(0, 0, 0))
    np.testing.assert_allclose(picture.pixels, stored[:, :, :3], rtol=0, atol=2e-6 if dtype == np.float32 else 1)


def test_inks_of_16_bits_are_the_colours_that_they_leave(tmp_path):
    """Cyan takes the red of what black leaves: (1 − C)(1 − K)."""
    inks = np.zeros((1, 4, 4), np.uint16)
    inks[0, 1], inks[0, 2], inks[0, 3] = (65535, 0, 0, 0), (0, 0, 0, 65535), (0, 32768, 16384, 32768)
    tifffile.imwrite(tmp_path / "x.tif", inks, photometric="separated", metadata=None)
    expected = [(65535, 65535, 65535), (0, 65535, 65535), (0, 0, 0), (32767, 16383, 24575)]
    assert np.abs(deep(tmp_path / "x.tif", 3).pixels[0] - np.array(expected, int)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_packed_as_photoshop_packs_them(channels, orientation, tmp_path):
    """LZW with prediction; the tag is added by hand to what OpenCV writes."""
    array = values(channels)
    packed = cv2.imencode(".tif", array[:, :, ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()
    (tmp_path / "x.tif").write_bytes(with_tag(packed, 274, orientation))
    assert np.array_equal(deep(tmp_path / "x.tif", channels).pixels, SEEN[orientation](array))


def with_tag(tiff, tag, value):
    """A little-endian TIFF whose first directory lies last and gets one short tag more."""
    (place,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, place)
    entries = [tiff[place + 2 + 12 * i :][:12] for i in range(count)]
    entries = [entry for entry in entries if struct.unpack_from("<H", entry)[0] != tag]
    entries.append(struct.pack("<HHIHH", tag, 3, 1, value, 0))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    new = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return tiff[:4] + struct.pack("<I", len(tiff)) + tiff[8:] + new


def test_nothing_is_printed_about_damaged_deep_files(tmp_path, capfd):
    tiff(tmp_path / "x.tif", values(3, height=40, width=40))
    png = png16(values(3, height=40, width=40))
    (tmp_path / "x.png").write_bytes(png[: len(png) // 2])
    data = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "y.tif").write_bytes(data[: len(data) // 2])
    for name in ("x.png", "y.tif"):
        with pytest.raises(ImageError, match="damaged"):
            deep(tmp_path / name, 3)
    assert capfd.readouterr() == ("", "")


SEEN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""EXIF orientation → stored pixels as they are seen."""


@pytest.mark.parametrize("orientation", SEEN)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_orientation_of_png_of_16_bits_is_applied_once(channels, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    array = values(channels)
    (tmp_path / "x.png").write_bytes(png16(array, (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))))
    assert np.array_equal(deep(tmp_path / "x.png", channels).pixels, SEEN[orientation](array))


@pytest.mark.parametrize(
    ("channels", "dtype", "orientation"),
    [(n, dtype, o) for n, dtype in ((1, np.uint16), (3, np.uint16), (3, np.float32), (5, np.uint16)) for o in SEEN],
)
def test_orientation_of_deep_tiff_is_applied_once(channels, dtype, orientation, tmp_path):
    array = values(channels, dtype)
    tiff(tmp_path / "x.tif", array, extratags=[(274, "H", 1, orientation, True)])
    assert np.array_equal(deep(tmp_path / "x.tif", channels).pixels, SEEN[orientation](array))


# Alpha.


@pytest.mark.parametrize("ext", ["png", "tif", "npy"])
@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 200, 77)])
def test_alpha_is_composited_at_depth(ext, background, tmp_path):
    array = values(4)
    array[0, 0, 3], array[0, 1, 3] = 0, 65535
    if ext == "png":
        (tmp_path / "x.png").write_bytes(png16(array))
    elif ext == "tif":
        tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", extrasamples=[2])
    else:
        np.save(tmp_path / "x.npy", array)
    share = array[:, :, 3:].astype(np.float64) / 65535
    seen = array[:, :, :3] * share + np.array(background) * 257.0 * (1 - share)
    picture = deep(tmp_path / f"x.{ext}", 3, background=background)
    assert picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels - seen).max() <= 0.5 + 1e-6
    assert np.array_equal(picture.pixels[0, 0], np.array(background) * 257)
    assert np.array_equal(picture.pixels[0, 1], array[0, 1, :3])
    assert np.array_equal(picture.alpha, array[:, :, 3])


# Into training.


def loader(split, recipe, tier="resident", batch_size=1, dtype=torch.float32):
    options = LoaderOptions(batch_size=batch_size, seed=0, tier=tier, workers=0)
    return Loader(split, recipe, options, device=CPU, dtype=dtype, say=lambda line: None)


def take(loader, count):
    return [{k: x.clone() for k, x in batch.items()} for batch in islice(loader.batches(0), count)]


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


@pytest.fixture
def mixed(tmp_path):
    """A domain of uint8, uint16 and float32; image i is i tenths of the whole range."""
    for i in range(9):
        kind = i % 3
        top, dtype, ext = [(255, np.uint8, "png"), (65535, np.uint16, "png"), (1, np.float32, "tif")][kind]
        save(tmp_path / f"{i}.{ext}", np.full((20, 20, 3), top * i / 10).astype(dtype))
    return layouts.find_split(tmp_path, "images")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_depths_are_mixed_in_a_domain(mixed, batch_size, dtype):
    recipe = Preprocessing(20, 20, False, (3, 3))
    batches = {tier: take(loader(mixed, recipe, tier, batch_size, dtype), 9) for tier in TIERS}
    for x, y, z in zip(*batches.values(), strict=True):
        assert torch.equal(x["a"], y["a"])
        assert torch.equal(x["a"], z["a"])
    seen = sorted(round(float(x) * 5 + 5, 1) for batch in batches["ram"] for x in batch["a"][:, 0, 0, 0])
    if batch_size == 1:
        assert seen == pytest.approx(list(range(9)), abs=0.05)


def test_depths_are_mixed_with_a_declared_range(tmp_path):
    """Numbers then are what they say: 200 is 200 in a file of 8 bits, of 16, and of floats."""
    for i, (ext, dtype) in enumerate((("png", np.uint8), ("png", np.uint16), ("npy", np.float32))):
        save(tmp_path / f"{i}.{ext}", np.full((8, 8, 1), 200, dtype))
    split = layouts.find_split(tmp_path, "images")
    recipe = Preprocessing(8, 8, False, (1, 1), value_ranges=((0, 400), None))
    for tier in TIERS:
        for batch in take(loader(split, recipe, tier, 3), 1):
            assert torch.equal(batch["a"], torch.zeros(3, 1, 8, 8))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("ext", ["png", "tif", "npy"])
def test_declared_values_become_minus_one_to_one_and_are_clipped(ext, tier, tmp_path):
    array = np.zeros((4, 4, 1), np.uint16)
    array.reshape(-1)[:6] = [0, 1, 2048, 4095, 4096, 60000]
    save(tmp_path / f"x.{ext}", array)
    recipe = Preprocessing(4, 4, False, (1, 1), value_ranges=((0, 4095), None))
    x = take(loader(layouts.find_split(tmp_path, "images"), recipe, tier), 1)[0]["a"].reshape(-1)
    torch.testing.assert_close(x[:6], torch.tensor([-1, 2 / 4095 - 1, 4096 / 4095 - 1, 1, 1, 1]), rtol=0, atol=2e-7)


@pytest.mark.parametrize("tier", TIERS)
def test_each_domain_has_its_own_range(tier, tmp_path):
    save(tmp_path / "trainA/x.npy", np.full((4, 4, 1), -300, np.float32))
    save(tmp_path / "trainB/x.npy", np.full((4, 4, 1), 1000, np.uint16))
    recipe = Preprocessing(4, 4, False, (1, 1), value_ranges=((-400, 0), (0, 4000)))
    batch = take(loader(layouts.find_split(tmp_path, "unpaired"), recipe, tier), 1)[0]
    assert torch.equal(batch["a"], torch.full((1, 1, 4, 4), -0.5))
    assert torch.equal(batch["b"], torch.full((1, 1, 4, 4), -0.5))


RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(("ext", "channels"), [("png", 1), ("png", 3), ("tif", 1), ("tif", 3), ("npy", 1)])
def test_a_ramp_of_16_bits_keeps_its_levels_into_training(ext, channels, tier, tmp_path):
    save(tmp_path / f"x.{ext}", RAMP.repeat(channels, 2))
    split = layouts.find_split(tmp_path, "images")
    x = take(loader(split, Preprocessing(256, 256, False, (channels, 3)), tier), 1)[0]["a"]
    expected = images.normalize(torch.from_numpy(RAMP[:, :, 0]), torch.float32)
    assert torch.equal(x, expected.expand(1, channels, 256, 256))
    assert len(x.unique()) == 65536


@pytest.mark.parametrize("resize", ["pillow", "torch"])
def test_a_ramp_of_16_bits_keeps_its_levels_where_it_is_resized(resize, tmp_path):
    save(tmp_path / "x.png", RAMP)
    image = load_image(ImageRef(tmp_path / "x.png"), Preprocessing(300, 300, False, (1, 1), resize=resize), 0)
    assert image.dtype == torch.uint16
    assert len(image.int().unique()) > 40_000


def test_channels_of_any_number_reach_training(tmp_path):
    save(tmp_path / "trainA/x.tif", values(5, height=16, width=16))
    save(tmp_path / "trainB/x.npy", values(2, height=16, width=16))
    split = layouts.find_split(tmp_path, "unpaired")
    for tier in TIERS:
        batch = take(loader(split, Preprocessing(16, 16, False, (5, 2)), tier), 1)[0]
        for name, n in (("a", 5), ("b", 2)):
            assert np.array_equal(images.to_array(batch[name][0], np.dtype(np.uint16)), values(n, height=16, width=16))


def test_the_blank_of_the_fixed_batch_is_white_and_fits(tmp_path):
    for i in range(2):
        save(tmp_path / f"{i}.png", np.full((40, 40, 1), 4095, np.uint16))
    (tmp_path / "0.png").write_text("no image")
    split = layouts.find_split(tmp_path, "images")
    recipe = Preprocessing(40, 40, False, (1, 1), value_ranges=((0, 4095), None))
    assert (fixed_batch(split, recipe, 2, CPU, torch.float32)["a"] == 1).all()


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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("fmt", ["png", "tiff", "npy"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("transparent", [False, True])
def test_what_is_written_deep_is_read_alike(fmt, dtype, channels, transparent, tmp_path):
    if fmt == "png" and dtype == np.float32:
        pytest.skip("PNG holds no floats")
    array = values(channels, dtype)
    alpha = values(4, dtype)[:, :, 3] if transparent else None
    (tmp_path / f"x.{fmt}").write_bytes(encode(Picture(array, alpha), fmt))
    picture = deep(tmp_path / f"x.{fmt}", channels)
    if not transparent:
        assert np.array_equal(picture.pixels, array)
        return
    top = images.FULL_RANGES[torch.from_numpy(array).dtype][1]
    share = alpha[:, :, None].astype(np.float64) / top
    seen = array * share + top * (1 - share)
    assert np.abs(picture.pixels - seen).max() <= (2e-6 if dtype == np.float32 else 1)
    assert np.array_equal(picture.alpha, alpha)


def test_a_file_of_other_channels_is_refused_in_one_line(tmp_path):
    for n in (2, 5):
        tiff(tmp_path / "x.tif", values(n))
        with pytest.raises(ImageError, match=f"{n} channels, but 4 are wanted"):
            deep(tmp_path / "x.tif", 4)
