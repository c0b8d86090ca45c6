"""Tests of reading image files: every mode, 16 bits, orientation and arrays."""

import colorsys
import os
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.images import ImageError

from .arrays import BYTES, H, W, as_rgb, bytes_of, integers, smooth
from .photos import build_png


def on_white(colour, alpha):
    share = alpha[:, :, None] / 255
    return colour * share + 255 * (1 - share)


def grey_of(rgb):
    """Luma of ITU-R BT.601."""
    return rgb @ [0.299, 0.587, 0.114]


# Every mode that Pillow has: an image of it, what one should see (RGB on white) and its alpha.


def bilevel():
    grey = (integers((H, W), 1) * 255).astype(np.uint8)
    return Image.fromarray(grey).convert("1"), as_rgb(grey), None


def grey():
    values = bytes_of(1)[:, :, 0]
    return Image.fromarray(values), as_rgb(values), None


def grey_alpha():
    values = bytes_of(2)
    return Image.fromarray(values), on_white(as_rgb(values[:, :, 0]), values[:, :, 1]), values[:, :, 1]


def rgb():
    values = bytes_of(3)
    return Image.fromarray(values), values, None


def rgba():
    values = bytes_of(4)
    return Image.fromarray(values), on_white(values[:, :, :3], values[:, :, 3]), values[:, :, 3]


PALETTE = integers((256, 3), seed=1).astype(np.uint8)


def palette():
    index = bytes_of(1)[:, :, 0]
    image = Image.frombytes("P", (W, H), index.tobytes())
    image.putpalette(PALETTE.tobytes())
    return image, PALETTE[index], None


def palette_alpha():
    values = bytes_of(2)
    image = Image.frombytes("PA", (W, H), values.tobytes())
    image.putpalette(PALETTE.tobytes())
    return image, on_white(PALETTE[values[:, :, 0]], values[:, :, 1]), values[:, :, 1]


def cmyk():
    values = bytes_of(4)
    ink = values.astype(float)
    return Image.frombytes("CMYK", (W, H), values.tobytes()), (255 - ink[:, :, :3]) * (255 - ink[:, :, 3:]) / 255, None


def ycbcr():
    """Full-range BT.601, as in JPEG files."""
    colours = bytes_of(3)
    r, y, b = colours[:, :, 0], grey_of(colours), colours[:, :, 2]
    stored = np.stack([y, 128 + (b - y) / 1.772, 128 + (r - y) / 1.402], axis=2).round().clip(0, 255).astype(np.uint8)
    return Image.frombytes("YCbCr", (W, H), stored.tobytes()), colours, None


D50 = np.array([0.9642, 1.0, 0.8249])
XYZ_OF_SRGB = np.array(  # sRGB's primaries adapted to the white D50 of CIELAB files, by Bradford's transform
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)


def lab():
    colours = (64 + bytes_of(3) // 2) / 255  # not so dark that a step of a or b is many of RGB
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    t = linear @ XYZ_OF_SRGB.T / D50
    x, y, z = np.moveaxis(np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29), 2, 0)
    stored = np.stack([(116 * y - 16) * 2.55, 500 * (x - y), 200 * (y - z)], axis=2).round()
    packed = stored.astype(np.int16).astype(np.uint8)  # a and b are signed bytes
    return Image.frombytes("LAB", (W, H), packed.tobytes()), colours * 255, None


def hsv():
    values = bytes_of(3)
    seen = [[colorsys.hsv_to_rgb(*pixel) for pixel in row] for row in values / 255]
    return Image.frombytes("HSV", (W, H), values.tobytes()), np.array(seen) * 255, None


def wide(dtype, mode):
    values = integers((H, W), 65535)
    return Image.frombytes(mode, (W, H), values.astype(dtype).tobytes()), as_rgb(values / 257), None


def floats(top):
    values = np.random.default_rng(0).random((H, W)).astype(np.float32) * top
    values[0, 0] = top  # so that the range is seen
    return Image.fromarray(values), as_rgb(values / top * 255), None


# name: (image, what is seen, alpha), formats that hold it, how far a value may be off
MODES = {
    "1": (bilevel, ["png", "tiff", "bmp", "ppm"], 0),
    "L": (grey, ["png", "tiff", "bmp", "ppm", "gif"], 0),
    "LA": (grey_alpha, ["png", "tiff"], 1),
    "P": (palette, ["png", "tiff", "bmp", "gif"], 0),
    "PA": (palette_alpha, ["tiff"], 1),
    "RGB": (rgb, ["png", "tiff", "bmp", "ppm"], 0),
    "RGBA": (rgba, ["png", "tiff"], 1),
    "CMYK": (cmyk, ["tiff"], 1),
    "YCbCr": (ycbcr, [], 2),
    "LAB": (lab, ["tiff"], 4),  # rounding a and b to whole numbers costs this much
    "HSV": (hsv, [], 3),
    "I": (lambda: wide("i4", "I"), ["ppm"], 0.5),
    "I;16": (lambda: wide("<u2", "I;16"), ["png", "tiff"], 0.5),
    "I;16B": (lambda: wide(">u2", "I;16B"), ["tiff"], 0.5),
    "F": (lambda: floats(1), ["tiff", "ppm"], 0.5),
}


def check(picture, seen, alpha, tolerance):
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape == seen.shape
    assert (picture.height, picture.width) == seen.shape[:2]
    assert np.abs(picture.pixels - seen.astype(float)).max() <= tolerance + 1e-3
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        assert np.array_equal(picture.alpha, alpha)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_decoded(mode):
    make, _, tolerance = MODES[mode]
    image, seen, alpha = make()
    assert image.mode == mode
    check(images.from_pil_image(image), seen, alpha, tolerance)
    check(images.from_pil_image(image, channels=1), grey_of(seen)[:, :, None], alpha, tolerance + 1)


@pytest.mark.parametrize(("mode", "ext"), [(mode, ext) for mode, (_, exts, _) in MODES.items() for ext in exts])
def test_every_mode_is_read_from_a_file(mode, ext, tmp_path):
    make, _, tolerance = MODES[mode]
    image, seen, alpha = make()
    image.save(tmp_path / f"x.{ext}")
    check(images.read(tmp_path / f"x.{ext}"), seen, alpha, tolerance)
    check(images.read(tmp_path / f"x.{ext}", channels=1), grey_of(seen)[:, :, None], alpha, tolerance + 1)


@pytest.mark.parametrize(("mode", "colour"), [("CMYK", (10, 200, 60, 30)), ("YCbCr", (150, 90, 170)), ("L", 77)])
def test_modes_of_jpeg(mode, colour, tmp_path):
    image = Image.new(mode, (16, 16), colour)
    expected = {
        "CMYK": [(255 - c) * (255 - 30) / 255 for c in (10, 200, 60)],
        "YCbCr": [150 + 1.402 * 42, 150 + 0.344136 * 38 - 0.714136 * 42, 150 - 1.772 * 38],
        "L": [77] * 3,
    }[mode]
    image.save(tmp_path / "x.jpg", quality=100)
    check(images.read(tmp_path / "x.jpg"), np.tile(np.array(expected), (16, 16, 1)), None, 2)


@pytest.mark.parametrize("ext", ["png", "gif"])
def test_a_palette_with_a_transparent_colour(ext, tmp_path):
    image, _, _ = palette()
    index = np.asarray(image)
    image.save(tmp_path / f"x.{ext}", transparency=int(index[2, 3]))
    alpha = np.where(index == index[2, 3], 0, 255).astype(np.uint8)
    check(images.read(tmp_path / f"x.{ext}"), on_white(PALETTE[index], alpha), alpha, 0)


def test_a_palette_with_an_alpha_for_each_colour(tmp_path):
    image, _, _ = palette()
    alphas = integers(256, seed=2).astype(np.uint8)
    image.save(tmp_path / "x.png", transparency=alphas.tobytes())
    alpha = alphas[np.asarray(image)]
    check(images.read(tmp_path / "x.png"), on_white(PALETTE[np.asarray(image)], alpha), alpha, 1)


def test_colours_with_a_transparent_one(tmp_path):
    values = bytes_of(3)
    Image.fromarray(values).save(tmp_path / "x.png", transparency=tuple(map(int, values[1, 1])))
    alpha = np.full((H, W), 255, np.uint8)
    alpha[1, 1] = 0
    check(images.read(tmp_path / "x.png"), on_white(values, alpha), alpha, 0)


def test_alpha_that_hides_nothing_is_no_alpha(tmp_path):
    values = bytes_of(4)
    values[:, :, 3] = 255
    Image.fromarray(values).save(tmp_path / "x.png")
    check(images.read(tmp_path / "x.png"), values[:, :, :3], None, 0)


def test_what_is_transparent_is_white_whatever_colour_it_hides():
    hidden = Image.new("RGBA", (2, 2), (12, 34, 56, 0))
    assert (images.from_pil_image(hidden).pixels == 255).all()
    assert (images.from_pil_image(hidden, channels=1).pixels == 255).all()


# 16 bits.


def png16(values):
    """Return the bytes of a PNG of 16 bits for each of 1 to 4 channels, which Pillow cannot write."""
    height, width, channels = values.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))]
    return build_png(*chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_16_bit_ramp_is_scaled_not_clipped(channels, tmp_path):
    ramp = np.repeat(np.linspace(0, 65535, 256).round()[None, :, None], channels, axis=2)
    (tmp_path / "x.png").write_bytes(png16(ramp))
    seen = as_rgb(np.arange(256)[None])  # 65535 / 255 = 257
    assert np.abs(images.read(tmp_path / "x.png").pixels - seen).max() <= (0 if channels == 1 else 1)


@pytest.mark.parametrize("channels", [2, 4])
def test_16_bits_with_alpha(channels, tmp_path):
    values = integers((H, W, channels), 65535)
    (tmp_path / "x.png").write_bytes(png16(values))
    colour, alpha = values[:, :, :-1] / 257, values[:, :, -1] / 257
    picture = images.read(tmp_path / "x.png")
    assert np.abs(picture.pixels - on_white(colour, alpha)).max() <= 2
    assert np.abs(picture.alpha - alpha).max() <= 1


# Orientation.

SEEN = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize(("ext", "tolerance"), [("png", 0), ("webp", 0), ("tiff", 0), ("jpg", 6), ("avif", 16)])
@pytest.mark.parametrize("orientation", SEEN)
def test_exif_orientation_is_applied(orientation, ext, tolerance, tmp_path):
    stored = smooth(16, 24)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}, "avif": {"quality": 100}}
    Image.fromarray(stored).save(tmp_path / f"x.{ext}", exif=exif, **options.get(ext, {}))
    check(images.read(tmp_path / f"x.{ext}"), SEEN[orientation](stored), None, tolerance)


def test_the_first_of_several_frames_is_read_and_said(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    picture = images.read(tmp_path / "x.gif")
    assert (picture.pixels == (255, 0, 0)).all()
    assert picture.notices == ["first of 3 frames"]


# Arrays.


def scaled(values, top):
    return np.round(values.astype(np.float64) / top * 255)


WIDE = integers((H, W, 3), 65535)
SHARES = np.random.default_rng(0).random((H, W, 3))
ARRAYS = {
    "uint8": (BYTES, BYTES),
    "uint8, Fortran order": (np.asfortranarray(BYTES), BYTES),
    "uint16": (WIDE.astype(np.uint16), scaled(WIDE, 65535)),
    "uint16, big end first": (WIDE.astype(">u2"), scaled(WIDE, 65535)),
    "uint32": ((WIDE * 65537).astype(np.uint32), scaled(WIDE, 65535)),
    "int8": ((BYTES - 128.0).astype(np.int8), BYTES),
    "int32": ((WIDE * 65537 - 2.0**31).astype(np.int32), scaled(WIDE, 65535)),
    "bool": (BYTES > 99, (BYTES > 99) * 255),
    "float16": (SHARES.astype(np.float16), scaled(SHARES.astype(np.float16), 1)),
    "float32": (SHARES.astype(np.float32), scaled(SHARES.astype(np.float32), 1)),
    "float64": (SHARES, scaled(SHARES, 1)),
    "above one": (SHARES + 0.5, scaled((SHARES + 0.5).clip(0, 1), 1)),
    "below zero": (SHARES - 0.5, scaled((SHARES - 0.5).clip(0), 1)),
    "not a number": (np.where(BYTES > 99, np.nan, 1.0), np.where((BYTES > 99).any(axis=2, keepdims=True), 128, 255)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_every_type(name, tmp_path):
    array, seen = ARRAYS[name]
    np.save(tmp_path / "x.npy", array)
    check(images.read(tmp_path / "x.npy"), np.broadcast_to(seen, (H, W, 3)), None, 0)


@pytest.mark.parametrize("shape", [(H, W), (H, W, 1), (H, W, 2), (H, W, 3), (H, W, 4)])
def test_arrays_of_every_number_of_channels(shape, tmp_path):
    array = integers(shape).astype(np.uint8)
    np.save(tmp_path / "x.npy", array)
    layers = array[:, :, None] if array.ndim == 2 else array
    colour = layers[:, :, :3] if layers.shape[2] >= 3 else as_rgb(layers[:, :, 0])
    alpha = layers[:, :, -1] if layers.shape[2] in (2, 4) else None
    seen = colour if alpha is None else on_white(colour, alpha)
    check(images.read(tmp_path / "x.npy"), seen, alpha, 0 if alpha is None else 1)


@pytest.mark.parametrize("shape", [(), (5,), (2, 5, 5, 3), (0, 5), (5, 0, 3)])
def test_arrays_of_other_shapes_are_no_images(shape, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(shape, np.uint8))
    with pytest.raises(ImageError, match=r"of shape .* is not an image"):
        images.read(tmp_path / "x.npy")


def test_an_array_of_other_channels_than_wanted_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((5, 5, 5), np.uint8))
    with pytest.raises(ImageError, match="has 5 channels, but 3 are wanted"):
        images.read(tmp_path / "x.npy")


@pytest.mark.parametrize("array", [np.zeros((4, 4), complex), np.full((4, 4), "a"), np.zeros((4, 4), "M8[s]")])
def test_arrays_of_other_values_are_no_images(array, tmp_path):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ImageError, match="is not an image"):
        images.read(tmp_path / "x.npy")


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("kind", ["array of objects", "bare pickle"])
def test_an_array_file_with_a_pickle_is_refused_and_runs_nothing(kind, tmp_path):
    trap = Trap(tmp_path / "caught")
    if kind == "bare pickle":
        (tmp_path / "x.npy").write_bytes(pickle.dumps(trap))
    else:
        np.save(tmp_path / "x.npy", np.array([[trap]], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError):
        images.read(tmp_path / "x.npy")
    assert not trap.folder.exists()


@pytest.mark.parametrize("name", ["new\nline.png", os.fsdecode(b"caf\xe9.png"), "x" * 251 + ".png"])
def test_files_of_odd_names_are_read_and_written(name, tmp_path):
    images.write_png(tmp_path / name, Image.fromarray(BYTES))
    assert np.array_equal(images.read(tmp_path / name).pixels, BYTES)
