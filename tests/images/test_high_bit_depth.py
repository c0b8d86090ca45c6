"""Images of 16 bits and floats: read, composited and written with their values."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from translate import images
from translate.images import ImageError, Picture, Reading, encode

from ..helpers import encode_png16, random_values, read_deep, write_tiff
from .arrays import integers

H, W = 5, 7


# Values are read as they are.


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits(channels, tmp_path):
    array = random_values(channels)
    (tmp_path / "x.png").write_bytes(encode_png16(array))
    picture = read_deep(tmp_path / "x.png", channels)
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
    array = random_values(channels, dtype)
    options = {"planarconfig": planar} if channels > 1 else {}
    write_tiff(tmp_path / "x.tif", array, compression=compression, **options)
    picture = read_deep(tmp_path / "x.tif", channels)
    assert picture.pixels.dtype == dtype
    assert np.array_equal(picture.pixels, array)


@pytest.mark.parametrize("channels", [1, 3])
def test_tiff_of_the_other_byte_order(channels, tmp_path):
    write_tiff(tmp_path / "x.tif", random_values(channels), byteorder=">")
    assert np.array_equal(read_deep(tmp_path / "x.tif", channels).pixels, random_values(channels))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_npy_of_any_depth_and_number_of_channels(channels, dtype, tmp_path):
    array = random_values(channels, dtype)
    for stored in (array, array.astype(array.dtype.newbyteorder(">")), np.asfortranarray(array)):
        np.save(tmp_path / "x.npy", stored)
        picture = read_deep(tmp_path / "x.npy", channels)
        assert picture.pixels.dtype == dtype
        assert np.array_equal(picture.pixels, array)


@pytest.mark.parametrize(("kind", "channels"), [(b"P5", 1), (b"P6", 3)])
def test_pnm_of_16_bits(kind, channels, tmp_path):
    array = random_values(channels)
    (tmp_path / "x.ppm").write_bytes(kind + b" %d %d 65535\n" % (W, H) + array.astype(">u2").tobytes())
    assert np.array_equal(read_deep(tmp_path / "x.ppm", channels).pixels, array)


def test_pgm_of_12_bits_with_a_declared_range(tmp_path):
    array = random_values(1) % 4096
    (tmp_path / "x.pgm").write_bytes(b"P5 %d %d 4095\n" % (W, H) + array.astype(">u2").tobytes())
    assert np.array_equal(read_deep(tmp_path / "x.pgm", 1, value_range=(0, 4095)).pixels, array)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32])
@pytest.mark.parametrize("ext", ["npy", "tif"])
def test_integers_beyond_16_bits_and_below_0_keep_their_values_where_declared(ext, dtype, tmp_path):
    low, high = (0, 200_000) if dtype == np.uint32 else (-1024, 3071)
    array = np.random.default_rng(0).integers(low, high, (H, W, 1)).astype(dtype)
    if ext == "npy":
        np.save(tmp_path / "x.npy", array)
    else:
        write_tiff(tmp_path / "x.tif", array)
    assert np.array_equal(
        read_deep(tmp_path / f"x.{ext}", 1, value_range=(-1024, 200_000)).pixels.astype(np.float64), array
    )


@pytest.mark.parametrize("ext", ["npy", "tif"])
def test_floats_beyond_1_and_below_0_keep_their_values_where_declared(ext, tmp_path):
    array = (random_values(1, np.float32) * 900 - 300).astype(np.float32)
    if ext == "npy":
        np.save(tmp_path / "x.npy", array)
    else:
        write_tiff(tmp_path / "x.tif", array)
    assert np.array_equal(read_deep(tmp_path / f"x.{ext}", 1, value_range=(-1024, 200_000)).pixels, array)


def test_white_is_zero_in_tiff_of_16_bits(tmp_path):
    array = random_values(1)
    tifffile.imwrite(tmp_path / "x.tif", 65535 - array[:, :, 0], photometric="miniswhite", metadata=None)
    assert np.array_equal(read_deep(tmp_path / "x.tif", 1).pixels, array)


def test_12_bits_are_a_share_of_their_own_range_unless_one_is_declared(tmp_path):
    array = random_values(1) % 4096
    tifffile.imwrite(tmp_path / "x.tif", array[:, :, 0], bitspersample=12, photometric="minisblack", metadata=None)
    assert np.array_equal(read_deep(tmp_path / "x.tif", 1, value_range=(0, 4095)).pixels, array)
    assert np.array_equal(read_deep(tmp_path / "x.tif", 1).pixels, np.round(array * (65535 / 4095)))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_colours_that_alpha_was_multiplied_into(dtype, tmp_path):
    """Composited on black they are as stored."""
    array = random_values(4, dtype)
    top = 1 if dtype == np.float32 else 65535
    stored = array.copy()
    stored[:, :, :3] = (array[:, :, :3] * (array[:, :, 3:] / top)).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", extrasamples=[1], metadata=None)
    picture = read_deep(tmp_path / "x.tif", 3, background=(0, 0, 0))
    np.testing.assert_allclose(picture.pixels, stored[:, :, :3], rtol=0, atol=2e-6 if dtype == np.float32 else 1)


def test_inks_of_16_bits_are_the_colours_that_they_leave(tmp_path):
    """Cyan takes the red of what black leaves: (1 − C)(1 − K)."""
    inks = np.zeros((1, 4, 4), np.uint16)
    inks[0, 1], inks[0, 2], inks[0, 3] = (65535, 0, 0, 0), (0, 0, 0, 65535), (0, 32768, 16384, 32768)
    tifffile.imwrite(tmp_path / "x.tif", inks, photometric="separated", metadata=None)
    expected = [(65535, 65535, 65535), (0, 65535, 65535), (0, 0, 0), (32767, 16383, 24575)]
    assert np.abs(read_deep(tmp_path / "x.tif", 3).pixels[0] - np.array(expected, int)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_packed_as_photoshop_packs_them(channels, orientation, tmp_path):
    """LZW with prediction; the tag is added by hand to what OpenCV writes."""
    array = random_values(channels)
    packed = cv2.imencode(".tif", array[:, :, ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()
    (tmp_path / "x.tif").write_bytes(with_tag(packed, 274, orientation))
    assert np.array_equal(read_deep(tmp_path / "x.tif", channels).pixels, SEEN[orientation](array))


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
    write_tiff(tmp_path / "x.tif", random_values(3, height=40, width=40))
    png = encode_png16(random_values(3, height=40, width=40))
    (tmp_path / "x.png").write_bytes(png[: len(png) // 2])
    data = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "y.tif").write_bytes(data[: len(data) // 2])
    for name in ("x.png", "y.tif"):
        with pytest.raises(ImageError, match="damaged"):
            read_deep(tmp_path / name, 3)
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
    array = random_values(channels)
    (tmp_path / "x.png").write_bytes(encode_png16(array, (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))))
    assert np.array_equal(read_deep(tmp_path / "x.png", channels).pixels, SEEN[orientation](array))


@pytest.mark.parametrize(
    ("channels", "dtype", "orientation"),
    [(n, dtype, o) for n, dtype in ((1, np.uint16), (3, np.uint16), (3, np.float32), (5, np.uint16)) for o in SEEN],
)
def test_orientation_of_deep_tiff_is_applied_once(channels, dtype, orientation, tmp_path):
    array = random_values(channels, dtype)
    write_tiff(tmp_path / "x.tif", array, extratags=[(274, "H", 1, orientation, True)])
    assert np.array_equal(read_deep(tmp_path / "x.tif", channels).pixels, SEEN[orientation](array))


# Alpha.


@pytest.mark.parametrize("ext", ["png", "tif", "npy"])
@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 200, 77)])
def test_alpha_is_composited_at_depth(ext, background, tmp_path):
    array = random_values(4)
    array[0, 0, 3], array[0, 1, 3] = 0, 65535
    if ext == "png":
        (tmp_path / "x.png").write_bytes(encode_png16(array))
    elif ext == "tif":
        tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", extrasamples=[2])
    else:
        np.save(tmp_path / "x.npy", array)
    share = array[:, :, 3:].astype(np.float64) / 65535
    seen = array[:, :, :3] * share + np.array(background) * 257.0 * (1 - share)
    picture = read_deep(tmp_path / f"x.{ext}", 3, background=background)
    assert picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels - seen).max() <= 0.5 + 1e-6
    assert np.array_equal(picture.pixels[0, 0], np.array(background) * 257)
    assert np.array_equal(picture.pixels[0, 1], array[0, 1, :3])
    assert np.array_equal(picture.alpha, array[:, :, 3])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("fmt", ["png", "tiff", "npy"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("transparent", [False, True])
def test_what_is_written_deep_is_read_alike(fmt, dtype, channels, transparent, tmp_path):
    if fmt == "png" and dtype == np.float32:
        pytest.skip("PNG holds no floats")
    array = random_values(channels, dtype)
    alpha = random_values(4, dtype)[:, :, 3] if transparent else None
    (tmp_path / f"x.{fmt}").write_bytes(encode(Picture(array, alpha), fmt))
    picture = read_deep(tmp_path / f"x.{fmt}", channels)
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
        write_tiff(tmp_path / "x.tif", random_values(n))
        with pytest.raises(ImageError, match=f"{n} channels, but 4 are wanted"):
            read_deep(tmp_path / "x.tif", 4)


# Odd bits, unspecified channels, transparent colours.


def packed_tiff(values, bits, photometric):
    """A little-endian TIFF of one row; `values` (W, C) are packed from the highest bit on, 24 bits lowest byte first."""
    width, channels = values.shape
    text = "".join(format(int(value), f"0{bits}b") for value in values.ravel())
    text += "0" * (-len(text) % 8)
    raw = bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    if bits in (16, 24, 32):
        raw = b"".join(int(value).to_bytes(bits // 8, "little") for value in values.ravel())
    each = (258, 3, channels, 300 if channels > 1 else bits)
    tags = [(256, 4, 1, width), (257, 4, 1, 1), each, (259, 3, 1, 1), (262, 3, 1, photometric), (273, 4, 1, 400)]
    tags += [(277, 3, 1, channels), (278, 4, 1, 1), (279, 4, 1, len(raw)), (284, 3, 1, 1)]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (
        (head + bytes(4)).ljust(300, b"\0") + struct.pack(f"<{channels}H", *[bits] * channels).ljust(100, b"\0") + raw
    )


@pytest.mark.parametrize(("channels", "photometric"), [(1, 1), (1, 0), (3, 2)])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 20, 24, 31, 32])
def test_any_number_of_bits_is_a_share_of_its_own_range(bits, channels, photometric, tmp_path):
    top = 2**bits - 1
    values = np.random.default_rng(bits).integers(0, top + 1, (9, channels), dtype=np.uint64)
    values[0], values[1] = 0, top
    (tmp_path / "x.tif").write_bytes(packed_tiff(values, bits, photometric))
    picture = read_deep(tmp_path / "x.tif", channels)
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[picture.pixels.dtype.name]
    share = values / top if photometric else 1 - values / top
    half = 0.5 + 1e-9 if full > 1 else 2**-23  # a step of the type that it is read as
    np.testing.assert_allclose(picture.pixels[0], share * full, rtol=0, atol=half)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_channel_of_unknown_meaning_is_no_transparency(dtype, channels, tmp_path):
    array = np.dstack([np.full((4, 4, channels), 0.5 if dtype == "f4" else 40), np.zeros((4, 4))]).astype(dtype)
    photometric = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "x.tif", array, photometric=photometric, planarconfig="contig",
                     extrasamples=["unspecified"], metadata=None)  # fmt: skip
    picture = read_deep(tmp_path / "x.tif", channels)
    assert np.array_equal(picture.pixels, array[:, :, :channels])
    assert picture.alpha is None
    assert any("last channel" in notice for notice in picture.notices)
    assert np.array_equal(read_deep(tmp_path / "x.tif", channels + 1).pixels, array)


def grey_png(bits, values, key):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    text = "".join(format(value, f"0{bits}b") for value in values)
    row = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
    parts = [(b"IHDR", struct.pack(">IIBBBBB", len(values), 1, bits, 0, 0, 0, 0)), (b"tRNS", struct.pack(">H", key))]
    parts += [(b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("metadata", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_png_is_of_its_own_bits(bits, metadata, tmp_path):
    """As the PNG specification has it (11.3.2.1): the sample value, unscaled; other greys are opaque."""
    values = [0, 1, *range(2, min(2**bits, 9)), 2**bits - 1]
    for key in {0, 1, 2**bits - 1}:
        (tmp_path / "x.png").write_bytes(grey_png(bits, values, key))
        picture = read_deep(tmp_path / "x.png", 3, metadata=metadata)
        assert (picture.alpha[0] == 0).tolist() == [value == key for value in values]


def test_the_transparent_colour_of_a_png_of_16_bits(tmp_path):
    array = random_values(3)
    key = struct.pack(">3H", *array[2, 3].tolist())
    (tmp_path / "x.png").write_bytes(encode_png16(array, (b"tRNS", key)))
    picture = read_deep(tmp_path / "x.png", 3)
    assert np.argwhere(picture.alpha == 0).tolist() == [[2, 3]]
    assert np.array_equal(picture.pixels[:2], array[:2])


def test_a_palette_of_16_bits(tmp_path):
    palette = integers((3, 65536), 65535).astype(np.uint16)
    index = integers((H, W), 65535, seed=1).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", index, photometric="palette", colormap=palette)
    picture = images.read(tmp_path / "x.tif", how=Reading(3, deep=True))
    assert np.array_equal(picture.pixels, np.moveaxis(palette[:, index], 0, 2))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("alpha", [False, True])
def test_inks_of_every_depth_with_and_without_alpha(alpha, dtype, tmp_path):
    """Without a profile each ink absorbs its share of light: (1 − c) (1 − k)."""
    shares = integers((H, W, 5 if alpha else 4)) / 255
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    stored = (shares * top).astype(dtype) if top == 1 else np.round(shares * top).astype(dtype)
    extra = {"extrasamples": ["unassalpha"]} if alpha else {}
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="separated", **extra)
    picture = images.read(tmp_path / "x.tif", how=Reading(3, deep=True))
    light = (1 - shares[:, :, :3]) * (1 - shares[:, :, 3:4])
    seen = light * shares[:, :, 4:] + 1 - shares[:, :, 4:] if alpha else light  # on white
    assert picture.pixels.dtype == dtype
    assert np.abs(picture.pixels / top - seen).max() <= (1e-6 if top == 1 else 1 / top + 1e-9)
    assert (picture.alpha is not None) == alpha


def test_other_inks_are_refused(tmp_path):
    values = integers((H, W, 5), 65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="separated", extrasamples=["unassalpha"])
    data = (tmp_path / "x.tif").read_bytes()
    extra_samples = struct.pack("<HHI", 338, 3, 1)
    assert extra_samples in data
    (tmp_path / "x.tif").write_bytes(data.replace(extra_samples, struct.pack("<HHI", 337, 3, 1)))  # of another tag
    with pytest.raises(ImageError, match="its 5 inks are not cyan, magenta, yellow and black"):
        images.read(tmp_path / "x.tif")
