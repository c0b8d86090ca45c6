"""Tests of files that are not images, or damaged or hostile ones: each gives an ImageError of one line."""

import io
import os
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.images import ImageError

from .arrays import smooth
from .photos import build_png


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
    """Write a PNG of a few bytes that claims to be a grey square."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(build_png((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")))


@pytest.mark.parametrize("side", [15_000, 100_000], ids=["where Pillow warns", "where Pillow refuses"])
def test_a_small_file_that_claims_to_be_huge(side, tmp_path):
    claim(tmp_path / "x.png", side)
    assert "--max-pixels" in refused(tmp_path / "x.png")


def test_max_pixels_can_allow_more_than_pillow_does(tmp_path):
    """Pillow alone refuses twice 178,956,970 pixels; here they are allowed, and what is wrong is that they are not there."""
    claim(tmp_path / "x.png", 20_000)
    assert "--max-pixels" not in refused(tmp_path / "x.png", max_pixels=20_000**2)


def uncompressed_ycbcr(height, width, subsampling):
    """A TIFF of grey, in units of luma and one pair of colour differences."""
    across, down = subsampling
    units = -(-width // across) * -(-height // down)
    data = bytes([128]) * (units * (across * down + 2))
    rows = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 146), (259, 3, 1, 1), (262, 3, 1, 6), (273, 4, 1, 152)]
    rows += [(277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(data)), (284, 3, 1, 1)]
    rows += [(530, 3, 2, across | down << 16)]
    directory = struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *row) for row in rows) + bytes(4)
    return (b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<3H", 8, 8, 8)).ljust(152, b"\0") + data


def test_uncompressed_ycbcr_of_reduced_resolution_is_refused_and_never_read_as_pixels(tmp_path):
    (tmp_path / "x.tif").write_bytes(uncompressed_ycbcr(6, 8, (1, 1)))
    assert np.abs(images.read(tmp_path / "x.tif").pixels.astype(int) - 128).max() <= 1
    (tmp_path / "x.tif").write_bytes(uncompressed_ycbcr(6, 8, (2, 2)))
    with pytest.raises(ImageError, match="YCbCr of reduced resolution, which is not read; save it anew as RGB"):
        images.read(tmp_path / "x.tif")


@pytest.mark.parametrize("head", [b"II*\0", b"MM\0*"])
def test_what_is_not_read_of_a_known_format_is_said_with_what_to_do(head, tmp_path):
    (tmp_path / "x.tif").write_bytes(head + bytes(200))
    with pytest.raises(ImageError, match="damaged, or of a kind that is not read; save it anew as RGB of 8 or 16 bits"):
        images.read(tmp_path / "x.tif")
