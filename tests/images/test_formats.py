"""Tests of image files by extension, and by their first bytes."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from translate import images


def test_no_extension_is_both_readable_and_not_allowed():
    assert not images.READABLE_EXTENSIONS & images.REFUSED_EXTENSIONS


@pytest.mark.parametrize(
    ("form", "extensions"),
    {
        "jpg": "jpg jpeg jpe jif jfi jfif", "png": "png apng", "bmp": "bmp dib", "tiff": "tif tiff btf tf8",
        "avif": "avif avifs",
    }.items(),
)  # fmt: skip
def test_a_format_goes_by_many_extensions(form, extensions):
    assert {images.format_of(f"a.{ext.upper()}") for ext in extensions.split()} == {form}


SAVED_AS = {
    "jpg": "JPEG",
    "tiff": "TIFF",
    "bmp": "BMP",
    "png": "PNG",
    "gif": "GIF",
    "webp": "WEBP",
    "avif": "AVIF",
    "heic": "HEIF",
}
"""Usual extension of a format → Pillow's name of it; the others are kinds of PPM."""
MODES = {"pgm": "L", "pbm": "1"}


def encoded(form):
    """The bytes of a small image in a format, by its usual extension."""
    gradient = Image.linear_gradient("L").resize((16, 12))
    buffer = io.BytesIO()
    gradient.convert(MODES.get(form, "RGB")).save(buffer, SAVED_AS.get(form, "PPM"))
    return buffer.getvalue()


@pytest.mark.parametrize("ext", sorted(images.READABLE_EXTENSIONS - {"npy"}))
def test_a_file_of_every_readable_extension_is_read_by_its_content(ext, tmp_path):
    """The same picture whether it has the usual extension of its format or another one."""
    usual, other = tmp_path / f"a.{images.format_of(f'x.{ext}')}", tmp_path / f"b.{ext.upper()}"
    for path in (usual, other):
        path.write_bytes(encoded(images.format_of(path)))
    assert images.format_of(other) == images.format_of(usual)
    shown = images.read(other).pixels
    assert shown.shape == (12, 16, 3)
    assert np.array_equal(shown, images.read(usual).pixels)


@pytest.mark.parametrize("ext", ["jfif", "jpe", "jif", "jfi", "jpeg", "apng", "tif", "tiff", "avifs"])
def test_an_output_keeps_the_extension_of_a_format_that_is_written(ext):
    assert images.writer_for(ext) == images.format_of(f"a.{ext}")


@pytest.mark.parametrize("ext", ["bmp", "dib", "ppm", "pnm", "pbm", "jxl", "txt", ""])
def test_no_output_has_the_extension_of_another_format(ext):
    assert images.writer_for(ext) is None


@pytest.mark.parametrize("form", sorted({"jpg", "png", "gif", "tiff", "webp", "avif"}))
def test_an_image_is_known_by_its_first_bytes(form, tmp_path):
    path = tmp_path / "photo.jpg_large"
    path.write_bytes(encoded(form))
    assert images.looks_like_image(path)


def test_other_files_do_not_look_like_images(tmp_path):
    for name, content in {"a.txt": b"GIF is a format", "empty": b"", "wav": b"RIFF\0\0\0\0WAVE"}.items():
        (tmp_path / name).write_bytes(content)
        assert not images.looks_like_image(tmp_path / name)
    os.mkfifo(tmp_path / "pipe")  # opening it would block for ever
    assert not images.looks_like_image(tmp_path / "pipe")
    assert not images.looks_like_image(tmp_path / "absent")


def test_names_of_written_formats_are_those_of_the_writers():
    assert {*images.WRITER_NAMES} == {*images.WRITERS, "heic", *images.ALIASES}
    assert all(images.writer_for(alias) == name for alias, name in images.ALIASES.items())
