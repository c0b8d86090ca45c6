import colorsys
import io
import os
import pickle
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images
from translate.images import WRITERS, ImageError, Picture

H, W = 5, 6


def integers(shape, top=255, seed=0):
    return np.random.default_rng(seed).integers(0, top + 1, shape)


def bytes_of(channels):
    return integers((H, W, channels)).astype(np.uint8)


def smooth(height, width, channels=3):
    """Colours that change slowly, so that lossy formats keep them."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    return np.stack([255 * x, 255 * y, 255 * (1 - x)][:channels], axis=2).round().astype(np.uint8)


def on_white(colour, alpha):
    share = alpha[:, :, None] / 255
    return colour * share + 255 * (1 - share)


def grey_of(rgb):
    """Luma of ITU-R BT.601."""
    return rgb @ [0.299, 0.587, 0.114]


def as_rgb(grey):
    return np.repeat(np.asarray(grey, dtype=float)[:, :, None], 3, axis=2)


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
    "I": (lambda: wide("i4", "I"), ["tiff", "ppm"], 0.5),
    "I;16": (lambda: wide("<u2", "I;16"), ["png", "tiff"], 0.5),
    "I;16B": (lambda: wide(">u2", "I;16B"), ["tiff"], 0.5),
    "F to 1": (lambda: floats(1), ["tiff", "ppm"], 0.5),
    "F to 255": (lambda: floats(255), ["tiff"], 0.5),
    "F to 65535": (lambda: floats(65535), ["tiff"], 0.5),
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
    assert image.mode == mode.split()[0]
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
    """The bytes of a PNG of 16 bits for each of 1 to 4 channels, which Pillow cannot write."""
    height, width, channels = values.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))]
    return png(*chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def png(*chunks):
    out = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        out += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return out


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

BYTES = integers((H, W, 3)).astype(np.uint8)


def scaled(values, top):
    return np.round(values.astype(np.float64) / top * 255)


WIDE = integers((H, W, 3), 65535)
SHARES = np.random.default_rng(0).random((H, W, 3))
ARRAYS = {
    "uint8": (BYTES, BYTES),
    "uint8, Fortran order": (np.asfortranarray(BYTES), BYTES),
    "uint16": (WIDE.astype(np.uint16), scaled(WIDE, 65535)),
    "uint16, big end first": (WIDE.astype(">u2"), scaled(WIDE, 65535)),
    "int32": ((WIDE - 1000).astype(np.int32), scaled((WIDE - 1000).clip(0), 65535)),
    "int64": ((WIDE * 2).astype(np.int64), scaled((WIDE * 2).clip(0, 65535), 65535)),
    "bool": (BYTES > 99, (BYTES > 99) * 255),
    "float16": (SHARES.astype(np.float16), scaled(SHARES.astype(np.float16), 1)),
    "float32": (SHARES.astype(np.float32), scaled(SHARES.astype(np.float32), 1)),
    "float64": (SHARES, scaled(SHARES, 1)),
    "float of bytes": (BYTES.astype(np.float32), BYTES),
    "float of 16 bits": (WIDE.astype(np.float32), scaled(WIDE, 65535)),
    "below zero": (SHARES - 0.5, scaled((SHARES - 0.5).clip(0), 1)),
    "not a number": (np.where(BYTES > 99, np.nan, 1.0), np.where(BYTES > 99, 0, 255)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_every_type(name, tmp_path):
    array, seen = ARRAYS[name]
    np.save(tmp_path / "x.npy", array)
    check(images.read(tmp_path / "x.npy"), seen, None, 0)


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
    with pytest.raises(ImageError, match=r"of shape .* is no image"):
        images.read(tmp_path / "x.npy")


def test_an_array_of_other_channels_than_wanted_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((5, 5, 5), np.uint8))
    with pytest.raises(ImageError, match="has 5 channels, but 3 are wanted"):
        images.read(tmp_path / "x.npy")


@pytest.mark.parametrize("array", [np.zeros((4, 4), complex), np.full((4, 4), "a"), np.zeros((4, 4), "M8[s]")])
def test_arrays_of_other_values_are_no_images(array, tmp_path):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ImageError, match="are no image"):
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


# Files that are no images. Whatever is wrong, it is an ImageError of one line.


def encoded(ext, pixels=None):
    pixels = smooth(24, 32) if pixels is None else pixels
    buffer = io.BytesIO()
    if ext == "npy":
        np.save(buffer, pixels)
    else:
        Image.fromarray(pixels).save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(ext, ext.upper()))
    return buffer.getvalue()


KINDS = ["jpg", "png", "webp", "bmp", "tif", "ppm", "avif", "gif", "npy"]


def refused(path, **options):
    with pytest.raises(ImageError) as caught:
        images.read(path, **options)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert len(message) < 300
    return message


@pytest.mark.parametrize("ext", KINDS)
def test_a_truncated_file(ext, tmp_path):
    whole = encoded(ext)
    (tmp_path / f"x.{ext}").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / f"x.{ext}")


@pytest.mark.parametrize("ext", KINDS)
def test_damaged_files_raise_nothing_else(ext, tmp_path):
    whole = np.frombuffer(encoded(ext), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(25):
        damaged = whole.copy()
        places = rng.integers(0, min(len(whole), 200), 4)
        damaged[places] = rng.integers(0, 256, 4)
        (tmp_path / f"x.{ext}").write_bytes(damaged.tobytes())
        try:
            images.read(tmp_path / f"x.{ext}")
        except ImageError as e:
            assert "\n" not in str(e)


@pytest.mark.parametrize("ext", KINDS)
def test_an_empty_file(ext, tmp_path):
    (tmp_path / f"x.{ext}").write_bytes(b"")
    assert refused(tmp_path / f"x.{ext}") == "empty file"


@pytest.mark.parametrize("ext", KINDS)
def test_a_text(ext, tmp_path):
    (tmp_path / f"x.{ext}").write_text("Hello, this is a text.\n")
    refused(tmp_path / f"x.{ext}")


def test_what_is_no_image_is_said(tmp_path):
    (tmp_path / "x.png").write_text("Hello, this is a text.\n")
    assert refused(tmp_path / "x.png") == "not an image"


@pytest.mark.parametrize(
    "head",
    [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.7\n", b"8BPS\0\1", b"SIMPLE  =     T"],
    ids=["eps", "pdf", "psd", "fits"],
)
def test_formats_that_are_not_allowed_are_not_opened_under_another_name(head, tmp_path):
    (tmp_path / "x.jpg").write_bytes(head + bytes(200))
    assert refused(tmp_path / "x.jpg") == "format not allowed"


def test_a_format_that_pillow_reads_but_is_not_allowed(tmp_path):
    Image.fromarray(smooth(8, 8)).save(tmp_path / "x.png", "TGA")
    assert refused(tmp_path / "x.png") == "not an image"


@pytest.mark.parametrize("ext", ["png", "webp", "tif", "bmp"])
def test_the_content_decides_not_the_extension(ext, tmp_path):
    (tmp_path / "x.jpg").write_bytes(encoded(ext, smooth(4, 4) // 255 * 255))
    assert images.read(tmp_path / "x.jpg").pixels.shape == (4, 4, 3)


@pytest.mark.parametrize("ext", ["jpg", "npy"])
def test_what_is_not_a_file(ext, tmp_path):
    assert refused(tmp_path / f"absent.{ext}") == "no such file"
    (tmp_path / f"link.{ext}").symlink_to(tmp_path / "absent")
    assert refused(tmp_path / f"link.{ext}") == "no such file"
    (tmp_path / f"folder.{ext}").mkdir()
    assert refused(tmp_path / f"folder.{ext}") == "not a regular file"


@pytest.mark.parametrize("ext", ["jpg", "npy"])
def test_a_pipe_is_not_waited_for(ext, tmp_path):
    pipe = tmp_path / f"x.{ext}"
    os.mkfifo(pipe)
    caught = []

    def read():
        try:
            images.read(pipe)
        except ImageError as e:
            caught.append(str(e))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(20)
    if reader.is_alive():  # lets it go
        os.close(os.open(pipe, os.O_WRONLY))
    assert caught == ["not a regular file"]


@pytest.mark.parametrize("ext", KINDS)
def test_more_pixels_than_allowed(ext, tmp_path):
    (tmp_path / f"x.{ext}").write_bytes(encoded(ext, smooth(10, 20)))
    assert images.read(tmp_path / f"x.{ext}", max_pixels=200).pixels.shape == (10, 20, 3)
    message = refused(tmp_path / f"x.{ext}", max_pixels=199)
    assert "20×10" in message
    assert "199 pixels" in message
    assert "--max-pixels" in message


def claim(path, side):
    """A PNG of a few bytes that claims to be a grey square."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(png((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")))


@pytest.mark.parametrize("side", [15_000, 100_000], ids=["where Pillow warns", "where Pillow refuses"])
def test_a_small_file_that_claims_to_be_huge(side, tmp_path):
    claim(tmp_path / "x.png", side)
    assert "--max-pixels" in refused(tmp_path / "x.png")


def test_max_pixels_can_allow_more_than_pillow_does(tmp_path):
    """Pillow alone refuses twice 178,956,970 pixels; here they are allowed, and what is wrong is that they are not there."""
    claim(tmp_path / "x.png", 20_000)
    assert "--max-pixels" not in refused(tmp_path / "x.png", max_pixels=20_000**2)


# Integers and [-1, 1].


def test_all_values_survive_the_way_to_minus_one_and_one_and_back():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    x = images.to_tensor(pixels)
    assert x.shape == (3, 16, 16)
    assert x.dtype == torch.float32
    assert (x.min(), x.max()) == (-1, 1)
    assert np.array_equal(images.to_uint8_array(x), pixels)
    assert torch.equal(images.quantize(x), torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_range_is_linear_and_symmetric(dtype):
    x = images.normalize(torch.arange(256, dtype=torch.uint8), dtype)
    assert x.dtype == dtype
    torch.testing.assert_close(x, torch.linspace(-1, 1, 256, dtype=dtype))
    torch.testing.assert_close(x.flip(0), -x)


@pytest.mark.parametrize(
    ("value", "integer"),
    [(-1.0, 0), (1.0, 255), (-1.5, 0), (7.0, 255), (0.5 / 127.5 - 1 + 1e-4, 1), (0.5 / 127.5 - 1 - 1e-4, 0)],
)
def test_values_are_rounded_to_the_nearest_and_clipped(value, integer):
    assert images.quantize(torch.tensor([value])).tolist() == [integer]


def test_channels_keep_their_places():
    pixels = bytes_of(3)
    x = images.to_tensor(pixels)
    for row, column, channel in [(0, 1, 2), (4, 0, 0), (3, 5, 1)]:
        assert x[channel, row, column] == pytest.approx(pixels[row, column, channel] / 127.5 - 1, abs=1e-6)


def test_the_tensor_does_not_share_the_pixels_memory():
    pixels = bytes_of(3)
    x = images.to_tensor(pixels)
    before = x.clone()
    pixels[:] = 0
    assert torch.equal(x, before)


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_keeps_a_constant_image_and_its_channels(channels):
    out = images.resize(np.full((7, 9, channels), 93, np.uint8), 4, 20)
    assert out.shape == (4, 20, channels)
    assert (out == 93).all()


def test_resize_is_pillow_s_bicubic_filter_and_leaves_equal_sizes_alone():
    pixels = bytes_of(3)
    expected = np.asarray(Image.fromarray(pixels).resize((9, 3), Image.Resampling.BICUBIC))
    assert np.array_equal(images.resize(pixels, 3, 9), expected)
    assert images.resize(pixels, H, W) is pixels


# Writing.

LOSSLESS = ("png", "tiff")
PILLOWS = [name for name, writer in WRITERS.items() if writer.format]
"""Writers of files that Pillow opens."""


def reopened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 7), (64, 48)])
@pytest.mark.parametrize("fmt", PILLOWS)
def test_writers_keep_size_and_colours(fmt, size, channels, tmp_path):
    pixels = smooth(*size, channels)
    data = images.encode(Picture(pixels), fmt)
    assert reopened(data).format == WRITERS[fmt].format
    (tmp_path / f"x.{fmt}").write_bytes(data)
    back = images.read(tmp_path / f"x.{fmt}", channels)
    assert back.alpha is None
    assert back.pixels.shape == pixels.shape
    difference = np.abs(back.pixels.astype(float) - pixels)
    if fmt in LOSSLESS or (fmt == "gif" and channels == 1):
        assert difference.max() == 0
    else:
        assert difference.mean() < 6


@pytest.mark.parametrize("fmt", [name for name in PILLOWS if not WRITERS[name].quality and name != "gif"])
def test_lossless_writers_keep_noise(fmt):
    pixels = integers((31, 17, 3)).astype(np.uint8)
    assert np.array_equal(np.asarray(reopened(images.encode(Picture(pixels), fmt))), pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fmt", PILLOWS)
def test_alpha_is_carried_where_the_format_has_it(fmt, channels):
    pixels = smooth(24, 32, channels)
    alpha = smooth(24, 32, 1)[:, :, 0]
    image = reopened(images.encode(Picture(pixels, alpha), fmt))
    assert image.size == (32, 24)
    if not WRITERS[fmt].alpha:
        assert "A" not in image.getbands()
        assert "transparency" not in image.info
        return
    carried = np.asarray(image.getchannel("A")).astype(float)
    colours = np.asarray(image.convert("RGB" if channels == 3 else "L")).reshape(pixels.shape).astype(float)
    assert np.abs(carried - alpha).max() <= (0 if fmt in LOSSLESS else 8)
    shown = alpha > 128  # what is hidden may be given up
    assert np.abs(colours - pixels)[shown].mean() <= (0 if fmt in LOSSLESS else 6)


@pytest.mark.parametrize("fmt", ["png", "tiff", "jpg", "gif", "avif"])
def test_grey_is_written_as_grey(fmt):
    image = reopened(images.encode(Picture(smooth(8, 8, 1)), fmt))
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")), 2, 0)
    assert np.array_equal(red, green)
    assert np.array_equal(red, blue)


@pytest.mark.parametrize("fmt", WRITERS)
def test_quality_makes_a_difference_only_where_it_applies(fmt):
    picture = Picture(integers((64, 64, 3)).astype(np.uint8))
    low, high = images.encode(picture, fmt, 20), images.encode(picture, fmt, 95)
    assert (len(low) < len(high)) if WRITERS[fmt].quality else low == high


@pytest.mark.parametrize("fmt", WRITERS)
def test_the_same_picture_gives_the_same_bytes(fmt):
    assert images.encode(Picture(smooth(20, 20)), fmt) == images.encode(Picture(smooth(20, 20)), fmt)


def test_what_a_format_cannot_hold_is_an_image_error():
    with pytest.raises(ImageError, match="cannot be written as webp"):
        images.encode(Picture(np.zeros((1, 16_384, 3), np.uint8)), "webp")


@pytest.mark.parametrize(
    ("ext", "writer"), [("jpeg", "jpg"), ("tif", "tiff"), ("png", "png"), ("bmp", None), ("", None)]
)
def test_writer_for_an_extension(ext, writer):
    assert images.writer_for(ext) == writer


@pytest.mark.parametrize("fmt", PILLOWS)
def test_what_is_written_can_be_read(fmt):
    assert fmt in images.READABLE_EXTENSIONS
    assert WRITERS[fmt].format in images.PILLOW_FORMATS


def test_no_extension_is_both_readable_and_not_allowed():
    assert not images.READABLE_EXTENSIONS & images.REFUSED_EXTENSIONS


def test_write_image_writes_the_image(tmp_path):
    images.write_png(tmp_path / "deep" / "x.png", Image.fromarray(BYTES))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "deep" / "x.png")), BYTES)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x.png"]


# Grids.


@pytest.mark.parametrize(("side", "factor"), [(40, 3), (128, 1), (300, 1), (16, 8)])
def test_grid_is_as_large_as_its_images_and_shows_them(side, factor):
    """128 / 40 rounds to 3; gap 4 around each image, 26 pixels for the names."""
    x = torch.rand(3, 3, side, side) * 2 - 1
    greys = [integers((side, side, 1), seed=i).astype(np.uint8) for i in range(2)]
    sheet = images.make_comparison_grid({"input": x, "output": greys})
    shown = side * factor
    assert sheet.size == (2 * (shown + 4) + 4, 2 * (shown + 4) + 26)  # as many rows as the shorter column has
    for row in range(2):
        top = 24 + row * (shown + 4)
        cells = [sheet.crop((left, top, left + shown, top + shown)) for left in (4, 4 + shown + 4)]
        first, second = (np.asarray(cell)[::factor, ::factor] for cell in cells)
        assert np.array_equal(first, images.to_uint8_array(x[row]))
        assert np.array_equal(second, as_rgb(greys[row][:, :, 0]))


def test_grid_names_its_columns():
    one = np.full((128, 128, 3), 255, np.uint8)
    named, other, blank = (np.asarray(images.make_comparison_grid({name: [one]})) for name in ("input", "output", ""))
    assert (blank == 255).all()
    assert (named[:22] < 128).any()
    assert not np.array_equal(named, other)


# Folders.


def touch(root, *names):
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def listed(root, paths):
    return [path.relative_to(root).as_posix() for path in paths]


def test_walk_passes_over_hidden_files_and_folders(tmp_path):
    touch(tmp_path, "a.png", ".b.png", ".git/c.png", "d/.e/f.png", "d/g.txt")
    assert listed(tmp_path, images.list_files(tmp_path)) == ["a.png", "d/g.txt"]


def test_walk_sorts_by_relative_path(tmp_path):
    names = ["b.png", "B.png", "a/z.png", "a.png", "a/b/c.png", "10.png", "9.png"]
    touch(tmp_path, *names)
    assert listed(tmp_path, images.list_files(tmp_path)) == sorted(names)


def test_walk_takes_odd_names(tmp_path):
    names = ["new\nline.png", os.fsdecode(b"caf\xe9.png"), "ünï.png", " .png", "-rf.png", "a\\b.png"]
    touch(tmp_path, *names)
    assert sorted(listed(tmp_path, images.list_files(tmp_path))) == sorted(names)


@pytest.mark.parametrize("name", ["new\nline.png", os.fsdecode(b"caf\xe9.png"), "x" * 251 + ".png"])
def test_files_of_odd_names_are_read_and_written(name, tmp_path):
    images.write_png(tmp_path / name, Image.fromarray(BYTES))
    assert np.array_equal(images.read(tmp_path / name).pixels, BYTES)


def test_walk_takes_linked_files_and_enters_no_linked_folders(tmp_path):
    touch(tmp_path, "root/a.png", "else/b.png")
    (tmp_path / "root" / "c.png").symlink_to(tmp_path / "else" / "b.png")
    (tmp_path / "root" / "folder").symlink_to(tmp_path / "else")
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "broken.png").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "root" / "pipe.png")
    assert listed(tmp_path / "root", images.list_files(tmp_path / "root")) == ["a.png", "c.png"]


@pytest.mark.parametrize("ext", sorted(images.READABLE_EXTENSIONS))
def test_find_takes_readable_extensions_in_any_case(ext, tmp_path):
    names = [f"1.{ext}", f"2.{ext.upper()}", f"3.{ext.title()}"]
    touch(tmp_path, *names, "4.txt", "5", f"6.{ext}.part", "7.eps")
    assert listed(tmp_path, images.list_images(tmp_path)) == names
