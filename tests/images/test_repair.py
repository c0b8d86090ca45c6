"""Damaged files that are read: nothing of their pixels is missing."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.images import ImageError, Reading
from translate.images.repair import repair

from . import photos


def broken(kind, data):
    """A chunk with a wrong checksum."""
    return struct.pack(">I", len(data)) + kind + data + bytes(4)


PIXELS = photos.smooth()
PLAIN = photos.as_file(Image.fromarray(PIXELS), "PNG")


@pytest.mark.parametrize("kind", [b"cLLI", b"iCCP", b"gAMA", b"tEXt", b"eXIf", b"tRNS", b"vpAg"])
def test_a_png_without_a_damaged_ancillary_chunk_is_read(kind, tmp_path):
    data = {b"tRNS": bytes(6), b"gAMA": bytes(4), b"eXIf": photos.exif(6)}.get(kind, bytes(12))
    (tmp_path / "x.png").write_bytes(PLAIN[:33] + broken(kind, data) + PLAIN[33:])
    picture = images.read(tmp_path / "x.png", how=Reading(3, metadata=True))
    assert np.array_equal(picture.pixels, PIXELS)
    assert picture.alpha is None
    assert picture.metadata.exif is None
    assert picture.damage == [f"damaged: wrong checksum of {kind.decode()}, which is left out"]
    assert picture.damage[0] in picture.notices


def test_a_damaged_chunk_behind_the_pixels_is_not_believed(tmp_path):
    (tmp_path / "x.png").write_bytes(PLAIN[:-12] + broken(b"tEXt", b"Title\0wrong") + PLAIN[-12:])
    picture = images.read(tmp_path / "x.png", how=Reading(3, metadata=True))
    assert np.array_equal(picture.pixels, PIXELS)
    assert picture.metadata.text == {}


@pytest.mark.parametrize("depth", [8, 16])
def test_the_other_metadata_of_such_a_file_stay(depth, tmp_path):
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in PIXELS)
    header = struct.pack(">IIBBBBB", 40, 24, depth, 2, 0, 0, 0)
    good = photos.build_png(
        (b"IHDR", header), (b"eXIf", photos.exif(6)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    )
    (tmp_path / "x.png").write_bytes(good[:33] + broken(b"cLLI", bytes(8)) + good[33:])
    picture = images.read(tmp_path / "x.png", how=Reading(3, deep=True, metadata=True))
    assert np.array_equal(picture.pixels, np.rot90(PIXELS, -1))
    assert b"Kamera" in picture.metadata.exif


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_a_damaged_critical_chunk_is_an_error(kind, tmp_path):
    data = bytearray(photos.as_file(Image.fromarray(PIXELS).convert("P"), "PNG"))
    data[data.index(kind) + 5] ^= 1
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(ImageError, match=f"damaged image: wrong checksum of its {kind.decode()} chunk"):
        images.read(tmp_path / "x.png")


def test_damaged_image_data_are_an_error(tmp_path):
    data = bytearray(PLAIN)
    data[data.index(b"IDAT") + 40] ^= 1
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(ImageError, match="damaged image"):
        images.read(tmp_path / "x.png")


def test_there_is_no_repair_for_other_formats(tmp_path):
    for ext in ("gif", "bmp", "webp", "tiff"):
        Image.fromarray(PIXELS).save(tmp_path / f"x.{ext}")
        assert repair(tmp_path / f"x.{ext}", 10**6) is None
